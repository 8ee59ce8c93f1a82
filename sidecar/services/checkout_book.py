"""The live checkouts of one pod in memory, and each change of one on its way to the disk.

A change shows in memory first: the app may confirm or return a seat while a call for it runs, and each change must
build on the one before. A change that is not written only makes the next process repeat a request, but a settled
checkout is changed by nothing any more, so its write is repeated until the ledger takes it. It refuses to know AWS.
"""

from collections.abc import Callable, Mapping
from typing import Concatenate, ParamSpec, Protocol

from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState

Key = tuple[CheckoutKind, str]
P = ParamSpec("P")
Transition = Callable[Concatenate[Checkout, P], Checkout]


class CheckoutStore(Protocol):
    """Where checkouts outlive the process."""

    async def load_checkouts(self) -> list[Checkout]:
        """Return every checkout of which something may still be held."""

    async def find_checkout(self, id_: str) -> Checkout | None:
        """Return the app's newest checkout of that id."""

    async def list_checkouts(self, limit: int) -> list[Checkout]:
        """Return the app's checkouts, the newest of each id, those that are live first."""

    async def save_checkout(self, checkout: Checkout) -> Checkout:
        """Keep a checkout durably, and return it with its row."""


class CheckoutBook:
    """What may be held; `held` counts what is of the product `sku`.

    `on_end` is called with each checkout that is live no more, before that is written.
    """

    def __init__(self, sku: str, store: CheckoutStore, on_end: Callable[[Key], None]) -> None:
        self._sku = sku
        self._store = store
        self._on_end = on_end
        self.live: dict[Key, Checkout] = {}
        self.unfinished: dict[Key, Checkout] = {}
        """The live ones for which a call may be due: all but the draw-downs that AWS has made, which pile up."""
        self.unwritten: dict[int, Checkout] = {}
        """Settled ones that the ledger has not taken yet, by row: on disk they are live, and nothing else is due."""
        self.in_doubt: dict[Key, Checkout] = {}
        """Draw-downs that wait for a person."""
        self._held: dict[str, int] | None = None
        """What `held` returns, until a checkout changes."""

    def held(self) -> Mapping[str, int]:
        """Return how many this pod holds of each entitlement."""
        if self._held is None:
            self._held = {}
            for each in self.live.values():
                if each.state is not CheckoutState.HELD or each.being_returned:
                    continue
                if each.kind is not CheckoutKind.PROBE and each.sku == self._sku:
                    self._held[each.entitlement] = self._held.get(each.entitlement, 0) + (each.count or 1)
        return self._held

    async def add(self, checkout: Checkout) -> Checkout:
        """Write a new checkout, and return it once it is on disk."""
        saved = await self._store.save_checkout(checkout)
        self.note(saved)
        return saved

    async def change(self, key: Key, transition: Transition[P], *args: P.args, **kwargs: P.kwargs) -> Checkout:
        """Change a live checkout, and return it once the change is on disk."""
        after = transition(self.live[key], *args, **kwargs)
        self.note(after)
        if after.state.live:
            return await self._store.save_checkout(after)
        self.unwritten[after.seq] = after
        return await self.write_settled(after)

    async def write_settled(self, checkout: Checkout) -> Checkout:
        """Write a settled checkout, and return it once it is on disk."""
        saved = await self._store.save_checkout(checkout)
        self.unwritten.pop(checkout.seq, None)
        return saved

    def note(self, checkout: Checkout) -> None:
        """Show a checkout as it is now."""
        key = (checkout.kind, checkout.id)
        self.in_doubt.pop(key, None)
        if checkout.state is CheckoutState.IN_DOUBT:
            self.in_doubt[key] = checkout
        self._held = None
        if checkout.state.live:
            self.live[key] = checkout
            if checkout.drawdown and checkout.state is CheckoutState.HELD:
                self.unfinished.pop(key, None)
            else:
                self.unfinished[key] = checkout
        elif (known := self.live.get(key)) is not None and known.seq == checkout.seq:
            del self.live[key]
            self.unfinished.pop(key, None)
            self._on_end(key)

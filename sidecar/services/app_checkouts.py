"""What the app asks of its license: an entitlement from memory, a seat, a draw-down.

An entitlement is answered from the last look, never by a call. A checkout is answered once AWS has decided, or refused
as unavailable; its repetition then continues without the app, and the same request finds it.
"""

import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final
from weakref import WeakValueDictionary

from sidecar.domain.entitlement.allowances import (
    Allowance,
    CheckoutInDoubt,
    CheckoutNotEntitled,
    CheckoutRequest,
    CheckoutReused,
    LicenseUnavailable,
    NotReturnable,
    SeatsTaken,
    UnknownCheckout,
    UnknownEntitlement,
)
from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState, drawdown_token
from sidecar.domain.entitlement.licenses import License, LicenseEntitlement, allows, tier_of
from sidecar.domain.entitlement.states import State
from sidecar.domain.ports import Clock
from sidecar.services.checkout_book import CheckoutStore
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.license_keeper import LicenseKeeper

MOST_LISTED: Final = 1000
"""Checkouts in one listing."""
ANSWER_WITHIN: Final = timedelta(seconds=10)
"""Real time that a request waits for AWS; the call itself may take longer, and continues."""
_CLOSED = {State.DENIED, State.SUSPENDED}


class AppCheckouts:
    """The license as the app uses it.

    The lowest of `tiers` comes first.
    """

    def __init__(self, *, keeper: LicenseKeeper, store: CheckoutStore, clock: Clock, tiers: tuple[str, ...]) -> None:
        self._keeper = keeper
        self._checkouts: CheckoutKeeper = keeper.checkouts
        self._store = store
        self._clock = clock
        self._tiers = tiers
        self._calls: set[asyncio.Task[Checkout | None]] = set()
        self._taking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def allowance(self, name: str, requested: int) -> Allowance:
        """Return whether the license grants `requested` of an entitlement.

        Raises:
            UnknownEntitlement: The license has no such entitlement, and there is no such tier.
            LicenseUnavailable: No license is known yet.
        """
        license_ = self._keeper.license
        entitlement = self._keeper.entitlement()
        if license_ is None:
            if entitlement.state in _CLOSED:
                raise UnknownEntitlement(f"there is no license, so there is no entitlement {name}")
            raise LicenseUnavailable("License Manager has not answered yet, so no license is known; try again")
        granted = license_.entitlement(name)
        if granted is None and name not in self._tiers:
            raise UnknownEntitlement(f"the license has no entitlement {name}; GET /v1/entitlement lists them")
        return Allowance(
            name=name,
            allowed=entitlement.entitled and allows(license_, name, requested, self._tiers),
            max=None if granted is None else granted.max_count,
            held=self._checkouts.held().get(name, 0),
            tier=tier_of(license_, self._tiers) if name in self._tiers else None,
            until=license_.end,
        )

    async def check_out(self, request: CheckoutRequest) -> tuple[Checkout, bool]:
        """Return the checkout that AWS holds, and whether this request made it.

        Raises:
            CheckoutRefused: One of its kinds (sidecar.domain.entitlement.allowances).
            LedgerUnavailable: The ledger cannot be used (sidecar.domain.metering.events).
        """
        async with self._lock(request.id):
            known = await self._find(request.id)
            if known is not None and not _is_same(known, request):
                raise CheckoutReused(f"the id {request.id} belongs to a checkout with other content; use another id")
            if known is not None and known.state.live and known.sku != self._checkouts.sku:
                await self._end_of_other_product(known)
            elif known is not None and known.state.live and (repeated := await self._repeat(known)) is not None:
                return repeated, False
            license_, entitlement = self._grant_of(request)
            token = str(uuid.uuid4())
            if request.drawdown:
                token = drawdown_token(self._checkouts.sku, request.entitlement, request.id, request.count)
            await self._checkouts.intend(
                CheckoutKind.APP,
                request.id,
                entitlement,
                issuer=license_.issuer,
                count=request.count,
                client_token=token,
                drawdown=request.drawdown,
            )
            return self._held(await self._advance(request.id), request.entitlement), True

    async def confirm(self, id_: str) -> Checkout:
        """Note that the app still uses a checkout, and return it; raises as `check_out` does."""
        async with self._lock(id_):
            known = await self._by_answer(await self._known(id_))
            if known.being_returned:
                raise LicenseUnavailable(f"checkout {id_} is being returned; take it anew by POST /v1/checkouts")
            if known.returning:
                return known
            confirmed = await self._checkouts.confirm_use(CheckoutKind.APP, id_)
            self._keeper.changes.wake()
            return confirmed or known

    async def give_back(self, id_: str) -> None:
        """Return a seat, or give up a draw-down that AWS has certainly not made; raises as `check_out` does."""
        async with self._lock(id_):
            known = await self._known(id_)
            if known.drawdown:
                if await self._withdraw(known):
                    return
                raise NotReturnable(f"checkout {id_} is a draw-down: what is used up does not return")
            if not known.state.live:
                return
            if not self._returns(known):
                await self._checkouts.leave(CheckoutKind.APP, id_)
                raise NotReturnable(
                    f"the license does not allow a return of {known.entitlement}; the seat lapses by itself"
                )
            await self._checkouts.give_up(CheckoutKind.APP, id_)
            after = await self._advance(id_)
            if after.state.live:
                raise LicenseUnavailable("AWS has not taken the seat back; the sidecar repeats the return by itself")

    def _returns(self, known: Checkout) -> bool:
        """Return whether the license takes the seat back, as far as it is known."""
        license_ = self._keeper.license
        granted = None if license_ is None else license_.entitlement(known.entitlement)
        return granted is None or granted.allow_check_in

    async def _withdraw(self, known: Checkout) -> bool:
        """Give up a draw-down of which AWS has processed no attempt; return whether nothing is drawn."""
        current = self._checkouts.find(CheckoutKind.APP, known.id) or known
        if current.state is CheckoutState.INTENDED and not current.unanswered:
            await self._checkouts.give_up(CheckoutKind.APP, known.id)
            current = await self._advance(known.id)
        return not current.state.live

    async def listing(self) -> Sequence[Checkout]:
        """Return the app's checkouts, those that are live first, without seats that are being returned.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        await self._checkouts.write_settled()
        return [each for each in await self._store.list_checkouts(MOST_LISTED) if not each.being_returned]

    async def _repeat(self, known: Checkout) -> Checkout | None:
        """Return a live checkout as AWS holds it; None if it was left or is returned, and AWS holds it no more."""
        if known.state is CheckoutState.IN_DOUBT:
            raise CheckoutInDoubt(
                f"AWS may or may not have drawn checkout {known.id}; an operator decides with `ledger resolve "
                f"checkout-{known.seq}`"
            )
        known = await self._by_answer(known)
        if not known.state.live:
            return None
        await self._checkouts.confirm_use(CheckoutKind.APP, known.id)
        if known.state is CheckoutState.HELD and not known.being_returned:
            return known
        after = await self._advance(known.id)
        if after.being_returned:
            resuming = self._checkouts.resume(CheckoutKind.APP, known.id, returns=self._returns(known))
            after = await self._answer_to(resuming, known.id)
        return None if known.returning and not after.state.live else self._held(after, known.entitlement)

    async def _end_of_other_product(self, known: Checkout) -> None:
        """End a seat that an earlier `product.id` has left, so that its id is free; that of a draw-down never is."""
        if known.drawdown:
            raise CheckoutReused(f"the id {known.id} belongs to a draw-down of product {known.sku}; use another id")
        if (await self._advance(known.id)).state.live:
            raise LicenseUnavailable(f"AWS has not taken back checkout {known.id} of product {known.sku}; try again")

    async def _by_answer(self, known: Checkout) -> Checkout:
        """Return a checkout that the app had left as AWS answers for it, and any other as it is."""
        if not known.is_left(self._clock.now()):
            return known
        # The clock may be wrong. Without AWS's answer the seat is neither called held nor confirmed.
        after = await self._answer_to(self._checkouts.confirm_held(CheckoutKind.APP, known.id), known.id)
        if after.is_left(self._clock.now()):
            raise LicenseUnavailable("License Manager has not answered; send the same request again")
        return after

    def _grant_of(self, request: CheckoutRequest) -> tuple[License, LicenseEntitlement]:
        """Return what a checkout may take from, by the last look."""
        license_, gate = self._keeper.good_license, self._keeper.entitlement()
        if license_ is None:
            shown = self._keeper.license
            expired = shown is not None and shown.has_expired(self._clock.now())
            if gate.state in _CLOSED or expired:
                raise CheckoutNotEntitled(f"no good license grants {request.entitlement}. {gate.detail}")
            raise LicenseUnavailable("License Manager shows no good license at the moment; try again")
        granted = license_.entitlement(request.entitlement)
        if granted is None:
            raise CheckoutNotEntitled(f"the license has no entitlement {request.entitlement}")
        if not granted.counted and (request.count != 1 or request.drawdown):
            raise CheckoutNotEntitled(
                f"the entitlement {request.entitlement} has no count: ask for 1, without drawdown"
            )
        if not granted.grants(request.count):
            raise SeatsTaken(f"the license grants {granted.max_count} of {request.entitlement} altogether")
        return license_, granted

    async def _advance(self, id_: str) -> Checkout:
        return await self._answer_to(self._checkouts.advance(CheckoutKind.APP, id_), id_)

    async def _answer_to(self, calling: Coroutine[Any, Any, Checkout | None], id_: str) -> Checkout:
        """Make the call, and wait for its answer for a while; it continues without the request."""
        call = asyncio.create_task(calling, name="checkout")
        self._calls.add(call)
        call.add_done_callback(self._forget)
        await asyncio.wait([call], timeout=ANSWER_WITHIN.total_seconds())
        after = call.result() if call.done() else None
        self._keeper.changes.wake()
        return after or await self._known(id_)

    def _forget(self, call: asyncio.Task[Checkout | None]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # of a request that did not wait for it; the ledger has logged it

    def _held(self, checkout: Checkout, entitlement: str) -> Checkout:
        match checkout.state:
            case CheckoutState.HELD if not checkout.being_returned:
                return checkout
            case CheckoutState.REFUSED:
                raise SeatsTaken(f"none of {entitlement} is left at the moment")
            case CheckoutState.IN_DOUBT:
                raise CheckoutInDoubt(f"AWS may or may not have drawn checkout {checkout.id}; an operator decides")
            case CheckoutState.INTENDED | CheckoutState.HELD | CheckoutState.LAPSED | CheckoutState.RETURNED:
                raise LicenseUnavailable("License Manager has not answered; send the same request again")

    async def _find(self, id_: str) -> Checkout | None:
        await self._checkouts.write_settled()
        await self._checkouts.reload_doubts()
        found = await self._store.find_checkout(id_)
        if found is not None and found.state.live and self._checkouts.find(CheckoutKind.APP, id_) is None:
            raise LicenseUnavailable("The sidecar has not read its checkouts yet; send the same request again")
        return found

    async def _known(self, id_: str) -> Checkout:
        known = await self._find(id_)
        if known is None:
            raise UnknownCheckout(f"there is no checkout {id_}")
        return known

    def _lock(self, id_: str) -> asyncio.Lock:
        return self._taking.setdefault(id_, asyncio.Lock())


def _is_same(known: Checkout, request: CheckoutRequest) -> bool:
    content = (known.entitlement, known.count or 1, known.drawdown)
    return content == (request.entitlement, request.count, request.drawdown)

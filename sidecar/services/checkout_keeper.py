"""Makes, extends and returns checkouts, and never loses one between an attempt and its answer.

Each checkout is on disk before its first attempt, and each attempt is counted on disk before it is sent. A checkout
without an answer is repeated with the same request. What the answers mean is decided in
`sidecar.domain.entitlement.checkouts`. No token is ever logged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from weakref import WeakValueDictionary

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState, CheckoutStep, Grant, next_step
from sidecar.domain.entitlement.licenses import LicenseEntitlement
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.ports import Clock
from sidecar.marketplace.errors import Disposition, MarketplaceError, Taken, UnknownAnswer
from sidecar.marketplace.license_manager import LicenseManagerError, NoEntitlementsAllowedException
from sidecar.marketplace.passage import sends_nothing
from sidecar.services.attempts import Counted
from sidecar.services.checkout_book import CheckoutBook, CheckoutStore, Key, P, Transition
from sidecar.services.checkout_refusals import GONE, UNKNOWN, elsewhere
from sidecar.services.checkout_service import CheckoutService
from sidecar.services.retry_schedule import LONGEST_WAIT, RetrySchedule

Call = Callable[[Checkout], Awaitable[Grant | None]]


class CheckoutKeeper:
    """The checkouts of one pod, for the product `sku`; those of another one only end.

    `regions` returns the Regions in which a checkout may be made, the likeliest first; `random` is uniform in [0, 1).
    """

    def __init__(
        self,
        *,
        sku: str,
        store: CheckoutStore,
        service: CheckoutService,
        clock: Clock,
        random: Callable[[], float],
        log: FilteringBoundLogger,
        regions: Callable[[], Iterable[str]],
    ) -> None:
        self.sku = sku
        self._store = store
        self._service = service
        self._clock = clock
        self._log = log
        self._regions = regions
        self._book = CheckoutBook(sku, store, self._forget_failures)
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._retries = RetrySchedule(random=random)
        self.errors: dict[Key, MarketplaceError] = {}
        """Why the last call of a checkout has no answer that decides."""
        self.confirmed: set[Key] = set()
        """The seats and probes for which AWS has answered in this process."""
        self.refused: dict[Key, datetime] = {}
        """When AWS last refused a checkout in this process of which another Region, or the return, has no answer."""
        self.unknown: set[Key] = set()
        """Seats that AWS may still hold although it refused their token: a suspended license refuses it, too."""

    async def load(self, seats: Container[str]) -> None:
        """Take over what an earlier process left; give up seats that are not in `seats`, or of another product."""
        loaded = await self._store.load_checkouts()
        for checkout in loaded:
            self._book.note(checkout)
        for checkout in loaded:
            foreign = checkout.sku != self.sku and checkout.may_end
            if foreign or (checkout.kind is CheckoutKind.SEAT and checkout.id not in seats):
                with suppress(LedgerUnavailable):  # the book has it, and the attempt of its return writes it
                    await self.give_up(checkout.kind, checkout.id)

    def find(self, kind: CheckoutKind, id_: str) -> Checkout | None:
        """Return the live checkout; None if there is none."""
        return self._book.live.get((kind, id_))

    def held(self) -> Mapping[str, int]:
        """Return how many this pod holds of each entitlement."""
        return self._book.held()

    @property
    def in_doubt(self) -> Mapping[Key, Checkout]:
        """Draw-downs that wait for a person."""
        return self._book.in_doubt

    async def return_all(self) -> bool:
        """Try once to return everything that returns; return whether another try may return more."""
        returning = [each for each in self._book.unfinished.values() if not each.drawdown]
        for each in returning:
            if not each.returning:
                await self.give_up(each.kind, each.id)
        await asyncio.gather(*(self.advance(each.kind, each.id) for each in returning))
        left = {(each.kind, each.id) for each in returning} & self._book.unfinished.keys()
        return any(self.errors[key].disposition is Disposition.RETRY for key in left & self.errors.keys())

    def not_before(self, kind: CheckoutKind, id_: str) -> datetime | None:
        """Return when the next attempt of a checkout is due after a failure; None where nothing has failed."""
        return self._retries.not_before(_name((kind, id_)))

    async def intend(
        self,
        kind: CheckoutKind,
        id_: str,
        entitlement: LicenseEntitlement,
        *,
        issuer: str,
        count: int,
        client_token: str,
        drawdown: bool = False,
    ) -> Checkout:
        """Freeze a checkout durably. No call is made yet."""
        await self.write_settled()
        now = self._clock.now()
        self.confirmed.discard((kind, id_))
        self.refused.pop((kind, id_), None)
        checkout = Checkout(
            id=id_,
            kind=kind,
            sku=self.sku,
            issuer=issuer,
            entitlement=entitlement.name,
            unit=entitlement.unit,
            count=count if entitlement.counted else None,
            drawdown=drawdown,
            client_token=client_token,
            region=next(iter(self._regions())),
            intended_at=now,
            confirmed_at=now,
        )
        return await self._book.add(checkout)

    async def advance(self, kind: CheckoutKind, id_: str, *, until_confirmed: bool = False) -> Checkout | None:
        """Make the calls that a checkout needs now, each once; return what it is then, None if it is not live.

        With `until_confirmed` the calls after AWS's first answer are left to `run_due`.
        """
        key = (kind, id_)
        async with self._locks.setdefault(key, asyncio.Lock()):
            checkout = self._book.live.get(key)
            while checkout is not None and checkout.state.live:
                now = self._clock.now()
                if checkout.settled_by(now) is not checkout:
                    checkout = await self._conclude(key, Checkout.settled_by, now)
                step = next_step(checkout, now)
                if step is None or step[1] > now or (until_confirmed and key in self.confirmed):
                    break
                after = await self._perform(step[0], key)
                if after is None:
                    return self._book.live.get(key)
                checkout = after
            return checkout

    async def confirm_held(self, kind: CheckoutKind, id_: str) -> Checkout | None:
        """Extend a seat although none is due, of a good license: AWS's answer is final."""
        key = (kind, id_)
        async with self._locks.setdefault(key, asyncio.Lock()):
            checkout = self._book.live.get(key)
            if checkout is None or checkout.state is not CheckoutState.HELD or checkout.consumption_token is None:
                return checkout
            return await self._call(key, CheckoutStep.EXTEND, GONE) or self._book.live.get(key)

    async def confirm_use(self, kind: CheckoutKind, id_: str) -> Checkout | None:
        """Note durably that the app uses a checkout; return it, None if it is not live."""
        if (kind, id_) not in self._book.live:
            return None
        return await self._book.change((kind, id_), Checkout.confirmed, self._clock.now())

    async def give_up(self, kind: CheckoutKind, id_: str) -> None:
        """Note durably that a checkout is to be returned; `advance` returns it."""
        if (kind, id_) in self._book.live:
            await self._book.change((kind, id_), Checkout.unwanted)

    async def leave(self, kind: CheckoutKind, id_: str) -> None:
        """Note durably that the app uses a seat no more; it is extended only if the app confirms it again."""
        if (kind, id_) in self._book.live:
            await self._book.change((kind, id_), Checkout.left)

    async def resume(self, kind: CheckoutKind, id_: str, *, returns: bool = True) -> Checkout | None:
        """Count on a seat again if AWS extends it after its return has failed, and return what is live.

        Without an answer AWS may process the return later, unless the license takes nothing back (`returns`).
        """
        key = (kind, id_)
        async with self._locks.setdefault(key, asyncio.Lock()):
            checkout = self._book.live.get(key)
            may_return = returns and not isinstance(self.errors.get(key), LicenseManagerError)
            if checkout is None or may_return or not checkout.is_whole_return:
                return checkout
            if await self._call(key, CheckoutStep.EXTEND, GONE) is None or key not in self._book.live:
                return self._book.live.get(key)
            return await self._book.change(key, Checkout.kept)

    async def write_settled(self) -> None:
        """Write what has settled while the ledger could not be written; until then its rows show too much.

        Raises:
            LedgerUnavailable: It still cannot be written.
        """
        for checkout in list(self._book.unwritten.values()):
            await self._book.write_settled(checkout)

    async def reload_doubts(self) -> None:
        """Take notice of what people have decided about draw-downs meanwhile."""
        for key in list(self.in_doubt):
            found = await self._store.find_checkout(key[1])
            if found is not None and found.state is not CheckoutState.IN_DOUBT:
                self._log.info("checkout.resolved", entitlement=found.entitlement, state=found.state)
                self._book.note(found)

    def due_at(self, now: datetime) -> datetime | None:
        """Return when the next call of any checkout is due, or its write."""
        if self._book.unwritten:
            return now
        dues = [self._due_at(key, checkout, now) for key, checkout in self._book.unfinished.items()]
        return min((due for due in dues if due is not None), default=None)

    async def run_due(self) -> None:
        """Make every call that is due, and every write."""
        now = self._clock.now()
        dues = ((key, self._due_at(key, checkout, now)) for key, checkout in self._book.unfinished.items())
        due = [key for key, at in dues if at is not None and at <= now]
        unwritten = list(self._book.unwritten.values())
        await asyncio.gather(
            *(self.advance(*key) for key in due), *(self._book.write_settled(each) for each in unwritten)
        )

    def _due_at(self, key: Key, checkout: Checkout, now: datetime) -> datetime | None:
        if checkout.settled_by(now) is not checkout:
            return now
        step = next_step(checkout, now)
        if step is None:
            return None
        held = self._retries.not_before(_name(key))
        # Set by a clock that has since gone back, it would delay the call by the size of that step.
        return step[1] if held is None or held > now + LONGEST_WAIT else max(step[1], held)

    async def _perform(self, step: CheckoutStep, key: Key) -> Checkout | None:
        """Make one call and store what it made of the checkout; None if it is to be tried again later."""
        match step:
            case CheckoutStep.CHECK_OUT:
                return await self._check_out(key)
            case CheckoutStep.EXTEND:
                return await self._call(key, step, () if key[0] is CheckoutKind.SEAT else GONE)
            case CheckoutStep.CHECK_IN:
                # A probe takes nothing, and must not keep the next one waiting.
                return await self._call(key, step, GONE if key[0] is CheckoutKind.PROBE else UNKNOWN)

    async def _check_out(self, key: Key) -> Checkout | None:
        checkout = self._book.live[key]
        # After a lost answer another Region would be another request, and AWS may hold this one.
        regions = [checkout.region] if checkout.unanswered else [checkout.region, *self._regions()]
        tried, refused = set[str](), False
        while regions := [region for region in dict.fromkeys(regions) if region not in tried]:
            region, now = regions[0], self._clock.now()
            tried.add(region)
            earlier = self._book.live[key].attempted_at
            try:
                async with Counted(partial(self._book.change, key, Checkout.not_taken, earlier)):
                    with sends_nothing():
                        checkout = await self._book.change(key, Checkout.attempting, region, now)
                    grant = await self._service.check_out(checkout)
            except MarketplaceError as error:
                self._fail(key, error)
                if error.taken is not Taken.NO:
                    if refused:
                        self.refused[key] = now
                    return None
                refused = refused or isinstance(error, NoEntitlementsAllowedException)
                if refused and checkout.unanswered > 1:
                    break
                checkout = await self._book.change(key, Checkout.not_taken, earlier)
                if (lost := await self._lose_if_over(key, checkout, error)) is not None:
                    return lost
                current, now = self._book.live[key], self._clock.now()
                # The app may have given it up during the call.
                regions = elsewhere(error, regions) if current.settled_by(now) is current else []
            else:
                if grant.in_part:
                    return await self._refuse_part(key, grant)
                return await self._answered(key, Checkout.granted, grant, self._clock.now())
        # Where the Region that lists the license has refused, another one that cannot be reached adds nothing.
        return await self._conclude(key, Checkout.refused, self._clock.now()) if refused else None

    async def _refuse_part(self, key: Key, grant: Grant) -> Checkout | None:
        """Return seats of which AWS allows only a part; None while it may hold them. A draw-down is in doubt."""
        error: MarketplaceError = UnknownAnswer("AWS allows only a part of what was asked for")
        self._fail(key, error)
        checkout = self._book.live[key]
        self._log.warning("checkout.partial", kind=key[0], entitlement=checkout.entitlement, count=checkout.count)
        if checkout.drawdown:
            return await self._conclude(key, Checkout.granted_in_part, grant, self._clock.now())
        checkout = await self._book.change(key, Checkout.granted_in_part, grant, self._clock.now())
        try:
            await self._service.check_in(checkout)
        except UNKNOWN:
            pass
        except MarketplaceError as unreturned:
            self.errors[key] = unreturned
            self.refused[key] = self._clock.now()
            return None
        return await self._conclude(key, Checkout.refused, self._clock.now())

    async def _call(self, key: Key, step: CheckoutStep, final: tuple[type[MarketplaceError], ...]) -> Checkout | None:
        """Extend or return a seat; the errors of `final` end it immediately."""
        call: Call = self._service.check_in if step is CheckoutStep.CHECK_IN else self._service.extend
        earlier = self._book.live[key].attempted_at
        try:
            async with Counted(partial(self._book.change, key, Checkout.not_extended, earlier)):
                with sends_nothing():
                    checkout = await self._book.change(key, Checkout.calling, step, self._clock.now())
                grant = await call(checkout)
        except MarketplaceError as error:
            if isinstance(error, final):
                return await self._lose(key, error)
            self._fail(key, error)
            if step is CheckoutStep.CHECK_IN:
                return await self._unreturned(key, error)
            if isinstance(error, GONE):
                self.unknown.add(key)
                self.confirmed.discard(key)
            elif error.taken is not Taken.NO:
                return None
            return await self._lose_if_over(key, await self._book.change(key, Checkout.not_extended, earlier), error)
        if grant is None:
            return await self._answered(key, Checkout.returned, self._clock.now())
        return await self._answered(key, Checkout.granted, grant, self._clock.now())

    async def _unreturned(self, key: Key, error: MarketplaceError) -> Checkout | None:
        """Keep a seat whose return has failed; once its time has passed, AWS extends it if it still holds it."""
        checkout = self._book.live[key]
        if isinstance(error, GONE):
            self.refused[key] = self._clock.now()
        if error.taken is not Taken.NO and not checkout.returning:
            checkout = await self._book.change(key, Checkout.unwanted)  # whatever the clock shows later
        if checkout.is_over(self._clock.now()):  # or the clock is wrong
            return await self._call(key, CheckoutStep.EXTEND, (LicenseManagerError,))
        return None

    async def _lose_if_over(self, key: Key, checkout: Checkout, error: MarketplaceError) -> Checkout | None:
        """Lapse a seat that AWS has returned meanwhile, and whose request it refuses; None if it may still be held.

        A checkout whose repetition AWS refuses is over by then too, and a new one with another client token may follow.
        """
        # A call that did not reach AWS shows nothing: the clock may have jumped, and the next answer decides.
        if not isinstance(error, LicenseManagerError) or not checkout.is_over(self._clock.now()):
            return None
        return await self._lose(key, error)

    async def _lose(self, key: Key, error: MarketplaceError) -> Checkout:
        checkout, now = self._book.live[key], self._clock.now()
        if not checkout.is_left(now):
            self._log.warning(
                "checkout.lost", kind=key[0], entitlement=checkout.entitlement, code=error.code, detail=str(error)
            )
        return await self._conclude(key, Checkout.lapsed, now)

    async def _answered(self, key: Key, transition: Transition[P], *args: P.args, **kwargs: P.kwargs) -> Checkout:
        if key[0] is not CheckoutKind.APP and self._book.live[key].sku == self.sku:
            self.confirmed.add(key)
        self.errors.pop(key, None)
        self._retries.succeeded(_name(key))
        return await self._conclude(key, transition, *args, **kwargs)

    async def _conclude(self, key: Key, transition: Transition[P], *args: P.args, **kwargs: P.kwargs) -> Checkout:
        before = self._book.live[key].state
        self.unknown.discard(key)
        self.refused.pop(key, None)
        after = await self._book.change(key, transition, *args, **kwargs)
        if after.state is not before:
            event = f"checkout.{after.state}".replace("-", "_")
            self._log.info(event, kind=after.kind, entitlement=after.entitlement, count=after.count)
        return after

    def _fail(self, key: Key, error: MarketplaceError) -> None:
        self.errors[key] = error
        self._retries.failed(_name(key), self._clock.now())

    def _forget_failures(self, key: Key) -> None:
        if key[0] is CheckoutKind.APP:
            self.refused.pop(key, None)
            self.errors.pop(key, None)
            self._retries.succeeded(_name(key))


def _name(key: Key) -> str:
    return f"{key[0]} {key[1]}"

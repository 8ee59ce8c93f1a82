"""Closes hours: decides which hours are reported, seals each of them once, and reports what no record holds.

An hour is sealed only if the clock allows it at that very step. The submitter sends what is sealed here.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from sidecar.domain import timestamps
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.failing import closes_gate
from sidecar.domain.metering.hours import Hour, hour_of, next_hour, start_of
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.records import SealedHour, UnbilledReason
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.validation import MAX_FUTURE
from sidecar.domain.ports import Clock
from sidecar.domain.status import Terms
from sidecar.services.course_keeper import CourseKeeper
from sidecar.services.ports import EntitlementReader

AFTER_END_CURE = "The next process on the ledger carries this usage, if the submission window is still open."
PROBE_SLOT_CURE = f"Set entitlement.probe_dimension to a dimension without a price. {AFTER_END_CURE}"

log = structlog.get_logger()


class HourStore(Protocol):
    """What sealing needs of the ledger."""

    async def mark_reportable(self, hour: Hour) -> None:
        """Note that `hour` is to be reported even if nothing is used in it."""

    async def rebook_future_hours(self, *, after: Hour, now: datetime) -> int:
        """Move open usage of hours later than `after` into the current hour; return the number of buckets moved."""

    async def sealable(self, *, before: Hour, zero_from: Hour, now: datetime) -> list[tuple[Hour, str]]:
        """Return the (hour, dimension) pairs to seal among the hours earlier than `before`, oldest first."""

    async def seal(
        self, hour: Hour, dimension: str, clock: Callable[[], datetime], settle: timedelta | None
    ) -> SealedHour | None:
        """Freeze one dimension's hour; None when there is nothing to send, or it is too early by the clock."""

    async def drop_unsent_probes(self, now: datetime) -> None:
        """Free the slots of this pod's start probes that AWS certainly did not take."""

    async def keep_after_end(self, now: datetime) -> Mapping[UnbilledReason, Mapping[str, int]]:
        """Keep as unbilled what the pod's last hour cannot take; millionths by reason and dimension."""

    async def terms(self) -> Mapping[str, Terms]:
        """Return the terms of the conservation law by dimension."""


@dataclass(eq=False, repr=False, kw_only=True)
class Sealer:
    """The hours of one pod, from open to sealed."""

    store: HourStore
    gate: EntitlementReader
    clock: Clock
    rules: MeteringRules
    courses: CourseKeeper
    _last_turn: Hour | None = field(default=None, init=False)
    left_unsent: dict[str, int] = field(default_factory=dict, init=False)
    """Millionths by dimension that the pod's end leaves unsent; empty until then."""
    lost_to_probe: Counter[str] = field(default_factory=Counter, init=False)
    """Millionths by dimension that no record takes, because the start probe has the pod's last hour."""

    async def seal_settled(self, now: datetime) -> None:
        """Seal the hours that have ended and settled at `now`, hours without usage included where they are reported."""
        await self._mark_reportable(now)
        await self._rebook_future_hours()
        await self._seal(before=hour_of(now - self.rules.settle), settle=self.rules.settle)

    async def seal_for_end(self, now: datetime, *, ending: bool) -> None:
        """Seal the hours that have ended at `now`, and the open hour too if the pod itself is `ending`."""
        if ending:
            await self.store.drop_unsent_probes(now)
            # What is dated a few minutes ahead can only be reported with the hour that is open now.
            await self.store.rebook_future_hours(after=hour_of(now), now=now)
            await self._seal(before=next_hour(hour_of(now)), settle=None)
            await self.keep_after_end()
            await self.note_unsent()
        else:
            await self._seal(before=hour_of(now), settle=timedelta())

    async def _mark_reportable(self, now: datetime) -> None:
        """Note the hours to report even without usage, since the last turn: the gate may have opened in between."""
        this = hour_of(now)
        last, self._last_turn = self._last_turn or this, this
        entitlement = self.gate.entitlement()
        # While suspended only an accepted record can show that the buyer is back. While metering holds the gate closed
        # the app reports nothing: only a zero can be the success that opens it.
        rules = self.rules
        gated = closes_gate(self.courses.failures(now), rules.on_failing, overage=rules.overage)
        reported = entitlement.state is State.SUSPENDED or (
            entitlement.state is State.ENTITLED and (rules.report_zero or gated)
        )
        if not reported:
            return
        hour = min(max(hour_of(entitlement.since), last, hour_of(now - rules.window)), this)
        while hour <= this:
            await self.store.mark_reportable(hour)
            hour = next_hour(hour)

    async def _rebook_future_hours(self) -> None:
        """Mend what a clock that was ahead has left in hours to come."""
        now = self.clock.now()
        buckets = await self.store.rebook_future_hours(after=hour_of(now + MAX_FUTURE), now=now)
        if buckets:
            log.warning("metering.clock_went_back", buckets=buckets)

    async def _seal(self, *, before: Hour, settle: timedelta | None) -> None:
        """Seal the hours earlier than `before`, each only if it may be sealed by the clock at that very step."""
        now = self.clock.now()
        zero_from = next_hour(hour_of(now - self.rules.window))
        for hour, dimension in await self.store.sealable(before=before, zero_from=zero_from, now=now):
            sealed = await self.store.seal(hour, dimension, self.clock.now, settle)
            if sealed is None:
                continue
            line = log.bind(dimension=dimension, hour=timestamps.render(start_of(hour)))
            line.info("metering.hour_sealed", quantity=render(sealed.seal.quantity))
            if sealed.seal.folded:
                line.warning("metering.tag_sets_folded", tag_sets=sealed.seal.folded)
            if sealed.seal.excess:
                line.error("metering.over_limit", carried=render(sum(sealed.seal.excess.values())))

    async def keep_after_end(self) -> None:
        """Keep and report what is left without an hour: the pod ends before the next one."""
        for reason, quantities in (await self.store.keep_after_end(self.clock.now())).items():
            for dimension, quantity in quantities.items():
                line = log.bind(dimension=dimension, quantity=render(quantity))
                if reason is UnbilledReason.PROBE_SLOT:
                    self.lost_to_probe[dimension] += quantity
                    line.error("metering.probe_slot", cure=PROBE_SLOT_CURE)
                else:
                    line.error("metering.after_end", cure=AFTER_END_CURE)

    async def note_unsent(self) -> None:
        """Report once what no record of this pod holds although its last hour is sealed: fractions of whole numbers."""
        terms = await self.store.terms()
        unsent = {name: found.open + found.remainder for name, found in terms.items() if found.open + found.remainder}
        if unsent != self.left_unsent:
            self.left_unsent = unsent
            quantities = {name: render(quantity) for name, quantity in unsent.items()}
            log.warning(
                "metering.left_unsent", quantities=quantities, cure="A later pod on the same ledger carries it."
            )

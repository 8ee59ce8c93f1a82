"""The start probe of a custom price: asks AWS by one real record of quantity 0 whether the buyer has a subscription.

The ledger freezes the record and counts each attempt before it is sent; a repeat sends exactly the same, also after a
restart. One call here is one attempt, or two where AWS takes no usage of the previous hour. The registrar decides when
to ask, and what an answer means for the entitlement.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from sidecar.domain import timestamps
from sidecar.domain.entitlement.states import Reason
from sidecar.domain.metering.hours import Hour, hour_of, start_of
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.probes import ProbeFate, decide_probe
from sidecar.domain.metering.records import Answer, FrozenRecord, Record, Wait
from sidecar.domain.policy import ProbeHour
from sidecar.domain.ports import Clock
from sidecar.marketplace import MarketplaceError, MarketplaceMetering
from sidecar.marketplace.passage import sends_nothing
from sidecar.services.attempts import NEVER_LEFT, Counted
from sidecar.services.failed_calls import Explanation, interpret, outcome_of
from sidecar.services.meter_request import meter_request
from sidecar.services.ports import NoFreeSlot

log = structlog.get_logger()


class ProbeStore(Protocol):
    """What the probe needs of the ledger."""

    async def freeze_probe(
        self, dimension: str, preferred: ProbeHour, refused: Hour | None, clock: Callable[[], datetime]
    ) -> Record | None:
        """Return the pod's start probe, frozen with its client token; None if no slot is free."""

    async def begin(self, record: Record, now: datetime) -> FrozenRecord | None:
        """Count an attempt durably and return what it sends; None when the record no longer waits."""

    async def record_probe_outcome(self, record: Record, fate: ProbeFate, answer: Answer, now: datetime) -> None:
        """Write what became of a start probe."""


@dataclass(eq=False, repr=False, kw_only=True)
class StartProbe:
    """The probe of one pod. Implements `sidecar.services.ports.SubscriptionProbe`.

    Without a dimension the product has none, and then nothing is ever asked.
    """

    store: ProbeStore
    client: MarketplaceMetering
    clock: Clock
    dimension: str | None
    preferred: ProbeHour
    _refused: Hour | None = field(default=None, init=False)
    """The newest hour that AWS refused as out of bounds."""

    proves_record = True
    """AWS holds a record of this pod after it."""

    async def ask(self) -> None:
        """Return once AWS holds a record of this pod: it took the probe, or has another record in its slot.

        Raises:
            MarketplaceError: AWS did not take the probe; the next call sends the same again.
            NoFreeSlot: The hours that a probe may lie in have records of this pod already.
            LedgerUnavailable: The probe could not be frozen.
        """
        while True:
            record = await self._freeze()
            try:
                async with Counted(partial(self._take_back, record)):
                    with sends_nothing():
                        frozen = await self.store.begin(record, self.clock.now())
                    if frozen is None:
                        continue  # settled meanwhile, for its window closed
                    result = await self.client.meter_usage(meter_request(record, frozen))
            except MarketplaceError as error:
                outcome = outcome_of(error)
                await self._record_outcome(record, outcome, Answer(str(error), None, error.request_id))
                if outcome is Outcome.DUPLICATE:
                    return
                if outcome is Outcome.EXPIRED and record.hour < hour_of(self.clock.now()):
                    self._refused = max(record.hour, self._refused or record.hour)
                    continue
                raise
            answer = Answer("accepted", result.metering_record_id, result.request_id)
            await self._record_outcome(record, Outcome.ACCEPTED, answer)
            return

    def explain(self, error: MarketplaceError, service_account: str | None) -> Explanation:
        """Return what a failed call of `ask` means. Only one answer is about the subscription.

        A wrong set-up locks out no buyer for good.
        """
        meaning = interpret(error, service_account)
        return replace(meaning, refused=meaning.refused and meaning.reason is Reason.CUSTOMER_NOT_ENTITLED)

    async def _freeze(self) -> Record:
        if self.dimension is None:
            raise NoFreeSlot("the product has no dimension")
        record = await self.store.freeze_probe(self.dimension, self.preferred, self._refused, self.clock.now)
        if record is None:
            raise NoFreeSlot(f"dimension {self.dimension} has a record of each hour that a start probe may lie in")
        return record

    async def _take_back(self, record: Record) -> None:
        """Undo the count of an attempt that never left."""
        await self.store.record_probe_outcome(record, Wait(record.unanswered), Answer(NEVER_LEFT), self.clock.now())

    async def _record_outcome(self, record: Record, outcome: Outcome, answer: Answer) -> None:
        fate = decide_probe(record.unanswered + 1, outcome, answer.words)
        await self.store.record_probe_outcome(record, fate, answer, self.clock.now())
        method = log.debug if isinstance(fate, Wait) else log.info
        method(
            "metering.probe_answered",
            dimension=record.dimension,
            hour=timestamps.render(start_of(record.hour)),
            outcome=outcome,
            metering_record_id=answer.metering_record_id,
        )

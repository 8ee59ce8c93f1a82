"""Submits the metering records of finished hours to AWS and stores every answer.

A record is frozen and its attempt counted on disk before it is sent; every retry sends the same. Dimensions do not wait
for each other; within one, the oldest hour goes first, in a drain the one that was tried least. This is the one layer
that retries MeterUsage.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from sidecar.domain import timestamps
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.failing import Course
from sidecar.domain.metering.hours import Hour, end_of, hour_of, start_of
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.records import (
    Accept,
    Answer,
    Carry,
    Fate,
    FrozenRecord,
    MarkUnbilled,
    Record,
    Wait,
    decide,
    expire,
    window_closes_at,
)
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.schedule import due_at, last_call_at, next_turn, stretch
from sidecar.domain.metering.sealing import sealable_at
from sidecar.domain.ports import Clock
from sidecar.marketplace import MarketplaceError, MarketplaceMetering
from sidecar.marketplace.passage import sends_nothing
from sidecar.services.attempts import NEVER_LEFT, Counted
from sidecar.services.course_keeper import DUPLICATE_CURE, CourseKeeper
from sidecar.services.failed_calls import label_of, outcome_of, record_cure
from sidecar.services.faults import FaultLog, FaultRegister
from sidecar.services.meter_request import make_request
from sidecar.services.ports import EntitlementReader
from sidecar.services.retry_schedule import RetrySchedule
from sidecar.services.sealer import HourStore, Sealer
from sidecar.services.withheld_words import find_withheld

MAX_CONCURRENT = 4
"""Submissions that may run at the same time."""
RETRY_BASE = timedelta(seconds=5)
RETRY_CAP = timedelta(minutes=5)
DRAIN_RETRY_SECONDS = 0.5
"""Real time between two rounds of a drain in which something was refused; the pod's end does not wait for more."""
LATE_USAGE_SECONDS = 3.0
"""Real time for which late usage may keep the open hour waiting at the pod's end; AWS usually answers in less."""
LATE_STARTS_SECONDS = 1.0
"""Of it, the time in which a call may begin: one that is cut off after it was sent leaves its record in doubt."""
LEDGER_RETRY = timedelta(seconds=5)
LONGEST_SLEEP = timedelta(minutes=10)

log = structlog.get_logger()


class RecordStore(HourStore, Protocol):
    """What the submitter needs of the ledger."""

    async def waiting(self) -> list[Record]:
        """Return the sealed records of this pod, oldest hour first."""

    async def begin(self, record: Record, now: datetime) -> FrozenRecord | None:
        """Count an attempt durably and return what it sends; None when the record no longer waits."""

    async def record_outcome(
        self, record: Record, fate: Fate, answer: Answer, now: datetime, course: Course | None = None
    ) -> Hour | None:
        """Record what became of a record, and the course of its dimension; the hour it was carried to, if it was."""

    async def prune(self, now: datetime) -> bool:
        """Drop a step's worth of what has served its time; whether there may be more."""


class LearningGate(EntitlementReader, Protocol):
    """The entitlement, which learns from each submission."""

    async def on_submission(self, *, accepted: bool) -> None:
        """Note that AWS took this pod's usage, or refused it because the buyer is not entitled."""


class Submitter:
    """The metering loop of one pod."""

    def __init__(  # noqa: PLR0913 - the composition root names every part once
        self,
        *,
        store: RecordStore,
        client: MarketplaceMetering,
        gate: LearningGate,
        clock: Clock,
        rules: MeteringRules,
        pod: str,
        random: Callable[[], float],
        faults: FaultRegister,
        courses: Mapping[str, Course] | None = None,
        refusing_since: Callable[[], datetime | None] = lambda: None,
        longest_sleep: timedelta = LONGEST_SLEEP,
    ) -> None:
        self._store = store
        self._client = client
        self._gate = gate
        self._clock = clock
        self._rules = rules
        self._pod = pod
        self._spread = stretch(rules.spread, dimensions=len(rules.dimensions), settle=rules.settle)
        self._retries = RetrySchedule(base=RETRY_BASE, cap=RETRY_CAP, random=random)
        self._faults = faults
        self._paced_until: datetime | None = None
        self.courses = CourseKeeper(rules.dimensions, rules.failing_after, courses or {}, refusing_since)
        self._sealer = Sealer(store=store, gate=gate, clock=clock, rules=rules, courses=self.courses)
        self._hurried = self._ending = self._carried = False
        self._tries: Counter[int] = Counter()
        """Attempts in the drain, by the record's number."""
        self._longest_sleep = longest_sleep
        self.last_success_at = self.courses.last_success_at
        self.answers: Counter[str] = Counter()
        """Attempts of this process by AWS's answer."""

    @property
    def left_unsent(self) -> Mapping[str, int]:
        """Millionths by dimension that the pod's end leaves unsent; empty until then."""
        return self._sealer.left_unsent

    @property
    def lost_to_probe(self) -> Mapping[str, int]:
        """Millionths by dimension that no record takes, because the start probe has the pod's last hour."""
        return self._sealer.lost_to_probe

    async def run(self) -> None:
        """Seal and submit until cancelled."""
        while True:
            try:
                wake = await self._turn()
            except* LedgerUnavailable:
                # Alone, or in the group in which a submission ran. The ledger logs it.
                wake = self._clock.now() + LEDGER_RETRY
            await self._sleep_until(wake)

    async def drain(self, *, ending: bool) -> None:
        """Seal and submit everything without waiting for this pod's turn, until nothing waits.

        Args:
            ending: The pod itself ends: the open hour is sealed too, because no later process can submit it.
        """
        self._hurried = True
        if ending:
            # If AWS refuses late usage of an ended hour, the open hour can take it only until it is sealed.
            with suppress(TimeoutError):
                async with asyncio.timeout(LATE_USAGE_SECONDS):
                    await self._drain_round(ending=False, untried=True)
            await self._put_last()
        self._ending = ending
        waits = True
        while waits:
            waits = await self._drain_round(ending=ending)
            if waits:
                await asyncio.sleep(DRAIN_RETRY_SECONDS)

    async def _put_last(self) -> None:
        """Let what waits now, perhaps without a try for lack of time, come after the open hour."""
        with suppress(LedgerUnavailable):  # the ledger logs it
            for record in await self._store.waiting():
                self._tries[record.seq] += 1

    async def _drain_round(self, *, ending: bool, untried: bool = False) -> bool:
        """Seal and try everything once; whether something still waits."""
        waits = True
        self._carried = False
        try:
            now = self._clock.now()
            await self._sealer.seal_for_end(now, ending=ending)
            await self._expire()
            self._retries.lift_waits()
            await self._submit_due(untried=untried)
            if ending:
                await self._sealer.note_unsent()
            # The clock may have been set back before the open hour was sealed; it is then another one.
            waits = bool(await self._store.waiting()) or self._clock.now() < now
            # The open hour may have a free slot for what was carried: it had no usage, or it began meanwhile.
            waits = waits or (ending and self._carried)
        except* LedgerUnavailable:
            pass  # the ledger logs it
        return waits

    async def _turn(self) -> datetime:
        """Do what is due now and return when to look again."""
        now = self._clock.now()
        await self._sealer.seal_settled(now)
        await self._expire()
        await self._submit_due()
        wake = await self._next_wake(now)
        # A pass over a busy day's events takes thousands of steps; a record that becomes due meanwhile does not wait.
        while await self._store.prune(self._clock.now()) and self._clock.now() < wake:
            pass
        return wake

    async def _expire(self) -> None:
        for record in await self._store.waiting():
            closed_at = window_closes_at(record, self._rules.window)
            now = self._clock.now()  # of each record: the clock may be set while the one before is written
            if now > closed_at:
                closed = f"the submission window closed at {timestamps.render(closed_at)}"
                fate = expire(record.unanswered, self._rules.late, closed)
                course = self.courses.due(record.dimension, self._scheduled_at(record), now)
                await self._record_outcome(record, fate, Answer(closed), course)

    def _scheduled_at(self, record: Record) -> datetime:
        return due_at(
            record.hour,
            pod=self._pod,
            dimension=record.dimension,
            settle=self._rules.settle,
            spread=self._spread,
        )

    def _due_at(self, record: Record) -> datetime:
        not_before = self._retries.not_before(record.dimension)
        if self._hurried:
            return not_before or start_of(record.hour)
        due = self._scheduled_at(record)
        held = not_before or due
        # Set by a clock that has since gone back, it would delay the dimension by the size of that step.
        return due if held > self._clock.now() + RETRY_CAP else max(due, held)

    async def _submit_due(self, *, untried: bool = False) -> None:
        """Try one record of each dimension after another until none is due; perhaps only the untried, for a moment."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not untried or loop.time() < began + LATE_STARTS_SECONDS:
            now = self._clock.now()
            waiting = [record for record in await self._store.waiting() if not (untried and self._tries[record.seq])]
            due = [record for record in self._next_of_each(waiting) if self._due_at(record) <= now]
            if not due:
                return
            async with asyncio.TaskGroup() as group:
                for record in due[:MAX_CONCURRENT]:
                    await self._pace()
                    # The clock may have been set back since: the record then waits for its hour's end again.
                    if self._due_at(record) <= self._clock.now():
                        group.create_task(self._submit(record))

    def _next_of_each(self, records: Sequence[Record]) -> list[Record]:
        """Return the next record of each dimension: the oldest; in a drain the oldest of those with the fewest tries.

        A record without a usable answer then keeps no other one waiting for longer than the process has. In a running
        process the oldest comes first, because its window closes first.
        """
        return _oldest(sorted(records, key=lambda record: self._tries[record.seq]))

    async def _pace(self) -> None:
        """Wait for this pod's next turn under the quota."""
        now = self._clock.now()
        turn = self._paced_until = next_turn(self._paced_until, now)
        if turn > now:
            await self._sleep_until(turn)

    async def _sleep_until(self, instant: datetime) -> None:
        """Wait for `instant`, but no longer than `longest_sleep` of real time: the clock may go back meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._longest_sleep.total_seconds()):
                await self._clock.sleep_until(instant)

    async def _submit(self, record: Record) -> None:
        cure = ""
        async with Counted(partial(self._take_back, record)):
            with sends_nothing():
                frozen = await self._store.begin(record, self._clock.now())
                if frozen is None:
                    return
                request = await make_request(record, frozen)
            self._tries[record.seq] += self._hurried
            try:
                result = await self._client.meter_usage(request)
                outcome, answer = Outcome.ACCEPTED, Answer("accepted", result.metering_record_id, result.request_id)
                code = counted = "accepted"
            except MarketplaceError as error:
                outcome, counted = outcome_of(error), label_of(error)
                shown = await find_withheld(error, [tags for tags, _ in frozen.allocations])
                answer, code, cure = Answer(str(error), None, error.request_id, shown), error.code, record_cure(error)
        self.answers[counted] += 1
        if outcome is Outcome.ACCEPTED:
            await self._note_success(record)
        else:
            self._observe(record, code, answer.logged(answer.words), cure, counted)
            await self._note_refusal(record, outcome)
        fate = decide(frozen.unanswered, outcome, answer.words, self._rules.late)
        course = self.courses.answered(record.dimension, outcome, self._scheduled_at(record), self._clock.now())
        await self._record_outcome(record, fate, answer, course)

    async def _take_back(self, record: Record) -> None:
        """Undo the count of an attempt that never left."""
        await self._store.record_outcome(record, Wait(record.unanswered), Answer(NEVER_LEFT), self._clock.now())

    async def _note_success(self, record: Record) -> None:
        self.last_success_at = now = self._clock.now()
        self._faults.clear(_about(record), now)
        self._retries.succeeded(record.dimension)
        await self._gate.on_submission(accepted=True)

    def _observe(self, record: Record, code: str, words: str, cure: str, counted: str) -> None:
        """Register what keeps a dimension's records from being taken, until its next success."""
        self._faults.observe(
            code,
            f"{_about(record)}: {words}",
            cure,
            self._clock.now(),
            about=_about(record),
            kind=counted,
            report=FaultLog(
                begins="metering.refused",
                ends="metering.recovered",
                about={"dimension": record.dimension},
                details={"code": code, "detail": words},
            ),
        )

    async def _note_refusal(self, record: Record, outcome: Outcome) -> None:
        """Pass an answer on, and set when the dimension is tried again."""
        if outcome is Outcome.DUPLICATE:
            log.error(
                "metering.duplicate_reporter",
                dimension=record.dimension,
                hour=timestamps.render(start_of(record.hour)),
                cure=DUPLICATE_CURE,
            )
        if outcome is Outcome.NOT_ENTITLED:
            await self._gate.on_submission(accepted=False)
        if outcome in {Outcome.RETRY, Outcome.UNKNOWN, Outcome.SETUP, Outcome.NOT_ENTITLED}:
            self._retries.failed(record.dimension, self._clock.now())

    async def _record_outcome(self, record: Record, fate: Fate, answer: Answer, course: Course) -> None:
        carried_to = await self._store.record_outcome(record, fate, answer, self._clock.now(), course)
        self.courses.keep(record.dimension, course)
        hour = timestamps.render(start_of(record.hour))
        line = log.bind(dimension=record.dimension, hour=hour, quantity=render(record.quantity))
        match fate:
            case Accept():
                line.info("metering.record_accepted", metering_record_id=answer.metering_record_id)
            case MarkUnbilled(reason=reason):
                line.error("metering.record_unbilled", reason=answer.logged(reason))
            case Carry():
                self._carried = True
                line.warning(
                    "metering.record_carried",
                    to=None if carried_to is None else timestamps.render(start_of(carried_to)),
                    why=answer.logged(answer.words),
                )
                if self._ending:
                    # Now: the end may come before the next round.
                    await self._sealer.keep_after_end()
            case Wait():
                line.debug("metering.record_waits", answer=answer.logged(answer.words))

    async def _next_wake(self, began: datetime) -> datetime:
        now = self._clock.now()
        records = await self._store.waiting()
        dues = [self._due_at(record) for record in _oldest(records)]
        closing = [window_closes_at(record, self._rules.window) for record in records]
        self.courses.note_waiting({record.dimension: self._scheduled_at(record) for record in _oldest(records)}, now)
        # By the turn's beginning: what became due while it was waiting for answers is sealed by the next one.
        seal_at = sealable_at(hour_of(began - self._rules.settle), self._rules.settle)
        last_call = last_call_at(began, self._rules.window)
        return min(*dues, *closing, seal_at, last_call, end_of(hour_of(began)), now + self._longest_sleep)


def _about(record: Record) -> str:
    """Return what a fault of the record's dimension concerns."""
    return f"dimension {record.dimension}"


def _oldest(records: Sequence[Record]) -> list[Record]:
    """Return the first record of each dimension."""
    first: dict[str, Record] = {}
    for record in records:
        first.setdefault(record.dimension, record)
    return list(first.values())

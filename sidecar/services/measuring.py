"""Measures the dimensions that have a source of time: takes samples, and stores what they prove as usage events.

Every event has an id of its own and stays as it is until the ledger has it, so a repetition never counts twice. Nothing
is kept between processes: a kill loses the time since the last stored sample, and never adds any.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from sidecar.domain.metering.events import (
    Dimension,
    LedgerUnavailable,
    Receipt,
    UsageBatch,
    UsageEvent,
    UsageRefused,
)
from sidecar.domain.metering.hours import end_of, hour_of
from sidecar.domain.metering.measuring import (
    LONGEST_TICK,
    TICK,
    Sample,
    SourceState,
    SourceView,
    Step,
    Tally,
    dated,
    judge_step,
)
from sidecar.domain.metering.sources import NANOSECONDS, CountWhile, PodTime, Resource, ResourceUnreadable, TimeSource
from sidecar.domain.ports import Clock
from sidecar.services.faults import FaultRegister
from sidecar.services.source_faults import SourceFaults

UNREADABLE_CURE = (
    "Mount the downward API's file there, as the chart does (docs/sources.md); on ECS use pod_time. Until then this "
    "time is not billed, and it cannot be billed later."
)

log = structlog.get_logger()


class EventStore(Protocol):
    """What measuring needs of the ledger."""

    async def take(self, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        """Store the batches in one durable commit and return the fate of each."""


class MeasuringClock(Clock, Protocol):
    """A clock that usage is measured by."""

    def measured_ns(self) -> int | None:
        """Return nanoseconds from any start, which no step of the wall clock changes; None while that is unknown."""


class ResourceReader(Protocol):
    """Reads what a container has."""

    def __call__(self, resource: Resource) -> int:
        """Return millicores or bytes. Blocks for a moment.

        Raises:
            ResourceUnreadable: The file is missing or does not hold a valid figure.
        """


@dataclass(slots=True)
class _Meter:
    """One dimension while it is measured."""

    dimension: str
    source: TimeSource
    sample: Sample | None = None
    tally: Tally = field(default_factory=Tally)
    observed: int = 0
    missed: int = 0
    fault: str | None = None

    def take(self, sample: Sample) -> int:
        """Count what this sample proves together with the one before; return the nanoseconds missed by being late."""
        before, self.sample = self.sample, sample
        step = Step() if before is None else judge_step(before, sample)
        self.tally = self.tally.add(step.parts)
        self.observed += step.observed
        self.missed += step.missed
        return step.missed if before is not None and before.amount and sample.amount else 0

    def view(self) -> SourceView:
        """Return the source for the status."""
        state, detail = SourceState.WAITING, f"counts {self.source.counts}"
        if self.fault is not None:
            state, detail = SourceState.FAULTY, self.fault
        elif self.sample is not None and self.sample.amount:
            state = SourceState.MEASURING
        last = None if self.sample is None else self.sample.at
        return SourceView(self.dimension, state, last, detail, self.observed / NANOSECONDS, self.missed / NANOSECONDS)


class Measuring:
    """The sources of one process."""

    def __init__(
        self,
        *,
        dimensions: Sequence[Dimension],
        store: EventStore,
        clock: MeasuringClock,
        is_entitled: Callable[[], bool],
        is_ready: Callable[[], bool],
        read: ResourceReader,
        faults: FaultRegister,
        run: str,
    ) -> None:
        """Make the sources.

        Args:
            dimensions: The product's; those without a source of time are left out.
            store: Takes the events.
            clock: What is measured by.
            is_entitled: Returns whether the pod may run.
            is_ready: Returns whether the sidecar's /readyz succeeds.
            read: Reads a container's resource, on a thread.
            faults: Where unreadable resources are registered.
            run: Makes the ids of this process's events different from those of all others.
        """
        self._meters = [_Meter(each.name, each.source) for each in dimensions if isinstance(each.source, TimeSource)]
        self._store = store
        self._clock = clock
        self._is_entitled = is_entitled
        self._is_ready = is_ready
        self._read = read
        self._faults = SourceFaults(faults, clock)
        self._run = run
        self._made = 0
        self._unstored: UsageBatch | None = None
        """What is on its way into the ledger; repeated as it is until it is there."""
        self._finished = False
        self._storing = asyncio.Lock()

    @property
    def views(self) -> list[SourceView]:
        """The sources for the status."""
        return [meter.view() for meter in self._meters]

    async def run(self) -> None:
        """Measure until cancelled, or finished; return if no dimension has a source."""
        storing: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while self._meters and not self._finished:
                await self._take_samples()
                if storing is None or storing.done():
                    # Beside the samples, which a write that stalls must not delay. It stores what they add meanwhile.
                    storing = group.create_task(self._store_measured())
                await self._wait()

    async def finish(self) -> None:
        """Take the last sample, once; store what is not in the ledger yet. Raises nothing if the ledger refuses.

        What a cancelled call did not do, the next one does.
        """
        if not self._finished:
            await self._take_samples(last=True)
        await self._store_measured()

    async def _take_samples(self, *, last: bool = False) -> None:
        """Take a sample, also while the ledger is slow: no write delays the end of the measured time."""
        amounts = [await self._amount(meter) for meter in self._meters]
        if self._finished:
            return
        # From here on nothing waits, so a cancelled call has taken the whole sample or none.
        self._finished = last
        now, measured, real = self._clock.now(), self._clock.measured_ns(), asyncio.get_running_loop().time()
        missed = 0
        for meter, amount in zip(self._meters, amounts, strict=True):
            if measured is None:
                meter.sample = None
                continue
            late = meter.take(Sample(now, measured, real, amount if self._counts(meter.source) else 0))
            missed = max(missed, late)
        if missed:
            log.warning("source.time_missed", seconds=missed / NANOSECONDS, limit=LONGEST_TICK.total_seconds())

    async def _wait(self) -> None:
        """Wait for the next tick, or for the end of the hour by whatever clock counts."""
        # By the loop's time: a wall clock that goes back would keep the wait for the hour's end from ending.
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK.total_seconds()):
                await self._clock.sleep_until(end_of(hour_of(self._clock.now())))

    def _counts(self, source: TimeSource) -> bool:
        match source:
            case PodTime(count_while=CountWhile.READY):
                return self._is_ready()
            case PodTime() | Resource():
                return self._is_entitled()

    async def _amount(self, meter: _Meter) -> int | None:
        """Return what the source has at this moment, None if that cannot be read."""
        match meter.source:
            case PodTime():
                return 1
            case Resource() as resource:
                return await self._read_resource(meter, resource)

    async def _read_resource(self, meter: _Meter, resource: Resource) -> int | None:
        try:
            amount = await asyncio.to_thread(self._read, resource)
        except ResourceUnreadable as unreadable:
            meter.fault = str(unreadable)
            self._faults.observe("source-unreadable", meter.dimension, meter.fault, UNREADABLE_CURE)
            return None
        meter.fault = None
        self._faults.clear("source-unreadable", meter.dimension)
        return amount

    async def _store_measured(self) -> None:
        """Store what waits, then what was measured, also meanwhile. The ledger logs why it refuses."""
        async with self._storing:
            with suppress(LedgerUnavailable):
                await self._store_batch()
                while (batch := self._make_batch()) is not None:
                    self._unstored = batch
                    await self._store_batch()

    async def _store_batch(self) -> None:
        if self._unstored is not None:
            (fate,) = await self._store.take([self._unstored], self._clock.now())
            if isinstance(fate, UsageRefused):
                raise fate
            self._unstored = None

    def _make_batch(self) -> UsageBatch | None:
        """Return events of all that was measured and not billed."""
        now = self._clock.now()
        events = []
        for meter in self._meters:
            meter.tally, billed = meter.tally.bill(meter.source.unit)
            for hour, millionths in billed:
                self._made += 1
                name = f"measured-{self._run}-{self._made}"
                events.append(UsageEvent(name, meter.dimension, millionths, None, dated(hour, now), ()))
        return UsageBatch(events) if events else None

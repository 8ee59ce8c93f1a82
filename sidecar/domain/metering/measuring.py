"""Measured time: what the samples of a source prove, in which hour, and how much of that is billed.

Time counts only if it lies between two samples at most `LONGEST_TICK` apart, and only as much as both of them prove.
Time that was not observed is never billed. Whole numbers cannot round: what is billed is the floor of all that was
measured, less what was billed before. The wall clock only decides the hour, never the amount.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sidecar.domain.metering.hours import SECONDS, Hour, end_of, hour_of, previous_hour, start_of
from sidecar.domain.metering.sources import NANOSECONDS

LONGEST_TICK = timedelta(seconds=30)
"""Real time between two samples beyond which the time between them was not observed."""
TICK = timedelta(seconds=15)
"""Real time between two samples: half of the limit, because a busy machine is late."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a source has at one moment."""

    at: datetime
    """Wall time; it decides the hour."""
    measured: int
    """Nanoseconds of the clock that is billed by, from any start: monotonic time, or the emulator's."""
    real: float
    """Seconds of monotonic time, from any start."""
    amount: int | None
    """What the source has in its own units; 0 while it does not count, None if that cannot be read."""


@dataclass(frozen=True, slots=True)
class Step:
    """What two samples prove."""

    parts: tuple[tuple[Hour, int], ...] = ()
    """Nanoseconds times amount, by hour."""
    observed: int = 0
    """Nanoseconds that count."""
    missed: int = 0
    """Nanoseconds that should count, and that were not observed."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was measured of a dimension and is not billed yet."""

    parts: tuple[tuple[Hour, int], ...] = ()
    """Nanoseconds times amount, by hour, oldest first."""
    rest: int = 0
    """What earlier floors have left over; less than a millionth of the unit that is billed."""

    def add(self, parts: Iterable[tuple[Hour, int]]) -> "Tally":
        """Return the tally with more measured; it grows with hours, not with samples."""
        sums = dict(self.parts)
        for hour, product in parts:
            sums[hour] = sums.get(hour, 0) + product
        return Tally(tuple(sorted(sums.items())), self.rest)

    def bill(self, unit: int) -> tuple["Tally", list[tuple[Hour, int]]]:
        """Return the tally after all of it was billed, and the millionths to bill by hour.

        Args:
            unit: Nanoseconds times amount in a millionth.
        """
        rest, billed = self.rest, []
        for hour, product in self.parts:
            millionths, rest = divmod(rest + product, unit)
            if millionths:
                billed.append((hour, millionths))
        return Tally((), rest), billed


class SourceState(StrEnum):
    """What a source does."""

    MEASURING = "measuring"  # what the source has counts
    WAITING = "waiting"  # the pod is not entitled, or not ready; or there is no series yet: nothing counts
    FAULTY = "faulty"  # the amount cannot be read: it should count, and does not
    INCONSISTENT = "inconsistent"  # a counter does what no counter does: it begins anew


@dataclass(frozen=True, slots=True)
class CounterView:
    """What a source of counters has read in this process."""

    samples: Mapping[str, int]
    """Samples of series by what they mean (`sidecar.domain.metering.series.Outcome`)."""
    unusable: int
    """Pages that were no sample."""
    folded: int
    """Series of the last page whose label values are no valid tags."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source as the status shows it."""

    dimension: str
    state: SourceState
    last_sample_at: datetime | None
    detail: str
    """What is counted, and why it is not, for a person."""
    observed: float = 0.0
    """Seconds that this process has counted."""
    missed: float = 0.0
    """Seconds that should count, and that this process did not observe."""
    series: int = 1
    counters: "CounterView | None" = None
    """What a source of counters has read; None for a source of time."""


def judge_step(earlier: Sample, later: Sample) -> Step:
    """Return what two samples prove: the smaller of both amounts, all the time between them."""
    elapsed = max(later.measured - earlier.measured, 0)
    if later.amount is None or earlier.amount is None:
        return Step(missed=elapsed)
    amount = min(earlier.amount, later.amount)
    if not amount:
        return Step()
    if later.real - earlier.real > LONGEST_TICK.total_seconds():
        return Step(missed=elapsed)
    parts = split_hours(earlier.at, later.at, elapsed)
    return Step(tuple((hour, nanoseconds * amount) for hour, nanoseconds in parts), observed=elapsed)


def split_hours(earlier: datetime, later: datetime, elapsed: int) -> list[tuple[Hour, int]]:
    """Return how much of `elapsed` nanoseconds lies in each hour, oldest first; they add up to it.

    Counted backwards from the later sample, and never into an hour before the earlier one's. If the wall clock went
    back in between, all of it belongs to the later sample's hour, because the other one is still to come.
    """
    first, hour = hour_of(earlier), hour_of(later)
    inside, left = _nanoseconds(later - start_of(hour)), elapsed
    found: list[tuple[Hour, int]] = []
    while left and hour > first:
        part = min(left, inside)
        if part:
            found.append((hour, part))
        left, hour, inside = left - part, previous_hour(hour), SECONDS * NANOSECONDS
    if left:
        found.append((hour, left))
    return found[::-1]


def dated(hour: Hour, now: datetime) -> datetime:
    """Return an instant of `hour` for an event: `now`, or what of the hour is nearest to it."""
    return min(max(now, start_of(hour)), end_of(hour) - _MICROSECOND)


def _nanoseconds(duration: timedelta) -> int:
    return duration // _MICROSECOND * 1000

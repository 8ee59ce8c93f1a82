"""Measured time: never more than passed, whatever the clocks show, and every nanosecond in one hour."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.hours import Hour, hour_of, to_micros
from sidecar.domain.metering.measuring import LONGEST_TICK, Sample, Step, Tally, dated, judge_step, split_hours
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.metering.sources import (
    NANOSECONDS,
    CountWhile,
    PodTime,
    Resource,
    ResourceBound,
    ResourceKind,
    TimeSource,
)

START = datetime(2026, 11, 23, 10, 59, 50, tzinfo=UTC)
TEN, ELEVEN, TWELVE = (hour_of(START + timedelta(hours=hours)) for hours in range(3))
CPU = Resource(ResourceKind.CPU, ResourceBound.LIMIT, "app")
MEMORY = Resource(ResourceKind.MEMORY, ResourceBound.REQUEST, "app")
SOURCES: Sequence[TimeSource] = (PodTime(), PodTime(CountWhile.READY), CPU, MEMORY)
wall_times = st.integers(-100_000_000_000, 100_000_000_000).map(lambda micros: START + timedelta(microseconds=micros))


def sample(seconds: float, amount: int | None = 1, *, at: datetime | None = None) -> Sample:
    """Return a sample so many seconds after the start, by all three clocks unless the wall clock is given."""
    wall = START + timedelta(seconds=seconds) if at is None else at
    return Sample(wall, int(seconds * NANOSECONDS), seconds, amount)


@pytest.mark.parametrize(
    ("earlier", "later", "step"),
    [
        (sample(0), sample(5), Step(((TEN, 5 * NANOSECONDS),), 5 * NANOSECONDS)),
        (sample(0), sample(30), Step(((TEN, 10 * NANOSECONDS), (ELEVEN, 20 * NANOSECONDS)), 30 * NANOSECONDS)),
        (sample(10), sample(30), Step(((ELEVEN, 20 * NANOSECONDS),), 20 * NANOSECONDS)),
        (sample(0), sample(10), Step(((TEN, 10 * NANOSECONDS),), 10 * NANOSECONDS)),
        (sample(0), sample(30.5), Step(missed=30_500_000_000)),
        (sample(0, 0), sample(20), Step()),
        (sample(0), sample(20, 0), Step()),
        (sample(0, 0), sample(40, 0), Step()),
        (sample(0, None), sample(20, 500), Step(missed=20 * NANOSECONDS)),
        (sample(0, 500), sample(20, None), Step(missed=20 * NANOSECONDS)),
        (sample(0, 500), sample(5, 2000), Step(((TEN, 2500 * NANOSECONDS),), 5 * NANOSECONDS)),
        (sample(0, 2000), sample(5, 500), Step(((TEN, 2500 * NANOSECONDS),), 5 * NANOSECONDS)),
        (sample(5), sample(0), Step()),
    ],
    ids=[
        *("in one hour", "over the edge", "from the edge", "to the edge", "too long", "gate opened", "gate closed"),
        *("gate closed for long", "unreadable before", "unreadable after", "grown", "shrunk", "clock went back"),
    ],
)
def test_step_is_what_both_samples_prove(earlier: Sample, later: Sample, step: Step) -> None:
    """Time counts between two samples close together, by the smaller amount, in the hour that it lies in."""
    assert step == judge_step(earlier, later)


@pytest.mark.parametrize(
    ("wall", "parts"),
    [
        (timedelta(hours=1, seconds=15), [(ELEVEN, 15), (TWELVE, 5)]),
        (timedelta(hours=1, seconds=10), [(ELEVEN, 20)]),
        (timedelta(hours=-3), [(Hour(TEN - 3 * 3600), 20)]),
        (timedelta(seconds=9), [(TEN, 20)]),
    ],
    ids=["forwards", "forwards to the edge", "backwards", "slow"],
)
def test_stepped_wall_clock_moves_no_time(wall: timedelta, parts: list[tuple[Hour, int]]) -> None:
    """A wall clock that is stepped decides the hour of 20 seconds; they stay 20 seconds."""
    found = split_hours(START, START + wall, 20 * NANOSECONDS)
    assert [(hour, seconds * NANOSECONDS) for hour, seconds in parts] == found


@given(wall_times, wall_times, st.integers(0, 10**15))
def test_hours_add_up(earlier: datetime, later: datetime, elapsed: int) -> None:
    """The hours of a step add up to it, are ordered, and lie between the samples."""
    parts = split_hours(earlier, later, elapsed)
    assert elapsed == sum(part for _, part in parts)
    assert sorted({hour for hour, _ in parts}) == [hour for hour, _ in parts]
    first = min(hour_of(earlier), hour_of(later))
    assert all(first <= hour <= hour_of(later) for hour, _ in parts)


@given(
    st.sampled_from(SOURCES),
    st.lists(
        st.tuples(
            st.integers(0, 60 * NANOSECONDS),
            wall_times,
            st.one_of(st.none(), st.integers(0, 10**12)),
            st.booleans(),
        ),
        max_size=30,
    ),
)
def test_never_more_than_passed(source: TimeSource, moves: list[tuple[int, datetime, int | None, bool]]) -> None:
    """Whatever happens, the bill is at most the floor of all that was had, and exactly that of what was observed."""
    tally, before = Tally(), sample(0)
    elapsed = true = proved = billed = missed = 0
    for passed, wall, amount, bills in moves:
        elapsed += passed
        later = Sample(wall, elapsed, elapsed / NANOSECONDS, amount)
        step = judge_step(before, later)
        true += passed * max(before.amount or 0, amount or 0)
        proved += sum(product for _, product in step.parts)
        missed += step.missed + step.observed
        tally, before = tally.add(step.parts), later
        if bills:
            tally, found = tally.bill(source.unit)
            billed += sum(millionths for _, millionths in found)
    tally, found = tally.bill(source.unit)
    billed += sum(millionths for _, millionths in found)
    assert billed == proved // source.unit
    assert billed <= true // source.unit
    assert missed <= elapsed


def test_time_that_was_not_observed_is_shown() -> None:
    """A process that was stopped for longer than a tick misses that time, and bills what comes after it."""
    stopped = LONGEST_TICK.total_seconds() + 1
    samples = [sample(0), sample(5), sample(5 + stopped), sample(5 + stopped + 3)]
    steps = [judge_step(earlier, later) for earlier, later in pairwise(samples)]
    assert (8 * NANOSECONDS, 31 * NANOSECONDS) == (sum(s.observed for s in steps), sum(s.missed for s in steps))


@pytest.mark.parametrize(
    ("source", "amount", "hour"),
    [(PodTime(), 1, "1"), (CPU, 1500, "1.5"), (MEMORY, 3 * 2**29, "1.5"), (MEMORY, 2**30, "1")],
)
def test_unit_of_a_source(source: TimeSource, amount: int, hour: str) -> None:
    """An hour of a pod is 1, of 1500 millicores 1.5 and of 1.5 GiB 1.5, whatever the ticks were."""
    tally = Tally()
    billed: Counter[Hour] = Counter()
    for second in range(0, 3600, 7):
        tally = tally.add(judge_step(sample(second, amount), sample(min(second + 7, 3600), amount)).parts)
        tally, found = tally.bill(source.unit)
        billed.update(dict(found))
    assert float(hour) == billed.total() / MILLION


@pytest.mark.parametrize(("hours", "expected"), [(0, START), (1, None), (-1, None)])
def test_event_is_dated_in_its_hour(hours: int, expected: datetime | None) -> None:
    """An event of the present hour is dated now; one of another hour at the edge that is nearest."""
    hour = Hour(TEN + hours * 3600)
    found = dated(hour, START)
    assert hour == hour_of(found)
    assert expected in {found, None}
    assert to_micros(found) % 3_600_000_000 in {0, 3_599_999_999, to_micros(START) % 3_600_000_000}


@pytest.mark.parametrize(
    ("resource", "text", "amount"),
    [
        (CPU, "500", 500),
        (CPU, "1\n", 1),
        (MEMORY, "1073741824", 2**30),
        (CPU, "", "does not hold a positive whole number"),
        (CPU, "0", "does not hold a positive whole number"),
        (CPU, "500m", "does not hold a positive whole number"),
        (CPU, "-1", "does not hold a positive whole number"),
        (CPU, " 1", "does not hold a positive whole number"),
        (CPU, "٣", "does not hold a positive whole number"),
        (CPU, "1073741824", "holds 1073741824, which is more than a container can have"),
        (MEMORY, str(2**50 + 1), f"holds {2**50 + 1}, which is more than a container can have"),
    ],
)
def test_figure_is_whole(resource: Resource, text: str, amount: int | str) -> None:
    """A file holds a positive whole number of millicores or bytes; everything else is named."""
    try:
        found: int | str = resource.parse(text)
    except ValueError as error:
        found = str(error)
    assert amount == found


def test_names_of_files() -> None:
    """The files are those that the chart makes."""
    assert ["app.limits.cpu", "app.requests.memory"] == [CPU.file_name, MEMORY.file_name]

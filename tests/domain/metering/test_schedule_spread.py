"""When a pod submits: stable, spread, and never before the hour has settled."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.hours import Hour, hour_of, next_hour
from sidecar.domain.metering.schedule import due_at, stretch
from sidecar.domain.metering.sealing import sealable_at

HOUR = hour_of(datetime(2026, 11, 23, 10, tzinfo=UTC))
SETTLE = timedelta(minutes=2)
SPREAD = timedelta(minutes=20)


def offset(pod: str, dimension: str = "requests", hour: Hour = HOUR, spread: timedelta = SPREAD) -> timedelta:
    """Return how long after the hour has settled a pod's record is due."""
    due = due_at(hour, pod=pod, dimension=dimension, settle=SETTLE, spread=spread)
    return due - sealable_at(hour, SETTLE)


@given(
    st.text(),
    st.text(),
    st.integers(min_value=-(10**6), max_value=10**6),
    st.timedeltas(min_value=timedelta(), max_value=timedelta(hours=5)),
)
def test_due_within_spread(pod: str, dimension: str, number: int, spread: timedelta) -> None:
    """No pod, dimension or hour makes a record due before it has settled or later than the spread after that."""
    assert timedelta() <= offset(pod, dimension, Hour(number * 3600), spread) <= spread


def test_offset_is_stable() -> None:
    """The same pod, dimension and hour are due at the same instant at every call, and in every version."""
    assert offset("pod-1") == offset("pod-1")
    assert timedelta() == offset("pod-1", spread=timedelta())
    assert [455, 365, 1129] == [round(offset(f"pod-{number}").total_seconds()) for number in range(3)]


def test_hours_move_little() -> None:
    """From hour to hour a pod keeps its place, but for a jitter of a twentieth of the spread."""
    offsets = []
    hour = HOUR
    for _ in range(200):
        offsets.append(offset("pod-1", hour=hour))
        hour = next_hour(hour)
    assert max(offsets) - min(offsets) <= SPREAD / 20
    assert len(set(offsets)) > 150


def test_pods_spread_evenly() -> None:
    """A thousand pods fill every minute of the spread, none more than twice its share."""
    minutes = Counter(offset(f"pod-{number}") // timedelta(minutes=1) for number in range(1000))
    assert set(range(20)) == set(minutes)
    assert max(minutes.values()) <= 100


def test_dimensions_differ() -> None:
    """The dimensions of one pod are due at different instants, and names cannot run into each other."""
    assert 24 == len({offset("pod-1", f"dimension-{number}") for number in range(24)})
    assert offset("a", "bc") != offset("ab", "c")


@pytest.mark.parametrize(
    ("spread", "dimensions", "expected"),
    [
        (20, 1, 20),
        (20, 8, 20),
        (20, 12, 30),
        (20, 24, 48),
        (0, 24, 0),
        (59, 24, 59),
    ],
)
def test_many_dimensions_spread_wider(spread: int, dimensions: int, expected: int) -> None:
    """A pod's rate of calls stays the same beyond eight dimensions, and what is configured is never cut short."""
    minutes = stretch(timedelta(minutes=spread), dimensions=dimensions, settle=timedelta(minutes=2))
    assert timedelta(minutes=expected) == minutes

"""Waiting between attempts."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.backoff import full_jitter

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

durations = st.timedeltas(min_value=timedelta(), max_value=timedelta.max)
draws = st.floats(min_value=0, max_value=1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempt", "draw", "expected"),
    [
        (0, 0.0, timedelta()),
        (0, 0.5, timedelta(seconds=0.5)),
        (1, 0.5, SECOND),
        (3, 0.25, timedelta(seconds=2)),
        (5, 0.5, timedelta(seconds=16)),
        (6, 0.5, timedelta(seconds=30)),
        (7, 0.5, timedelta(seconds=30)),
        (10**9, 0.5, timedelta(seconds=30)),
    ],
)
def test_window_doubles_to_cap(attempt: int, draw: float, expected: timedelta) -> None:
    """The wait is the draw's share of a window that doubles with each attempt until the cap."""
    assert expected == full_jitter(attempt, base=SECOND, cap=MINUTE, draw=draw)


@given(st.integers(min_value=0, max_value=10**30), durations, durations, draws)
def test_wait_within_cap(attempt: int, base: timedelta, cap: timedelta, draw: float) -> None:
    """No attempt number, base or draw makes a wait negative or longer than the cap."""
    assert timedelta() <= full_jitter(attempt, base=base, cap=cap, draw=draw) <= cap


@given(st.integers(min_value=0, max_value=200), draws, draws)
def test_larger_draw_waits_longer(attempt: int, one: float, other: float) -> None:
    """The wait grows with the draw, so uniform draws spread the callers over the whole window."""
    shorter, longer = (
        full_jitter(attempt, base=SECOND, cap=MINUTE, draw=draw) for draw in (min(one, other), max(one, other))
    )
    assert shorter <= longer


@pytest.mark.parametrize(
    ("attempt", "base", "cap", "draw"),
    [
        (-1, SECOND, MINUTE, 0.5),
        (0, -SECOND, MINUTE, 0.5),
        (0, SECOND, -MINUTE, 0.5),
        (0, SECOND, MINUTE, 1.0),
        (0, SECOND, MINUTE, -0.1),
        (0, SECOND, MINUTE, float("nan")),
    ],
)
def test_bad_arguments_are_refused(attempt: int, base: timedelta, cap: timedelta, draw: float) -> None:
    """An argument outside its range is a ValueError, never a strange wait."""
    with pytest.raises(ValueError, match="must not be negative"):
        full_jitter(attempt, base=base, cap=cap, draw=draw)

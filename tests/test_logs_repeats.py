"""Equal faults are said once, then once a minute, and their end once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sidecar.logs import Recovery, Repeat, Repeats

START = datetime(2026, 11, 23, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return an instant after the start."""
    return START + timedelta(seconds=seconds)


def test_first_is_let_through() -> None:
    """The first fault is written; equal ones within the minute are not."""
    repeats = Repeats()
    assert repeats.admit("retrying", "Throttling", at(0)) == Repeat(1, 0)
    assert repeats.admit("retrying", "Throttling", at(59)) is None


def test_one_per_minute() -> None:
    """After a minute one more is written, with the count of those kept back."""
    repeats = Repeats()
    written = [repeats.admit("retrying", "Throttling", at(second)) for second in range(0, 121, 20)]
    assert written == [Repeat(1, 0), None, None, Repeat(4, 2), None, None, Repeat(7, 2)]


def test_codes_are_told_apart() -> None:
    """Another code or another event is another fault."""
    repeats = Repeats()
    faults = [("retrying", "a"), ("retrying", "b"), ("submitting", "a")]
    assert [repeats.admit(event, code, at(0)) for event, code in faults] == [Repeat(1, 0)] * 3


def test_recovery_is_said_once() -> None:
    """The end of all faults of an event is one line with their count and how long they lasted."""
    repeats = Repeats()
    for second, code in enumerate(["a", "b", "a"]):
        repeats.admit("retrying", code, at(second))
    repeats.admit("submitting", "a", at(3))
    assert repeats.recover("retrying", at(10)) == Recovery(3, timedelta(seconds=10))
    assert repeats.recover("retrying", at(11)) is None
    assert repeats.admit("retrying", "a", at(12)) == Repeat(1, 0)


def test_clock_set_back_is_no_silence() -> None:
    """A clock that was stepped backwards does not silence a fault until it catches up."""
    repeats = Repeats()
    repeats.admit("retrying", "a", at(0))
    assert repeats.admit("retrying", "a", at(-3600)) == Repeat(2, 0)
    assert repeats.recover("retrying", at(-7200)) == Recovery(2, timedelta())


def test_memory_is_bounded() -> None:
    """Codes without end make room for each other."""
    repeats = Repeats()
    for number in range(1000):
        repeats.admit("retrying", str(number), at(0))
    recovery = repeats.recover("retrying", at(0))
    assert recovery == Recovery(256, timedelta())


@given(st.lists(st.floats(0, 600), min_size=1).map(sorted))
def test_nothing_is_lost(seconds: list[float]) -> None:
    """What was written and what was kept back add up to what was seen."""
    repeats = Repeats()
    lines = [line for second in seconds if (line := repeats.admit("e", "c", at(second))) is not None]
    told = len(lines) + sum(line.suppressed for line in lines)
    assert lines[-1].count == told
    assert repeats.recover("e", at(600)) == Recovery(len(seconds), at(600) - at(seconds[0]))

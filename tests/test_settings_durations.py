"""Durations as text."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain import durations

PARSED = [
    ("0s", timedelta()),
    ("90s", timedelta(seconds=90)),
    ("30m", timedelta(minutes=30)),
    ("24h", timedelta(hours=24)),
    ("30d", timedelta(days=30)),
    ("999999999h", timedelta(hours=999_999_999)),
]
REFUSED = ["", "30", "s", "1h30m", "500ms", "1.5h", "-5s", "+5s", "05s", "5 s", " 5s", "5s\n", "5S", "٣s", "1e3s"]


@pytest.mark.parametrize(("text", "expected"), PARSED)
def test_reads_number_and_unit(text: str, expected: timedelta) -> None:
    """A whole number and one of s, m, h and d make a duration."""
    assert expected == durations.parse(text)


@pytest.mark.parametrize("text", REFUSED)
def test_refuses_anything_else(text: str) -> None:
    """Bare numbers, compounds, fractions, signs, spaces and foreign digits are no durations."""
    assert durations.parse(text) is None


@given(st.integers(0, 10**9 - 1))
def test_rendering_is_read_back(seconds: int) -> None:
    """What is rendered means the same duration when it is read."""
    duration = timedelta(seconds=seconds)
    assert duration == durations.parse(durations.render(duration))


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    """No text makes the parser fail."""
    parsed = durations.parse(text)
    assert parsed is None or parsed >= timedelta()


def test_largest_unit_is_used() -> None:
    """Rendering uses the largest unit that divides the duration; one day is 24h."""
    rendered = [durations.render(timedelta(seconds=seconds)) for seconds in (0, 59, 60, 90, 3600, 5400, 86400, 172800)]
    assert ["0s", "59s", "1m", "90s", "1h", "90m", "24h", "2d"] == rendered

"""Durations as people say them."""

from datetime import timedelta

import pytest

from sidecar.terminal.durations import format_duration


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=-5), "0s"),
        (timedelta(milliseconds=900), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=2, seconds=3), "2m 3s"),
        (timedelta(hours=3, seconds=5), "3h"),
        (timedelta(hours=3, minutes=20, seconds=5), "3h 20m"),
        (timedelta(days=2, hours=3, minutes=4), "2d 3h"),
    ],
)
def test_two_units_are_enough(duration: timedelta, expected: str) -> None:
    """A duration is given by its largest unit and the one below; never as less than nothing."""
    assert expected == format_duration(duration)

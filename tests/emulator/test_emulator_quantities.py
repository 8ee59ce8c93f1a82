"""Quantities, instants and durations as text."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.emulator.protocol.instants import epoch_seconds, format_instant, hour_of, parse_duration, parse_instant
from sidecar.emulator.rules.quantities import Quantity, decimal_quantity, whole_quantity

MODEL_PATTERN = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?")


@given(st.from_regex(MODEL_PATTERN, fullmatch=True))
def test_decimal_is_exact(text: str) -> None:
    """A decimal quantity has exactly the value of its digits, and its shortest spelling reads back the same."""
    quantity = decimal_quantity(text)
    assert Decimal(text) * 1_000_000 == quantity.millionths
    assert quantity == decimal_quantity(str(quantity))


@given(st.integers(0, 2_147_483_647))
def test_kinds_compare_by_value(value: int) -> None:
    """A whole number and the decimal of the same value have the same number of millionths."""
    assert whole_quantity(value).millionths == decimal_quantity(f"{value}.000000").millionths
    assert str(value) == str(whole_quantity(value))


@pytest.mark.parametrize("text", ["", "-1", "+1", "01", "1.", ".5", "1e3", "1.1234567", "12345678901", "1\n", "\u0661"])
def test_decimal_is_refused(text: str) -> None:
    """What the service model's pattern does not match in full is no quantity."""
    with pytest.raises(ValueError, match="decimal"):
        decimal_quantity(text)


@pytest.mark.parametrize(("millionths", "expected"), [(0, "0"), (1, "0.000001"), (1_500_000, "1.5"), (10**8, "100")])
def test_quantity_is_spelt_shortest(millionths: int, expected: str) -> None:
    """A quantity is written without zeros that mean nothing."""
    assert expected == str(Quantity(millionths))


@given(st.datetimes(timezones=st.just(UTC)))
def test_instant_reads_back(instant: datetime) -> None:
    """An instant that was written reads back the same, and its hour is the one it lies in."""
    assert instant == parse_instant(format_instant(instant))
    assert timedelta() <= instant - hour_of(instant) < timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23t10:00:00.5z", datetime(2026, 11, 23, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-23T10:00:00+05:30", datetime(2026, 11, 23, 4, 30, tzinfo=UTC)),
    ],
)
def test_instant_is_read(text: str, expected: datetime) -> None:
    """RFC 3339 with any offset is an instant."""
    assert expected == parse_instant(text)


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-23", "2026-11-23T10:00:00", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "20261123T100000Z"],
)
def test_instant_is_refused(text: str) -> None:
    """Text without an offset, or of no real time, is no instant."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", timedelta()), ("90s", timedelta(seconds=90)), ("30m", timedelta(minutes=30)), ("24h", timedelta(days=1))],
)
def test_duration_is_read(text: str, expected: timedelta) -> None:
    """A number and its unit are a duration."""
    assert expected == parse_duration(text)


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "1 h", "1d", "1h30m", "9999999999s", "1h\n"])
def test_duration_is_refused(text: str) -> None:
    """Anything else is not."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("microseconds", "expected"), [(0, 1_795_428_000), (500_000, 1_795_428_000.5)])
def test_epoch_seconds_are_whole_when_possible(microseconds: int, expected: float) -> None:
    """The wire gets an integer unless there is a fraction."""
    seconds = epoch_seconds(datetime(2026, 11, 23, 10, 0, 0, microseconds, tzinfo=UTC))
    assert (type(expected), expected) == (type(seconds), seconds)

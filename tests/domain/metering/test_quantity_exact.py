"""Quantities are exact: no float, no rounding, no digit lost."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.quantity import LARGEST, LARGEST_WHOLE, MILLION, parse, parse_signed, render

in_range = st.integers(min_value=0, max_value=LARGEST)
any_sum = st.integers(min_value=-(10**40), max_value=10**40)


@pytest.mark.parametrize(
    ("text", "millionths"),
    [
        ("0", 0),
        ("0.0", 0),
        ("0.000001", 1),
        ("0.1", 100_000),
        ("1", MILLION),
        ("1.5", 1_500_000),
        ("1.50", 1_500_000),
        ("1.500000", 1_500_000),
        ("17", 17 * MILLION),
        ("17.00", 17 * MILLION),
        ("2147483648", 2_147_483_648 * MILLION),
        ("9999999999.999999", LARGEST),
    ],
)
def test_text_names_millionths(text: str, millionths: int) -> None:
    """A decimal string is read digit by digit; trailing zeros change nothing."""
    assert millionths == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "+1",
        "-1",
        "-0",
        "01",
        "00",
        ".5",
        "1.",
        "1.0000000",
        "10000000000",
        "1e3",
        "1E3",
        "1_000",
        "1,5",
        "0x10",
        "NaN",
        "Infinity",
        "true",
        "١",  # noqa: RUF001 - digits that are not ASCII
        "1.٥",  # noqa: RUF001 - digits that are not ASCII
    ],
)
def test_other_text_refused(text: str) -> None:
    """What breaks MeterUsage's pattern has no value, also where Python could read it."""
    assert parse(text) is None


@pytest.mark.parametrize(
    ("millionths", "text"),
    [
        (0, "0"),
        (1, "0.000001"),
        (1_500_000, "1.5"),
        (10 * MILLION, "10"),
        (100 * MILLION, "100"),
        (-1, "-0.000001"),
        (-10 * MILLION, "-10"),
        (-1_250_000, "-1.25"),
        (10**22, "10000000000000000"),
    ],
)
def test_shortest_text_shown(millionths: int, text: str) -> None:
    """A quantity is shown without exponent and without needless zeros; a whole number keeps its own zeros."""
    assert text == render(millionths)


@given(in_range)
def test_shown_is_read_back(millionths: int) -> None:
    """Whatever one record may carry survives being written and read by the pattern."""
    assert millionths == parse(render(millionths))


@given(any_sum)
def test_sums_survive_storage(millionths: int) -> None:
    """Sums of any size and sign survive the ledger's own form."""
    assert millionths == parse_signed(render(millionths))


@given(any_sum)
def test_shown_is_the_number(millionths: int) -> None:
    """The text means the number it came from, as exact arithmetic reads it."""
    assert Fraction(render(millionths)) * MILLION == millionths


def test_limits_are_the_models() -> None:
    """The largest quantities are those of the service model: 10 integer and 6 fraction digits, or 32 bits."""
    assert (9_999_999_999_999_999, 2**31 - 1) == (LARGEST, LARGEST_WHOLE)

"""Exact quantities: a non-negative decimal of at most 10 integer and 6 fraction digits, held as whole millionths.

Integers cannot round. Sums may grow past what one metering record may carry; only `fits` knows that limit. Nothing
here ever becomes a floating point number.
"""

import re

MILLION = 1_000_000
LARGEST = 10**16 - 1
"""The largest quantity of one metering record, 9999999999.999999, in millionths (MeterUsage's pattern)."""
LARGEST_WHOLE = 2_147_483_647
"""The largest whole-number quantity of one metering record (MeterUsage's UsageQuantity)."""

_PATTERN = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?", re.ASCII)


def parse(text: str) -> int | None:
    """Return the millionths that `text` names, or None when it breaks MeterUsage's decimal pattern."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    whole, fraction = match.groups()
    if fraction is None:
        return int(whole) * MILLION
    return int(whole) * MILLION + int(fraction.ljust(6, "0"))


def render(millionths: int) -> str:
    """Return the shortest decimal string of a quantity; sums of any size and negative differences included."""
    sign = "-" if millionths < 0 else ""
    whole, fraction = divmod(abs(millionths), MILLION)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:06d}".rstrip("0")


def parse_signed(text: str) -> int:
    """Return the millionths of a decimal string written by `render`, of any size and sign."""
    if "." not in text:
        return int(text) * MILLION
    whole, _, fraction = text.partition(".")
    millionths, part = int(whole) * MILLION, int(fraction.ljust(6, "0"))
    return millionths - part if whole[0] == "-" else millionths + part

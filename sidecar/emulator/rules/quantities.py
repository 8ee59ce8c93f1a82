"""Usage quantities, exact: counted in millionths, the finest step the service takes.

Refuses floating point. Invariant: two quantities of the same value have the same number of millionths, whether they
came as a whole number or as a decimal string.
"""

import re
from dataclasses import dataclass

DECIMAL_PATTERN = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?")
"""The service model's pattern of a decimal quantity, to be matched in full."""

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Quantity:
    """How much was used."""

    millionths: int
    """The value times one million."""
    decimal: bool = False
    """It came in the decimal field. Matters only where one request may not mix both kinds."""

    def __str__(self) -> str:
        whole, part = divmod(self.millionths, _MILLION)
        return f"{whole}.{part:06d}".rstrip("0").rstrip(".") if part else str(whole)


ZERO = Quantity(0)
"""What a request means that gives no quantity."""


def whole_quantity(value: int) -> Quantity:
    """Take a quantity from the whole-number field."""
    return Quantity(value * _MILLION)


def decimal_quantity(text: str) -> Quantity:
    """Take a quantity from the decimal field; raises ValueError if the text does not match `DECIMAL_PATTERN`."""
    if DECIMAL_PATTERN.fullmatch(text) is None:
        raise ValueError("is not a decimal quantity")
    whole, _, part = text.partition(".")
    return Quantity(int(whole) * _MILLION + int(part.ljust(6, "0")), decimal=True)

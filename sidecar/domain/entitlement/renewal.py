"""When a registered pod asks AWS for a new proof. A restart then finds a recent one.

A renewal comes before half of `remember_for` has passed, and at most hourly. The instants of different pods are spread:
the quota of 5 RegisterUsage calls a second is the whole account's, and pods of one deployment start together.
"""

from datetime import timedelta
from typing import Final

LEAST: Final = timedelta(hours=1)
"""The least time between two renewals, failed ones included."""
SHORTEST: Final = timedelta(hours=2)
"""A shorter `remember_for` is not renewed: its half is less than `LEAST`."""
KEY_ROTATION_CURE: Final = (
    "Install a version of the product with the new public key; the seller releases it with that key and its version."
)
"""What to do once AWS has rotated the product's public key."""


def first_wait(remember_for: timedelta, draw: float) -> timedelta | None:
    """Return the time from a registration to its first renewal; None when there is none.

    Drawn from a window of at least `LEAST`, because pods that start together register together.

    Args:
        remember_for: How long a proof counts.
        draw: A uniform random number, 0 <= draw < 1.
    """
    return _wait(remember_for, draw, widest=LEAST)


def next_wait(remember_for: timedelta, draw: float) -> timedelta | None:
    """Return the time from one renewal to the next, None when there is none; the arguments are `first_wait`'s."""
    return _wait(remember_for, draw, widest=timedelta())


def wait_after_failure(draw: float) -> timedelta:
    """Return the time from a renewal that failed to the next attempt."""
    return LEAST + LEAST / 2 * draw


def longest_wait(remember_for: timedelta) -> timedelta:
    """Return the longest time between two attempts; a clock that steps back makes none longer."""
    return max(remember_for / 2, wait_after_failure(1))


def _wait(remember_for: timedelta, draw: float, *, widest: timedelta) -> timedelta | None:
    if remember_for < SHORTEST:
        return None
    latest = remember_for / 2
    earliest = min(max(LEAST, remember_for / 4), latest - widest)
    return earliest + (latest - earliest) * draw

"""Durations counted by how long they were: cheap enough for the way of every usage request.

One search and two additions per observation, no lock: all of them happen on the event loop. Knows no clock and no
exposition format.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram held at one instant."""

    at_most: Sequence[tuple[float, int]]
    """How many durations were at most so many seconds, for each bound in rising order."""
    count: int
    """How many there were in all."""
    seconds: float
    """Their sum."""


class Histogram:
    """Counts durations by upper bound."""

    __slots__ = ("_bounds", "_counts", "_seconds")

    def __init__(self, *bounds: float) -> None:
        """Begin with none. `bounds` are seconds in rising order; longer durations count only in all."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def distribution(self) -> Distribution:
        """Return what was counted so far."""
        *running, count = accumulate(self._counts)
        return Distribution(tuple(zip(self._bounds, running, strict=True)), count, self._seconds)

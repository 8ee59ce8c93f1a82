"""How long to wait before another attempt.

Full jitter: a uniform draw from an exponentially growing window, which spreads a fleet that failed together better
than any window with a floor. It refuses to know what failed or who waits. No wait is longer than the cap.
"""

from datetime import timedelta

_LARGEST_SHIFT = 64
"""Doubling a microsecond this often exceeds every timedelta: a larger attempt changes nothing."""


def full_jitter(attempt: int, *, base: timedelta, cap: timedelta, draw: float) -> timedelta:
    """Return the wait before the next attempt.

    `attempt` counts the waits before this one; the window is `base` doubled that many times, at most `cap`. `draw` is
    uniform in [0, 1).

    Raises:
        ValueError: An argument is outside its range.
    """
    if attempt < 0 or not 0 <= draw < 1 or base < timedelta() or cap < timedelta():
        raise ValueError("attempt, base and cap must not be negative, and draw must be in [0, 1)")
    tick = timedelta(microseconds=1)
    window = min(base // tick << min(attempt, _LARGEST_SHIFT), cap // tick)
    return timedelta(microseconds=int(window * draw))

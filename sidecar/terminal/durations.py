"""Durations for people. `sidecar.domain.durations` has the form of the configuration."""

from datetime import timedelta

_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m"), (timedelta(seconds=1), "s"))


def format_duration(duration: timedelta) -> str:
    """Return a duration in its two largest units, such as `3h 20m` or `17s`; a negative one is `0s`."""
    counts, rest = [], max(duration, timedelta())
    for unit, letter in _UNITS:
        count, rest = divmod(rest, unit)
        counts.append(f"{count}{letter}")
    first = next((index for index, count in enumerate(counts) if not count.startswith("0")), len(counts) - 1)
    shown = counts[first : first + 2]
    return " ".join(count for count in shown if not count.startswith("0")) or "0s"

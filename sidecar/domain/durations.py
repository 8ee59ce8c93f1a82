"""Durations as text: a whole number and one unit, such as `0s`, `90s`, `30m`, `24h` or `30d`.

Refuses bare numbers, fractions, signs and compounds: `1800` could be seconds or milliseconds, and YAML takes `1:30`
for 90.
"""

import re
from datetime import timedelta

_PATTERN = re.compile(r"(0|[1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}

_RENDERED_FROM = {"d": timedelta(days=2)}


def parse(text: str) -> timedelta | None:
    """Return the duration that `text` names, or None when it is not a whole number below 10^9 with a unit."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) * _UNITS[match[2]]


def render(duration: timedelta) -> str:
    """Return a non-negative duration in the largest unit that divides it; what lies below one second is dropped.

    One day is `24h`; days are used from `2d`.
    """
    for letter, unit in _UNITS.items():
        if duration >= _RENDERED_FROM.get(letter, unit) and not duration % unit:
            return f"{duration // unit}{letter}"
    return f"{duration // _UNITS['s']}s"

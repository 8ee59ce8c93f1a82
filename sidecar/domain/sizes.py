"""Sizes as text: a whole number and one binary unit, such as `64KiB`, `900MiB` or `2GiB`.

Refuses bare numbers, fractions and decimal units: `900M` is read as MiB by some and as 10^6 bytes by others.
"""

import re

_PATTERN = re.compile(r"([1-9][0-9]{0,8})(KiB|MiB|GiB)", re.ASCII)
_UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}


def parse(text: str) -> int | None:
    """Return the bytes that `text` names, or None when it is not a whole number below 10^9 with a unit."""
    match = _PATTERN.fullmatch(text)
    return None if match is None else int(match[1]) * _UNITS[match[2]]


def render(size: int) -> str:
    """Return a size in the largest unit that divides it; what lies below one KiB is dropped."""
    for letters, unit in _UNITS.items():
        if size >= unit and not size % unit:
            return f"{size // unit}{letters}"
    return f"{size // 1024}KiB"

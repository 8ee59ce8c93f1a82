"""Points in time and durations as text, and the UTC hour that usage belongs to.

Refuses text without an offset: a time without one could mean any hour. Invariant: every instant is aware and in UTC.
"""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})([smh])", re.ASCII)
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


def format_instant(instant: datetime) -> str:
    """Write an instant as RFC 3339 with `Z`, the fraction only when there is one."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """Read RFC 3339 with an offset.

    Raises:
        ValueError: The text is something else, or names a time that does not exist.
    """
    if _RFC3339.fullmatch(text) is None:
        raise ValueError("is not RFC 3339 with an offset, such as 2026-11-23T10:00:00Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies outside the calendar") from error


def read_instant(value: object) -> datetime:
    """Read an instant of a document: text as `parse_instant` does, or what YAML has made of such text.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.isoformat()
    return parse_instant(value if isinstance(value, str) else "")


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `90s`, `30m` or `24h`; raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("is not a duration, such as 90s, 30m or 24h")
    return int(match[1]) * _UNITS[match[2]]


def epoch_seconds(instant: datetime) -> int | float:
    """Write an instant as the wire does: seconds since 1970, whole when it can be."""
    microseconds = (instant - EPOCH) // timedelta(microseconds=1)
    return microseconds // 1_000_000 if microseconds % 1_000_000 == 0 else microseconds / 1_000_000


def hour_of(instant: datetime) -> datetime:
    """Round down to the UTC hour."""
    return instant.replace(minute=0, second=0, microsecond=0)

"""Instants as text: RFC 3339 with an offset in, RFC 3339 with `Z` out.

Every instant that leaves here is aware and in UTC. Text without an offset is refused: its meaning would depend on where
it is read. Both functions are total: text gives an instant or None, and an instant beyond what a datetime can hold in
UTC becomes the nearest one that it can.
"""

import re
from datetime import UTC, datetime

_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:)([0-5][0-9]|60)"
    r"(?:\.[0-9]+)?([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_MIDYEAR = 7


def parse(text: str) -> datetime | None:
    """Return the instant that `text` names, in UTC, or None when it is not RFC 3339 with an offset.

    `T` and `Z` may be in lower case. Digits beyond the microsecond are dropped. A leap second (23:59:60 in UTC) is the
    last microsecond of its minute: it stays in its hour.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    leap = match[2] == "60"
    if leap:
        text = f"{match[1]}59.999999{match[3]}"
    try:
        local = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    instant = local if local.tzinfo is UTC else _in_utc(local)
    if leap and (instant.hour, instant.minute) != (23, 59):
        return None
    return instant


def render(instant: datetime) -> str:
    """Return `instant` as RFC 3339 in UTC with `Z`, with microseconds only where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def render_known(instant: datetime | None) -> str | None:
    """Return `instant` as `render` does; None while it is not known."""
    return None if instant is None else render(instant)


def _in_utc(local: datetime) -> datetime:
    try:
        return local.astimezone(UTC)
    except OverflowError:
        return _EARLIEST if local.month < _MIDYEAR else _LATEST

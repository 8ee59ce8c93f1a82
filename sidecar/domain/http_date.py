"""The Date header of an answer."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def read_date(header: str | None) -> datetime | None:
    """Return the instant that a Date header names, in UTC, or None if it names none that a datetime can hold."""
    try:
        parsed = parsedate_to_datetime(header or "")
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None

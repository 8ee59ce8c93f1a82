"""Which threads work on a record."""

import threading
from datetime import datetime, timedelta, tzinfo


class Watched(tzinfo):
    """UTC, which notes the threads that ask for its offset."""

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """Return none, and note the thread."""
        self.threads.add(threading.current_thread())
        return timedelta()

    def dst(self, dt: datetime | None) -> None:
        """Return None: unknown."""

    def tzname(self, dt: datetime | None) -> None:
        """Return None: unnamed."""

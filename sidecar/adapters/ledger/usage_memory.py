"""What the last commit of usage left in the ledger, for the next one: an event alone then reads three rows less.

Right only while nothing else has been written. SQLite counts the rows that this connection changes, and shows when
another one has committed: the memory counts while both are as the last usage left them. A rollback drops it.
"""

import sqlite3
from dataclasses import dataclass, field

from sidecar.domain.metering.buckets import Bucket
from sidecar.domain.metering.hours import Hour

_MOST_BUCKETS = 5_000
"""Buckets in memory, 1 MiB; with more of them the memory begins anew."""


@dataclass(slots=True)
class UsageMemory:
    """Rows as a commit of usage has read or written them; complete for no key."""

    buckets: dict[tuple[int, Hour, int], Bucket] = field(default_factory=dict)
    """By dimension, hour and tag set."""
    accepted: dict[int, int] = field(default_factory=dict)
    """The running total `accepted` by dimension, in millionths."""
    takes_now: dict[tuple[int, Hour], Hour] = field(default_factory=dict)
    """The hour that takes usage without a timestamp, by dimension and present hour."""
    _version: int = 0
    _left: tuple[int, int] | None = None
    """SQLite's data version and count of changes at the end of the last usage."""

    def begin(self, connection: sqlite3.Connection) -> None:
        """Keep what is known if it is still right. Call it in the transaction, before usage is stored."""
        (self._version,) = connection.execute("PRAGMA data_version").fetchone()
        if self._left != (self._version, connection.total_changes) or len(self.buckets) > _MOST_BUCKETS:
            self.forget()

    def end(self, connection: sqlite3.Connection) -> None:
        """Note that all changes so far are in the memory."""
        self._left = self._version, connection.total_changes

    def forget(self) -> None:
        """Begin anew."""
        self.buckets.clear()
        self.accepted.clear()
        self.takes_now.clear()

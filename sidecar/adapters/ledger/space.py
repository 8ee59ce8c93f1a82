"""How much room the ledger has, and the room that it keeps for what must never wait: sealing, submitting, settling.

Counted are the pages in use, the write-ahead log, its index and a reserve. Free pages inside the file are not: usage is
accepted again once pruning has freed some. The reserve is real: free pages inside the file, and a log that was fully
allocated. It holds also when other files take the rest of the volume. While the ledger is closed, a second file keeps
the log's room.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidecar.domain.metering.events import LedgerFull, UsageBatch
from sidecar.durable_files import share_as_folder

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
WARN_FROM = 0.8
"""The share of the limit from which on the operator is warned."""
RETRY_AFTER = 30
"""Seconds; pruning frees room in steps of minutes."""
_LEAST, _MOST = 512 * KIBIBYTE, 4 * MEBIBYTE
_PER_OPEN_BUCKET = 256
"""Bytes that sealing one bucket may write: its row, its index entries, its share of the record, a carried entry."""
_PER_EVENT = 128
"""Bytes of an event's row without its texts, and of its digests."""
_PER_SERIES = 192
"""Bytes of the state of a series, with its index entry."""
_PAGES_BESIDE = 24
"""Pages that a commit touches whatever it holds."""
_FRAME_HEADER = 24
_TRUSTED_FOR = 0.05
"""Seconds for which a measurement serves further commits: other files may fill the volume meanwhile."""
_TRUSTED_PART = 4
"""One part of so many of the measured room is spent before the next measurement."""


@dataclass(frozen=True, slots=True)
class Room:
    """The ledger's room at one instant, in bytes."""

    used: int
    """Pages in use, the log and its index."""
    reserve: int
    limit: int

    @property
    def share(self) -> float:
        """What is taken, the reserve included, of the limit."""
        return (self.used + self.reserve) / self.limit if self.limit else 1.0

    def takes(self, more: int) -> bool:
        """Return whether `more` bytes leave the reserve complete."""
        return self.used + self.reserve + more <= self.limit


class Space:
    """Watches the room of one ledger."""

    def __init__(
        self,
        path: Path,
        max_size: int | None,
        free: Callable[[Path], int] | None = None,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch the ledger at `path`.

        Args:
            path: The ledger.
            max_size: Its limit in bytes; None takes its own use and what is free on the volume.
            free: Returns the free bytes of the volume that holds a file; for tests.
            passed: Returns seconds from any start; for tests.
        """
        self._path = path
        self._folder = path.parent  # made once: it is asked for at every commit
        self._log = path.with_name(path.name + "-wal")
        self._index = path.with_name(path.name + "-shm")
        self._held = path.with_name(path.name + "-reserve")
        self._max_size = max_size
        self._free = free or _free
        self._passed = passed
        self._trusted_until = 0.0
        self._unspent = 0
        """Bytes that may be written before the next measurement."""
        self._page_size = 4096
        self._base = _LEAST

    def begin(self) -> None:
        """Give the room that was held while the ledger was closed to the log that is made now."""
        with suppress(OSError):
            self._held.unlink(missing_ok=True)

    def end(self) -> None:
        """Hold the room of the log, which is gone now, for the next process."""
        if self._path.exists() and not self._log.exists():
            with suppress(OSError):
                _allocate(self._held, _LEAST)

    def set_up(self, connection: sqlite3.Connection) -> None:
        """Bound the log of a fresh connection.

        Raises:
            OSError, sqlite3.Error: The volume or the file does not answer.
        """
        (self._page_size,) = connection.execute("PRAGMA page_size").fetchone()
        volume = _total(self._folder) if self._max_size is None else self._max_size
        self._base = max(_LEAST, min(volume // 8, _MOST)) // self._page_size * self._page_size
        self._bound_log(connection, 0)

    def _bound_log(self, connection: sqlite3.Connection, open_buckets: int) -> None:
        size = self._log_size(open_buckets)
        # A log that had to grow beyond it is cut to this size once it begins anew; one of this size is used again.
        connection.execute(f"PRAGMA journal_size_limit = {size}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {size // 2 // self._page_size}")

    def measure(self, connection: sqlite3.Connection, open_buckets: int) -> Room:
        """Return the room there is now.

        Raises:
            OSError: The volume does not answer.
        """
        pages, free = _pages(connection)
        beside = _size(self._log) + _size(self._index)
        here = pages * self._page_size + beside + self._free(self._folder)
        limit = here if self._max_size is None else min(self._max_size, here)
        room = Room((pages - free) * self._page_size + beside, self._reserve(open_buckets), limit)
        self._trusted_until = self._passed() + _TRUSTED_FOR
        self._unspent = (room.limit - room.used - room.reserve) // _TRUSTED_PART
        return room

    def foresees_room(self, batches: Sequence[UsageBatch], series: int = 0) -> bool:
        """Return whether these batches surely fit into what was measured a moment ago; they then count as written.

        A measurement costs one event alone a sixth of its processor time.
        """
        if self._passed() >= self._trusted_until:
            return False
        rows, touched = _weigh(batches, series)
        more = rows + touched * (self._page_size + _FRAME_HEADER + _PER_OPEN_BUCKET)
        if more > self._unspent:
            return False
        self._unspent -= more
        return True

    def refusal(
        self,
        connection: sqlite3.Connection,
        room: Room,
        batches: Sequence[UsageBatch],
        open_buckets: int,
        series: int = 0,
    ) -> LedgerFull | None:
        """Return why these batches, and the states of so many series, are not stored.

        None if they leave sealing and submitting what these need.
        """
        more = self._need(connection, batches, open_buckets, series)
        if room.takes(more):
            return None
        events = sum(len(batch.events) for batch in batches)
        what = f"{events} events" + (f" and {series} series" if series else "")
        words = f"{describe(room)}; {what} at a time may take {mebibytes(more)} more"
        return LedgerFull(words, RETRY_AFTER, more)

    def has_room_for_pages(self, room: Room, count: int) -> bool:
        """Return whether so many pages may be changed, each of which the log may grow by."""
        return room.takes(2 * count * (self._page_size + _FRAME_HEADER))

    def cut_grown_log(self, connection: sqlite3.Connection, open_buckets: int) -> bool:
        """Bring a log back to its size that a reader has made grow; whether it had grown. No transaction runs."""
        if _size(self._log) <= self._log_size(open_buckets):
            return False
        self.cut_log(connection)
        return True

    def cut_log(self, connection: sqlite3.Connection) -> None:
        """Bring a log back to its size that a reader has made grow; waits for no one."""
        (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            # A second checkpoint would find nothing to do; it is what cuts the file.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {patience}")

    def keep_reserve(self, connection: sqlite3.Connection, open_buckets: int) -> None:
        """Allocate log and free pages as far as the reserve asks and the volume has room for both. No transaction runs.

        Raises:
            OSError, sqlite3.Error: The volume did not take it; the ledger is whole, and the next call tries again.
        """
        # Rows of a growth that a crash has cut short.
        connection.execute("DELETE FROM reserve")
        self._bound_log(connection, open_buckets)
        log = self._log_size(open_buckets)
        self.cut_grown_log(connection, open_buckets)
        missing = log - _size(self._log)
        if missing > 0 and self._free(self._folder) > missing:
            _allocate(self._log, log)
        pages, free = _pages(connection)
        wanted = self._reserve(open_buckets) // self._page_size
        lacking = (wanted - free) * self._page_size
        room = self.measure(connection, open_buckets)
        fits = self._max_size is None or pages * self._page_size + lacking + log <= self._max_size
        if lacking > 0 and fits and room.takes(0) and self._free(self._folder) > 2 * lacking:
            self._grow(connection, (wanted - free))

    def _grow(self, connection: sqlite3.Connection, pages: int) -> None:
        """Add free pages to the file: written once, which takes their room from the volume, then freed."""
        at_once = self._log_size(0) // 4 // self._page_size
        try:
            while pages > 0:
                step = min(pages, at_once)
                connection.execute("INSERT INTO reserve VALUES (zeroblob(?))", (step * (self._page_size - 8),))
                pages -= step
            # Into the file before they are free: a free page that was never written may have no room on the volume.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            connection.execute("DELETE FROM reserve")

    def _log_size(self, open_buckets: int) -> int:
        return self._base + open_buckets * _PER_OPEN_BUCKET

    def _reserve(self, open_buckets: int) -> int:
        return self._base + open_buckets * _PER_OPEN_BUCKET

    def _need(
        self, connection: sqlite3.Connection, batches: Sequence[UsageBatch], open_buckets: int, series: int
    ) -> int:
        """Return how much of the volume a commit of these batches may take at most, log included."""
        rows, touched = _weigh(batches, series)
        size = self._log_size(open_buckets)
        # A log that a reader keeps from beginning anew grows by every page that a commit touches.
        spare = 0 if _size(self._log) > size else size // 2 // (self._page_size + _FRAME_HEADER)
        if touched <= spare:
            return rows  # the usual case, which need not ask SQLite
        pages, free = _pages(connection)
        touched = min(touched, pages - free + _PAGES_BESIDE)
        return rows + max(0, touched - spare) * (self._page_size + _FRAME_HEADER)


def _weigh(batches: Sequence[UsageBatch], series: int) -> tuple[int, int]:
    """Return the bytes of the rows that a commit writes, and how many pages it touches at most."""
    events = texts = 0
    for batch in batches:
        events += len(batch.events)
        for event in batch.events:
            texts += len((event.id or "").encode()) + len((event.value or "").encode())
    return texts + events * _PER_EVENT + series * _PER_SERIES, events + events // 4 + series + _PAGES_BESIDE


def describe(room: Room) -> str:
    """Return how full the ledger is, for a person."""
    return (
        f"the ledger takes {mebibytes(room.used)} and keeps {mebibytes(room.reserve)} for sealing and submitting, of"
        f" {mebibytes(room.limit)}"
    )


def mebibytes(size: int) -> str:
    """Return a size in MiB with one digit."""
    return f"{size / MEBIBYTE:.1f} MiB"


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the pages of the file, and those of them that are free."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return pages, free


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - on the way of every commit
    except FileNotFoundError:
        return 0


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _total(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


def _allocate(path: Path, size: int) -> None:
    """Give a file so many bytes of real room; what is in it stays. SQLite holds no lock on these files."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
    share_as_folder(path)

"""The disk and the life of the process that writes to it: any statement may fail, or be the last one.

A statement that fails was not carried out. A process may die before or after any statement; what it had not committed
is gone. Each commit is shown to a witness before anything else happens.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sidecar.adapters.ledger.file import open_for_writing
from sidecar.domain.metering.events import Receipt, UsageBatch, UsageRefused


class Crash(BaseException):
    """The process has ended at this very point."""


Taken = Sequence[tuple[UsageBatch, Receipt | UsageRefused]]
"""Batches of one transaction with what the ledger made of each."""


class DiskFault(StrEnum):
    """What happens at a statement."""

    ERROR = "disk-error"  # it fails, and so do a few after it
    CRASH_BEFORE = "crash-before-statement"  # the process dies; the statement was not carried out
    CRASH_AFTER = "crash-after-statement"  # the process dies; the statement was carried out


@dataclass
class Volume:
    """What the ledger's file lies on; outlives the processes."""

    pages: int | None = None
    """How many pages the file may have while nothing is left on the volume; None while there is room."""

    def free(self, _folder: Path) -> int:
        """Return the free bytes."""
        return 2**30 if self.pages is None else 0


class Disk:
    """Decides the fate of each statement of one process."""

    def __init__(
        self,
        committed: Callable[[sqlite3.Connection, Taken], None],
        failed: Callable[[], None],
        died: Callable[[], None],
        volume: Volume,
    ) -> None:
        self._committed = committed
        self._failed = failed
        self._died = died
        self._volume = volume
        self.taking = False
        """The transaction that runs is one of the intake, which may be refused for lack of room."""
        self.taken: Taken = []
        """Batches of the transaction that runs, and their fates."""
        self.starved: str | None = None
        """The first statement, of another transaction than the intake's, that found no room."""
        self._fault: DiskFault | None = None
        self._left = 0
        self._length = 0
        self._observing = True
        self._changes = 0
        self._connection: _Connection | None = None
        self.dead = False

    def arm(self, fault: DiskFault, after: int, length: int) -> None:
        """Let `fault` strike after so many statements; an error lasts for `length` statements."""
        self._fault, self._left, self._length = fault, after, length

    def heal(self) -> None:
        """Let nothing fail from now on."""
        self._fault = None

    def die(self) -> None:
        """End the process: no statement of it is carried out any more."""
        self.dead = True
        self._died()

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open the ledger as the product does, under this disk's rule."""
        open_for_writing(path).close()
        connection = sqlite3.connect(path, isolation_level=None, factory=_Connection)
        connection.disk = self
        connection.row_factory = sqlite3.Row
        # Loss of power is not simulated here, so there is nothing to wait for.
        with self.unobserved():
            connection.execute("PRAGMA synchronous = OFF")
        self._connection = connection
        self._changes = connection.total_changes
        self.limit()
        return connection

    def limit(self) -> None:
        """Give the file as much room as the volume has."""
        if self._connection is not None and not self.dead:
            with self.unobserved():
                pages = 2**31 - 2 if self._volume.pages is None else self._volume.pages
                self._connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill(self) -> None:
        """Leave no room on the volume, beyond what the file has."""
        if self._connection is not None and not self.dead:
            with self.unobserved():
                (self._volume.pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            self.limit()

    def relieve(self) -> None:
        """Let the volume have room again."""
        self._volume.pages = None
        self.limit()

    def note_full(self, error: sqlite3.Error, statement: str) -> None:
        """Keep which statement found no room although it may not have needed any."""
        if error.sqlite_errorname == "SQLITE_FULL" and not self.taking:
            self.starved = self.starved or statement

    def release(self) -> None:
        """Let go of the file as the kernel does for a process that is gone: what was not committed never was."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):  # closed by the process itself
                connection.rollback()
            connection.close()

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Let the witness look without anything happening."""
        self._observing = False
        try:
            yield
        finally:
            self._observing = True

    def strike_before(self) -> None:
        """Fail or die before a statement, if that is its fate."""
        if self.dead:
            raise Crash
        if self._fault is None or not self._observing:
            return
        self._left -= 1
        if self._left > 0:
            return
        if self._fault is DiskFault.CRASH_BEFORE:
            self.die()
            raise Crash
        if self._fault is DiskFault.ERROR:
            self._length -= 1
            if self._length <= 0:
                self._fault = None
            self._failed()
            raise sqlite3.OperationalError("disk I/O error")

    def strike_after(self) -> None:
        """Die after a statement, if that is its fate."""
        if self._fault is DiskFault.CRASH_AFTER and self._left <= 0 and self._observing:
            self.die()
            raise Crash

    def show(self, connection: sqlite3.Connection) -> None:
        """Show a commit to the witness, if it changed something."""
        if connection.total_changes != self._changes:
            self._changes = connection.total_changes
            taken, self.taken = self.taken, []
            with self.unobserved():
                self._committed(connection, taken)


class _Connection(sqlite3.Connection):
    """A connection whose statements go by the rule of a simulated disk."""

    disk: Disk

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        disk = self.disk
        disk.strike_before()
        try:
            cursor = super().execute(statement, parameters)
        except sqlite3.OperationalError as error:
            disk.note_full(error, statement)
            raise
        if statement == "COMMIT":
            disk.show(self)
        disk.strike_after()
        return cursor

    def executemany(self, statement: str, parameters: Any, /) -> sqlite3.Cursor:
        self.disk.strike_before()
        try:
            cursor = super().executemany(statement, parameters)
        except sqlite3.OperationalError as error:
            self.disk.note_full(error, statement)
            raise
        self.disk.strike_after()
        return cursor

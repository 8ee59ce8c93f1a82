"""The disk and the life of the process that writes to it: any statement may fail, or be the last one.

A statement that fails was not carried out. A process may die before or after any statement; what it had not committed
is gone. Each commit is shown to a witness before anything else happens.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from sidecar.adapters.ledger.file import open_for_writing


class Crash(BaseException):
    """The process has ended at this very point."""


class DiskFault(StrEnum):
    """What happens at a statement."""

    ERROR = "disk-error"  # it fails, and so do a few after it
    CRASH_BEFORE = "crash-before-statement"  # the process dies; the statement was not carried out
    CRASH_AFTER = "crash-after-statement"  # the process dies; the statement was carried out


class Disk:
    """Decides the fate of each statement of one process."""

    def __init__(self, committed: Callable[[sqlite3.Connection], None], died: Callable[[], None]) -> None:
        self._committed = committed
        self._died = died
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
        return connection

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

    @property
    def is_calm(self) -> bool:
        """Nothing strikes, and the process lives."""
        return self._fault is None and not self.dead

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
            with self.unobserved():
                self._committed(connection)


class _Connection(sqlite3.Connection):
    """A connection whose statements go by the rule of a simulated disk."""

    disk: Disk

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        disk = self.disk
        if disk.is_calm and statement != "COMMIT":
            return super().execute(statement, parameters)
        disk.strike_before()
        cursor = super().execute(statement, parameters)
        if statement == "COMMIT":
            disk.show(self)
        disk.strike_after()
        return cursor

    def executemany(self, statement: str, parameters: Any, /) -> sqlite3.Cursor:
        self.disk.strike_before()
        cursor = super().executemany(statement, parameters)
        self.disk.strike_after()
        return cursor

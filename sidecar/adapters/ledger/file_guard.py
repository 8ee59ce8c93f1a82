"""Guards the ledger's file while it is in use: notices that it was removed, replaced or cut, and restores it.

SQLite continues to write to a removed file, and everything accepted would be lost with the process. The process can
still read the removed file, so it writes a new one at the same path. Where another file lies there, that waits until
the file is moved away.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sidecar.adapters.ledger.file import NO_OLDER_COPY, LedgerUnusable
from sidecar.adapters.ledger.schema import APPLICATION_ID
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.durable_files import sync_path


class FileWatch:
    """What the ledger's files were when they were opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._seen = self._read_state()
        self._cut: str | None = None

    def is_whole(self) -> bool:
        """Return whether file and log are still the ones that were opened, and neither has lost its end.

        Raises:
            LedgerUnavailable: Another file lies in the ledger's place, or it was cut; names the cure.
        """
        found = self._read_state()
        if found == self._seen:
            return True
        (main, size), (log, _) = found
        (main_before, size_before), (log_before, _) = self._seen
        if main == main_before:
            cut = f"{self._path} was cut from {size_before} to {size} bytes: stop the sidecar, keep the file and"
            cut += f" {self._log.name}, and start on an empty path. {NO_OLDER_COPY}"
            self._cut = cut if size < size_before else None
        if self._cut is not None:
            # Also once the file is removed or replaced: the rest of it makes no ledger.
            raise LedgerUnavailable(self._cut)
        if main is not None and main != main_before:
            # The log may be this process's own, and damage another ledger that is moved together with it.
            of_the_other = log is not None and log != log_before
            away = f"the file and its {self._log.name} away" if of_the_other else "the file away, and nothing else"
            raise LedgerUnavailable(
                f"another file lies at {self._path}: move {away}; the sidecar then writes its own ledger there again."
                " Do not restart it before: only this process can read its ledger"
            )
        if main is None or (log_before is not None and log != log_before):
            return False
        self._seen = found
        return True

    def forget_log(self) -> None:
        """Watch the file alone from now on: no connection is open, and the log goes and comes with one."""
        self._seen = (self._seen[0], (None, 0))

    def _read_state(self) -> tuple[tuple[int | None, int], tuple[int | None, int]]:
        return _identity(self._path), (_identity(self._log)[0], 0)


def _identity(path: Path) -> tuple[int | None, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - on the way of every commit
    except FileNotFoundError:
        return None, 0
    except OSError as error:
        raise LedgerUnavailable(f"{path} cannot be seen: {error.strerror}") from error
    return found.st_ino, found.st_size


def restore(connection: sqlite3.Connection, path: Path) -> None:
    """Write what `connection` still holds of a removed ledger to `path`, durably. May be repeated after any failure.

    The connection still belongs to the removed file; close it and open the new one.

    Raises:
        LedgerUnavailable: It cannot be written now; the connection stays as it was, for another try.
    """
    rescued = _rescued(path)
    try:
        rescued.unlink(missing_ok=True)
        with closing(sqlite3.connect(rescued)) as copy:
            connection.backup(copy)
        # Before the connection is closed: until then the removed file can be read again.
        _put_in_place(rescued, path)
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(f"{path} was removed, and cannot be put back yet: {error}") from error


def finish_restore(path: Path) -> None:
    """Complete a restore that the process did not survive: the ledger is gone, and its folder has a complete copy.

    A copy that was not completed is left alone; SQLite shows it as empty or refuses it.

    Raises:
        LedgerUnusable: The copy cannot be put in place.
    """
    rescued = _rescued(path)
    if path.exists() or not rescued.exists():
        return
    try:
        with closing(sqlite3.connect(rescued)) as copy:
            whole = copy.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    except sqlite3.Error:
        return
    if not whole:
        return
    try:
        _put_in_place(rescued, path)
    except OSError as error:
        cure = f"Make the folder writable for the sidecar's user, or rename {rescued.name} to {path.name}."
        raise LedgerUnusable(path, f"{rescued.name} cannot be put in its place: {error}", cure) from error


def _rescued(path: Path) -> Path:
    return path.with_name(path.name + "-rescued")


def _put_in_place(rescued: Path, path: Path) -> None:
    sync_path(rescued)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    rescued.replace(path)
    sync_path(path.parent)

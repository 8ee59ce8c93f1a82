"""Guards the ledger's file while it is in use: notices that it was removed, replaced or cut, and restores it.

SQLite continues to write to a removed file, and everything accepted would be lost with the process. The open connection
can still read the removed file, so a new one is written at the same path. Where another file lies there, that waits
until the file is moved away. Without an open connection the ledger is only what lies at the path: nothing is restored.
"""

import errno
import os
import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

from sidecar.adapters.ledger.file import NO_OLDER_COPY, LedgerUnusable, cure_for
from sidecar.adapters.ledger.schema import APPLICATION_ID
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.durable_files import share_as_folder, sync_path

_File = tuple[int, int]
"""Device and inode: fresh volumes give their files the same inodes."""
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM})
"""How a folder answers that cannot be synced at all, or not by this user."""


class FileWatch:
    """What the ledger's files were when they were opened, and whether the connection to them is open."""

    def __init__(self, path: Path) -> None:
        """Watch the files of the connection that is open on `path`."""
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._seen = self._read_state()
        self._cut: str | None = None
        self._is_open = True
        self._has_copy = False
        self._copy: _File | None = None
        self._is_synced = True

    def is_whole(self) -> bool:
        """Return whether file and log are still the ones that were opened, and neither has lost its end.

        False only while the connection is open: `restore` can then write the ledger again.

        Raises:
            LedgerUnavailable: Only a person can end it; names the cure.
        """
        found = self._read_state()
        if found == self._seen and not self._has_copy:
            return True
        (main, size), log = found
        (main_before, size_before), log_before = self._seen
        if main == main_before:
            cut = f"{self._path} was cut from {size_before} to {size} bytes: stop the sidecar, keep the file and"
            cut += f" {self._log.name}, and start on an empty path. {NO_OLDER_COPY}"
            self._cut = cut if size < size_before else None
        if self._cut is not None:
            # Also once the file is removed or replaced: the rest of it makes no ledger.
            raise LedgerUnavailable(self._cut)
        if not self._is_open:
            self._refuse_others(main, log)
        elif log_before is not None or main != main_before:
            self._refuse_to_overwrite(main, log)
            if main is None or log != log_before:
                return False
        self._drop_copy()
        self._seen = found
        return True

    def _refuse_others(self, main: _File | None, log: _File | None) -> None:
        self._refuse_other_volume(main)
        if main != self._seen[0][0]:
            found = f"{self._path} was removed" if main is None else f"another file lies at {self._path}"
            raise LedgerUnavailable(
                f"{found}: move the ledger and its {self._log.name} back, or restart the sidecar on the repaired ledger"
                f" or on an empty path. {NO_OLDER_COPY}"
            )
        if self._is_other_log(log):
            raise LedgerUnavailable(
                f"another file lies at {self._log}: move it away, or restart the sidecar if it belongs to the ledger"
            )

    def _refuse_to_overwrite(self, main: _File | None, log: _File | None) -> None:
        self._refuse_other_volume(main)
        other, other_log = main not in (None, self._seen[0][0]), self._is_other_log(log)
        if other or other_log:
            # The log may be this process's own, and damage another ledger that is moved together with it.
            both = other and other_log
            away = f"the file and its {self._log.name} away" if both else "the file away, and nothing else"
            raise LedgerUnavailable(
                f"another file lies at {self._path if other else self._log}: move {away}; the sidecar then writes its"
                " own ledger there again. Do not restart it before: only this process can read its ledger"
            )

    def _refuse_other_volume(self, main: _File | None) -> None:
        before = self._seen[0][0]
        if main is not None and before is not None and main != before and main[1] == before[1]:
            raise LedgerUnavailable(
                f"{self._path} is on another volume than before: mount the one before, or restart the sidecar if it is"
                " the same volume, mounted anew"
            )

    def _is_other_log(self, log: _File | None) -> bool:
        # A reader that finds no log leaves an empty one.
        return log not in (None, self._seen[1]) and _identity(self._log)[1] > 0

    def restore(self, connection: sqlite3.Connection) -> bool:
        """Write what `connection` still holds of the removed ledger to its path. May be repeated after any failure.

        Returns False if the ledger is back at its path by itself.

        The connection still belongs to the removed file: `sync` the folder, close it, and open the new file.

        Raises:
            LedgerUnavailable: It cannot be written now; the connection stays as it was, for another try.
        """
        rescued = _rescued(self._path)
        try:
            self._path.parent.stat()  # SQLite's error for a missing folder does not name it
            if self._copy is None or self._copy != _identity(rescued)[0]:
                self._write_copy(connection, rescued)
            if self.is_whole():  # the copy takes time, and a file may have come meanwhile
                return False
            _put_in_place(rescued, self._path)
            self._seen = (self._copy, _identity(self._path)[1]), None
            self._has_copy, self._copy, self._is_synced = False, None, False
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnavailable(
                f"{self._path} was removed, and cannot be put back: {error}. {cure_for(error)}"
            ) from error
        return True

    def _write_copy(self, connection: sqlite3.Connection, rescued: Path) -> None:
        """Write the copy. One that is complete stays as it is until it is put in place: it may be the only one."""
        self._has_copy, self._copy = True, None
        rescued.unlink(missing_ok=True)
        with closing(sqlite3.connect(rescued)) as copy:
            connection.backup(copy)
        share_as_folder(rescued)
        sync_path(rescued)
        self._copy = _identity(rescued)[0]

    def _drop_copy(self) -> None:
        """Remove the copy of a ledger that is back: a later start on an empty path would bill its usage again."""
        if self._has_copy:
            self._copy = None  # the ledger goes on, and this copy does not
            with suppress(OSError):
                _rescued(self._path).unlink(missing_ok=True)
                self._has_copy = False

    def sync(self) -> None:
        """Let a ledger that was put back outlast a loss of power, where the file system can sync a folder.

        Raises:
            LedgerUnavailable: The disk cannot do it now; the old connection must stay open, for another try.
        """
        if self._is_synced:
            return
        try:
            _sync_folder(self._path.parent)
        except OSError as error:
            raise LedgerUnavailable(f"{self._path.parent} cannot be synced: {error}. {cure_for(error)}") from error
        self._is_synced = True

    def let_go(self) -> None:
        """Note that the connection is closed, which may have removed the log."""
        self._is_open = False
        self._seen = self._seen[0], _identity(self._log)[0]

    def hold(self) -> None:
        """Note that a connection was opened again, with a log of its own.

        Raises:
            LedgerUnavailable: The path no longer has the file that was watched.
        """
        found = self._read_state()
        self._refuse_others(found[0][0], None)
        self._seen, self._is_open = found, True

    def _read_state(self) -> tuple[tuple[_File | None, int], _File | None]:
        return _identity(self._path), _identity(self._log)[0]


def _identity(path: Path) -> tuple[_File | None, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - on the way of every commit
    except FileNotFoundError:
        return None, 0
    except OSError as error:
        raise LedgerUnavailable(f"{path} cannot be seen: {error.strerror}") from error
    return (found.st_dev, found.st_ino), found.st_size


def finish_restore(path: Path) -> Path | None:
    """Complete a restore that the process did not survive: the ledger is gone, and its folder has a complete copy.

    If the path has a file, the copy gets another name, which is returned: the file may be the ledger itself, and a
    later start on an empty path would bill the copy's usage again. A copy that was not completed is left alone; SQLite
    shows it as empty or refuses it.

    Raises:
        LedgerUnusable: The copy cannot be read or put in place.
    """
    rescued = _rescued(path)
    if not rescued.exists():
        return None
    if path.exists():
        with suppress(OSError, LedgerUnusable):
            return rescued.rename(_free_name(path)) if _is_complete(rescued, path) else None
        return None
    if not _is_complete(rescued, path):
        return None
    try:
        sync_path(rescued)
        _put_in_place(rescued, path)
        _sync_folder(path.parent)
    except OSError as error:
        cure = f"Make the folder writable for the sidecar's user, or rename {rescued.name} to {path.name}."
        raise LedgerUnusable(path, f"{rescued.name} cannot be put in its place: {error}", cure) from error
    return None


def _is_complete(rescued: Path, path: Path) -> bool:
    try:
        with closing(sqlite3.connect(rescued)) as copy:
            return bool(copy.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID)
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            return False
        # It may hold the only copy of accepted usage.
        raise LedgerUnusable(path, f"{rescued.name} cannot be read: {error}", cure_for(error)) from error


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}-unused-{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def _sync_folder(folder: Path) -> None:
    try:
        sync_path(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _rescued(path: Path) -> Path:
    return path.with_name(path.name + "-rescued")


def _put_in_place(rescued: Path, path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    rescued.replace(path)

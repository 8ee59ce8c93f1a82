"""Reading a ledger without a lock and without a trace: for copies, read-only mounts and other versions' files.

Nothing is written into the ledger's folder, not even the files that SQLite shares between readers. A file with this
version's schema and without a `-wal` file is read where it is. Every other file is copied into a private folder for the
reading; there SQLite may replay the log, and the schema is brought up to date.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sidecar.adapters.ledger.file import LedgerUnusable, cure_for, log_of, open_alone, prepare, refuse_no_file
from sidecar.adapters.ledger.schema import MIGRATIONS

_TRIES = 5
"""Copies taken while another process keeps writing, before that is an error."""


@contextmanager
def open_untouched(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger at `path` for reading, and leave nothing behind.

    Raises:
        LedgerUnusable: There is none, it is not one that this program reads, or its `-wal` file cannot be read with it.
    """
    refuse_no_file(path)
    try:
        if not _has_log(path):
            with closing(open_alone(path)) as connection:
                if connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
                    yield connection
                    return
        with _private_copy(path) as copy, closing(_connect_copy(copy, path)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise LedgerUnusable(path, str(error), cure_for(error)) from error


def lacks_log(path: Path) -> bool:
    """Return whether the ledger has no `-wal` file: right after a clean end, but not in a copy of one in use."""
    return not log_of(path).exists()


def _has_log(path: Path) -> bool:
    try:
        return log_of(path).stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LedgerUnusable(path, f"{log_of(path).name}: {error.strerror}", _READABLE) from error


_READABLE = "Make the file, its -wal file and their folder readable for you."


def _connect_copy(copy: Path, path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        _refuse_empty(connection, path)
        prepare(connection, path)
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_empty(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        raise LedgerUnusable(path, "it is empty: no sidecar has written to it", "Name the ledger's own file.")


@contextmanager
def _private_copy(path: Path) -> Iterator[Path]:
    """Copy the ledger and its log into a folder that only this user sees; both belong to one moment."""
    try:
        inside = Path(tempfile.gettempdir()).resolve() == path.parent.resolve()
        folder = None if inside else tempfile.TemporaryDirectory(prefix="marketplace-ledger-")
    except OSError as error:
        raise LedgerUnusable(path, f"there is no folder for a private copy: {error.strerror}", _ROOM) from error
    if folder is None:
        raise LedgerUnusable(path, "the folder for temporary files is the ledger's own", _ROOM)
    with folder as name:
        copy = Path(name, "ledger.db")
        for _ in range(_TRIES):
            before = _states(path)
            _copy(path, copy)
            if before == _states(path):
                break
        else:
            raise LedgerUnusable(
                path,
                "another process keeps writing to it",
                "Leave out --read-only: the command can read while a sidecar runs.",
            )
        yield copy


_ROOM = "Set TMPDIR to a folder, outside of the ledger's own, with as much room as the ledger takes."


def _copy(path: Path, copy: Path) -> None:
    try:
        shutil.copyfile(path, copy)
        log_of(copy).unlink(missing_ok=True)
        if _has_log(path):
            shutil.copyfile(log_of(path), log_of(copy))
    except PermissionError as error:
        raise LedgerUnusable(path, f"{error.filename}: {error.strerror}", _READABLE) from error
    except OSError as error:
        raise LedgerUnusable(path, f"it cannot be copied: {error.strerror}", _ROOM) from error


def _states(path: Path) -> list[tuple[int, int, int] | None]:
    return [_state(part) for part in (path, log_of(path))]


def _state(part: Path) -> tuple[int, int, int] | None:
    try:
        found = part.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns

"""Opening the ledger's file: one process at a time, durable, of a known version.

Every pragma that durability rests on is read back. The lock is the kernel's, so it is gone with the process that held
it.
"""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from sidecar.adapters.ledger.schema import APPLICATION_ID, MIGRATIONS
from sidecar.durable_files import lock, share_as_folder

BUSY_SECONDS = 5.0
"""How long a writer waits for another command that writes to the same ledger."""

_CANNOT_SHARE = (
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY_DIRECTORY",
    "SQLITE_READONLY_CANTINIT",
    "SQLITE_FULL",
    "SQLITE_IOERR_SHMSIZE",
)
"""SQLite's errors when it may not make or read the files that readers share with a writer, or has no room for them."""


NO_OLDER_COPY = "Never start on an older copy: the buyer would pay again for what was billed since."
DAMAGED_CURE = (
    f"Stop the sidecar, keep the file and its -wal for a person to look at, and start on an empty path. {NO_OLDER_COPY}"
)
"""What to do about a file, or a row, that this program cannot read."""


class LedgerUnusable(Exception):
    """The ledger cannot be opened; nothing in it was changed. Names the path, the reason and the cure."""

    def __init__(self, path: Path, reason: str, cure: str) -> None:
        super().__init__(f"ledger {path}: {reason}. {cure}")
        self.path = path
        self.reason = reason
        self.cure = cure


def lock_of(path: Path) -> Path:
    """Return the file that the process working on the ledger at `path` has locked."""
    return path.with_name(f"{path.name}-lock")


def log_of(path: Path) -> Path:
    """Return the file with the last writes to the ledger at `path`, which are not in the ledger's own file yet."""
    return path.with_name(f"{path.name}-wal")


def files_of(path: Path) -> set[Path]:
    """Return every file that the ledger at `path` may have on disk."""
    return {path, log_of(path), lock_of(path)} | {path.with_name(f"{path.name}-{part}") for part in ("shm", "reserve")}


class LedgerLock:
    """Keeps a second sidecar off the ledger while this process lives."""

    def __init__(self, path: Path) -> None:
        """Take the lock of the ledger at `path`, creating its folder if need be.

        Raises:
            LedgerUnusable: Another process holds it, or the folder cannot be written.
        """
        lock_file = lock_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = lock(os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        except BlockingIOError as error:
            raise LedgerUnusable(
                path, "another sidecar is using it", "Stop that process, or give each pod a volume of its own."
            ) from error
        except OSError as error:
            cure = _cure_of_files(path) or "Make the folder writable for the sidecar's user."
            verb = "open" if os.access(lock_file, os.F_OK) else "create"
            raise LedgerUnusable(path, f"cannot {verb} {lock_file.name}: {error.strerror}", cure) from error
        share_as_folder(lock_file)

    def release(self) -> None:
        """Release the lock for the next process."""
        os.close(self._descriptor)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to the ledger, created or migrated as needed.

    Raises:
        LedgerUnusable: It is not a ledger, is damaged, newer than this program, or cannot be written durably.
    """
    if _is_closed(path):
        # SQLite would open it for reading alone, and refuse the first write.
        raise LedgerUnusable(path, "it is not writable", _cure_of_files(path) or _WRITABLE)
    try:
        connection = _connect(f"file:{_quote(path)}?mode=rwc")
        try:
            prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        cure = cure_for(error)
        raise LedgerUnusable(path, str(error), (cure == _WRITABLE and _cure_of_files(path)) or cure) from error
    # Another process of this group may run as another user. SQLite gives a later log the mode of the file.
    for part in files_of(path):
        share_as_folder(part)
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot change the ledger, also while a sidecar is running on it.

    Raises:
        LedgerUnusable: There is none, or it is not one that this program reads.
    """
    refuse_no_file(path)
    try:
        return _open_unchanged(path, "mode=ro")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") not in _CANNOT_SHARE:
            raise LedgerUnusable(path, str(error), cure_for(error)) from error
    log = log_of(path)
    try:
        if log.exists() and log.stat().st_size:
            raise LedgerUnusable(
                path,
                f"its last writes are in {log.name}, which cannot be read together with it here",
                f"Run as the sidecar's user, or copy {path.name} and {log.name} together into a folder of your own.",
            )
        # A file without its log, in a folder that takes no files, has no writer.
        return open_alone(path)
    except sqlite3.Error as error:
        raise LedgerUnusable(path, str(error), cure_for(error)) from error
    except OSError as error:
        raise LedgerUnusable(path, str(error), "Make the file and its folder readable for you.") from error


def open_alone(path: Path) -> sqlite3.Connection:
    """Return a connection to a file without a writer: takes no lock, reads no log, makes no file.

    Raises:
        LedgerUnusable: It is not a ledger that this program reads.
    """
    return _open_unchanged(path, "immutable=1")


def refuse_no_file(path: Path) -> None:
    """Refuse a path without a file; raises LedgerUnusable if there is none, it cannot be seen, or it is a folder."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise LedgerUnusable(
            path, "there is no such file", "Name the configuration the sidecar runs with (--config)."
        ) from error
    except OSError as error:
        raise LedgerUnusable(path, str(error.strerror), "Run as the sidecar's user.") from error
    if stat.S_ISDIR(mode):
        raise LedgerUnusable(path, "it is a folder", "Name the file in it.")


def _open_unchanged(path: Path, how: str) -> sqlite3.Connection:
    connection = _connect(f"file:{_quote(path)}?{how}")
    try:
        _refuse_foreign(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _quote(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _connect(uri: str) -> sqlite3.Connection:
    # The connection is made on the thread that uses it; the flag allows the last thread to close it.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a fresh connection durable and its schema current.

    Raises:
        LedgerUnusable: The file is not a ledger that this program may write, or SQLite does not promise durability.
    """
    version = _refuse_foreign(connection, path)
    _set(connection, path, "journal_mode", "WAL", "wal")
    _set(connection, path, "synchronous", "FULL", 2)
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {statements} PRAGMA user_version = {number}; "
            f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> int:
    version = int(_pragma(connection, "user_version"))
    application = int(_pragma(connection, "application_id"))
    with closing(connection.execute("SELECT count(*) FROM sqlite_schema")) as cursor:
        empty = cursor.fetchone()[0] == 0
    if empty and version == 0:
        return 0
    if application != APPLICATION_ID:
        raise LedgerUnusable(
            path, "the file is a database of another program", "Point ledger.path at the ledger or at an unused path."
        )
    if version > len(MIGRATIONS):
        raise LedgerUnusable(
            path,
            f"it was written by a newer version (schema {version}, this program knows {len(MIGRATIONS)})",
            "Run the newer version again; this one leaves the file as it is.",
        )
    return version


def _set(connection: sqlite3.Connection, path: Path, name: str, value: str, expected: str | int) -> None:
    connection.execute(f"PRAGMA {name} = {value}")
    found = _pragma(connection, name)
    if found != expected:
        raise LedgerUnusable(
            path,
            f"SQLite answers {name} = {found} where durability needs {expected}",
            "Put the ledger on a local file system (not on a network share without shared memory).",
        )


def _pragma(connection: sqlite3.Connection, name: str) -> str | int:
    with closing(connection.execute(f"PRAGMA {name}")) as cursor:
        found: str | int = cursor.fetchone()[0]
    return found


_WRITABLE = "Make the file and its folder writable for the sidecar's user."


def _cure_of_files(path: Path) -> str | None:
    """Return what to do about files that this user may not write, in a folder that it may; None if there are none."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return None
    closed = [part for part in sorted(files_of(path)) if _is_closed(part)]
    if not closed:
        return None
    found = [part.stat() for part in closed]
    owners, names = ", ".join(sorted({str(each.st_uid) for each in found})), " ".join(map(str, closed))
    if {each.st_gid for each in found} <= {os.getegid(), *os.getgroups()}:
        change = f"`chmod g+rw {names}` as the owner (user {owners})"
    else:
        change = f"`chown {os.geteuid()} {names}` as root"
    return f"Run {change}, or run the sidecar as user {owners}."


def _is_closed(part: Path) -> bool:
    """Return whether a file is there that this user may not read and write."""
    # Asked first, because the end of a second descriptor ends SQLite's locks; some file systems answer no, and open it.
    if not os.access(part, os.F_OK) or os.access(part, os.R_OK | os.W_OK):
        return False
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return True
    return False


def cure_for(error: BaseException | None) -> str:
    """Return what an operator does about a fault of SQLite's."""
    match getattr(error, "sqlite_errorname", ""):
        case "SQLITE_NOTADB" | "SQLITE_CORRUPT":
            return DAMAGED_CURE
        case "SQLITE_BUSY":
            return "Another command is writing to it; try again."
        case "SQLITE_FULL":
            return "Make room on the volume."
        case "SQLITE_IOERR_GETTEMPPATH":
            return "Set TMPDIR to a writable folder with as much room as the ledger takes."
        case "SQLITE_READONLY" | "SQLITE_CANTOPEN" | "SQLITE_READONLY_DIRECTORY":
            return _WRITABLE
        case _:
            return "Check the volume that holds it."

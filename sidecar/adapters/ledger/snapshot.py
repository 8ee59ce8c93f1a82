"""One instant of the ledger for commands, held for 5 seconds at most.

While a reader holds an instant, the write-ahead log of a running sidecar cannot begin anew and takes room from usage.
So a command that reads much copies the small tables into temporary ones of its own connection, where every statement
finds them by the same names, and gives the instant back before it computes or prints. Temporary tables lie in memory up
to 16 MiB and in a temporary file beyond it. A command that needs no common instant reads in steps instead, and needs no
temporary file. A ledger that no process writes has no log, and no limit.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sidecar.adapters.ledger.copies import open_untouched
from sidecar.adapters.ledger.file import LedgerUnusable, cure_for, open_for_reading
from sidecar.adapters.ledger.schema import MIGRATIONS

LONGEST_SECONDS = 5.0
_INSTRUCTIONS = 5000
"""Of SQLite's machine between two looks at the time: a fraction of a millisecond."""
_EVENTS = ("event", "event_by_id")
_LARGE = frozenset({*_EVENTS, "event_digest", "key_digest", "batch", "distinct_value", "reserve"})
"""Tables that grow with events; statements about them read the ledger itself, each at its own instant."""

_CACHE_KIBIBYTES = 16 * 1024
"""Of the temporary tables: the command may run next to the sidecar, within the sidecar's memory limit."""

_START = "Start the sidecar on it once."

Now = Callable[[], float]


@contextmanager
def copy_of(
    path: Path, *, events: bool = False, read_only: bool = False, now: Now = time.monotonic
) -> Iterator[sqlite3.Connection]:
    """Copy the ledger at `path` as it is at one instant; the block holds none.

    Args:
        path: The ledger.
        events: Copies the events that are kept whole, too.
        read_only: As in `reading`. The block then reads what no process writes, and nothing is copied.
        now: Returns seconds; for tests.

    Raises:
        LedgerUnusable: There is none, it is not one of this version, or what is read cannot be read in time.
    """
    with reading(path, read_only=read_only, now=now) as connection:
        if not read_only:
            for schema in ("temp", "main"):  # a sort spills by the size of main's
                connection.execute(f"PRAGMA {schema}.cache_size = -{_CACHE_KIBIBYTES}")
            for kind in ("table", "view"):
                _copy(connection, kind, events=events)
            connection.execute("COMMIT")
            _limit_each_instant(connection, path, now)
        yield connection


@contextmanager
def in_steps(path: Path, *, read_only: bool = False, now: Now = time.monotonic) -> Iterator[sqlite3.Connection]:
    """Open the ledger at `path` for a command that reads it step by step; the block begins with no instant.

    Each statement has an instant of its own, and so has each transaction. What a statement sorts stays in memory, so
    the block bounds its rows.

    Args:
        path: The ledger.
        read_only: As in `reading`.
        now: Returns seconds; for tests.

    Raises:
        LedgerUnusable: There is none, it is not one of this version, or a step cannot be read in time.
    """
    with reading(path, read_only=read_only, now=now) as connection:
        connection.execute("COMMIT")
        connection.execute("PRAGMA temp_store = MEMORY")
        if not read_only:
            _limit_each_instant(connection, path, now)
        yield connection


def _limit_each_instant(connection: sqlite3.Connection, path: Path, now: Now) -> None:
    """Give each statement the whole time from here on; the statements of one transaction share it."""

    def begin(_: str) -> None:
        if not connection.in_transaction:
            limit(connection, path, now)

    connection.set_trace_callback(begin)


def _copy(connection: sqlite3.Connection, kind: str, *, events: bool) -> None:
    """Copy every small table, or define every view over the copies, under its own name."""
    for found in connection.execute("SELECT name, sql FROM main.sqlite_schema WHERE type = ?", (kind,)).fetchall():
        name = found["name"]
        if name in _EVENTS and events:
            # Without indexes: it is read from end to end, once or twice.
            connection.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM main.{name}")
        elif name not in _LARGE and not name.startswith("sqlite_"):
            connection.execute(found["sql"].replace("CREATE ", "CREATE TEMP ", 1))
            if kind == "table":
                connection.execute(f"INSERT INTO temp.{name} SELECT * FROM main.{name}")


@contextmanager
def reading(
    path: Path, *, read_only: bool = False, older: bool = False, now: Now = time.monotonic
) -> Iterator[sqlite3.Connection]:
    """Open the ledger at `path` at one instant; the block sees nothing that is written after its first query.

    For short blocks that print nothing.

    Args:
        path: The ledger.
        read_only: Touch nothing in its folder, for a copy or a read-only mount; an older schema is read, too.
        older: Take a ledger of an older schema as it is; for readers that need nothing newer than its first version.
        now: Returns seconds; for tests.

    Raises:
        LedgerUnusable: There is none, it is not one of this version, or what the block reads cannot be read in time.
    """
    opened = open_untouched(path) if read_only else closing(open_for_reading(path))
    with opened as connection:
        if not read_only:
            limit(connection, path, now)
        try:
            connection.execute("BEGIN")
            schema = connection.execute("PRAGMA main.user_version").fetchone()[0]
            if schema != len(MIGRATIONS) and not (older and schema):
                cure = "Start the sidecar on it once, or read it with --read-only." if schema else _START
                raise LedgerUnusable(path, "no sidecar of this version has opened it yet", cure)
            yield connection
        except sqlite3.Error as error:
            raise unusable(path, error) from error
        except (ValueError, OverflowError) as error:
            raise LedgerUnusable(path, f"a row cannot be read ({error})", "`ledger verify` names the row.") from error


def limit(connection: sqlite3.Connection, path: Path, now: Now = time.monotonic) -> None:
    """Interrupt what this connection does in 5 seconds from now, if a process writes the ledger."""
    until = now() + LONGEST_SECONDS
    connection.set_progress_handler((lambda: now() > until) if _is_written(path) else None, _INSTRUCTIONS)


def _is_written(path: Path) -> bool:
    """Return whether a process may be writing the ledger: its log is not empty, as the log of a reader always is."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except OSError:
        return False


def unusable(path: Path, error: sqlite3.Error) -> LedgerUnusable:
    """Return what an error of SQLite's means for a command."""
    if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
        return LedgerUnusable(
            path,
            f"it could not be read within {LONGEST_SECONDS:.0f} s, and a longer look takes room from a running sidecar",
            "Try again on a less busy machine, or read a copy of the volume's snapshot.",
        )
    return LedgerUnusable(path, str(error), cure_for(error))

"""Whether the ledger's file and rows can be read at all: what has to hold before a proof means anything.

Names each row with a quantity, hour, instant, status or reference that this program does not write, and each finding of
SQLite's own check. Sums are checked by the proof.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sidecar.adapters.ledger import digests, series_rows
from sidecar.adapters.ledger.copies import open_untouched
from sidecar.adapters.ledger.file import DAMAGED_CURE, open_for_reading
from sidecar.adapters.ledger.snapshot import limit, unusable
from sidecar.domain.entitlement.checkouts import CheckoutKind, CheckoutState
from sidecar.domain.metering.hours import SECONDS
from sidecar.domain.metering.records import RecordKind, RecordStatus

_QUANTITY = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]{1,6})?", re.ASCII)
_PLAIN = (
    "({0} GLOB '[0-9]*' AND {0} NOT GLOB '*[^0-9.]*' AND {0} NOT GLOB '0[0-9]*' AND {0} NOT GLOB '*.*.*'"
    " AND (instr({0}, '.') = 0 OR length({0}) - instr({0}, '.') BETWEEN 1 AND 6)"
    " AND length({0}) = length(CAST({0} AS BLOB)))"
)
"""True for a quantity without a sign, as SQLite judges it; the last line refuses text with a NUL."""
_LATEST = 253_402_300_800
"""The first second of the year 10000, in epoch seconds."""
_QUANTITIES = {
    "dimension": ("accepted", "submitted", "unbilled", "remainder", "pruned_own", "pruned_submitted"),
    "dropped_events": ("quantity",),
    "bucket": ("own", "carried", "moved"),
    "record": ("quantity", "gathered", "remainder_before", "remainder_after", "excess"),
    "allocation": ("quantity",),
    "carry": ("quantity",),
    "crossing": ("quantity",),
}
_HOURS = {
    "event": ("hour",),
    "event_by_id": ("hour",),
    "dropped_events": ("hour",),
    "bucket": ("hour",),
    "record": ("hour",),
    "carry": ("from_hour", "to_hour"),
    "crossing": ("from_hour", "to_hour"),
    "source": ("last_hour",),
    "series": ("hour",),
}
_INSTANTS = {
    "pod": ("first_seen_at",),
    "event": ("given_at", "counted_at", "taken_at"),
    "event_by_id": ("given_at", "counted_at", "taken_at"),
    "record": ("timestamp", "sealed_at", "settled_at"),
    "carry": ("carried_at",),
    "crossing": ("carried_at",),
    "audit": ("at",),
    "progress": ("last_success_at", "due_since", "disputed_since"),
    "duplicate_answer": ("at",),
    "checkout": (
        *("intended_at", "first_attempt_at", "attempted_at", "expires_at", "confirmed_at", "settled_at"),
        "time_to_live",
    ),
    "source": ("since", "forgotten_at", "last_at", "denied_at", "denial_ended_at", "booted_at"),
    "series": ("started_at", "at", "resets_since", "struck_at"),
}
_REFERENCES = {
    "event": ("pod", "dimension", "tag_set"),
    "event_by_id": ("pod", "dimension", "tag_set"),
    "bucket": ("pod", "dimension", "tag_set"),
    "record": ("pod", "dimension"),
    "allocation": ("tag_set",),
    "carry": ("dimension", "tag_set"),
    "crossing": ("dimension", "tag_set"),
    "checkout": ("pod",),
    "source": ("pod",),
    "series": ("source",),
}
_KEYS = {
    "dropped_events": "pod, dimension, hour, tag_set",
    "bucket": "pod, dimension, hour, tag_set",
    "allocation": "record, tag_set",
    "dimension": "id",
    "pod": "id",
    "progress": "dimension",
    "duplicate_answer": "dimension, number",
    "source": "id",
    "series": "source, key",
}
"""What names a row; `seq` in the other tables."""


UNREADABLE_CURE = f"{DAMAGED_CURE} `ledger verify --all` names every such row."
"""What to do about a row that this program cannot read."""


def unreadable_row(connection: sqlite3.Connection) -> str | None:
    """Return a sentence about the first fault that keeps rows from being read; None if none is found."""
    try:
        return next(integrity_errors(connection), None)
    except sqlite3.Error as error:
        return f"the file cannot be read: {error}"


def integrity_errors(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each fault of the file, or, where it has none, of rows that cannot be read."""
    faults = list(_check(connection, "PRAGMA main.quick_check"))
    yield from faults or row_faults(connection)


def row_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each row that is not one that this program writes."""
    yield from _unreadable_quantities(connection)
    yield from _unreadable_times(connection)
    yield from _unknown_words(connection)
    yield from _broken_references(connection)
    yield from digests.faults(connection)
    yield from series_rows.faults(connection)


def file_faults(path: Path, *, read_only: bool = False) -> Iterator[str]:
    """Yield what SQLite's own check finds: at one instant, or, where that takes too long, table by table.

    Args:
        path: The ledger.
        read_only: Touch nothing in its folder.

    Raises:
        LedgerUnusable: The ledger cannot be read, or one of its tables not in time.
    """
    opened = open_untouched(path) if read_only else closing(open_for_reading(path))
    with opened as connection:
        try:
            if not read_only:
                limit(connection, path)
            yield from list(_check(connection, "PRAGMA main.quick_check"))
        except sqlite3.Error as error:
            if error.sqlite_errorname != "SQLITE_INTERRUPT":
                raise unusable(path, error) from error
            yield from _faults_by_table(connection, path)


def _faults_by_table(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    try:
        limit(connection, path)
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            limit(connection, path)
            yield from list(_check(connection, f"PRAGMA main.quick_check({table})"))
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def _check(connection: sqlite3.Connection, statement: str) -> Iterator[str]:
    try:
        for (words,) in connection.execute(statement):
            if words != "ok":
                yield f"the file is damaged: {words}"
    except sqlite3.DatabaseError as error:
        # The others are faults of the volume or the moment, not of the rows.
        if error.sqlite_errorname != "SQLITE_CORRUPT":
            raise
        yield f"the file is damaged: {error}"


def _unreadable_quantities(connection: sqlite3.Connection) -> Iterator[str]:
    for table, columns in _QUANTITIES.items():
        # Rows that SQLite finds sound are not looked at again: these are the columns of which a ledger has most.
        sound = " AND ".join(_PLAIN.format(column) for column in columns)
        for row in connection.execute(f"SELECT * FROM {table} WHERE NOT ({sound})"):
            for column in columns:
                if _QUANTITY.fullmatch(row[column]) is None:
                    yield f"{_name(table, row)}: {column} {row[column]!r} is not a quantity"


def _unreadable_times(connection: sqlite3.Connection) -> Iterator[str]:
    for tables, unit, words in ((_HOURS, SECONDS, "an hour"), (_INSTANTS, 1, "an instant")):
        latest = _LATEST * (1 if tables is _HOURS else 1_000_000)
        for table, columns in tables.items():
            for column in columns:
                statement = f"SELECT * FROM {table} WHERE {column} < 0 OR {column} >= ? OR {column} % ? <> 0"
                for row in connection.execute(statement, (latest, unit)):
                    yield f"{_name(table, row)}: {column} {row[column]} is not {words}"


def _unknown_words(connection: sqlite3.Connection) -> Iterator[str]:
    kinds, states = (", ".join("?" * len(known)) for known in (RecordKind, RecordStatus))
    statement = f"SELECT * FROM record WHERE kind NOT IN ({kinds}) OR status NOT IN ({states})"
    for row in connection.execute(statement, (*RecordKind, *RecordStatus)):
        yield f"{_name('record', row)}: a {row['kind']} record with status {row['status']} is none of this program's"
    kinds, states = (", ".join("?" * len(known)) for known in (CheckoutKind, CheckoutState))
    statement = f"SELECT * FROM checkout WHERE kind NOT IN ({kinds}) OR state NOT IN ({states})"
    for row in connection.execute(statement, (*CheckoutKind, *CheckoutState)):
        yield f"{_name('checkout', row)}: the kind {row['kind']} or the state {row['state']} is unknown"


def _broken_references(connection: sqlite3.Connection) -> Iterator[str]:
    for table, targets in _REFERENCES.items():
        for target in targets:
            statement = f"SELECT * FROM {table} WHERE {target} NOT IN (SELECT id FROM {target})"
            for row in connection.execute(statement):
                yield f"{_name(table, row)}: there is no {target.replace('_', ' ')} {row[target]}"
    statement = "SELECT * FROM tag_set WHERE NOT json_valid(tags)"
    for row in connection.execute(statement):
        yield f"tag set {row['id']}: its tags are not JSON"


def _name(table: str, row: sqlite3.Row) -> str:
    keys = _KEYS.get(table, "seq").split(", ")
    return f"{table.replace('_', ' ')} " + ", ".join(f"{key.replace('_', ' ')} {row[key]}" for key in keys)

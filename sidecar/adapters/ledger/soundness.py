"""Whether the ledger's file and rows can be read at all: what has to hold before a proof means anything.

Names each row whose quantity, hour, instant, status or reference is not one that this program writes, and each thing
that SQLite's own check finds. Judges no sums; that is the proof's.
"""

import re
import sqlite3
from collections.abc import Iterator

from sidecar.domain.hours import SECONDS
from sidecar.domain.records import RecordStatus

_QUANTITY = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]{1,6})?", re.ASCII)
_LATEST = 253_402_300_800
"""The first second of the year 10000, in epoch seconds."""
_QUANTITIES = {
    "dimension": ("accepted", "submitted", "unbilled", "remainder", "pruned_own", "pruned_submitted"),
    "dropped_events": ("quantity",),
    "bucket": ("own", "carried", "moved"),
    "record": ("quantity", "gathered", "remainder_before", "remainder_after", "excess"),
    "allocation": ("quantity",),
    "carry": ("quantity",),
}
_HOURS = {
    "event": ("hour",),
    "dropped_events": ("hour",),
    "bucket": ("hour",),
    "record": ("hour",),
    "carry": ("from_hour", "to_hour"),
}
_INSTANTS = {
    "pod": ("first_seen_at",),
    "event": ("given_at", "counted_at", "taken_at"),
    "record": ("timestamp", "sealed_at", "settled_at"),
    "carry": ("carried_at",),
    "audit": ("at",),
    "progress": ("last_success_at", "due_since", "disputed_since"),
    "duplicate_answer": ("at",),
}
_REFERENCES = {
    "event": ("pod", "dimension", "tag_set"),
    "bucket": ("pod", "dimension", "tag_set"),
    "record": ("pod", "dimension"),
    "allocation": ("tag_set",),
    "carry": ("dimension", "tag_set"),
}
_KEYS = {
    "dropped_events": "pod, dimension, hour, tag_set",
    "bucket": "pod, dimension, hour, tag_set",
    "allocation": "record, tag_set",
    "dimension": "id",
    "pod": "id",
    "progress": "dimension",
    "duplicate_answer": "dimension, number",
}
"""What names a row; `seq` in the other tables."""


def damage(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each fault of the file, or, where it has none, of rows that cannot be read."""
    sound = True
    for fault in _file_faults(connection):
        sound = False
        yield fault
    if sound:
        yield from _unreadable_quantities(connection)
        yield from _unreadable_times(connection)
        yield from _unknown_words(connection)
        yield from _broken_references(connection)


def _file_faults(connection: sqlite3.Connection) -> Iterator[str]:
    try:
        for (words,) in connection.execute("PRAGMA quick_check"):
            if words != "ok":
                yield f"the file is damaged: {words}"
    except sqlite3.DatabaseError as error:
        # The others are faults of the volume or the moment, not of the rows.
        if error.sqlite_errorname != "SQLITE_CORRUPT":
            raise
        yield f"the file is damaged: {error}"


def _unreadable_quantities(connection: sqlite3.Connection) -> Iterator[str]:
    for table, columns in _QUANTITIES.items():
        for row in connection.execute(f"SELECT * FROM {table}"):
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
    marks = ", ".join("?" * len(RecordStatus))
    statement = f"SELECT * FROM record WHERE kind NOT IN ('slot', 'late') OR status NOT IN ({marks})"
    for row in connection.execute(statement, tuple(RecordStatus)):
        yield f"{_name('record', row)}: a {row['kind']} record with status {row['status']} is none of this program's"


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

"""By what an id is recognized: digests of the id and of what its event said.

18 bytes for each id within the de-duplication window. An id is found by one search in one tree; a sweep through that
tree, a few rows at a step, drops what is older than the window. Idempotency keys are kept in the same way, in a table
of their own. The newest ids are in memory (`recent`).
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as _quote
from typing import Protocol

from sidecar.domain.metering.events import Tags

Fields = tuple[str, int, str | None, int | None, Tags]
"""What two events of one id must share: dimension, millionths, value, epoch microseconds as given, tags."""
Digest = tuple[bytes, bytes]
"""Of an id, and of its event's fields."""

ID_BYTES = 12
"""96 bits: among 10^8 ids two different ones share a digest with a probability of 10^-13."""
CONTENT_BYTES = 6
"""A second event with a known id passes for a repetition by mistake once in 10^14 times."""
AFTER_ALL = b"\xff" * (ID_BYTES + 1)
"""Greater than the digest of any id."""
SWEPT_PER_STEP = 2000
"""Digests looked at in one step: neighbors, a few dozen pages."""
_CHUNK = 500
"""Ids in one statement; SQLite bounds a statement's variables."""
HOUR = 3_600_000_000
"""Microseconds."""


class Rows(Protocol):
    """What this module needs of the store."""

    connection: sqlite3.Connection

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a statement."""


@dataclass(slots=True)
class Progress:
    """How far the walks through the tables have come; kept in memory, for a walk may begin anew at any time."""

    compacted_to: int | None = None
    """The `seq` that the pass over the whole events has reached; None between two passes."""
    merged_for: tuple[object, ...] | None = None
    """What the last pass was made for, once its digests are merged."""
    compacted_for: tuple[object, ...] | None = None
    """What the last pass was made for: nothing new can be compacted until it changes."""
    swept_to: bytes | None = None
    swept_for: int | None = None
    """The hour that the last sweep dropped up to."""
    keys_swept_to: bytes | None = None
    keys_swept_for: int | None = None
    drawdowns_walked_to: int | None = None
    drawdowns_walked_for: int | None = None


def digest_id(identifier: str) -> bytes:
    """Return the digest by which an id or an Idempotency-Key is known."""
    return hashlib.blake2b(identifier.encode(), digest_size=ID_BYTES).digest()


def digest_content(fields: Fields) -> bytes:
    """Return the digest of what two events of one id must share."""
    name, millionths, value, at, tags = fields
    # As `json.dumps` writes the fields, which takes five times as long; digests outlive the version that made them.
    text = (
        f"[{_quote(name)}, {millionths}, {'null' if value is None else _quote(value)}, {'null' if at is None else at},"
        f" {json.dumps(tags) if tags else '[]'}]"
    )
    return digest_text(text)


def digest_text(text: str) -> bytes:
    """Return the digest of the text that stands for a content."""
    return hashlib.blake2b(text.encode(), digest_size=CONTENT_BYTES).digest()


def find(connection: sqlite3.Connection, tables: Sequence[str], ids: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the content digests of those ids that one of the tables has.

    Args:
        connection: The ledger.
        tables: Tables of digests.
        ids: Digests of ids or keys.
    """
    found: dict[bytes, bytes] = {}
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        marks = ",".join(f"?{number}" for number in range(1, len(chunk) + 1))
        looks = (f"SELECT id, content FROM {table} WHERE id IN ({marks})" for table in tables)
        found.update(connection.execute(" UNION ALL ".join(looks), chunk).fetchall())
    return found


def insert(connection: sqlite3.Connection, chosen: str, values: Iterable[Sequence[object]]) -> None:
    """Insert into the index what a query chooses, once for each of the values, and keep count.

    In the index's own order neighbors share a page. Two ids with one digest would be one row.
    """
    before = connection.total_changes
    connection.executemany(
        f"INSERT INTO event_digest (id, content, taken_hour) {chosen} ON CONFLICT DO NOTHING", values
    )
    _count(connection, connection.total_changes - before)


def remember_key(store: Rows, key: str, content: bytes, now: int) -> None:
    """Keep an Idempotency-Key as a digest."""
    store.connection.execute("INSERT INTO key_digest VALUES (?, ?, ?)", (digest_id(key), content, now // HOUR))


def sweep(store: Rows, progress: Progress, *, before: int) -> bool:
    """Look at one step's worth of digests and drop the outdated ones; whether there may be more.

    A sweep goes through all digests once, by their own order; the next one begins an hour later.

    Args:
        store: The ledger, inside a transaction.
        progress: Where the sweeps are.
        before: What was taken earlier than this instant (epoch microseconds) is outdated.
    """
    oldest = before // HOUR
    if progress.swept_for != oldest or progress.swept_to is not None:
        progress.swept_for = progress.swept_for if progress.swept_to is not None else oldest
        progress.swept_to, dropped = _sweep_step(store, "event_digest", progress.swept_to or b"", oldest)
        _count(store.connection, -dropped)
    if progress.keys_swept_for != oldest or progress.keys_swept_to is not None:
        progress.keys_swept_for = progress.keys_swept_for if progress.keys_swept_to is not None else oldest
        progress.keys_swept_to, _ = _sweep_step(store, "key_digest", progress.keys_swept_to or b"", oldest)
    return progress.swept_to is not None or progress.keys_swept_to is not None


def _sweep_step(store: Rows, table: str, after: bytes, oldest: int) -> tuple[bytes | None, int]:
    """Drop what is outdated among the next rows; where to go on, None at the end, and how many were dropped."""
    last = store.connection.execute(
        f"SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (after, SWEPT_PER_STEP - 1)
    ).fetchone()
    upto = AFTER_ALL if last is None else bytes(last["id"])
    dropped = store.connection.execute(
        f"DELETE FROM {table} WHERE id > ? AND id <= ? AND taken_hour < ?", (after, upto, oldest)
    ).rowcount
    return (None if last is None else upto), dropped


def count(connection: sqlite3.Connection) -> int:
    """Return how many event ids are kept as digests, without counting them."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'event-digests'").fetchone()
    return 0 if row is None else int(row["value"])


def _count(connection: sqlite3.Connection, difference: int) -> None:
    if difference:
        total = count(connection) + difference
        connection.execute(
            "INSERT INTO meta VALUES ('event-digests', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (str(total),),
        )


def faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each thing about the digests that is not as this program writes it."""
    unreadable = f"length(id) <> {ID_BYTES} OR length(content) <> {CONTENT_BYTES} OR taken_hour < 0"
    for table, name in (("event_digest", "event digest"), ("key_digest", "key digest")):
        for row in connection.execute(f"SELECT hex(id) AS id FROM {table} WHERE {unreadable}"):
            yield f"{name} {row['id']} is damaged"
    # In one statement, and past a copy of `meta`: this table is large and is read where it lies.
    found, written = connection.execute(
        "SELECT (SELECT count(*) FROM event_digest),"
        " (SELECT CAST(ifnull(max(value), '0') AS INTEGER) FROM main.meta WHERE key = 'event-digests')"
    ).fetchone()
    if found != written:
        yield f"{found} event digests are there, but {written} were written"

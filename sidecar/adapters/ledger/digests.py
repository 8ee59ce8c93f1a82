"""What de-duplication keeps once an event is no longer needed whole: digests of its id and of its content.

An event is kept whole until its hour is sealed: a second event with its id is compared with it field by field.
After that `compact` replaces it by 18 bytes. The id is found by one search in one tree; a sweep through that tree, a
few rows at a step, drops what is older than the de-duplication window. Idempotency keys are kept in the same way, in a
table of their own. An event without an id is never a row: `tally` adds what it did to its bucket.
"""

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.quantity import parse_signed, render

Fields = tuple[str, int, str | None, int | None, Tags]
"""What two events of one id must share: dimension, millionths, value, epoch microseconds as given, tags."""
BucketKey = tuple[int, int, int, int]
"""Pod, dimension, hour, tag set."""

ID_BYTES = 12
"""96 bits: among 10^8 ids two different ones share a digest with a probability of 10^-13."""
CONTENT_BYTES = 6
"""A second event with a known id passes for a repetition by mistake once in 10^14 times."""
COMPACTED_PER_STEP = 250
"""Whole events of one step: each touches a page of its own in two trees, so this bounds the step's share of the log."""
SWEPT_PER_STEP = 2000
"""Digests looked at in one step: neighbors, a few dozen pages."""
_CHUNK = 500
"""Ids in one statement; SQLite bounds a statement's variables."""
_HOUR = 3_600_000_000
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
    compacted_for: tuple[object, ...] | None = None
    """What the last pass was made for: nothing new can be compacted until it changes."""
    swept_to: bytes | None = None
    swept_for: int | None = None
    """The hour that the last sweep dropped up to."""
    keys_swept_to: bytes | None = None
    keys_swept_for: int | None = None


def digest_id(identifier: str) -> bytes:
    """Return the digest by which an id or an Idempotency-Key is known."""
    return hashlib.blake2b(identifier.encode(), digest_size=ID_BYTES).digest()


def digest_content(fields: object) -> bytes:
    """Return the digest of what two events of one id must share."""
    return hashlib.blake2b(json.dumps(fields).encode(), digest_size=CONTENT_BYTES).digest()


def find(store: Rows, table: str, identifiers: Iterable[str]) -> dict[str, bytes]:
    """Return the content digests of those ids of which only digests are left.

    Args:
        store: The ledger.
        table: `event_digest` or `key_digest`.
        identifiers: Ids or keys as the app gave them.
    """
    if store.connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
        return {}
    asked = {digest_id(identifier): identifier for identifier in identifiers}
    digests = list(asked)
    found: dict[str, bytes] = {}
    for start in range(0, len(digests), _CHUNK):
        chunk = digests[start : start + _CHUNK]
        marks = ",".join("?" * len(chunk))
        for row in store.connection.execute(f"SELECT id, content FROM {table} WHERE id IN ({marks})", chunk):
            found[asked[row["id"]]] = row["content"]
    return found


def remember_key(store: Rows, key: str, content: bytes, now: int) -> None:
    """Keep an Idempotency-Key as a digest."""
    store.connection.execute("INSERT INTO key_digest VALUES (?, ?, ?)", (digest_id(key), content, now // _HOUR))


def tally(store: Rows, key: BucketKey, events: int, quantity: int) -> None:
    """Add to what events without a row of their own made of a bucket.

    Args:
        store: The ledger.
        key: The bucket.
        events: How many.
        quantity: Their sum in millionths, whatever the aggregation.
    """
    known = store.rows(
        "SELECT quantity FROM dropped_events WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?", *key
    )
    total = sum(parse_signed(row["quantity"]) for row in known) + quantity
    store.connection.execute(
        "INSERT INTO dropped_events VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " events = events + excluded.events, quantity = excluded.quantity",
        (*key, events, render(total)),
    )


def compact(store: Rows, progress: Progress, *, now: int, before: int, tallied_from: int = 0) -> bool:
    """Replace one step's worth of whole events by digests; whether there may be more.

    Events of open buckets stay whole. A pass goes through all whole events once, in order of arrival; the next one
    begins when an hour has been sealed or has begun since.

    Args:
        store: The ledger, inside a transaction.
        progress: Where the pass is.
        now: Epoch microseconds.
        before: What was taken earlier than this instant (epoch microseconds) needs no digest any more.
        tallied_from: Hours earlier than this one have no bucket any more, and need no tally.
    """
    if progress.compacted_to is None:
        reason = _reason_to_compact(store, now)
        if reason == progress.compacted_for:
            return False
        progress.compacted_for, progress.compacted_to = reason, -1
    rows = store.rows(
        "SELECT event.*, bucket.sealed AS closed FROM named_event AS event"
        " LEFT JOIN bucket ON bucket.pod = event.pod AND bucket.dimension = event.dimension"
        " AND bucket.hour = event.hour AND bucket.tag_set = event.tag_set WHERE seq > ? ORDER BY seq LIMIT ?",
        progress.compacted_to,
        COMPACTED_PER_STEP,
    )
    going = [row for row in rows if row["closed"] != 0 or row["id"] is None or row["taken_at"] < before]
    kept = [row for row in going if row["id"] is not None and row["taken_at"] >= before]
    sums: dict[BucketKey, list[int]] = defaultdict(lambda: [0, 0])
    for row in going:
        if row["hour"] < tallied_from and row["closed"] is None:
            continue
        made = sums[row["pod"], row["dimension"], row["hour"], row["tag_set"]]
        made[0] += 1
        made[1] += row["millionths"]
    for key, (events, quantity) in sums.items():
        tally(store, key, events, quantity)
    written = store.connection.total_changes
    # In their order neighbors share a page. Two ids with one digest would be one row, and not an end to compaction.
    store.connection.executemany(
        "INSERT INTO event_digest VALUES (?, ?, ?) ON CONFLICT DO NOTHING", sorted(map(_digest, kept))
    )
    _count(store, store.connection.total_changes - written)
    store.connection.executemany("DELETE FROM event WHERE seq = ?", [(row["seq"],) for row in going])
    progress.compacted_to = rows[-1]["seq"] if len(rows) == COMPACTED_PER_STEP else None
    return progress.compacted_to is not None


def _reason_to_compact(store: Rows, now: int) -> tuple[object, ...]:
    (opened,) = store.connection.execute("SELECT min(hour) FROM bucket WHERE sealed = 0").fetchone()
    (sealed,) = store.connection.execute("SELECT max(seq) FROM record").fetchone()
    return now // _HOUR, opened, sealed


def _digest(row: sqlite3.Row) -> tuple[bytes, bytes, int]:
    tags = [tuple(pair) for pair in json.loads(row["tags"])]
    fields = row["name"], row["millionths"], row["value"], row["given_at"], tags
    return digest_id(row["id"]), digest_content(fields), row["taken_at"] // _HOUR


def sweep(store: Rows, progress: Progress, *, before: int) -> bool:
    """Look at one step's worth of digests and drop the outdated ones; whether there may be more.

    A sweep goes through all digests once, by their own order; the next one begins an hour later.

    Args:
        store: The ledger, inside a transaction.
        progress: Where the sweeps are.
        before: What was taken earlier than this instant (epoch microseconds) is outdated.
    """
    oldest = before // _HOUR
    if progress.swept_for != oldest or progress.swept_to is not None:
        progress.swept_for = progress.swept_for if progress.swept_to is not None else oldest
        progress.swept_to, dropped = _sweep_step(store, "event_digest", progress.swept_to or b"", oldest)
        _count(store, -dropped)
    if progress.keys_swept_for != oldest or progress.keys_swept_to is not None:
        progress.keys_swept_for = progress.keys_swept_for if progress.keys_swept_to is not None else oldest
        progress.keys_swept_to, _ = _sweep_step(store, "key_digest", progress.keys_swept_to or b"", oldest)
    return progress.swept_to is not None or progress.keys_swept_to is not None


def _sweep_step(store: Rows, table: str, after: bytes, oldest: int) -> tuple[bytes | None, int]:
    """Drop what is outdated among the next rows; where to go on, None at the end, and how many were dropped."""
    last = store.connection.execute(
        f"SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (after, SWEPT_PER_STEP - 1)
    ).fetchone()
    upto = b"\xff" * (ID_BYTES + 1) if last is None else bytes(last["id"])
    dropped = store.connection.execute(
        f"DELETE FROM {table} WHERE id > ? AND id <= ? AND taken_hour < ?", (after, upto, oldest)
    ).rowcount
    return (None if last is None else upto), dropped


def count(connection: sqlite3.Connection) -> int:
    """Return how many event ids are kept as digests, without counting them."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'event-digests'").fetchone()
    return 0 if row is None else int(row["value"])


def _count(store: Rows, difference: int) -> None:
    if difference:
        total = count(store.connection) + difference
        store.connection.execute(
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

"""Dropping whole events once their hour is sealed; of an event with an id its digests stay.

Until then a second event with its id is compared with it field by field. An event without an id is never a row: `tally`
adds what it did to its bucket.
"""

import sqlite3
from collections import defaultdict
from typing import Protocol

from sidecar.adapters.ledger import digests
from sidecar.adapters.ledger.digests import Digest, Progress, Rows
from sidecar.adapters.ledger.recent import RecentIds
from sidecar.adapters.ledger.store import read_tags
from sidecar.domain.metering.quantity import parse_signed, render

BucketKey = tuple[int, int, int, int]
"""Pod, dimension, hour, tag set."""

COMPACTED_PER_STEP = 250
"""Whole events of one step: each may touch a page of its own in two trees, which bounds the step's share of the log."""
MERGED_FIRST_FROM = 10_000
"""Digests in memory that are worth a merge before a pass: one by one each of them touches a page."""


class Events(Rows, Protocol):
    """What this module needs of the store."""

    recent: RecentIds
    progress: Progress


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


def compact(store: Events, *, now: int, before: int, tallied_from: int = 0, may_merge: bool = True) -> bool:
    """Drop one step's worth of whole events; whether there may be more.

    Events of open buckets stay whole. A pass goes through all whole events once, in order of arrival; the next one
    begins when an hour has been sealed or has begun since.

    Args:
        store: The ledger, inside a transaction.
        now: Epoch microseconds.
        before: What was taken earlier than this instant (epoch microseconds) needs no digest any more.
        tallied_from: Hours earlier than this one have no bucket any more, and need no tally.
        may_merge: Whether there is room for the digests of events that stay whole for now.
    """
    store.recent.load(store.connection)
    progress = store.progress
    if progress.compacted_to is None:
        reason = _reason_to_compact(store, now)
        if reason == progress.compacted_for:
            return False
        # Once for each pass: more ids may arrive meanwhile than a merge takes away.
        if may_merge and progress.merged_for != reason:
            if store.recent.is_merging or store.recent.waiting >= MERGED_FIRST_FROM:
                progress.merged_for = None if store.recent.merge(store.connection) else reason
                return True
            progress.merged_for = reason
        progress.compacted_for, progress.compacted_to = reason, -1
    rows = _whole(store, progress.compacted_to)
    going = [row for row in rows if row["closed"] != 0 or row["id"] is None or row["taken_at"] < before]
    sums: dict[BucketKey, list[int]] = defaultdict(lambda: [0, 0])
    for row in going:
        if row["hour"] < tallied_from and row["closed"] is None:
            continue
        made = sums[row["pod"], row["dimension"], row["hour"], row["tag_set"]]
        made[0] += 1
        made[1] += row["millionths"]
    for key, (events, quantity) in sums.items():
        tally(store, key, events, quantity)
    # A merge knows nothing of the rows of the version before, though their numbers are lower than those of its own.
    owing = [row for row in going if row["content"] is None or row["seq"] > store.recent.merged_to]
    _digest(store, [row for row in owing if row["id"] is not None], before)
    tables = ("event", "event_by_id") if store.recent.has_old else ("event",)
    for table in tables:
        store.connection.executemany(f"DELETE FROM {table} WHERE seq = ?", [(row["seq"],) for row in going])
    progress.compacted_to = rows[-1]["seq"] if len(rows) == COMPACTED_PER_STEP else None
    if progress.compacted_to is None:
        store.recent.look_for_old(store.connection)
    return progress.compacted_to is not None


def _whole(store: Events, after: int) -> list[sqlite3.Row]:
    """Return the next whole events in order of arrival, each with whether its bucket is `closed`; null for none."""
    rows: list[sqlite3.Row] = []
    # All rows of the version before are older than the others.
    for view in ("named_event_by_id", "named_event")[0 if store.recent.has_old else 1 :]:
        rows += store.rows(
            f"SELECT event.*, bucket.sealed AS closed FROM {view} AS event"
            " LEFT JOIN bucket ON bucket.pod = event.pod AND bucket.dimension = event.dimension"
            " AND bucket.hour = event.hour AND bucket.tag_set = event.tag_set WHERE seq > ? ORDER BY seq LIMIT ?",
            after,
            COMPACTED_PER_STEP - len(rows),
        )
    return rows


def _reason_to_compact(store: Rows, now: int) -> tuple[object, ...]:
    (opened,) = store.connection.execute("SELECT min(hour) FROM bucket WHERE sealed = 0").fetchone()
    (sealed,) = store.connection.execute("SELECT max(seq) FROM record").fetchone()
    return now // digests.HOUR, opened, sealed


def _digest(store: Events, rows: list[sqlite3.Row], before: int) -> None:
    """Write the digests of events that are dropped before a merge has come to them."""
    kept = [(*_digest_of(row), row["taken_at"] // digests.HOUR) for row in rows if row["taken_at"] >= before]
    digests.insert(store.connection, "VALUES (?, ?, ?)", sorted(kept))
    store.recent.forget(store.connection, [digests.digest_id(row["id"]) for row in rows])


def _digest_of(row: sqlite3.Row) -> Digest:
    content = row["content"]
    if content is None:
        fields = row["name"], row["millionths"], row["value"], row["given_at"], read_tags(row["tags"])
        content = digests.digest_content(fields)
    return digests.digest_id(row["id"]), content

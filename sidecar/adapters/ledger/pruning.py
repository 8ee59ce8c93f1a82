"""Drops rows that have served their time, a few at each step, which keeps the waits of intake short.

What is dropped stays in the running totals, so the conservation law holds across it. Unbilled records are never
dropped: an operator may still need them.
"""

import sqlite3
from collections import defaultdict
from datetime import timedelta

from sidecar.adapters.ledger import checkouts, compaction, digests, series_rows
from sidecar.adapters.ledger.conservation import proved_from
from sidecar.adapters.ledger.store import Store, recall
from sidecar.domain.metering.hours import SECONDS, hour_of_micros
from sidecar.domain.metering.quantity import parse_signed

REMEMBERED_FOR = timedelta(hours=26)
"""How long an event id is recognized: more than the 24 h promised, which a clock step must not shorten."""
BUCKETS_KEPT_FOR = timedelta(days=9)
"""How long a closed bucket is kept: events may be up to 7 days late, and must meet what was counted for their hour."""
RECORDS_KEPT_FOR = timedelta(days=100)
"""How long a settled record is kept, for the accountant: a quarter and a little."""
_STEP = 2000
"""Rows dropped in one transaction."""
_MICROSECOND = timedelta(microseconds=1)


def prune(store: Store, now: int, *, may_merge: bool = True) -> bool:
    """Drop one step's worth of what has served its time; whether there may be more.

    Args:
        store: The ledger, inside a transaction.
        now: Epoch microseconds.
        may_merge: Whether there is room for the digests of events that stay whole for now.
    """
    remembered = now - REMEMBERED_FOR // _MICROSECOND
    proved = proved_from(store.connection)
    compacting = compaction.compact(store, now=now, before=remembered, tallied_from=proved, may_merge=may_merge)
    sweeping = digests.sweep(store, store.progress, before=remembered)
    batches = _drop_batches(store, remembered)
    counted = _drop_values(store, remembered // 1_000_000 - SECONDS)
    closed = _drop_buckets(store, (now - BUCKETS_KEPT_FOR // _MICROSECOND) // 1_000_000)
    settled = _drop_records(store, now - RECORDS_KEPT_FOR // _MICROSECOND)
    gone = series_rows.prune(store, hour_of_micros(remembered), _STEP)
    spent = checkouts.prune(store, now, _STEP)
    store.sweep.is_due = store.sweep.is_due or closed > 0 or settled > 0
    tags = store.sweep.step(store)
    return compacting or sweeping or tags or gone or spent or settled > 0 or max(batches, counted, closed) >= _STEP


def values_from(connection: sqlite3.Connection) -> int:
    """Return the hour from which on the values of `unique` dimensions are all there; earlier ones may be forgotten."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'values-from'").fetchone()
    return 0 if row is None else int(row["value"])


def records_from(connection: sqlite3.Connection) -> int | None:
    """Return the hour from which on no record was dropped; None if none was, or only by an earlier version."""
    kept = recall(connection, "records-from")
    return None if kept is None else int(kept)


def _oldest_open(store: Store, before: int) -> int:
    """Return the oldest hour with an open bucket, or `before` if that is earlier.

    Values counted in that hour and later are kept at any time of the clock: an open bucket is compared with them.
    """
    oldest = store.one("SELECT min(hour) AS hour FROM bucket WHERE sealed = 0")["hour"]
    return before if oldest is None else min(before, oldest)


def _drop_values(store: Store, before: int) -> int:
    """Drop the values of `unique` dimensions, and note the hours that cannot be compared any more."""
    rows = store.rows(
        "SELECT hour, pod, dimension, tag_set, digest FROM distinct_value WHERE hour < ? ORDER BY hour LIMIT ?",
        _oldest_open(store, before),
        _STEP,
    )
    store.connection.executemany(
        "DELETE FROM distinct_value WHERE hour = ? AND pod = ? AND dimension = ? AND tag_set = ? AND digest = ?",
        [tuple(row) for row in rows],
    )
    if rows:
        _keep_horizon(store, "values-from", max(values_from(store.connection), rows[-1]["hour"] + SECONDS))
    return len(rows)


def _keep_horizon(store: Store, key: str, hour: int) -> None:
    store.connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, str(hour))
    )


def _drop_batches(store: Store, before: int) -> int:
    """Drop the Idempotency keys of version 1, all together once the newest of them is outdated.

    The table has no index on time; its newest row is searched once in a process.
    """
    if store.old_batches_end is None:
        newest = store.one("SELECT max(taken_at) AS at FROM batch")["at"]
        store.old_batches_end = 0 if newest is None else int(newest)
    if not store.old_batches_end or store.old_batches_end >= before:
        return 0
    return store.connection.execute("DELETE FROM batch WHERE key IN (SELECT key FROM batch LIMIT ?)", (_STEP,)).rowcount


def _drop_buckets(store: Store, before: int) -> int:
    """Drop closed buckets; from then on the hours up to theirs are proved by totals alone."""
    rows = store.rows(
        "SELECT * FROM bucket WHERE sealed = 1 AND hour < ? AND NOT EXISTS"
        " (SELECT 1 FROM record WHERE record.seq = bucket.record AND status = 'sealed') ORDER BY hour LIMIT ?",
        _oldest_open(store, before),
        _STEP,
    )
    own: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        own[row["dimension"]] += parse_signed(row["own"])
    for dimension, quantity in own.items():
        store.add_to(dimension, "pruned_own", quantity)
    keys = [(row["pod"], row["dimension"], row["hour"], row["tag_set"]) for row in rows]
    for table in ("bucket", "dropped_events"):
        store.connection.executemany(
            f"DELETE FROM {table} WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?", keys
        )
    if rows and (horizon := rows[-1]["hour"] + SECONDS) > proved_from(store.connection):
        _keep_horizon(store, "proved-from", horizon)
        # No index leads to them, so they are searched once for each hour and not at each step.
        for table in ("carry", "crossing"):
            store.connection.execute(f"DELETE FROM {table} WHERE from_hour < ? AND to_hour < ?", (horizon, horizon))
    return len(rows)


def _drop_records(store: Store, before: int) -> int:
    """Drop accepted and carried records with their allocations, of which one record may have 2,500."""
    rows = store.rows(
        "SELECT * FROM record WHERE status IN ('accepted', 'carried') AND settled_at < ? LIMIT ?", before, _STEP
    )
    dropped = shares = 0
    for row in rows:
        if row["status"] == "accepted":
            store.add_to(row["dimension"], "pruned_submitted", parse_signed(row["quantity"]))
        shares += store.connection.execute("DELETE FROM allocation WHERE record = ?", (row["seq"],)).rowcount
        store.connection.execute("DELETE FROM record WHERE seq = ?", (row["seq"],))
        dropped += 1
        if dropped + shares >= _STEP:
            break
    if dropped:
        newest = max(row["hour"] for row in rows[:dropped])
        _keep_horizon(store, "records-from", max(records_from(store.connection) or 0, newest + SECONDS))
    return dropped

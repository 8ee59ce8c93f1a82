"""What the ledger already counts for an hour and tag set outside of one bucket: of other pods, or under other terms.

AWS adds up what pods report. A gauge (`max`, `last`, `unique`) that two pods of one ledger report for the same hour is
one quantity, so the later bucket counts only what exceeds the earlier one. Values of `unique` are compared by digest.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sidecar.adapters.ledger.conservation import proved_from
from sidecar.adapters.ledger.pruning import REMEMBERED_FOR, values_from
from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.buckets import NOWHERE, Elsewhere
from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.hours import Hour, hour_of_micros
from sidecar.domain.metering.quantity import MILLION, parse_signed
from sidecar.domain.metering.records import RecordStatus, UnbilledReason

_REMEMBERED = REMEMBERED_FOR // timedelta(microseconds=1)
_CHUNK = 500
"""Digests in one statement; SQLite bounds a statement's variables."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where events of one pod count: the pod is the store's."""

    dimension: int
    hour: Hour
    tag_set: int


def is_countable(store: Store, aggregation: Aggregation, hour: Hour, *, opened: bool, now: int) -> bool:
    """Return whether the ledger still knows everything that was counted in `hour`.

    Args:
        store: The ledger.
        aggregation: The dimension's; a sum needs no comparison.
        hour: The event's own hour.
        opened: Whether the event's bucket is open: pruning spares the hours from the oldest open bucket on.
        now: Epoch microseconds.
    """
    if aggregation is Aggregation.SUM:
        return True
    # Judged by what was dropped, not by the clock: a clock that has leaped and come back forgets hours that are recent.
    if hour < proved_from(store.connection):
        return False
    if aggregation is not Aggregation.UNIQUE:
        return True
    return hour >= values_from(store.connection) and (opened or hour >= hour_of_micros(now - _REMEMBERED))


def count_distinct(
    store: Store, aggregation: Aggregation, slot: Slot, values: Iterable[str | None]
) -> tuple[int | None, Elsewhere]:
    """Return how many values of `unique` events are new to their hour and tag set, and what counts elsewhere.

    Remembers the new values. For other aggregations there are no values, and the number is None.
    """
    others = [] if aggregation is Aggregation.SUM else _other_buckets(store, slot)
    elsewhere = _elsewhere(store, aggregation, slot, others) if others else NOWHERE
    if aggregation is not Aggregation.UNIQUE:
        return None, elsewhere
    digests = {hashlib.blake2b((value or "").encode(), digest_size=16).digest() for value in values}
    for row in others:
        digests -= _known(store, row, sorted(digests))
    before = store.connection.total_changes
    store.connection.executemany(
        "INSERT INTO distinct_value VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(slot.hour, store.pod, slot.dimension, slot.tag_set, digest) for digest in digests],
    )
    return store.connection.total_changes - before, elsewhere


def _other_buckets(store: Store, slot: Slot) -> list[sqlite3.Row]:
    """Return the buckets of the same name, product code, hour and tag set, with their aggregation and record."""
    family = store.family(slot.dimension)
    if len(family) == 1 and not store.rows("SELECT 1 FROM pod WHERE id <> ? LIMIT 1", store.pod):
        return []
    marks = ",".join("?" * len(family))
    # A cross join keeps its order: a look by the whole key for each pod, never a scan of the hour's tag sets.
    return store.rows(
        "SELECT bucket.*, aggregation, record.status, record.reason FROM pod CROSS JOIN bucket"
        " CROSS JOIN dimension LEFT JOIN record ON record.seq = bucket.record"
        f" WHERE bucket.pod = pod.id AND bucket.dimension IN ({marks}) AND bucket.hour = ? AND bucket.tag_set = ?"
        " AND dimension.id = bucket.dimension AND NOT (bucket.pod = ? AND bucket.dimension = ?)",
        *family,
        slot.hour,
        slot.tag_set,
        store.pod,
        slot.dimension,
    )


def _elsewhere(store: Store, aggregation: Aggregation, slot: Slot, others: Sequence[sqlite3.Row]) -> Elsewhere:
    same = [row for row in others if row["aggregation"] == aggregation]
    rest = [row for row in others if row["aggregation"] != aggregation]
    # Quantities of other aggregations cannot be compared as such; only what AWS holds, or may hold, of them counts.
    billed = sum(max(parse_signed(row["own"]) - parse_signed(row["moved"]), 0) for row in rest if _is_billed(row))
    if aggregation is Aggregation.UNIQUE:
        return Elsewhere(max(billed - _values(store, slot, same) * MILLION, 0) if billed else 0)
    return Elsewhere(
        counted=sum(parse_signed(row["own"]) for row in same) + billed,
        last_at=max((row["last_at"] for row in same if row["last_at"] is not None), default=None),
    )


def _is_billed(row: sqlite3.Row) -> bool:
    held = row["status"] in {RecordStatus.SEALED, RecordStatus.ACCEPTED}
    return held or UnbilledReason.IN_DOUBT.begins(row["reason"])


def _values(store: Store, slot: Slot, others: Sequence[sqlite3.Row]) -> int:
    """Return how many values the hour and tag set have, by whichever pod."""
    keys = [(store.pod, slot.dimension), *((row["pod"], row["dimension"]) for row in others)]
    statement = "SELECT count(*) AS n FROM distinct_value WHERE hour = ? AND pod = ? AND dimension = ? AND tag_set = ?"
    return sum(int(store.one(statement, slot.hour, *key, slot.tag_set)["n"]) for key in keys)


def _known(store: Store, bucket: sqlite3.Row, digests: Sequence[bytes]) -> set[bytes]:
    """Return which of the digests another bucket has counted."""
    found: set[bytes] = set()
    for start in range(0, len(digests), _CHUNK):
        chunk = digests[start : start + _CHUNK]
        found |= {
            row["digest"]
            for row in store.rows(
                "SELECT digest FROM distinct_value WHERE hour = ? AND pod = ? AND dimension = ? AND tag_set = ?"
                f" AND digest IN ({','.join('?' * len(chunk))})",
                bucket["hour"],
                bucket["pod"],
                bucket["dimension"],
                bucket["tag_set"],
                *chunk,
            )
        }
    return found

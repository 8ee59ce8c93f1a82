"""Taking usage: de-duplication, insertion and the buckets in one transaction.

Many batches share one commit. Each is all or nothing on its own: a refused batch leaves no trace and does not touch
its neighbors. An event without an id leaves no row: what it did is in its bucket and in the bucket's tally.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sidecar.adapters.ledger import compaction, digests
from sidecar.adapters.ledger.comparing import Slot, count_distinct, is_countable
from sidecar.adapters.ledger.digests import Digest, Fields
from sidecar.adapters.ledger.store import Move, Store, read_tags
from sidecar.domain.metering.buckets import Bucket, record, record_late
from sidecar.domain.metering.events import (
    Aggregation,
    IdReused,
    Receipt,
    UsageBatch,
    UsageEvent,
    UsageFault,
    UsageRefused,
)
from sidecar.domain.metering.hours import Hour, hour_of_micros, to_micros
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.domain.metering.records import CarryCause, UnbilledReason
from sidecar.domain.metering.rules import MeteringRules, Placement, placement

_CHUNK = 500
"""Ids in one statement; SQLite bounds a statement's variables."""

_INSERT = (
    "INSERT INTO event (seq, content, id, dimension, tag_set, millionths, value, given_at, counted_at, hour, pod,"
    " taken_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_Row = tuple[str | None, int, int, int, str | None, int | None, int, int, int, int]


def take(store: Store, batches: Sequence[UsageBatch], rules: MeteringRules, now: int) -> list[Receipt | UsageRefused]:
    """Store the batches and return each one's fate; nothing is on disk until the caller's transaction commits."""
    store.recent.load(store.connection)
    store.memory.begin(store.connection)
    fates = _take_all(store, batches, rules, now)
    store.memory.end(store.connection)
    return fates


def _take_all(
    store: Store, batches: Sequence[UsageBatch], rules: MeteringRules, now: int
) -> list[Receipt | UsageRefused]:
    if not any(batch.idempotency_key for batch in batches):
        events = [event for batch in batches for event in batch.events]
        named = [digest_of(event) for event in events if event.id is not None]
        ids = [digest[0] for digest in named]
        if len(ids) == len(set(ids)) and not _contents(store, events, ids):
            _insert(store, events, named, rules, now)
            return [Receipt(len(batch.events), 0) for batch in batches]
    return [_take_alone(store, batch, rules, now) for batch in batches]


def _take_alone(store: Store, batch: UsageBatch, rules: MeteringRules, now: int) -> Receipt | UsageRefused:
    store.savepoint("alone")
    try:
        receipt = _take_new(store, batch, rules, now)
    except UsageRefused as refused:
        store.connection.execute("ROLLBACK TO alone")
        store.forget_names()
        # Its frames hold the batch and, in the end, the refusal itself: only a full garbage collection would free it.
        return refused.with_traceback(None)
    finally:
        store.connection.execute("RELEASE alone")
    return receipt


def _take_new(store: Store, batch: UsageBatch, rules: MeteringRules, now: int) -> Receipt:
    if batch.idempotency_key and _seen_batch(store, batch, batch.idempotency_key, now):
        return Receipt(0, len(batch.events))
    asked = [None if event.id is None else digest_of(event) for event in batch.events]
    contents = _contents(store, batch.events, [digest[0] for digest in asked if digest is not None])
    first: dict[bytes, UsageEvent] = {}
    fresh: list[UsageEvent] = []
    digests_of_fresh: list[Digest] = []
    differing: list[int] = []
    for index, (event, digest) in enumerate(zip(batch.events, asked, strict=True)):
        if digest is None:
            fresh.append(event)
        elif (content := contents.get(digest[0])) is None:
            contents[digest[0]] = digest[1]
            first[digest[0]] = event
            fresh.append(event)
            digests_of_fresh.append(digest)
        elif content != digest[1]:
            differing.append(index)
    if differing:
        raise IdReused(list(_differences(store, batch.events, differing, first)))
    _insert(store, fresh, digests_of_fresh, rules, now)
    return Receipt(len(fresh), len(batch.events) - len(fresh))


def digest_of(event: UsageEvent) -> Digest:
    """Return by what the id of an event and its fields are recognized."""
    return digests.digest_id(event.id or ""), digests.digest_content(_fields(event))


def _contents(store: Store, events: Sequence[UsageEvent], ids: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the content digests of those ids that were taken before."""
    found = digests.find(store.connection, ("temp.recent_id", "event_digest"), ids) if ids else {}
    if store.recent.has_old:
        old = _whole(store, _OLD_EVENTS, [event.id for event in events if event.id is not None])
        found.update((digests.digest_id(id_), digests.digest_content(fields)) for id_, fields in old.items())
    return found


def _differences(
    store: Store, events: Sequence[UsageEvent], differing: list[int], first: dict[bytes, UsageEvent]
) -> Iterator[UsageFault]:
    """Yield a fault for each event whose id was used before, for an event that differs."""
    ids = [events[index].id or "" for index in differing]
    whole = _whole(store, _RECENT_EVENTS, [digests.digest_id(each) for each in ids])
    if store.recent.has_old:
        whole |= _whole(store, _OLD_EVENTS, ids)
    for index in differing:
        event = events[index]
        identifier = event.id or ""
        earlier = first.get(digests.digest_id(identifier))
        before = whole.get(identifier) if earlier is None else _fields(earlier)
        field = None if before is None else _difference(before, _fields(event))
        if field is None:
            words = "the id was used before for an event that differs; which field differs is no longer known"
            yield UsageFault(index, "id", words)
        else:
            yield UsageFault(index, field, "the id was used before for an event that differs in this field")


def _seen_batch(store: Store, batch: UsageBatch, key: str, now: int) -> bool:
    digest = hashlib.blake2b(
        json.dumps([(event.id, _fields(event)) for event in batch.events]).encode(), digest_size=32
    ).digest()
    row = store.connection.execute("SELECT digest FROM batch WHERE key = ?", (key,)).fetchone()
    # Version 1 kept the whole digest, of which the content digest is not a part.
    known = digest == row["digest"] if row is not None else None
    content = digests.digest_text(json.dumps(digest.hex()))
    if known is None:
        before = digests.find(store.connection, ("key_digest",), [digests.digest_id(key)]).get(digests.digest_id(key))
        if before is None:
            digests.remember_key(store, key, content, now)
            return False
        known = before == content
    if not known:
        raise IdReused(
            [UsageFault(0, "Idempotency-Key", "the key was used before for a batch that differs; use a new key")]
        )
    return True


def _fields(event: UsageEvent) -> Fields:
    at = None if event.timestamp is None else to_micros(event.timestamp)
    return event.dimension, event.quantity, event.value, at, event.tags


def _difference(before: Fields, after: Fields) -> str | None:
    """Return the first field in which two events of one id differ."""
    names = ("dimension", "quantity", "value", "timestamp", "tags")
    return next((name for name, old, new in zip(names, before, after, strict=True) if old != new), None)


_OLD_EVENTS = "named_event_by_id AS event WHERE event.id"
_RECENT_EVENTS = "temp.recent_id AS recent CROSS JOIN named_event AS event ON event.seq = recent.seq WHERE recent.id"


def _whole(store: Store, place: str, keys: Sequence[str] | Sequence[bytes]) -> dict[str, Fields]:
    """Return the fields of whole events by their ids.

    Args:
        store: The ledger.
        place: Where they are looked for by their keys: the rows of the version before by id, others by the digest of
            the id, while it is in memory. The rest could only be found by reading every event of the hour.
        keys: Ids or digests.
    """
    whole: dict[str, Fields] = {}
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        marks = ",".join("?" * len(chunk))
        statement = f"SELECT event.id, name, millionths, value, given_at, tags FROM {place} IN ({marks})"
        for row in store.rows(statement, *chunk):
            fields = row["name"], row["millionths"], row["value"], row["given_at"], read_tags(row["tags"])
            whole[row["id"]] = fields
    return whole


def _insert(
    store: Store, events: Sequence[UsageEvent], named: Sequence[Digest], rules: MeteringRules, now: int
) -> None:
    """Insert events that are new, and count them; `named` are the digests of those with an id, in their order."""
    rows = list(_place_rows(store, events, now))
    if named:
        numbers = store.recent.number(len(named))
        store.connection.executemany(
            _INSERT,
            [
                (seq, content, *row)
                for seq, (_, content), row in zip(
                    numbers, named, (row for row in rows if row[0] is not None), strict=True
                )
            ],
        )
        store.recent.add(store.connection, named, now // digests.HOUR, numbers)
    groups: dict[tuple[str, int, int, int], list[_Row]] = defaultdict(list)
    for event, row in zip(events, rows, strict=True):
        groups[event.dimension, row[1], row[7], row[2]].append(row)
    for (name, dimension, hour, tag_set), members in groups.items():
        _count(store, rules, rules.dimensions[name].aggregation, dimension, Hour(hour), tag_set, members, now)


def _place_rows(store: Store, events: Sequence[UsageEvent], now: int) -> Iterator[_Row]:
    this_hour = hour_of_micros(now)
    for event in events:
        dimension = store.dimension(event.dimension)
        if event.timestamp is None:
            given, counted, hour = None, now, _takes_now(store, dimension, this_hour)
        else:
            given = counted = to_micros(event.timestamp)
            hour = hour_of_micros(given)
        tag_set = store.tag_set(event.tags)
        yield event.id, dimension, tag_set, event.quantity, event.value, given, counted, hour, store.pod, now


def _takes_now(store: Store, dimension: int, this_hour: Hour) -> Hour:
    """Return the hour that takes usage without a timestamp."""
    known = store.memory.takes_now.get((dimension, this_hour))
    if known is None:
        # An hour whose slot the start probe has keeps its own usage, which is carried as a visible entry.
        opened = store.first_open(dimension, this_hour)
        probed = opened != this_hour and store.is_probed(dimension, this_hour)
        known = store.memory.takes_now[dimension, this_hour] = this_hour if probed else opened
    return known


def _count(
    store: Store,
    rules: MeteringRules,
    aggregation: Aggregation,
    dimension: int,
    hour: Hour,
    tag_set: int,
    rows: list[_Row],
    now: int,
) -> None:
    """Fold one bucket's new events into it, or, where its hour is closed, move what they add."""
    arrived = [(row[3], row[6]) for row in rows]
    nameless = [row[3] for row in rows if row[0] is None]
    if nameless:
        compaction.tally(store, (store.pod, dimension, hour, tag_set), len(nameless), sum(nameless))
    this_hour = hour_of_micros(now)
    key = (dimension, hour, tag_set)
    found = store.memory.buckets.get(key) or store.bucket(*key)
    opened = found is not None and not found.sealed
    # An open bucket takes more whether or not its slot is frozen.
    sealed = not opened and store.is_sealed(dimension, hour)
    probed = sealed and store.is_probed(dimension, hour)
    countable = is_countable(store, aggregation, hour, opened=opened, now=now)
    where = placement(
        hour,
        found,
        now_micros=now,
        current=this_hour,
        sealed=sealed,
        countable=countable,
        rules=rules,
        probed=probed,
    )
    values = (row[4] for row in rows)
    distinct, elsewhere = count_distinct(store, aggregation, Slot(dimension, hour, tag_set), values)
    before = found or Bucket()
    if where is Placement.OPEN:
        after = record(before, aggregation, arrived, distinct=distinct, elsewhere=elsewhere)
        if after.sealed:
            after = replace(after, sealed=False)
        store.put_bucket(*key, after, found)
        store.memory.buckets[key] = after
        _add_accepted(store, dimension, after.own - before.own)
        return
    after, added = record_late(before, aggregation, arrived, distinct=distinct, elsewhere=elsewhere)
    # An open bucket of an hour that cannot be compared any more keeps what is carried into it.
    after = replace(after, sealed=not opened)
    store.put_bucket(*key, after, found)
    # What is carried is added to other buckets.
    store.memory.buckets.clear()
    _add_accepted(store, dimension, added)
    if added and where is Placement.CARRIED:
        target = store.first_open(dimension, this_hour)
        cause = CarryCause.PROBE if probed else CarryCause.LATE
        store.carry(Move(cause, None, store.pod, hour, target, dimension, tag_set, added), now)
    elif added:
        _write_late(store, dimension, hour, added, now)


def _add_accepted(store: Store, dimension: int, delta: int) -> None:
    if delta:
        known = store.memory.accepted.get(dimension)
        if known is None:
            known = parse_signed(store.one("SELECT accepted FROM dimension WHERE id = ?", dimension)["accepted"])
        store.memory.accepted[dimension] = known + delta
        store.connection.execute("UPDATE dimension SET accepted = ? WHERE id = ?", (render(known + delta), dimension))


def _write_late(store: Store, dimension: int, hour: Hour, added: int, now: int) -> None:
    row = store.connection.execute(
        "SELECT seq, quantity FROM record WHERE kind = 'late' AND resolved = 0"
        " AND pod = ? AND dimension = ? AND hour = ?",
        (store.pod, dimension, hour),
    ).fetchone()
    if row is None:
        store.connection.execute(
            "INSERT INTO record (pod, dimension, hour, kind, status, reason, quantity, whole, gathered,"
            " remainder_before, remainder_after, excess, client_token, timestamp, sealed_at, settled_at)"
            " VALUES (?, ?, ?, 'late', 'unbilled', ?, ?, 0, ?, '0', '0', '0',"
            " 'late-' || (SELECT ifnull(max(seq), 0) + 1 FROM record), ?, ?, ?)",
            (
                store.pod,
                dimension,
                hour,
                UnbilledReason.LATE.because("came after the hour was closed"),
                render(added),
                render(added),
                hour * 1_000_000,
                now,
                now,
            ),
        )
    else:
        total = render(parse_signed(row["quantity"]) + added)
        store.connection.execute(
            "UPDATE record SET quantity = ?, gathered = ?, settled_at = ? WHERE seq = ?",
            (total, total, now, row["seq"]),
        )
    store.add_to(dimension, "unbilled", added)

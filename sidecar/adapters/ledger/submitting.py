"""Records on their way to AWS: sealed hours, counted attempts, settled answers.

Every function is one step inside a transaction of the caller's; what it decides comes from the domain.
"""

import sqlite3
from collections.abc import Callable, Iterator

from sidecar.adapters.ledger.evidence import note_record
from sidecar.adapters.ledger.store import Move, Store, read_bucket, read_many_tags
from sidecar.adapters.ledger.totals import quantity_of
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour, from_micros, hour_of_micros, next_hour
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.domain.metering.records import (
    Accept,
    Answer,
    Carry,
    CarryCause,
    Fate,
    FrozenRecord,
    MarkUnbilled,
    Record,
    SealedHour,
    Wait,
)
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.sealing import Seal, seal
from sidecar.domain.policy import QuantityKind

_OPEN = "+sealed = 0 AND pod = ? AND dimension = ? AND hour = ?"
"""The open buckets of an hour. The plus keeps SQLite from the index of open buckets, by which it searches for each row
again: a seal would take three times as long."""
_NEXT_OPEN = "SELECT min(hour) AS hour FROM bucket WHERE sealed = 0 AND hour > ? AND hour < ?"


def mark_reportable(store: Store, hour: Hour) -> None:
    """Note that `hour` is to be reported even if nothing is used in it."""
    store.connection.execute("INSERT INTO witnessed_hour VALUES (?, ?) ON CONFLICT DO NOTHING", (store.pod, hour))


def sealable(store: Store, rules: MeteringRules, *, before: Hour, zero_from: Hour, now: int) -> list[tuple[Hour, str]]:
    """Return the (hour, dimension) pairs to seal among the hours earlier than `before`, oldest first.

    An hour without events is named only when it was marked as reportable, is `zero_from` or later, and has ended.
    """
    found = {(hour, name) for hour in _open_hours(store, before) for name in _open_dimensions(store, hour)}
    ended = min(before, hour_of_micros(now))
    for row in store.rows(
        "SELECT hour FROM witnessed_hour WHERE pod = ? AND hour < ? AND hour >= ?", store.pod, ended, zero_from
    ):
        hour = Hour(row["hour"])
        found |= {(hour, name) for name in rules.dimensions if not store.is_sealed(store.dimension(name), hour)}
    return sorted(found)


def _open_hours(store: Store, before: Hour) -> Iterator[Hour]:
    """Yield the hours earlier than `before` with open buckets, of whichever pod.

    One search for each hour: an hour may have a hundred thousand buckets, and the kept hours have millions.
    """
    hour = -1
    while (found := store.one(_NEXT_OPEN, hour, before)["hour"]) is not None:
        yield (hour := Hour(found))


def _open_dimensions(store: Store, hour: Hour) -> Iterator[str]:
    """Yield the names of the dimensions of which this pod has open buckets in an hour."""
    for row in store.rows(
        "SELECT name FROM dimension WHERE EXISTS (SELECT 1 FROM bucket WHERE sealed = 0 AND hour = ? AND pod = ?"
        " AND dimension = dimension.id)",
        hour,
        store.pod,
    ):
        yield row["name"]


def forget_reportable(store: Store, *, before: Hour) -> None:
    """Drop the notes of hours earlier than `before`: their zeros were sealed, or can no longer be sent."""
    store.connection.execute("DELETE FROM witnessed_hour WHERE pod = ? AND hour < ?", (store.pod, before))


def seal_hour(store: Store, name: str, hour: Hour, *, now: int, new_token: Callable[[], str]) -> SealedHour | None:
    """Freeze one dimension's hour into its record; None when there is nothing to send.

    Usage taken under other terms than the present ones is sealed under its own. Where an hour has both, the older gets
    the slot, and the rest moves on: AWS takes one record.

    Args:
        store: The ledger.
        name: The dimension.
        hour: The hour to close; once it has ended and was marked as reportable, a record of zero is sent too.
        now: Epoch microseconds.
        new_token: Makes the record's client token.
    """
    current = store.dimension(name)
    reportable = store.rows("SELECT 1 FROM witnessed_hour WHERE pod = ? AND hour = ?", store.pod, hour)
    zero = bool(reportable) and hour < hour_of_micros(now)
    opened = {each: shares for each in store.family(current) if (shares := open_shares(store, each, hour))}
    sealed: SealedHour | None = None
    for dimension, shares in opened.items():
        if sealed is None:
            sealed = _seal(store, name, dimension, hour, shares, now=now, new_token=new_token)
        else:
            _close_unsent(store, dimension, hour, CarryCause.TERMS, now)
    if sealed is None and zero and not store.is_sealed(current, hour):
        sealed = _seal(store, name, current, hour, {}, now=now, new_token=new_token, zero=True)
    return sealed


_Shares = dict[Tags, tuple[int, int]]
"""The row and the quantity of each tag set."""


def open_shares(store: Store, dimension: int, hour: Hour) -> _Shares:
    """Return the row and the quantity of each tag set of an hour's open buckets."""
    rows = store.tuples(
        f"SELECT tag_set, tags, own, carried, moved FROM named_bucket WHERE {_OPEN}", store.pod, dimension, hour
    )
    tags = read_many_tags(text for _, text, _, _, _ in rows)
    return {
        each: (tag_set, quantity_of(own, carried, moved))
        for each, (tag_set, _, own, carried, moved) in zip(tags, rows, strict=True)
    }


def _seal(
    store: Store,
    name: str,
    dimension: int,
    hour: Hour,
    shares: _Shares,
    *,
    now: int,
    new_token: Callable[[], str],
    zero: bool = False,
) -> SealedHour | None:
    """Freeze the open buckets of one row of a dimension; close them unsent where they make nothing to send."""
    row = store.one("SELECT remainder, whole FROM dimension WHERE id = ?", dimension)
    remainder, quantity_kind = (
        parse_signed(row["remainder"]),
        QuantityKind.INTEGER if row["whole"] else QuantityKind.DECIMAL,
    )
    sealed = seal(
        {tags: quantity for tags, (_, quantity) in shares.items()}, remainder=remainder, quantity_kind=quantity_kind
    )
    if not sealed.quantity and not zero:
        _close_unsent(store, dimension, hour, CarryCause.FRACTION, now)
        return None
    seq = insert_record(store, dimension, hour, sealed, quantity_kind, remainder, now=now, token=new_token())
    store.connection.execute(
        f"UPDATE bucket SET sealed = 1, record = ? WHERE {_OPEN}", (seq, store.pod, dimension, hour)
    )
    store.totals.add(dimension, -sealed.gathered, -len(shares))
    # The rows of the tag sets are at hand: their search by text would take as long as the rest of the seal.
    rows = [(seq, shares.get(tags, (0, 0))[0], render(quantity)) for tags, quantity in sealed.allocations.items()]
    for _, tag_set, _ in rows:
        store.sweep.note(tag_set)
    store.connection.executemany("INSERT INTO allocation VALUES (?, ?, ?)", rows)
    store.add_to(dimension, "remainder", sealed.remainder - remainder)
    heir = store.heir(dimension)
    if heir != dimension:
        pass_remainder(store, dimension, heir)
    if sealed.excess:
        target = open_hour_after(store, heir, hour, now)
        whole = Move(CarryCause.OVER_LIMIT, seq, store.pod, hour, target, heir, 0, 0, dimension)
        store.carry_shares(whole, [(store.tag_set(tags), quantity) for tags, quantity in sealed.excess.items()], now)
    return SealedHour(name, hour, sealed)


def pass_remainder(store: Store, dimension: int, heir: int) -> int:
    """Move the remainder of a dimension to the row that continues it; return the quantity moved."""
    held = parse_signed(store.one("SELECT remainder FROM dimension WHERE id = ?", dimension)["remainder"])
    store.add_to(dimension, "remainder", -held)
    store.add_to(heir, "remainder", held)
    return held


def open_hour_after(store: Store, dimension: int, hour: Hour, now: int) -> Hour:
    """Return the first hour after `hour` that takes usage, and never a past one.

    Quantities that moved one hour in each pass would stay as far behind as they began, until their window closes.
    """
    return store.first_open(dimension, max(next_hour(hour), hour_of_micros(now)))


def _close_unsent(store: Store, dimension: int, hour: Hour, cause: CarryCause, now: int) -> None:
    """Close an hour that sends nothing of this row: its quantities move to an hour that is still open."""
    heir = store.heir(dimension)
    target = open_hour_after(store, heir, hour, now)
    move_open(store, Move(cause, None, store.pod, hour, target, heir, 0, 0, dimension), now)


def move_open(store: Store, whole: Move, now: int) -> None:
    """Close the open buckets of an hour of this pod, and move what is in them into another hour.

    Args:
        store: The ledger.
        whole: The move; its own tag set and quantity are not read.
        now: Epoch microseconds.
    """
    rows = store.tuples(
        f"SELECT tag_set, own, carried, moved FROM bucket WHERE {_OPEN}", store.pod, whole.source, whole.from_hour
    )
    shares = [(tag_set, quantity_of(own, carried, moved)) for tag_set, own, carried, moved in rows]
    store.connection.executemany(
        "UPDATE bucket SET sealed = 1, moved = ? WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
        [
            (render(parse_signed(moved) + quantity), store.pod, whole.source, whole.from_hour, tag_set)
            for (tag_set, quantity), (_, _, _, moved) in zip(shares, rows, strict=True)
        ],
    )
    store.carry_shares(whole, [share for share in shares if share[1]], now)


def close(store: Store, move: Move, now: int) -> None:
    """Close an open bucket, of whichever pod, and move its quantity into another hour of this pod."""
    store.connection.execute(
        "UPDATE bucket SET sealed = 1 WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
        (move.from_pod, move.source, move.from_hour, move.tag_set),
    )
    store.totals.add(move.source, -move.quantity, -1)
    if move.quantity:
        add_moved(store, move)
        store.carry(move, now)


def rebook_future_hours(store: Store, *, after: Hour, now: int) -> int:
    """Move what lies open in hours later than `after` into the current one; how many buckets that were.

    Such hours come from a clock that was ahead and has gone back; waiting for them could take years.
    """
    # The plus keeps SQLite from the primary key, which holds every bucket of the pod: the index has the open ones.
    rows = store.rows("SELECT * FROM bucket WHERE sealed = 0 AND +pod = ? AND hour > ?", store.pod, after)
    moved = 0
    for row in rows:
        dimension, hour, tag_set = int(row["dimension"]), Hour(row["hour"]), int(row["tag_set"])
        heir = store.heir(dimension)
        target = store.first_open(heir, hour_of_micros(now))
        if target < hour:
            quantity = read_bucket(row).quantity
            close(store, Move(CarryCause.AHEAD, None, store.pod, hour, target, heir, tag_set, quantity, dimension), now)
            moved += 1
    return moved


def add_moved(store: Store, move: Move) -> None:
    """Count a quantity as gone from its bucket, of whichever pod."""
    key = (move.from_pod, move.source, move.from_hour, move.tag_set)
    where = "pod = ? AND dimension = ? AND hour = ? AND tag_set = ?"
    moved = parse_signed(store.one(f"SELECT moved FROM bucket WHERE {where}", *key)["moved"])
    store.connection.execute(f"UPDATE bucket SET moved = ? WHERE {where}", (render(moved + move.quantity), *key))


def insert_record(
    store: Store,
    dimension: int,
    hour: Hour,
    sealed: Seal,
    quantity_kind: QuantityKind,
    remainder: int,
    *,
    now: int,
    token: str,
) -> int:
    """Freeze what a seal made, or a start probe, in the slot of its hour; return the record's number.

    The allocations are the caller's to write.
    """
    first_seen = store.one("SELECT first_seen_at FROM pod WHERE id = ?", store.pod)["first_seen_at"]
    # AWS refuses usage dated before the software started; inside the hour the time makes no difference to the slot.
    began_within = hour_of_micros(first_seen) == hour and first_seen <= now
    cursor = store.connection.execute(
        "INSERT INTO record (pod, dimension, hour, kind, status, quantity, whole, gathered, remainder_before,"
        " remainder_after, excess, folded, client_token, timestamp, sealed_at)"
        " VALUES (?, ?, ?, 'slot', 'sealed', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            store.pod,
            dimension,
            hour,
            render(sealed.quantity),
            quantity_kind is QuantityKind.INTEGER,
            render(sealed.gathered),
            render(remainder),
            render(sealed.remainder),
            render(sum(sealed.excess.values())),
            sealed.folded,
            token,
            first_seen if began_within else hour * 1_000_000,
            now,
        ),
    )
    return int(cursor.lastrowid or 0)


def waiting(store: Store) -> list[Record]:
    """Return this pod's sealed records, oldest hour first; the start probe is sent apart from them."""
    rows = store.rows("SELECT * FROM named_record WHERE status = 'sealed' AND pod = ? ORDER BY hour, name", store.pod)
    return [read_record(row) for row in rows if not is_probe(row["client_token"])]


def read_record(row: sqlite3.Row) -> Record:
    """Return the record that a row of the table, joined with its dimension, describes."""
    return Record(
        seq=row["seq"],
        dimension=row["name"],
        hour=Hour(row["hour"]),
        quantity=parse_signed(row["quantity"]),
        timestamp=from_micros(row["timestamp"]),
        attempts=row["attempts"],
        unanswered=row["unanswered"],
        product_code=row["product_code"],
    )


def begin(store: Store, record: Record, now: int) -> FrozenRecord | None:
    """Count an attempt before it is made and return what to send; None when the record no longer waits."""
    # The clock may be set between two attempts: the latest one counts, unless one was before the seal, which shows it.
    changed = store.connection.execute(
        "UPDATE record SET attempts = attempts + 1, unanswered = unanswered + 1, attempted_at = CASE"
        " WHEN min(?1, ifnull(attempted_at, ?1)) < sealed_at THEN min(?1, ifnull(attempted_at, ?1))"
        " ELSE max(?1, ifnull(attempted_at, ?1)) END WHERE seq = ?2 AND status = 'sealed'",
        (now, record.seq),
    ).rowcount
    if not changed:
        return None
    row = store.one("SELECT * FROM record WHERE seq = ?", record.seq)
    shares = store.tuples("SELECT tags, quantity FROM tagged_allocation WHERE record = ? ORDER BY tag_set", record.seq)
    tags = read_many_tags(text for text, _ in shares)
    allocations = [(each, parse_signed(quantity)) for each, (_, quantity) in zip(tags, shares, strict=True)]
    return FrozenRecord(
        unanswered=row["unanswered"],
        whole=bool(row["whole"]),
        client_token=row["client_token"],
        allocations=tuple(allocations),
    )


def record_outcome(store: Store, record: Record, fate: Fate, answer: Answer, now: int) -> Hour | None:
    """Record what became of a sealed record; the hour it was carried to, if it was."""
    row = store.connection.execute(
        "SELECT pod, dimension FROM record WHERE seq = ? AND status = 'sealed'", (record.seq,)
    ).fetchone()
    if row is None:
        return None
    dimension = int(row["dimension"])
    match fate:
        case Wait(unanswered=unanswered):
            store.connection.execute(
                "UPDATE record SET unanswered = ?, answer = ? WHERE seq = ?", (unanswered, answer.words, record.seq)
            )
        case Accept():
            store.connection.execute(
                "UPDATE record SET status = 'accepted', unanswered = 0, answer = ?, metering_record_id = ?,"
                " request_id = ?, settled_at = ? WHERE seq = ?",
                (answer.words, answer.metering_record_id, answer.request_id, now, record.seq),
            )
            store.add_to(dimension, "submitted", record.quantity)
            note_record(store, record.seq)
        case MarkUnbilled(reason=reason):
            store.connection.execute(
                "UPDATE record SET status = 'unbilled', reason = ?, answer = ?, settled_at = ? WHERE seq = ?",
                (reason, answer.words, now, record.seq),
            )
            store.add_to(dimension, "unbilled", record.quantity)
        case Carry(cause=cause):
            heir = store.heir(dimension)
            target = store.first_open(heir, hour_of_micros(now))
            store.connection.execute(
                "UPDATE record SET status = 'carried', answer = ?, settled_at = ?, carried_to = ? WHERE seq = ?",
                (answer.words, now, target, record.seq),
            )
            whole = Move(cause, record.seq, row["pod"], record.hour, target, heir, 0, record.quantity, dimension)
            carry_record(store, whole, now)
            return target
    return None


def carry_record(store: Store, whole: Move, now: int) -> None:
    """Carry a record's quantity, by its tag sets where it has allocations.

    Args:
        store: The ledger.
        whole: The move of the record as if it were untagged.
        now: Epoch microseconds.
    """
    if not store.carry_allocations(whole, now) and whole.quantity:
        store.carry(whole, now)

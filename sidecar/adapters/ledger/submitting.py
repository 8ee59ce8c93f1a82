"""Records on their way to AWS: sealed hours, counted attempts, settled answers.

Every function is one step inside a transaction of the caller's; what it decides comes from the domain.
"""

from collections.abc import Callable
from dataclasses import replace

from sidecar.adapters.ledger.store import Move, Store, read_bucket, read_tags
from sidecar.domain.hours import Hour, from_micros, hour_of_micros, next_hour
from sidecar.domain.policy import QuantityKind
from sidecar.domain.quantity import exact, render
from sidecar.domain.records import Accept, Answer, Carry, Fate, FrozenRecord, Record, SealedHour, Wait, Write
from sidecar.domain.rules import MeteringRules
from sidecar.domain.sealing import Seal, seal
from sidecar.domain.usage import Tags


def witness(store: Store, hour: Hour) -> None:
    """Note that `hour` is to be reported even if nothing is used in it."""
    store.connection.execute("INSERT INTO witnessed_hour VALUES (?, ?) ON CONFLICT DO NOTHING", (store.pod, hour))


def sealable(store: Store, rules: MeteringRules, *, before: Hour, zero_from: Hour, now: int) -> list[tuple[Hour, str]]:
    """Return the (hour, dimension) pairs to seal among the hours earlier than `before`, oldest first.

    An hour without events is named only when it was witnessed, is `zero_from` or later, and has ended.
    """
    found = {
        (Hour(row["hour"]), str(row["name"]))
        for row in store.rows(
            "SELECT DISTINCT hour, name FROM bucket JOIN dimension ON dimension.id = bucket.dimension"
            " WHERE sealed = 0 AND pod = ? AND hour < ?",
            store.pod,
            before,
        )
    }
    ended = min(before, hour_of_micros(now))
    for row in store.rows(
        "SELECT hour FROM witnessed_hour WHERE pod = ? AND hour < ? AND hour >= ?", store.pod, ended, zero_from
    ):
        hour = Hour(row["hour"])
        found |= {(hour, name) for name in rules.dimensions if not store.is_sealed(store.dimension(name), hour)}
    return sorted(found)


def forget_witnessed(store: Store, *, before: Hour) -> None:
    """Drop the notes of hours earlier than `before`: their zeros were sealed, or can no longer be sent."""
    store.connection.execute("DELETE FROM witnessed_hour WHERE pod = ? AND hour < ?", (store.pod, before))


def seal_hour(
    store: Store, name: str, hour: Hour, rules: MeteringRules, *, now: int, new_token: Callable[[], str]
) -> SealedHour | None:
    """Freeze one dimension's hour into its record; None when there is nothing to send.

    Args:
        store: The ledger.
        name: The dimension.
        hour: The hour to close; once it has ended and was witnessed, a record of nothing is sent too.
        rules: The product's.
        now: Epoch microseconds.
        new_token: Makes the record's client token.
    """
    dimension = store.dimension(name)
    witnessed = store.rows("SELECT 1 FROM witnessed_hour WHERE pod = ? AND hour = ?", store.pod, hour)
    zero = bool(witnessed) and hour < hour_of_micros(now)
    buckets = {
        read_tags(row["tags"]): (int(row["tag_set"]), read_bucket(row).quantity)
        for row in store.rows(
            "SELECT * FROM bucket JOIN tag_set ON tag_set.id = bucket.tag_set"
            " WHERE sealed = 0 AND pod = ? AND dimension = ? AND hour = ?",
            store.pod,
            dimension,
            hour,
        )
    }
    remainder = exact(store.one("SELECT remainder FROM dimension WHERE id = ?", dimension)["remainder"])
    sealed = seal({tags: quantity for tags, (_, quantity) in buckets.items()}, remainder=remainder, kind=rules.kind)
    if not sealed.quantity and not zero:
        _close_unsent(store, dimension, hour, list(buckets.values()), now)
        return None
    seq = _insert_record(store, dimension, hour, sealed, rules, remainder, now=now, token=new_token())
    store.connection.execute(
        "UPDATE bucket SET sealed = 1, record = ? WHERE sealed = 0 AND pod = ? AND dimension = ? AND hour = ?",
        (seq, store.pod, dimension, hour),
    )
    store.add_to(dimension, "remainder", sealed.remainder - remainder)
    if sealed.excess:
        target = store.first_open(dimension, next_hour(hour))
        for tags, quantity in sealed.excess.items():
            move = Move("over-limit", seq, store.pod, hour, target, dimension, store.tag_set(tags), quantity)
            store.carry(move, now)
    return SealedHour(name, hour, sealed)


def _close_unsent(store: Store, dimension: int, hour: Hour, shares: list[tuple[int, int]], now: int) -> None:
    """Close an hour that sends nothing: fractions below one unit move to the next hour."""
    store.connection.execute(
        "UPDATE bucket SET sealed = 1 WHERE sealed = 0 AND pod = ? AND dimension = ? AND hour = ?",
        (store.pod, dimension, hour),
    )
    target = store.first_open(dimension, next_hour(hour))
    for tag_set, quantity in shares:
        if quantity:
            move_out(store, Move("fraction", None, store.pod, hour, target, dimension, tag_set, quantity), now)


def bring_back(store: Store, *, after: Hour, now: int) -> int:
    """Move what lies open in hours later than `after` into the current one; how many buckets that were.

    Such hours come from a clock that was ahead and has gone back; waiting for them could take for ever.
    """
    rows = store.rows("SELECT * FROM bucket WHERE sealed = 0 AND pod = ? AND hour > ?", store.pod, after)
    moved = 0
    for row in rows:
        dimension, hour = int(row["dimension"]), Hour(row["hour"])
        target = store.first_open(dimension, hour_of_micros(now))
        quantity = read_bucket(row).quantity
        if target < hour:
            store.connection.execute(
                "UPDATE bucket SET sealed = 1 WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
                (store.pod, dimension, hour, row["tag_set"]),
            )
            if quantity:
                move_out(store, Move("ahead", None, store.pod, hour, target, dimension, row["tag_set"], quantity), now)
            moved += 1
    return moved


def move_out(store: Store, move: Move, now: int) -> None:
    """Move a quantity from a bucket, of whichever pod, into another hour of this pod."""
    key = (move.from_pod, move.dimension, move.from_hour, move.tag_set)
    where = "pod = ? AND dimension = ? AND hour = ? AND tag_set = ?"
    moved = exact(store.one(f"SELECT moved FROM bucket WHERE {where}", *key)["moved"])
    store.connection.execute(
        f"UPDATE bucket SET moved = ? WHERE {where}",
        (render(moved + move.quantity), *key),
    )
    store.carry(move, now)


def _insert_record(
    store: Store,
    dimension: int,
    hour: Hour,
    sealed: Seal,
    rules: MeteringRules,
    remainder: int,
    *,
    now: int,
    token: str,
) -> int:
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
            rules.kind is QuantityKind.INTEGER,
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
    seq = int(cursor.lastrowid or 0)
    store.connection.executemany(
        "INSERT INTO allocation VALUES (?, ?, ?)",
        [(seq, store.tag_set(tags), render(quantity)) for tags, quantity in sealed.allocations.items()],
    )
    return seq


def waiting(store: Store) -> list[Record]:
    """Return this pod's sealed records, oldest hour first."""
    rows = store.rows(
        "SELECT record.*, name FROM record JOIN dimension ON dimension.id = record.dimension"
        " WHERE status = 'sealed' AND pod = ? ORDER BY hour, name",
        store.pod,
    )
    return [
        Record(
            seq=row["seq"],
            dimension=row["name"],
            hour=Hour(row["hour"]),
            quantity=exact(row["quantity"]),
            timestamp=from_micros(row["timestamp"]),
            attempts=row["attempts"],
            unanswered=row["unanswered"],
        )
        for row in rows
    ]


def begin(store: Store, record: Record, now: int) -> FrozenRecord | None:
    """Count an attempt before it is made and return what to send; None when the record no longer waits."""
    changed = store.connection.execute(
        "UPDATE record SET attempts = attempts + 1, unanswered = unanswered + 1, attempted_at = ?"
        " WHERE seq = ? AND status = 'sealed'",
        (now, record.seq),
    ).rowcount
    if not changed:
        return None
    row = store.one("SELECT * FROM record WHERE seq = ?", record.seq)
    allocations: list[tuple[Tags, int]] = [
        (read_tags(share["tags"]), exact(share["quantity"]))
        for share in store.rows(
            "SELECT tags, quantity FROM allocation JOIN tag_set ON tag_set.id = allocation.tag_set WHERE record = ?"
            " ORDER BY allocation.tag_set",
            record.seq,
        )
    ]
    return FrozenRecord(
        unanswered=row["unanswered"],
        whole=bool(row["whole"]),
        client_token=row["client_token"],
        allocations=tuple(allocations),
    )


def settle(store: Store, record: Record, fate: Fate, answer: Answer, now: int) -> Hour | None:
    """Write what became of a sealed record; the hour it was carried to, if it was."""
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
        case Write(reason=reason):
            store.connection.execute(
                "UPDATE record SET status = 'unbilled', reason = ?, answer = ?, settled_at = ? WHERE seq = ?",
                (reason, answer.words, now, record.seq),
            )
            store.add_to(dimension, "unbilled", record.quantity)
        case Carry(cause=cause):
            target = store.first_open(dimension, hour_of_micros(now))
            store.connection.execute(
                "UPDATE record SET status = 'carried', answer = ?, settled_at = ?, carried_to = ? WHERE seq = ?",
                (answer.words, now, target, record.seq),
            )
            whole = Move(cause, record.seq, row["pod"], record.hour, target, dimension, 0, record.quantity)
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
    shares = store.rows("SELECT tag_set, quantity FROM allocation WHERE record = ?", whole.record)
    parts = [(int(share["tag_set"]), exact(share["quantity"])) for share in shares] or [(0, whole.quantity)]
    for tag_set, part in parts:
        if part:
            store.carry(replace(whole, tag_set=tag_set, quantity=part), now)

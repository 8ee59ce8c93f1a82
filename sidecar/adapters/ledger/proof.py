"""The conservation law, proved from the ledger.

`terms` is quick and rests on running totals, for start-up and every status. `breaches` goes through the rows
themselves and names the ones that do not agree with what they are made of.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from sidecar.adapters.ledger.store import read_bucket
from sidecar.domain import timestamps
from sidecar.domain.hours import Hour, start_of
from sidecar.domain.quantity import MILLION, exact, render
from sidecar.domain.status import Terms

Key = TypeVar("Key")


def terms(connection: sqlite3.Connection, known: Mapping[int, int] | None = None) -> dict[str, Terms]:
    """Return the terms of the law by dimension.

    Args:
        connection: Inside a transaction.
        known: What lies in open buckets by the row of its dimension, where that is known; else the rows are added up.
    """
    opened: defaultdict[int, int] = defaultdict(int, known or {})
    if known is None:
        for row in connection.execute("SELECT * FROM bucket WHERE sealed = 0"):
            opened[row["dimension"]] += read_bucket(row).quantity
    sealed = _sum(connection, "SELECT dimension, quantity FROM record WHERE status = 'sealed'")
    return {
        row["name"]: Terms(
            accepted=exact(row["accepted"]),
            open=opened[row["id"]],
            sealed=sealed[row["id"]],
            submitted=exact(row["submitted"]),
            unbilled=exact(row["unbilled"]),
            remainder=exact(row["remainder"]),
        )
        for row in connection.execute("SELECT * FROM dimension ORDER BY name")
    }


def proved_terms(connection: sqlite3.Connection) -> dict[str, Terms]:
    """Return the terms of the law by dimension as the rows make them, with what pruned rows took along."""
    own = _sum(connection, "SELECT dimension, own AS quantity FROM bucket")
    submitted = _sum(connection, "SELECT dimension, quantity FROM record WHERE status = 'accepted'")
    unbilled = _sum(connection, "SELECT dimension, quantity FROM record WHERE status = 'unbilled'")
    kept = terms(connection)
    return {
        row["name"]: replace(
            kept[row["name"]],
            accepted=own[row["id"]] + exact(row["pruned_own"]),
            submitted=submitted[row["id"]] + exact(row["pruned_submitted"]),
            unbilled=unbilled[row["id"]],
        )
        for row in connection.execute("SELECT * FROM dimension ORDER BY name")
    }


def proved_from(connection: sqlite3.Connection) -> int:
    """Return the hour from which on the buckets are all there; earlier ones have been pruned into the totals."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'proved-from'").fetchone()
    return 0 if row is None else int(row["value"])


def breaches(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each row or total that is not what its parts make it; nothing when the ledger is sound.

    Run it inside one read transaction, so that every query sees the same instant.
    """
    names = {row["id"]: row["name"] for row in connection.execute("SELECT id, name FROM dimension")}
    yield from _broken_buckets(connection, names)
    yield from _broken_records(connection, names)
    yield from _broken_totals(connection)
    for name, found in terms(connection).items():
        if not found.balanced:
            parts = found.open + found.sealed + found.submitted + found.unbilled + found.remainder
            yield f"dimension {name}: accepted {render(found.accepted)} but its parts make {render(parts)}"


def event_breaches(connection: sqlite3.Connection, summed: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each bucket that does not agree with the events that were counted in it.

    A bucket knows how many events it took, and what those dropped since had made of it, so that no clock is needed to
    tell an event that was dropped in its time from one that is missing.

    Args:
        connection: Inside a read transaction.
        summed: The dimensions whose aggregation is `sum`; of others only the events' number can be proved.
    """
    kept: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0])
    # Whole units and fractions apart: an hour's millionths may not fit SQLite's integers.
    for row in connection.execute(
        "SELECT pod, dimension, hour, tag_set, count(*) AS events, sum(millionths / 1000000) AS whole,"
        " sum(millionths % 1000000) AS fraction FROM event GROUP BY pod, dimension, hour, tag_set"
    ):
        kept[tuple(row)[:4]] = [row["events"], row["whole"] * MILLION + row["fraction"]]
    for row in connection.execute("SELECT * FROM dropped_events"):
        made = kept[tuple(row)[:4]]
        made[0] += row["events"]
        made[1] += exact(row["quantity"])
    horizon = proved_from(connection)
    for row in connection.execute(
        "SELECT bucket.*, name FROM bucket JOIN dimension ON dimension.id = bucket.dimension WHERE hour >= ?"
        " ORDER BY hour, bucket.dimension, pod, tag_set",
        (horizon,),
    ):
        events, quantity = kept.pop((row["pod"], row["dimension"], row["hour"], row["tag_set"]), (0, 0))
        where = f"bucket {row['name']} {_hour(row['hour'])} tag set {row['tag_set']}"
        if events != row["events"]:
            yield f"{where}: counted {row['events']} events but {events} are there or were dropped in their time"
        elif row["name"] in summed and quantity != exact(row["own"]):
            yield f"{where}: counted {row['own']} but its events make {render(quantity)}"
    for _, dimension, hour, tag_set in sorted(key for key in kept if key[2] >= horizon):
        yield f"events of dimension {dimension} {_hour(hour)} tag set {tag_set} are there but their bucket is not"


def _broken_buckets(connection: sqlite3.Connection, names: dict[int, str]) -> Iterator[str]:
    carried = _sum_by(
        connection, "SELECT to_pod, dimension, to_hour, tag_set, quantity FROM carry", lambda row: tuple(row)[:4]
    )
    horizon = proved_from(connection)
    for row in connection.execute("SELECT * FROM bucket WHERE hour >= ? ORDER BY hour, dimension", (horizon,)):
        bucket = read_bucket(row)
        entries = carried[row["pod"], row["dimension"], row["hour"], row["tag_set"]]
        where = f"bucket {names[row['dimension']]} {_hour(row['hour'])} tag set {row['tag_set']}"
        if bucket.carried != entries:
            yield f"{where}: carried in {render(bucket.carried)} but the entries make {render(entries)}"
        if bucket.quantity < 0:
            yield f"{where}: its quantity {render(bucket.quantity)} is negative"
    moved = _sum_by(
        connection, "SELECT pod, dimension, hour, moved AS quantity FROM bucket", lambda row: tuple(row)[:3]
    )
    gone = _sum_by(
        connection,
        "SELECT from_pod, dimension, from_hour, quantity FROM carry WHERE record IS NULL"
        " UNION ALL SELECT pod, dimension, hour, quantity FROM record WHERE kind = 'late'",
        lambda row: tuple(row)[:3],
    )
    for key in sorted(moved.keys() | gone.keys()):
        if key[2] >= horizon and moved[key] != gone[key]:
            where = f"buckets {names[key[1]]} {_hour(key[2])}"
            yield f"{where}: moved out {render(moved[key])} but the entries make {render(gone[key])}"


def _broken_records(connection: sqlite3.Connection, names: dict[int, str]) -> Iterator[str]:
    gathered: dict[int, int] = defaultdict(int)
    for row in connection.execute("SELECT * FROM bucket WHERE record IS NOT NULL"):
        gathered[row["record"]] += read_bucket(row).quantity
    shares = _sum_by(connection, "SELECT record, quantity FROM allocation", lambda row: row["record"])
    carried = _sum_by(
        connection,
        "SELECT record, cause, quantity FROM carry WHERE record IS NOT NULL",
        lambda row: (row["record"], row["cause"] == "over-limit"),
    )
    audited = {row["record"] for row in connection.execute("SELECT record FROM audit")}
    horizon = proved_from(connection)
    for row in connection.execute("SELECT * FROM record WHERE hour >= ? ORDER BY seq", (horizon,)):
        seq, quantity, excess = row["seq"], exact(row["quantity"]), exact(row["excess"])
        where = f"record {seq} ({names[row['dimension']]} {_hour(row['hour'])})"
        if row["kind"] == "slot" and gathered[seq] != exact(row["gathered"]):
            yield f"{where}: gathered {row['gathered']} but its buckets make {render(gathered[seq])}"
        kept = quantity + exact(row["remainder_after"]) + excess
        if exact(row["gathered"]) + exact(row["remainder_before"]) != kept:
            yield f"{where}: what it gathered and what became of it differ"
        if seq in shares and shares[seq] != quantity:
            yield f"{where}: quantity {row['quantity']} but its allocations make {render(shares[seq])}"
        if carried[seq, True] != excess:
            yield f"{where}: excess {row['excess']} but {render(carried[seq, True])} was carried on"
        moved = quantity if row["status"] == "carried" else 0
        if carried[seq, False] != moved:
            yield f"{where}: {row['status']}, but {render(carried[seq, False])} of it was carried on"
        if row["status"] == "accepted" and not row["metering_record_id"]:
            yield f"{where}: accepted without a metering record id"
        if bool(row["resolved"]) != (seq in audited):
            yield f"{where}: resolved by hand, or not, otherwise than the audit trail says"


def _broken_totals(connection: sqlite3.Connection) -> Iterator[str]:
    kept = terms(connection)
    for name, proved in proved_terms(connection).items():
        for term in ("accepted", "submitted", "unbilled"):
            total, quantity = getattr(kept[name], term), getattr(proved, term)
            if total != quantity:
                yield f"dimension {name}: {term} is {render(total)} but the rows make {render(quantity)}"


def _sum(connection: sqlite3.Connection, statement: str) -> defaultdict[int, int]:
    return _sum_by(connection, statement, lambda row: int(row["dimension"]))


def _sum_by(connection: sqlite3.Connection, statement: str, key: Callable[[sqlite3.Row], Key]) -> defaultdict[Key, int]:
    sums: defaultdict[Key, int] = defaultdict(int)
    for row in connection.execute(statement):
        sums[key(row)] += exact(row["quantity"])
    return sums


def _hour(hour: int) -> str:
    return timestamps.render(start_of(Hour(hour)))

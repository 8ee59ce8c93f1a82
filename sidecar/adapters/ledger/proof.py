"""The conservation law, proved from the ledger.

`terms` is quick and rests on running totals, for start-up and every status. `breaches` goes through the rows
themselves and names the ones that do not agree with what they are made of.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from sidecar.adapters.ledger.store import read_bucket
from sidecar.domain import timestamps
from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.hours import Hour, start_of
from sidecar.domain.metering.quantity import MILLION, parse_signed, render
from sidecar.domain.status import Terms

Key = TypeVar("Key")


def terms(connection: sqlite3.Connection, known: Mapping[int, int] | None = None) -> dict[str, Terms]:
    """Return the terms of the law by dimension, whatever the products and terms under which it was metered.

    Args:
        connection: Inside a transaction.
        known: What lies in open buckets by the row of its dimension, where that is known; else the rows are added up.
    """
    return _by_name(_kept_terms(connection, known))


def proved_terms(connection: sqlite3.Connection) -> dict[str, Terms]:
    """Return the terms of the law by dimension as the rows make them, with what pruned rows took along."""
    return _by_name(_row_terms(connection, _kept_terms(connection)))


_ByRow = dict[int, tuple[str, Terms]]
"""Name and terms by the row of the dimension: one for each name, product code, aggregation and quantity kind."""


def _by_name(found: _ByRow) -> dict[str, Terms]:
    # Quantities are carried from one row of a name to another, so only the sums over a name are the law's.
    summed: dict[str, Terms] = {}
    for name, each in sorted(found.values(), key=lambda row: row[0]):
        before = summed.get(name, Terms())
        summed[name] = Terms(**{term: getattr(before, term) + getattr(each, term) for term in Terms.__slots__})
    return summed


def _kept_terms(connection: sqlite3.Connection, known: Mapping[int, int] | None = None) -> _ByRow:
    opened: defaultdict[int, int] = defaultdict(int, known or {})
    if known is None:
        for row in connection.execute("SELECT * FROM bucket WHERE sealed = 0"):
            opened[row["dimension"]] += read_bucket(row).quantity
    sealed = _sum(connection, "SELECT dimension, quantity FROM record WHERE status = 'sealed'")
    return {
        row["id"]: (
            row["name"],
            Terms(
                accepted=parse_signed(row["accepted"]),
                open=opened[row["id"]],
                sealed=sealed[row["id"]],
                submitted=parse_signed(row["submitted"]),
                unbilled=parse_signed(row["unbilled"]),
                remainder=parse_signed(row["remainder"]),
            ),
        )
        for row in connection.execute("SELECT * FROM dimension ORDER BY name, id")
    }


def _row_terms(connection: sqlite3.Connection, kept: _ByRow) -> _ByRow:
    own = _sum(connection, "SELECT dimension, own AS quantity FROM bucket")
    submitted = _sum(connection, "SELECT dimension, quantity FROM record WHERE status = 'accepted'")
    unbilled = _sum(connection, "SELECT dimension, quantity FROM record WHERE status = 'unbilled'")
    return {
        row["id"]: (
            row["name"],
            replace(
                kept[row["id"]][1],
                accepted=own[row["id"]] + parse_signed(row["pruned_own"]),
                submitted=submitted[row["id"]] + parse_signed(row["pruned_submitted"]),
                unbilled=unbilled[row["id"]],
            ),
        )
        for row in connection.execute("SELECT * FROM dimension")
    }


def summed_dimensions(connection: sqlite3.Connection) -> list[str]:
    """Return the dimensions of which every event is proved by its quantity: those that were never anything but sums."""
    rows = connection.execute("SELECT name FROM dimension GROUP BY name HAVING min(aggregation IS 'sum') ORDER BY name")
    return [row["name"] for row in rows]


def proved_from(connection: sqlite3.Connection) -> int:
    """Return the hour from which on the buckets are all there; earlier ones have been pruned into the totals."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'proved-from'").fetchone()
    return 0 if row is None else int(row["value"])


def breaches(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each row or total that is not what its parts make it; nothing when the ledger is sound.

    Run it inside one read transaction: every query must see the same instant.
    """
    names = {row["id"]: row["name"] for row in connection.execute("SELECT id, name FROM dimension")}
    yield from _broken_buckets(connection, names)
    yield from _broken_records(connection, names)
    yield from _broken_totals(connection)
    for name, found in terms(connection).items():
        if not found.balanced:
            parts = found.open + found.sealed + found.submitted + found.unbilled + found.remainder
            yield f"dimension {name}: accepted {render(found.accepted)} but its parts make {render(parts)}"


def event_breaches(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each bucket that does not agree with the events that were counted in it.

    A bucket holds the number of its events and the sum of those dropped since. So no clock is needed to distinguish an
    event that was dropped in its time from one that is missing. Of buckets with another aggregation than `sum` only the
    number of events can be proved.
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
        made[1] += parse_signed(row["quantity"])
    horizon = proved_from(connection)
    for row in connection.execute(
        "SELECT * FROM named_bucket WHERE hour >= ? ORDER BY hour, dimension, pod, tag_set", (horizon,)
    ):
        events, quantity = kept.pop((row["pod"], row["dimension"], row["hour"], row["tag_set"]), (0, 0))
        where = f"bucket {row['name']} {_hour(row['hour'])} tag set {row['tag_set']}"
        if events != row["events"]:
            yield f"{where}: counted {row['events']} events but {events} are there or were dropped in their time"
        elif row["aggregation"] == Aggregation.SUM and quantity != parse_signed(row["own"]):
            yield f"{where}: counted {row['own']} but its events make {render(quantity)}"
    for _, dimension, hour, tag_set in sorted(key for key in kept if key[2] >= horizon):
        yield f"events of dimension {dimension} {_hour(hour)} tag set {tag_set} are there but their bucket is not"


def _broken_buckets(connection: sqlite3.Connection, names: dict[int, str]) -> Iterator[str]:
    carried = _sum_by(
        connection, "SELECT to_pod, dimension, to_hour, tag_set, quantity FROM movement", lambda row: tuple(row)[:4]
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
        "SELECT from_pod, from_dimension, from_hour, quantity FROM movement WHERE record IS NULL"
        " UNION ALL SELECT pod, dimension, hour, gathered FROM record WHERE kind IN ('late', 'unsent')",
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
        "SELECT record, cause, quantity FROM movement WHERE record IS NOT NULL",
        lambda row: (row["record"], row["cause"] == "over-limit"),
    )
    audited = {row["record"] for row in connection.execute("SELECT record FROM audit")}
    horizon = proved_from(connection)
    for row in connection.execute("SELECT * FROM record WHERE hour >= ? ORDER BY seq", (horizon,)):
        seq, quantity, excess = row["seq"], parse_signed(row["quantity"]), parse_signed(row["excess"])
        where = f"record {seq} ({names[row['dimension']]} {_hour(row['hour'])})"
        if row["kind"] == "slot" and gathered[seq] != parse_signed(row["gathered"]):
            yield f"{where}: gathered {row['gathered']} but its buckets make {render(gathered[seq])}"
        kept = quantity + parse_signed(row["remainder_after"]) + excess
        if parse_signed(row["gathered"]) + parse_signed(row["remainder_before"]) != kept:
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
    kept = _kept_terms(connection)
    for dimension, (name, proved) in _row_terms(connection, kept).items():
        for term in ("accepted", "submitted", "unbilled"):
            total, quantity = getattr(kept[dimension][1], term), getattr(proved, term)
            if total != quantity:
                yield f"dimension {name}: {term} is {render(total)} but the rows make {render(quantity)}"


def _sum(connection: sqlite3.Connection, statement: str) -> defaultdict[int, int]:
    return _sum_by(connection, statement, lambda row: int(row["dimension"]))


def _sum_by(connection: sqlite3.Connection, statement: str, key: Callable[[sqlite3.Row], Key]) -> defaultdict[Key, int]:
    sums: defaultdict[Key, int] = defaultdict(int)
    for row in connection.execute(statement):
        sums[key(row)] += parse_signed(row["quantity"])
    return sums


def _hour(hour: int) -> str:
    return timestamps.render(start_of(Hour(hour)))

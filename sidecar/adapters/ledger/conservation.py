"""The conservation law, proved from the ledger.

`terms` is quick and rests on running totals, for start-up and every status. `breaches` goes through the rows
themselves and names the ones that do not agree with what they are made of.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from sidecar.adapters.ledger.merging import Following, Key, in_pairs, plain_rows, sums
from sidecar.adapters.ledger.store import read_bucket, recall
from sidecar.domain import timestamps
from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.hours import Hour, start_of
from sidecar.domain.metering.quantity import MILLION, parse_signed, render
from sidecar.domain.status import Terms


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
    return int(recall(connection, "proved-from") or 0)


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
    horizon = proved_from(connection)
    for row in connection.execute(f"{_KEPT_EVENTS} {_DOUBTFUL_BUCKETS}", (horizon,)):
        events = row["kept"] + row["dropped"]
        # Whole units and fractions apart: an hour's millionths may not fit SQLite's integers.
        quantity = row["units"] * MILLION + row["fraction"] + parse_signed(row["quantity"])
        where = f"bucket {row['name']} {_hour(row['hour'])} tag set {row['tag_set']}"
        if events != row["events"]:
            yield f"{where}: counted {row['events']} events but {events} are there or were dropped in their time"
        elif row["aggregation"] == Aggregation.SUM and quantity != parse_signed(row["own"]):
            yield f"{where}: counted {row['own']} but its events make {render(quantity)}"
    for row in connection.execute(f"{_KEPT_EVENTS} {_LOST_BUCKETS}", (horizon,)):
        where = f"events of dimension {row['dimension']} {_hour(row['hour'])} tag set {row['tag_set']}"
        yield f"{where} are there but their bucket is not"


_SLOT = ("pod", "dimension", "hour", "tag_set")
_SAME_SLOT = " AND ".join(f"{{0}}.{column} = bucket.{column}" for column in _SLOT)
_KEPT_EVENTS = """
    WITH kept AS (
        SELECT pod, dimension, hour, tag_set, count(*) AS events, sum(millionths / 1000000) AS units,
            sum(millionths % 1000000) AS fraction
        FROM whole_event GROUP BY pod, dimension, hour, tag_set
    )"""
_DOUBTFUL_BUCKETS = f"""
    SELECT bucket.*, name, aggregation, ifnull(kept.events, 0) AS kept, ifnull(units, 0) AS units,
        ifnull(fraction, 0) AS fraction, ifnull(dropped.events, 0) AS dropped, ifnull(dropped.quantity, '0') AS quantity
    FROM bucket CROSS JOIN dimension ON dimension.id = bucket.dimension
        LEFT JOIN dropped_events AS dropped ON {_SAME_SLOT.format("dropped")}
        LEFT JOIN kept ON {_SAME_SLOT.format("kept")}
    WHERE bucket.hour >= ? AND NOT (kept.events IS NULL AND bucket.events = ifnull(dropped.events, 0)
        AND (aggregation IS NOT 'sum' OR own = ifnull(dropped.quantity, '0')))
    ORDER BY bucket.hour, bucket.dimension, bucket.pod, bucket.tag_set"""
"""Buckets with whole events, or that do not agree letter by letter with what was dropped of them: few of a year's."""
_LOST_BUCKETS = " UNION ".join(
    f"SELECT pod, dimension, hour, tag_set FROM {table} AS known WHERE hour >= ?1 AND NOT EXISTS"
    f" (SELECT 1 FROM bucket WHERE {_SAME_SLOT.format('known')})"
    for table in ("kept", "dropped_events")
)


def _broken_buckets(connection: sqlite3.Connection, names: dict[int, str]) -> Iterator[str]:
    horizon = proved_from(connection)
    broken = sorted(_broken_quantities(connection, horizon))
    for hour, dimension, _, tag_set, sentence in broken:
        yield f"bucket {names[dimension]} {_hour(hour)} tag set {tag_set}: {sentence}"
    moved = plain_rows(
        connection, "SELECT pod, dimension, hour, moved FROM bucket WHERE moved <> '0' ORDER BY pod, dimension, hour"
    )
    gone = plain_rows(
        connection,
        "SELECT from_pod, from_dimension, from_hour, quantity FROM movement WHERE record IS NULL"
        " UNION ALL SELECT pod, dimension, hour, gathered FROM record WHERE kind IN ('late', 'unsent')"
        " ORDER BY 1, 2, 3",
    )
    for (_, dimension, hour), here, there in in_pairs(sums(moved, 3), sums(gone, 3)):
        if hour >= horizon and here != there:
            where = f"buckets {names[dimension]} {_hour(hour)}"
            yield f"{where}: moved out {render(here)} but the entries make {render(there)}"


def _broken_quantities(connection: sqlite3.Connection, horizon: int) -> Iterator[tuple[int, int, int, int, str]]:
    """Yield hour, dimension, pod and tag set of each bucket whose parts are wrong, and what is wrong with them."""
    # A bucket without a carried or moved quantity has nothing that could disagree, unless an entry is there for it.
    held = plain_rows(
        connection, "SELECT pod, dimension, hour, tag_set, carried FROM bucket WHERE carried <> '0' ORDER BY 1, 2, 3, 4"
    )
    entered = plain_rows(
        connection, "SELECT to_pod, dimension, to_hour, tag_set, quantity FROM movement ORDER BY 1, 2, 3, 4"
    )
    for (pod, dimension, hour, tag_set), carried, entries in in_pairs(sums(held, 4), sums(entered, 4)):
        if carried != entries and hour >= horizon and _is_there(connection, pod, dimension, hour, tag_set):
            sentence = f"carried in {render(carried)} but the entries make {render(entries)}"
            yield hour, dimension, pod, tag_set, sentence
    for row in connection.execute(
        "SELECT * FROM bucket WHERE hour >= ? AND (moved <> '0' OR carried GLOB '-*' OR own GLOB '-*')", (horizon,)
    ):
        quantity = read_bucket(row).quantity
        if quantity < 0:
            sentence = f"its quantity {render(quantity)} is negative"
            yield row["hour"], row["dimension"], row["pod"], row["tag_set"], sentence


def _is_there(connection: sqlite3.Connection, *slot: int) -> bool:
    statement = "SELECT 1 FROM bucket WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?"
    return connection.execute(statement, slot).fetchone() is not None


def _broken_records(connection: sqlite3.Connection, names: dict[int, str]) -> Iterator[str]:
    gathered = Following(_gathered(connection))
    shares = Following(sums(plain_rows(connection, "SELECT record, quantity FROM allocation ORDER BY record"), 1))
    carried = "SELECT record, quantity FROM movement WHERE record IS NOT NULL AND cause {} 'over-limit' ORDER BY record"
    over, moved = (Following(sums(plain_rows(connection, carried.format(which)), 1)) for which in ("=", "<>"))
    for row in connection.execute(
        "SELECT *, seq IN (SELECT record FROM audit) AS audited FROM record WHERE hour >= ? ORDER BY seq",
        (proved_from(connection),),
    ):
        key = (row["seq"],)
        for sentence in _record_faults(
            row, gathered.of(key) or 0, shares.of(key), over.of(key) or 0, moved.of(key) or 0
        ):
            yield f"record {row['seq']} ({names[row['dimension']]} {_hour(row['hour'])}): {sentence}"


def _record_faults(row: sqlite3.Row, gathered: int, shares: int | None, over: int, moved: int) -> Iterator[str]:
    """Yield what is wrong with a record.

    Args:
        row: The record, and whether the audit trail has a decision about it.
        gathered: What its buckets hold.
        shares: The sum of its allocations; None where it has none.
        over: What was carried on because AWS takes no more.
        moved: What was carried on of the record itself.
    """
    quantity, excess, stated = parse_signed(row["quantity"]), parse_signed(row["excess"]), parse_signed(row["gathered"])
    if row["kind"] == "slot" and gathered != stated:
        yield f"gathered {row['gathered']} but its buckets make {render(gathered)}"
    if stated + parse_signed(row["remainder_before"]) != quantity + parse_signed(row["remainder_after"]) + excess:
        yield "what it gathered and what became of it differ"
    if shares is not None and shares != quantity:
        yield f"quantity {row['quantity']} but its allocations make {render(shares)}"
    if over != excess:
        yield f"excess {row['excess']} but {render(over)} was carried on"
    if moved != (quantity if row["status"] == "carried" else 0):
        yield f"{row['status']}, but {render(moved)} of it was carried on"
    if row["status"] == "accepted" and not row["metering_record_id"]:
        yield "accepted without a metering record id"
    if row["resolved"] != row["audited"]:
        yield "resolved by hand, or not, otherwise than the audit trail says"


def _gathered(connection: sqlite3.Connection) -> Iterator[tuple[Key, int]]:
    """Yield what the buckets of each record hold, in order of the records."""
    rows = plain_rows(
        connection, "SELECT record, own, carried, moved FROM bucket WHERE record IS NOT NULL ORDER BY record"
    )
    for record, members in groupby(rows, lambda row: row[0]):
        yield (
            (record,),
            sum(parse_signed(own) + parse_signed(carried) - parse_signed(moved) for _, own, carried, moved in members),
        )


def _broken_totals(connection: sqlite3.Connection) -> Iterator[str]:
    kept = _kept_terms(connection)
    for dimension, (name, proved) in _row_terms(connection, kept).items():
        for term in ("accepted", "submitted", "unbilled"):
            total, quantity = getattr(kept[dimension][1], term), getattr(proved, term)
            if total != quantity:
                yield f"dimension {name}: {term} is {render(total)} but the rows make {render(quantity)}"


def _sum(connection: sqlite3.Connection, statement: str) -> defaultdict[int, int]:
    """Return the sums of quantities by dimension; SQLite counts equal rows, and each quantity is read once."""
    found: defaultdict[int, int] = defaultdict(int)
    for dimension, quantity, rows in plain_rows(
        connection, f"SELECT dimension, quantity, count(*) FROM ({statement}) GROUP BY dimension, quantity"
    ):
        found[dimension] += parse_signed(quantity) * rows
    return found


def _hour(hour: int) -> str:
    return timestamps.render(start_of(Hour(hour)))

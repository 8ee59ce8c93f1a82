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
from sidecar.adapters.ledger.totals import quantity_of
from sidecar.adapters.ledger.windows import one_instant, windows
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

    Inside a transaction every query sees its instant. Outside of one, each window of rows has an instant of its own,
    and all totals have one: every transaction of the sidecar leaves rows and totals that agree.
    """
    for keys, find in (
        (_CARRIED_IN, _broken_quantities),
        (_MOVED_OUT, _broken_moves),
        (_RECORDS_AND_MOVEMENTS, _broken_records),
    ):
        for low, high in windows(connection, keys):
            with one_instant(connection):
                found = list(find(connection, low, high))
            yield from found
    yield from _negative_buckets(connection)
    with one_instant(connection):
        found = [*_broken_totals(connection), *_unbalanced(connection)]
    yield from found


def _unbalanced(connection: sqlite3.Connection) -> Iterator[str]:
    for name, found in terms(connection).items():
        if not found.balanced:
            parts = found.open + found.sealed + found.submitted + found.unbilled + found.remainder
            yield f"dimension {name}: accepted {render(found.accepted)} but its parts make {render(parts)}"


def event_breaches(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each bucket that does not agree with the events that were counted in it.

    A bucket holds the number of its events and the sum of those dropped since. So no clock is needed to distinguish an
    event that was dropped in its time from one that is missing. Of buckets with another aggregation than `sum` only the
    number of events can be proved. Instants are as in `breaches`: an hour of a dimension has one.
    """
    lost = []
    for hour, dimension in plain_rows(connection, _DOUBTFUL_HOURS).fetchall():
        with one_instant(connection):
            if hour < proved_from(connection):
                continue
            kept = _kept_events(connection, hour, dimension)
            found = list(_miscounted(connection, hour, dimension, kept))
        yield from found
        lost += [(dimension, hour, tag_set) for _, tag_set in kept]
    with one_instant(connection):
        lost += plain_rows(connection, _LOST_COUNTS, proved_from(connection)).fetchall()
    for dimension, hour, tag_set in lost:
        where = f"events of dimension {dimension} {_hour(hour)} tag set {tag_set}"
        yield f"{where} are there but their bucket is not"


_EVENTS = "whole_event"
_SAME_SLOT = " AND ".join(f"dropped.{column} = bucket.{column}" for column in ("pod", "dimension", "hour", "tag_set"))
_DOUBTFUL_HOURS = f"""
    SELECT hour, dimension FROM {_EVENTS}
    UNION SELECT bucket.hour, bucket.dimension FROM bucket CROSS JOIN dimension ON dimension.id = bucket.dimension
        LEFT JOIN dropped_events AS dropped ON {_SAME_SLOT}
        WHERE bucket.events <> ifnull(dropped.events, 0)
            OR aggregation IS 'sum' AND own <> ifnull(dropped.quantity, '0')
    ORDER BY 1, 2"""
"""Hours with whole events, or with a bucket that is not letter by letter what was dropped of it: few of a year's."""
_COUNTED = f"""
    SELECT bucket.*, name, aggregation, ifnull(dropped.events, 0) AS dropped, ifnull(dropped.quantity, '0') AS quantity
    FROM pod CROSS JOIN bucket ON bucket.pod = pod.id CROSS JOIN dimension ON dimension.id = bucket.dimension
        LEFT JOIN dropped_events AS dropped ON {_SAME_SLOT}
    WHERE bucket.hour = ? AND bucket.dimension = ?"""
_LOST_COUNTS = f"""
    SELECT dimension, hour, tag_set FROM dropped_events AS dropped
    WHERE hour >= ? AND NOT EXISTS (SELECT 1 FROM bucket WHERE {_SAME_SLOT})"""


_Counts = dict[tuple[int, int], tuple[int, int]]
"""The number and the millionths of events, by pod and tag set."""


def _miscounted(connection: sqlite3.Connection, hour: int, dimension: int, kept: _Counts) -> Iterator[str]:
    """Yield what is wrong with an hour's buckets; leaves in `kept` what has no bucket."""
    for row in connection.execute(_COUNTED, (hour, dimension)):
        events, quantity = kept.pop((row["pod"], row["tag_set"]), (0, 0))
        events += row["dropped"]
        quantity += parse_signed(row["quantity"])
        where = f"bucket {row['name']} {_hour(hour)} tag set {row['tag_set']}"
        if events != row["events"]:
            yield f"{where}: counted {row['events']} events but {events} are there or were dropped in their time"
        elif row["aggregation"] == Aggregation.SUM and quantity != parse_signed(row["own"]):
            yield f"{where}: counted {row['own']} but its events make {render(quantity)}"


def _kept_events(connection: sqlite3.Connection, hour: int, dimension: int) -> _Counts:
    """Return the counts of the events of an hour that are kept whole."""
    found: _Counts = {}
    for low, high in windows(connection, f"SELECT seq AS key FROM {_EVENTS}"):
        # Whole units and fractions apart: a sum of millionths may not fit SQLite's integers.
        for pod, tag_set, events, units, fraction in plain_rows(
            connection,
            f"SELECT pod, tag_set, count(*), sum(millionths / {MILLION}), sum(millionths % {MILLION}) FROM {_EVENTS}"
            " WHERE seq >= ? AND seq < ? AND hour = ? AND dimension = ? GROUP BY pod, tag_set",
            *(low, high, hour, dimension),
        ):
            before = found.get((pod, tag_set), (0, 0))
            found[pod, tag_set] = before[0] + events, before[1] + units * MILLION + fraction
    return found


_CARRIED_IN = "SELECT hour AS key FROM bucket WHERE carried <> '0' UNION ALL SELECT to_hour FROM movement"
_MOVED_OUT = """
    SELECT hour AS key FROM bucket WHERE moved <> '0' UNION ALL SELECT from_hour FROM movement WHERE record IS NULL
    UNION ALL SELECT hour FROM record WHERE kind IN ('late', 'unsent')"""
_RECORDS_AND_MOVEMENTS = "SELECT seq AS key FROM record UNION ALL SELECT record FROM movement WHERE record IS NOT NULL"


def _broken_quantities(connection: sqlite3.Connection, low: int, high: int) -> Iterator[str]:
    """Yield what is wrong with the carried quantities of a window of hours."""
    hours = max(low, proved_from(connection)), high
    # A bucket without a carried quantity has nothing that could disagree, unless an entry is there for it.
    held = plain_rows(
        connection,
        "SELECT hour, dimension, pod, tag_set, carried FROM bucket WHERE carried <> '0' AND hour >= ? AND hour < ?"
        " ORDER BY 1, 2, 3, 4",
        *hours,
    )
    entered = plain_rows(
        connection,
        "SELECT to_hour, dimension, to_pod, tag_set, quantity FROM movement WHERE to_hour >= ? AND to_hour < ?"
        " ORDER BY 1, 2, 3, 4",
        *hours,
    )
    for (hour, dimension, pod, tag_set), carried, entries in in_pairs(sums(held, 4), sums(entered, 4)):
        if carried != entries and _is_there(connection, pod, dimension, hour, tag_set):
            where = f"bucket {_name(connection, dimension)} {_hour(hour)} tag set {tag_set}"
            yield f"{where}: carried in {render(carried)} but the entries make {render(entries)}"


def _broken_moves(connection: sqlite3.Connection, low: int, high: int) -> Iterator[str]:
    """Yield what is wrong with the quantities that left a window of hours."""
    hours = max(low, proved_from(connection)), high
    moved = plain_rows(
        connection,
        "SELECT pod, dimension, hour, moved FROM bucket WHERE moved <> '0' AND hour >= ? AND hour < ? ORDER BY 1, 2, 3",
        *hours,
    )
    gone = plain_rows(
        connection,
        "SELECT from_pod, from_dimension, from_hour, quantity FROM movement"
        " WHERE record IS NULL AND from_hour >= ?1 AND from_hour < ?2"
        " UNION ALL SELECT pod, dimension, hour, gathered FROM record"
        " WHERE kind IN ('late', 'unsent') AND hour >= ?1 AND hour < ?2 ORDER BY 1, 2, 3",
        *hours,
    )
    for (_, dimension, hour), here, there in in_pairs(sums(moved, 3), sums(gone, 3)):
        if here != there:
            where = f"buckets {_name(connection, dimension)} {_hour(hour)}"
            yield f"{where}: moved out {render(here)} but the entries make {render(there)}"


def _negative_buckets(connection: sqlite3.Connection) -> Iterator[str]:
    for row in connection.execute(
        "SELECT bucket.*, name FROM bucket CROSS JOIN dimension ON dimension.id = bucket.dimension"
        " WHERE hour >= ? AND (moved <> '0' OR carried GLOB '-*' OR own GLOB '-*')",
        (proved_from(connection),),
    ):
        quantity = read_bucket(row).quantity
        if quantity < 0:
            where = f"bucket {row['name']} {_hour(row['hour'])} tag set {row['tag_set']}"
            yield f"{where}: its quantity {render(quantity)} is negative"


def _name(connection: sqlite3.Connection, dimension: int) -> str:
    return str(connection.execute("SELECT name FROM dimension WHERE id = ?", (dimension,)).fetchone()["name"])


def _is_there(connection: sqlite3.Connection, *slot: int) -> bool:
    statement = "SELECT 1 FROM bucket WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?"
    return connection.execute(statement, slot).fetchone() is not None


def _broken_records(connection: sqlite3.Connection, low: int, high: int) -> Iterator[str]:
    """Yield what is wrong with a window of records."""
    gathered = Following(_gathered(connection, low, high))
    shares = Following(
        sums(
            plain_rows(
                connection,
                "SELECT record, quantity FROM allocation WHERE record >= ? AND record < ? ORDER BY record",
                *(low, high),
            ),
            1,
        )
    )
    carried = (
        "SELECT record, quantity FROM movement WHERE record >= ? AND record < ? AND cause {} 'over-limit'"
        " ORDER BY record"
    )
    over, moved = (
        Following(sums(plain_rows(connection, carried.format(which), low, high), 1)) for which in ("=", "<>")
    )
    for row in connection.execute(
        "SELECT *, seq IN (SELECT record FROM audit) AS audited FROM record"
        " WHERE seq >= ? AND seq < ? AND hour >= ? ORDER BY seq",
        (low, high, proved_from(connection)),
    ):
        key = (row["seq"],)
        for sentence in _record_faults(
            row, gathered.of(key) or 0, shares.of(key), over.of(key) or 0, moved.of(key) or 0
        ):
            where = f"record {row['seq']} ({_name(connection, row['dimension'])} {_hour(row['hour'])})"
            yield f"{where}: {sentence}"


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


def _gathered(connection: sqlite3.Connection, low: int, high: int) -> Iterator[tuple[Key, int]]:
    """Yield what the buckets of each record hold, in order of the records: a seal takes the buckets of its own slot."""
    rows = plain_rows(
        connection,
        "SELECT seq, own, carried, moved FROM record CROSS JOIN bucket ON bucket.pod = record.pod"
        " AND bucket.dimension = record.dimension AND bucket.hour = record.hour AND bucket.record = record.seq"
        " WHERE seq >= ? AND seq < ? ORDER BY seq",
        *(low, high),
    )
    for record, members in groupby(rows, lambda row: row[0]):
        yield (record,), sum(quantity_of(own, carried, moved) for _, own, carried, moved in members)


def _broken_totals(connection: sqlite3.Connection) -> Iterator[str]:
    kept = _kept_terms(connection)
    for dimension, (name, proved) in _row_terms(connection, kept).items():
        for term in ("accepted", "submitted", "unbilled"):
            total, quantity = getattr(kept[dimension][1], term), getattr(proved, term)
            if total != quantity:
                yield f"dimension {name}: {term} is {render(total)} but the rows make {render(quantity)}"


def _sum(connection: sqlite3.Connection, statement: str) -> defaultdict[int, int]:
    """Return the sums of quantities by dimension."""
    found: defaultdict[int, int] = defaultdict(int)
    for dimension, quantity in plain_rows(connection, statement):
        found[dimension] += parse_signed(quantity)
    return found


def _hour(hour: int) -> str:
    return timestamps.render(start_of(Hour(hour)))

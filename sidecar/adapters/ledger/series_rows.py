"""The rows of counters' states: reading, writing, checking, and dropping those of series that are gone."""

import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.hours import Hour
from sidecar.domain.metering.series import SeriesState

PLAIN = "rest = '0' AND peak IS NULL AND strikes = 0 AND seen IS NULL"
"""True for a row with nothing left over or in doubt: `judge_plain` decides about its next value."""
COLUMNS = "key, value, started_at, at, hour, rest, peak, resets, resets_since, strikes, struck_at, seen, dated"

LEFT = "/" * 256
"""Begins the dimension of a source with states that are to be dropped. Names of dimensions are shorter."""

FRESH_COLUMNS = "key, value, started_at, at, hour"
FRESH_VALUES = "rest, resets, resets_since, strikes, struck_at, dated) VALUES (?, ?, ?, ?, ?, {:d}, '0', 0, 0, 0, 0, 0)"
_FRESH = SeriesState(Decimal(0), None, 0, Hour(0))[4:]
"""What a state has besides `FRESH_COLUMNS` when its series begins."""

Row = tuple[object, ...]
"""The values of a row in the order of `COLUMNS`."""


def prune(store: Store, before: Hour, most: int) -> bool:
    """Drop a step's worth of series that are gone; whether there may be more.

    A series that comes back later begins at what it shows, unless it has started after the last one that was dropped.

    Args:
        store: The ledger, inside a transaction.
        before: Series whose last sample lies in an earlier hour are dropped, and those of other pods and origins.
        most: The size of the step.
    """
    rows = store.rows(
        "SELECT source, key, at FROM series WHERE dated = 1 AND hour < ? ORDER BY hour LIMIT ?", before, most
    )
    newest: dict[int, int] = {}
    for row in rows:
        newest[row["source"]] = max(newest.get(row["source"], 0), row["at"])
    store.connection.executemany(
        "DELETE FROM series WHERE source = ? AND key = ?", [(row["source"], row["key"]) for row in rows]
    )
    store.connection.executemany(
        "UPDATE source SET forgotten_at = max(ifnull(forgotten_at, 0), ?) WHERE id = ?",
        [(at, source) for source, at in newest.items()],
    )
    return len(rows) >= most or _drop_other_sources(store, most)


def _drop_other_sources(store: Store, most: int) -> bool:
    rows = store.rows("SELECT id FROM source WHERE pod <> ? OR length(dimension) > ? LIMIT 1", store.pod, len(LEFT))
    if not rows:
        return False
    (row,) = rows
    dropped = store.connection.execute(
        "DELETE FROM series WHERE source = ? AND key IN (SELECT key FROM series WHERE source = ? LIMIT ?)",
        (row["id"], row["id"], most),
    ).rowcount
    if dropped < most:
        store.connection.execute("DELETE FROM source WHERE id = ?", (row["id"],))
    return True


def write_state(key: bytes, state: SeriesState, dated: int) -> Row:
    """Return the row of a state; `dated` is 0 for a series of the last page."""
    return (
        key,
        str(state.value),
        state.started_at,
        state.at,
        state.hour,
        str(state.rest) if state.rest else "0",
        None if state.peak is None else str(state.peak),
        state.resets,
        state.resets_since,
        state.strikes,
        state.struck_at,
        None if state.seen is None else json.dumps(state.seen, separators=(",", ":")),
        dated,
    )


def fresh_row(key: bytes, state: SeriesState) -> Row | None:
    """Return the row of a series of the last page that has just begun, in the order of `FRESH_COLUMNS`."""
    if state[4:] != _FRESH:
        return None
    return (key, str(state.value), state.started_at, state.at, state.hour)


def read_state(row: sqlite3.Row, page: tuple[int, Hour] | None) -> SeriesState:
    """Return the state that a row describes, dated by the last page unless it has a date of its own.

    Raises:
        ValueError: The row is not one that this program writes.
    """
    at, hour = (row["at"], Hour(row["hour"])) if row["dated"] or page is None else page
    return SeriesState(
        value=_read_decimal(row["value"]),
        started_at=row["started_at"],
        at=at,
        hour=hour,
        rest=_read_decimal(row["rest"]),
        peak=None if row["peak"] is None else _read_decimal(row["peak"]),
        resets=row["resets"],
        resets_since=row["resets_since"],
        strikes=row["strikes"],
        struck_at=row["struck_at"],
        seen=None if row["seen"] is None else tuple((start, end) for start, end in json.loads(row["seen"])),
    )


def _read_decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not number.is_finite() or number < 0:
        raise ValueError(f"{text!r} is not the value of a counter")
    return number


def faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a sentence for each series whose row is not one that this program writes."""
    for row in connection.execute(f"SELECT source, hex(key) AS name, {COLUMNS} FROM series"):
        try:
            read_state(row, None)
        except (ValueError, TypeError) as error:
            yield f"series {row['name']} of source {row['source']} is damaged: {error}"

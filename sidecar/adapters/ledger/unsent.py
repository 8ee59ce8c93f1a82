"""Quantities that leave their place for no slot: kept as unbilled records that were never made to be submitted.

Of another product's usage, and of what a successor finds past its window. Their kind is another than that of sealed
records: they take no slot and are never compared with AWS's log.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.hours import Hour
from sidecar.domain.metering.quantity import parse_signed, render

_INSERT = (
    "INSERT INTO record (pod, dimension, hour, kind, status, reason, quantity, whole, gathered, remainder_before,"
    " remainder_after, excess, client_token, timestamp, sealed_at, settled_at)"
    " VALUES (?, ?, ?, 'unsent', 'unbilled', ?, ?, 0, ?, ?, '0', '0',"
    " 'unsent-' || (SELECT ifnull(max(seq), 0) + 1 FROM record), ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Left:
    """What one open bucket holds."""

    pod: int
    dimension: int
    hour: Hour
    tag_set: int
    quantity: int


def keep_unbilled(store: Store, buckets: Sequence[Left], reason: str, now: int) -> int:
    """Close open buckets and keep each hour's quantity as one unbilled record with its shares; how much that was."""
    slots: dict[tuple[int, int, Hour], list[Left]] = {}
    for left in buckets:
        store.connection.execute(
            "UPDATE bucket SET sealed = 1, moved = ? WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
            (render(_moved(store, left) + left.quantity), left.pod, left.dimension, left.hour, left.tag_set),
        )
        if left.quantity:
            slots.setdefault((left.pod, left.dimension, left.hour), []).append(left)
    for (pod, dimension, hour), shares in slots.items():
        quantity = sum(left.quantity for left in shares)
        text = render(quantity)
        seq = store.connection.execute(
            _INSERT, (pod, dimension, hour, reason, text, text, "0", hour * 1_000_000, now, now)
        ).lastrowid
        store.connection.executemany(
            "INSERT INTO allocation VALUES (?, ?, ?)",
            [(seq, left.tag_set, render(left.quantity)) for left in shares if len(shares) > 1 or left.tag_set],
        )
        store.add_to(dimension, "unbilled", quantity)
    return sum(left.quantity for left in buckets)


def keep_remainder(store: Store, dimension: int, hour: Hour, reason: str, now: int) -> int:
    """Keep what rounding holds back of a dimension as one unbilled record; how much that was."""
    text = store.one("SELECT remainder FROM dimension WHERE id = ?", dimension)["remainder"]
    held = parse_signed(text)
    if held:
        store.connection.execute(
            _INSERT, (store.pod, dimension, hour, reason, text, "0", text, hour * 1_000_000, now, now)
        )
        store.add_to(dimension, "remainder", -held)
        store.add_to(dimension, "unbilled", held)
    return held


def _moved(store: Store, left: Left) -> int:
    row = store.one(
        "SELECT moved FROM bucket WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
        left.pod,
        left.dimension,
        left.hour,
        left.tag_set,
    )
    return parse_signed(row["moved"])

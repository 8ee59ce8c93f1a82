"""A second book-keeping of accepted usage, made from the events alone and by other means than the ledger's.

It learns of an event when the transaction that holds it has been committed, and refuses events that nobody sent, that
were sent otherwise, or that were counted before.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sidecar.domain.metering.events import Aggregation, Tags, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import hour_of_micros, to_micros
from sidecar.domain.metering.quantity import MILLION, parse_signed

REMEMBERED = timedelta(hours=24) // timedelta(microseconds=1)
"""How long an id is promised to be recognised, in microseconds."""

_NEW_EVENTS = (
    "SELECT event.*, name, tags FROM event JOIN dimension ON dimension.id = event.dimension"
    " JOIN tag_set ON tag_set.id = event.tag_set WHERE seq > ? ORDER BY seq"
)

Slot = tuple[int, str, int, Tags]
"""Pod, dimension, hour, tag set."""


class Miscount(Exception):  # noqa: N818 - what the ledger did
    """The ledger holds an event that it may not hold, or not so."""


@dataclass
class Tally:
    """What every dimension's accepted quantity must be, in millionths."""

    dimensions: Mapping[str, Aggregation]
    total: Counter[str] = field(default_factory=Counter)
    _latest_clock: int = 0
    _sent: dict[str, UsageEvent] = field(default_factory=dict)
    _nameless: dict[tuple[str, int], UsageEvent] = field(default_factory=dict)
    _counted: dict[str, int] = field(default_factory=dict)
    _last_seq: int = 0
    _largest: defaultdict[Slot, int] = field(default_factory=lambda: defaultdict(int))
    _values: defaultdict[Slot, set[str]] = field(default_factory=lambda: defaultdict(set))
    _newest: dict[Slot, tuple[int, int]] = field(default_factory=dict)

    def expect(self, batch: UsageBatch) -> None:
        """Know the events of a batch that is about to be sent; those without an id by their quantity."""
        for event in batch.events:
            if event.id is None:
                self._nameless[event.dimension, event.quantity] = event
            else:
                self._sent.setdefault(event.id, event)

    def holds(self, batch: UsageBatch) -> bool:
        """Tell whether every event of the batch has been committed."""
        return all(
            event.id in self._counted
            if event.id is not None
            else (event.dimension, event.quantity) not in self._nameless
            for event in batch.events
        )

    def see_clock(self, clock: int) -> None:
        """Know what the pod's clock shows, in epoch microseconds: what it calls old may be forgotten."""
        self._latest_clock = max(self._latest_clock, clock)

    def remembers(self, at: int) -> bool:
        """Tell whether what was taken at `at` by the pod's clock must still be recognised."""
        return self._latest_clock - at < REMEMBERED

    def absorb(self, connection: sqlite3.Connection, clock: int) -> None:
        """Count the events that a commit has added.

        Raises:
            Miscount: One of them should not be there, or not so.
        """
        self.see_clock(clock)
        newest = connection.execute("SELECT max(seq) FROM event").fetchone()[0] or 0
        if newest > self._last_seq:
            for row in connection.execute(_NEW_EVENTS, (self._last_seq,)).fetchall():
                self._check(row)
                self._count(connection, row)
        # Pruning may drop the last rows too, whose numbers are then given again.
        self._last_seq = newest

    def _check(self, row: sqlite3.Row) -> None:
        if row["id"] is None:
            event = self._nameless.pop((row["name"], row["millionths"]), None)
        else:
            event = self._sent.get(row["id"])
            before = self._counted.get(row["id"])
            if before is not None and self.remembers(before):
                raise Miscount(f"event {row['id']} was counted twice")
            self._counted[row["id"]] = row["taken_at"]
        if event is None:
            raise Miscount(f"event {row['seq']} was never sent, or was counted twice")
        given = None if event.timestamp is None else to_micros(event.timestamp)
        found = (row["name"], row["millionths"], row["value"], row["given_at"], _tags(row))
        if found != (event.dimension, event.quantity, event.value, given, event.tags):
            raise Miscount(f"event {row['id']} is not what was sent")
        own_hour = hour_of_micros(row["counted_at"])
        if row["hour"] < own_hour or (given is not None and row["hour"] != own_hour):
            raise Miscount(f"event {row['id']} was counted in hour {row['hour']}")

    def _count(self, connection: sqlite3.Connection, row: sqlite3.Row) -> None:
        name, quantity = row["name"], row["millionths"]
        slot = (row["pod"], name, row["hour"], _tags(row))
        match self.dimensions[name]:
            case Aggregation.SUM:
                self.total[name] += quantity
            case Aggregation.MAX:
                larger = max(self._largest[slot], quantity)
                self.total[name] += larger - self._largest[slot]
                self._largest[slot] = larger
            case Aggregation.UNIQUE:
                known = self._values[slot]
                self.total[name] += 0 if row["value"] in known else MILLION
                known.add(row["value"])
            case Aggregation.LAST:
                self._count_last(connection, row, slot)

    def _count_last(self, connection: sqlite3.Connection, row: sqlite3.Row, slot: Slot) -> None:
        """Whether the hour was closed decides whether the quantity may fall; the ledger must have done one of both."""
        own, at = self._newest.get(slot, (0, row["counted_at"]))
        is_newest = row["counted_at"] >= at
        in_open_hour = row["millionths"] if is_newest else own
        found = parse_signed(
            connection.execute(
                "SELECT own FROM bucket WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
                (row["pod"], row["dimension"], row["hour"], row["tag_set"]),
            ).fetchone()["own"]
        )
        if found not in {in_open_hour, max(own, in_open_hour)}:
            raise Miscount(f"the last value of {slot} is {found} after {in_open_hour}, before it was {own}")
        self.total[row["name"]] += found - own
        self._newest[slot] = (found, max(at, row["counted_at"]))


def _tags(row: sqlite3.Row) -> Tags:
    return tuple((key, value) for key, value in json.loads(row["tags"]))

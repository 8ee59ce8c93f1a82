"""A second book-keeping of accepted usage, made from the events alone and by other means than the ledger's.

It learns of events when their transaction has been committed: of those with an id from their rows, of those without
one from the batches that the transaction held. It refuses events that were never sent, that were sent otherwise, or
that were counted before.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

from sidecar.domain.metering.events import Aggregation, Receipt, Tags, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import hour_of_micros, to_micros
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import MILLION, parse_signed
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import QuantityKind
from tests.simulation.disk import Taken

REMEMBERED = timedelta(hours=24) // timedelta(microseconds=1)
"""How long an id is promised to be recognized, in microseconds."""

_NEW_EVENTS = (
    "SELECT event.*, name, product_code, aggregation, whole, tags FROM event"
    " JOIN dimension ON dimension.id = event.dimension JOIN tag_set ON tag_set.id = event.tag_set"
    " WHERE seq > ? ORDER BY seq"
)
_SEALED = (
    "SELECT client_token FROM record JOIN dimension ON dimension.id = record.dimension"
    " WHERE kind = 'slot' AND record.pod = (SELECT id FROM pod WHERE uid = (SELECT value FROM meta WHERE key = 'pod'))"
    " AND name = ? AND product_code = ? AND hour = ?"
)
_OWN = (
    "SELECT own FROM bucket JOIN dimension ON dimension.id = bucket.dimension JOIN tag_set ON tag_set.id = tag_set"
    " WHERE name = ? AND product_code = ? AND aggregation = ? AND hour = ? AND tags = ?"
)

Product = tuple[str, str]
"""Dimension and product code."""
Slot = tuple[str, str, int, Tags]
"""Dimension, product code, hour, tag set: what is one quantity to AWS, whichever pod reports it."""


class Miscount(Exception):
    """The ledger holds an event that it may not hold, or not so."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An event as it was counted."""

    event: UsageEvent
    hour: int
    at: int
    """The instant that decides which event of a `last` dimension is the newest, in epoch microseconds."""


@dataclass
class Tally:
    """What every dimension's accepted quantity must be, in millionths."""

    rules: MeteringRules
    """What is configured now."""
    total: Counter[Product] = field(default_factory=Counter)
    _latest_clock: int = 0
    _sent: dict[str, UsageEvent] = field(default_factory=dict)
    _nameless: dict[tuple[str, int], UsageEvent] = field(default_factory=dict)
    _counted: dict[str, int] = field(default_factory=dict)
    _last_seq: int = 0
    _largest: defaultdict[tuple[Slot, Aggregation], int] = field(default_factory=lambda: defaultdict(int))
    _values: defaultdict[Slot, set[str]] = field(default_factory=lambda: defaultdict(set))
    _newest: dict[Slot, tuple[int, int]] = field(default_factory=dict)
    _ways: defaultdict[Slot, set[Aggregation]] = field(default_factory=lambda: defaultdict(set))
    """The aggregations under which a slot was used."""

    def expect(self, batch: UsageBatch) -> None:
        """Know the events of a batch that is about to be sent; those without an id by their quantity."""
        for event in batch.events:
            if event.id is None:
                self._nameless[event.dimension, event.quantity] = event
            else:
                self._sent.setdefault(event.id, event)

    def holds(self, batch: UsageBatch) -> bool:
        """Return whether every event of the batch has been committed."""
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
        """Return whether what was taken at `at` by the pod's clock must still be recognized."""
        return self._latest_clock - at < REMEMBERED

    def absorb(self, connection: sqlite3.Connection, clock: int, taken: Taken) -> None:
        """Count the events that a commit has added.

        Raises:
            Miscount: One of them should not be there, or not so.
        """
        self.see_clock(clock)
        newest = connection.execute("SELECT max(seq) FROM event").fetchone()[0] or 0
        counted: list[Counted] = []
        if newest > self._last_seq:
            counted += [
                self._check(connection, row) for row in connection.execute(_NEW_EVENTS, (self._last_seq,)).fetchall()
            ]
        # Compaction may drop the last rows too, whose numbers are then given again.
        self._last_seq = newest
        counted += self._find_nameless(connection, clock, taken)
        receipts = sum(fate.accepted for _, fate in taken if isinstance(fate, Receipt))
        if len(counted) != receipts:
            raise Miscount(f"{receipts} events were acknowledged in a commit that holds {len(counted)}")
        groups: defaultdict[tuple[Slot, Aggregation], list[Counted]] = defaultdict(list)
        for each in counted:
            name = each.event.dimension
            slot = (name, self.rules.product_code, each.hour, each.event.tags)
            groups[slot, self.rules.dimensions[name].aggregation].append(each)
        for (slot, aggregation), events in groups.items():
            self._ways[slot].add(aggregation)
            self._count(connection, slot, aggregation, events)

    def _check(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Counted:
        event = self._sent.get(row["id"])
        before = self._counted.get(row["id"])
        if before is not None and self.remembers(before):
            raise Miscount(f"event {row['id']} was counted twice")
        self._counted[row["id"]] = row["taken_at"]
        if event is None:
            raise Miscount(f"event {row['id']} was never sent")
        given = None if event.timestamp is None else to_micros(event.timestamp)
        tags = tuple((key, value) for key, value in json.loads(row["tags"]))
        found = (row["name"], row["millionths"], row["value"], row["given_at"], tags)
        if found != (event.dimension, event.quantity, event.value, given, event.tags):
            raise Miscount(f"event {row['id']} is not what was sent")
        configured = self.rules.dimensions.get(event.dimension)
        terms = (row["product_code"], row["aggregation"], bool(row["whole"]))
        whole = self.rules.quantity is QuantityKind.INTEGER
        if configured is None or terms != (self.rules.product_code, configured.aggregation, whole):
            raise Miscount(f"event {row['id']} was counted under {terms}, not as configured")
        if row["hour"] != self._hour(connection, event, row["taken_at"]):
            raise Miscount(f"event {row['id']} was counted in hour {row['hour']}")
        return Counted(event, row["hour"], row["counted_at"])

    def _find_nameless(self, connection: sqlite3.Connection, clock: int, taken: Taken) -> list[Counted]:
        """Return the events without an id of the batches that were taken and are no repetition."""
        found = []
        for batch, fate in taken:
            if not isinstance(fate, Receipt) or (batch.idempotency_key is not None and not fate.accepted):
                continue
            for event in batch.events:
                if event.id is not None:
                    continue
                measured = self.rules.dimensions[event.dimension].source is not None
                if not measured and self._nameless.pop((event.dimension, event.quantity), None) is None:
                    raise Miscount(f"an event without an id was counted twice: {event}")
                at = clock if event.timestamp is None else to_micros(event.timestamp)
                found.append(Counted(event, self._hour(connection, event, clock), at))
        return found

    def _hour(self, connection: sqlite3.Connection, event: UsageEvent, clock: int) -> int:
        """Return the hour that an event counts in: its own, or without a time the first one that is not frozen."""
        if event.timestamp is not None:
            return int(hour_of_micros(to_micros(event.timestamp)))
        hour = int(hour_of_micros(clock))
        frozen = connection.execute(_SEALED, (event.dimension, self.rules.product_code, hour)).fetchone()
        if frozen is not None and is_probe(frozen["client_token"]):
            return hour  # its own usage is carried as a visible entry
        while connection.execute(_SEALED, (event.dimension, self.rules.product_code, hour)).fetchone() is not None:
            hour += 3600
        return hour

    def _count(
        self, connection: sqlite3.Connection, slot: Slot, aggregation: Aggregation, events: list[Counted]
    ) -> None:
        quantities = [each.event.quantity for each in events]
        product = slot[:2]
        match aggregation:
            case Aggregation.SUM:
                self.total[product] += sum(quantities)
            case Aggregation.MAX:
                before = self._largest[slot, aggregation]
                larger = max(before, *quantities)
                self._largest[slot, aggregation] = self._settle_on(
                    connection, slot, aggregation, before, before, larger
                )
                self.total[product] += self._largest[slot, aggregation] - before
            case Aggregation.UNIQUE:
                known = self._values[slot]
                new = {each.event.value or "" for each in events} - known
                known |= new
                before = self._largest[slot, aggregation]
                most = before + len(new) * MILLION
                self._largest[slot, aggregation] = self._settle_on(connection, slot, aggregation, before, before, most)
                self.total[product] += self._largest[slot, aggregation] - before
            case Aggregation.LAST:
                for each in events:
                    self._count_last(connection, slot, each)

    def _settle_on(
        self, connection: sqlite3.Connection, slot: Slot, aggregation: Aggregation, before: int, least: int, most: int
    ) -> int:
        """Return what a slot's gauge counts now.

        Where it was used under several aggregations, what one of them counts depends on what AWS holds of the others,
        so that the ledger's own choice is taken if it lies within the bounds.
        """
        if len(self._ways[slot]) == 1:
            return most
        found = self._own(connection, slot, aggregation)
        if not least <= found <= most:
            raise Miscount(f"{aggregation} of {slot} is {found} after {most}, before it was {before}")
        return found

    def _count_last(self, connection: sqlite3.Connection, slot: Slot, counted: Counted) -> None:
        """Whether the hour was closed decides whether the quantity may fall; the ledger must have done one of both."""
        own, at = self._newest.get(slot, (0, counted.at))
        quantity = counted.event.quantity if counted.at >= at else own
        found = self._own(connection, slot, Aggregation.LAST)
        # What was billed already bounds how far it falls: by this pod's bucket that was moved on, or by another pod's.
        bounded = quantity < found < own
        mixed = len(self._ways[slot]) > 1 and 0 <= found <= max(own, quantity)
        if found not in {quantity, max(own, quantity)} and not bounded and not mixed:
            raise Miscount(f"the last value of {slot} is {found} after {quantity}, before it was {own}")
        self.total[slot[:2]] += found - own
        self._newest[slot] = (found, max(at, counted.at))

    @staticmethod
    def _own(connection: sqlite3.Connection, slot: Slot, aggregation: Aggregation) -> int:
        name, code, hour, tags = slot
        key = (name, code, str(aggregation), hour, json.dumps(tags, separators=(",", ":")))
        return sum(parse_signed(row["own"]) for row in connection.execute(_OWN, key))

"""Sees everything that is committed, sent, taken and answered, and knows what may never happen.

The first breach ends the simulation; it is kept here, since whoever causes it may be dead by then.
"""

import sqlite3
from collections import Counter, defaultdict
from typing import NoReturn

from sidecar.adapters.ledger import proof
from sidecar.domain import timestamps
from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.hours import Hour, end_of, hour_of, hour_of_micros, start_of, to_micros
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.sealing import sealable_at
from sidecar.domain.policy import LatePolicy
from sidecar.emulator.state.entries import MeteringRecord
from sidecar.marketplace import MarketplaceError, MeterUsageRequest, Taken
from tests.simulation.clocks import PodClock
from tests.simulation.tally import REMEMBERED, Miscount, Tally

AUDIT_EVERY = 60
"""Commits between two proofs from the rows, at the start of a life."""

_CODES = {
    "duplicate": {"DuplicateRequestException"},
    "rejected": {"InvalidUsageDimensionException", "InvalidProductCodeException"},
}
"""What AWS must have answered for a record to be unbilled for this reason."""

Slot = tuple[str, str, Hour]
"""Pod, dimension, hour."""


class Breach(Exception):  # noqa: N818 - what the engine did
    """A guarantee was broken."""


class Witness:
    """Judges after each commit, each submission and each answer."""

    def __init__(self, tally: Tally, rules: MeteringRules, clock: PodClock) -> None:
        self._tally = tally
        self._rules = rules
        self._clock = clock
        self._frozen: dict[Slot, tuple[object, ...]] = {}
        self._owners: dict[str, tuple[int, Slot]] = {}
        self._taken: dict[str, MeteringRecord] = {}
        self._at_service: Counter[str] = Counter()
        self._codes: defaultdict[str, set[str]] = defaultdict(set)
        self._next_audit = AUDIT_EVERY
        self._last_record = 0
        self.draining = False
        """The process is ending: it may submit what has not ended."""
        self.commits = 0
        self.answers: Counter[str] = Counter()
        self.breach: str | None = None
        self.trace: list[str] = []

    def fail(self, breach: str) -> NoReturn:
        """End the simulation."""
        if self.breach is None:
            self.breach = breach
            self.note(f"BREACH {breach}")
        raise Breach(breach)

    def note(self, line: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{timestamps.render(self._clock.now())} {line}")

    def see_commit(self, connection: sqlite3.Connection) -> None:
        """Judge the ledger right after a commit."""
        self.commits += 1
        try:
            self._tally.absorb(connection, to_micros(self._clock.now()))
        except Miscount as miscount:
            self.fail(str(miscount))
        for name, terms in proof.terms(connection).items():
            expected = self._tally.total[name]
            if not terms.balanced:
                self.fail(f"the terms of {name} do not balance: {terms}")
            if terms.accepted != expected:
                self.fail(f"{name}: accepted {render(terms.accepted)}, but the events make {render(expected)}")
        for row in connection.execute(
            "SELECT seq, hour FROM record WHERE seq > ? AND kind = 'slot' ORDER BY seq", (self._last_record,)
        ):
            self._last_record = row["seq"]
            if not self.draining and self._clock.now() < sealable_at(Hour(row["hour"]), self._rules.settle):
                self.fail(f"record {row['seq']} was sealed before its hour had ended and settled")
        if self.commits >= self._next_audit:
            self._next_audit = self.commits + AUDIT_EVERY + 4 * len(self._owners)
            self.audit(connection)

    def see_sent(self, pod: str, request: MeterUsageRequest) -> int:
        """Judge a submission as it leaves; the number of its record in the trace."""
        hour = hour_of(request.timestamp)
        slot = (pod, request.usage_dimension, hour)
        quantities = (request.usage_quantity, request.usage_quantity_as_decimal, request.usage_allocations)
        frozen = (request.timestamp, *quantities, request.client_token)
        if self._frozen.setdefault(slot, frozen) != frozen:
            self.fail(f"{slot} was sent as {self._frozen[slot]} and as {frozen}")
        number, owner = self._owners.setdefault(request.client_token, (len(self._owners) + 1, slot))
        if owner != slot:
            self.fail(f"one record was sent for {owner} and for {slot}")
        if not self.draining and self._clock.now() < end_of(hour):
            self.fail(f"{slot} was sent before its hour ended")
        return number

    def see_taken(self, token: str | None, record: MeteringRecord) -> None:
        """Judge a record that the service holds from now on."""
        if token is None or token in self._taken:
            return
        self._taken[token] = record
        name = record.dimension
        self._at_service[name] += record.quantity.millionths
        if self._at_service[name] > self._tally.total[name]:
            self.fail(f"{name}: the service holds {render(self._at_service[name])}, more than was accepted")

    def see_answer(self, request: MeterUsageRequest, error: MarketplaceError | None) -> None:
        """Know what the pod was answered."""
        code = "accepted" if error is None else error.code
        self.answers[code] += 1
        if error is None or error.taken is Taken.NO:
            self._codes[request.client_token].add(code)
        number, (_, name, hour) = self._owners[request.client_token]
        self.note(f"record {number} {name} {timestamps.render(start_of(hour))}: {code}")

    def audit(self, connection: sqlite3.Connection) -> None:
        """Prove the ledger from its rows, and compare each record with what the service holds."""
        for breach in proof.breaches(connection):
            self.fail(breach)
        submitted: Counter[str] = Counter()
        seen: set[str] = set()
        for row in connection.execute(
            "SELECT record.*, name FROM record JOIN dimension ON dimension.id = record.dimension"
        ):
            token = row["client_token"]
            seen.add(token)
            where = (
                f"record {row['seq']} ({row['name']} {timestamps.render(start_of(Hour(row['hour'])))}, {row['status']})"
            )
            if token in self._taken:
                self._audit_taken(where, row, self._taken[token])
            elif row["status"] == "accepted":
                self.fail(f"{where}: the service does not hold it")
            if row["status"] == "accepted":
                submitted[row["name"]] += parse_signed(row["quantity"])
            if row["status"] == "unbilled":
                self._audit_reason(where, row)
        self._audit_carries(connection)
        for token in self._taken.keys() - seen:
            self.fail(f"the ledger has forgotten record {self._owners[token]}, which the service holds")
        for name, terms in proof.terms(connection).items():
            if terms.submitted != submitted[name]:
                self.fail(f"{name}: submitted {render(terms.submitted)}, records make {render(submitted[name])}")

    def _audit_carries(self, connection: sqlite3.Connection) -> None:
        """Where late usage is not billed, only what is not late is carried."""
        if self._rules.late is LatePolicy.CARRY:
            return
        for row in connection.execute("SELECT * FROM carry WHERE cause IN ('late', 'expired')"):
            if row["cause"] == "expired" or row["from_hour"] < hour_of_micros(row["carried_at"]):
                self.fail(f"carry {row['seq']} moves usage that is late on, against the policy")

    def _audit_taken(self, where: str, row: sqlite3.Row, record: MeteringRecord) -> None:
        """What the service holds is accepted, still open to an answer, or in doubt; never counted elsewhere too."""
        match row["status"]:
            case "accepted":
                if row["metering_record_id"] != record.metering_record_id:
                    self.fail(f"{where}: another metering record id")
                if parse_signed(row["quantity"]) != record.quantity.millionths:
                    self.fail(f"{where}: another quantity than the service's")
            case "sealed":
                if not row["unanswered"]:
                    self.fail(f"{where}: the service holds it, and the ledger does not think it possible")
            case "unbilled":
                if not row["reason"].startswith("in-doubt"):
                    self.fail(f"{where}: the service holds it, but the reason is {row['reason']}")
            case _:
                self.fail(f"{where}: the service holds it, and its quantity went elsewhere too")

    def _audit_reason(self, where: str, row: sqlite3.Row) -> None:
        """Nothing is unbilled without a cause that the simulation knows of."""
        reason, _, _ = row["reason"].partition(":")
        answered = self._codes[row["client_token"]]
        match reason:
            case "expired":
                justified = self._rules.late is LatePolicy.UNBILLED
            case "late":
                # A value of a `unique` dimension may be too old to tell whether it was counted before.
                is_unique = self._rules.dimensions[row["name"]].aggregation is Aggregation.UNIQUE
                is_old = row["hour"] < hour_of_micros(row["sealed_at"] - REMEMBERED)
                justified = (is_unique and is_old) or self._rules.late is LatePolicy.UNBILLED
            case "in-doubt":
                justified = row["unanswered"] > 0 or "IdempotencyConflictException" in answered
            case _:
                justified = bool(_CODES.get(reason, set()) & answered)
        if not justified:
            self.fail(f"{where}: unbilled without cause: {row['reason']}")

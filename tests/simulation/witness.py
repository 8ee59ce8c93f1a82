"""Sees everything that is committed, sent, taken and answered, and knows what may never happen.

The first breach ends the simulation; it is kept here, since its cause may be dead by then.
"""

import sqlite3
from collections import Counter
from copy import deepcopy
from datetime import datetime, timedelta
from typing import NoReturn

from sidecar.adapters.ledger import conservation
from sidecar.domain import timestamps
from sidecar.domain.metering.hours import Hour, end_of, hour_of, start_of, to_micros
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.sealing import sealable_at
from sidecar.emulator.state.entries import MeteringRecord
from sidecar.marketplace import MarketplaceError, MeterUsageRequest, Taken
from tests.simulation import auditing
from tests.simulation.clocks import PodClock
from tests.simulation.counting import COUNTED, CountingApp
from tests.simulation.disk import Taken as TakenBatches
from tests.simulation.exporting import ExportingApp
from tests.simulation.tally import Miscount, Product, Tally

AUDIT_EVERY = 60
"""Commits between two proofs from the rows, at the start of a life."""
ON_ITS_WAY = timedelta(seconds=1)
"""How long after a step of the clock a request may still leave that was begun before it."""

Slot = tuple[str, str, str, Hour]
"""Product code, pod, dimension, hour."""


class Breach(Exception):
    """A guarantee was broken."""


class Witness:
    """Judges after each commit, each submission and each answer."""

    def __init__(self, tally: Tally, rules: MeteringRules, clock: PodClock, parent: "Witness | None" = None) -> None:
        self._tally = tally
        self._clock = clock
        self._parent = parent
        self._frozen: dict[Slot, tuple[object, ...]] = {}
        self._owners: dict[str, tuple[int, Slot]] = {}
        self._at_service: Counter[Product] = Counter()
        self._next_audit = AUDIT_EVERY
        self._last_record = 0
        self._stepped: tuple[datetime, timedelta] | None = None
        self.facts = auditing.Facts()
        self.rules = rules
        self._judged_from: dict[str, int] = {}
        """When a dimension was added, or its product changed: metering is judged by its records from then on."""
        self.reconfigure(rules)
        self.counting: CountingApp | ExportingApp | None = None
        """The app of the pod, if it counts."""
        self.draining = False
        """The process is ending: it may submit what has not ended."""
        self.commits = 0
        self.answers: Counter[str] = Counter()
        self.breach: str | None = None
        self.trace: list[str] = [] if parent is None else parent.trace

    def reconfigure(self, rules: MeteringRules) -> None:
        """Know what the next process is configured with."""
        known = self.rules.dimensions if rules.product_code == self.rules.product_code else ()
        self._judged_from |= {name: to_micros(self._clock.now()) for name in rules.dimensions if name not in known}
        self.rules = self._tally.rules = rules
        self.facts.policies.add(rules.late)
        self.facts.codes.add(rules.product_code)

    def fork(self) -> "Witness":
        """Return a witness of a copy of the ledger: it knows what this one knows, and continues by itself."""
        copy = Witness(deepcopy(self._tally), self.rules, self._clock, self)
        copy._frozen = dict(self._frozen)
        copy._owners = dict(self._owners)
        copy._at_service = self._at_service.copy()
        copy._last_record = self._last_record
        copy.facts = deepcopy(self.facts)
        return copy

    def fail(self, breach: str) -> NoReturn:
        """End the simulation."""
        if self._parent is not None and self._parent.breach is None:
            self._parent.breach = f"on the copy: {breach}"
        if self.breach is None:
            self.breach = breach
            self.note(f"BREACH {breach}")
        raise Breach(breach)

    def note(self, line: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{timestamps.render(self._clock.now())} {line}")

    def see_step(self, before: datetime) -> None:
        """Know that the clock was set, and what it showed before."""
        self._stepped = (self._clock.now(), before - self._clock.now())

    def see_commit(self, connection: sqlite3.Connection, taken: TakenBatches) -> None:
        """Judge the ledger right after a commit."""
        self.commits += 1
        try:
            self._tally.absorb(connection, to_micros(self._clock.now()), taken)
        except Miscount as miscount:
            self.fail(str(miscount))
        self._judge_counters(connection, taken)
        for name, terms in conservation.terms(connection).items():
            if not terms.balanced:
                self.fail(f"the terms of {name} do not balance: {terms}")
        for product, accepted in auditing.accepted(connection).items():
            if accepted != self._tally.total[product]:
                expected = render(self._tally.total[product])
                self.fail(f"{product}: accepted {render(accepted)}, but the events make {expected}")
        for row in connection.execute(
            "SELECT seq, hour, client_token FROM record WHERE seq > ? AND kind = 'slot' ORDER BY seq",
            (self._last_record,),
        ):
            self._last_record = row["seq"]
            ends = self.draining or is_probe(row["client_token"])
            if not ends and self._clock.now() < sealable_at(Hour(row["hour"]), self.rules.settle):
                self.fail(f"record {row['seq']} was sealed before its hour had ended and settled")
        if self.commits >= self._next_audit:
            self._next_audit = self.commits + AUDIT_EVERY + 4 * len(self._owners)
            self.audit(connection)

    def _judge_counters(self, connection: sqlite3.Connection, taken: TakenBatches) -> None:
        """Judge what a commit bills of the app's counters."""
        if self.counting is None:
            return
        measured = [event for batch, _ in taken for event in batch.events if event.dimension == COUNTED]
        breach = self.counting.see_commit(connection, measured)
        if breach is not None:
            self.fail(breach)

    def see_sent(self, pod: str, request: MeterUsageRequest) -> int:
        """Judge a submission as it leaves; the number of its record in the trace."""
        hour = hour_of(request.timestamp)
        slot = (request.product_code, pod, request.usage_dimension, hour)
        quantities = (request.usage_quantity, request.usage_quantity_as_decimal, request.usage_allocations)
        frozen = (request.timestamp, *quantities, request.client_token)
        before = self._frozen.get(slot)
        if before is not None and is_probe(str(before[-1])) and str(before[-1]) not in self.facts.taken:
            # A probe that the service does not hold gives its slot to another probe, or to usage.
            del self._frozen[slot]
        if self._frozen.setdefault(slot, frozen) != frozen:
            self.fail(f"{slot} was sent as {self._frozen[slot]} and as {frozen}")
        number, owner = self._owners.setdefault(request.client_token, (len(self._owners) + 1, slot))
        if owner != slot:
            self.fail(f"one record was sent for {owner} and for {slot}")
        if request.product_code != self.rules.product_code:
            self.fail(f"{slot} was sent while the product is {self.rules.product_code}")
        early = not self.draining and not is_probe(request.client_token or "")
        if early and self._clock.now() < end_of(hour) and not self._had_ended(hour):
            self.fail(f"{slot} was sent before its hour ended")
        self.facts.attempts[request.client_token] += 1
        return number

    def _had_ended(self, hour: Hour) -> bool:
        """Return whether the hour had ended by the clock as it was a moment ago, before it was set."""
        if self._stepped is None:
            return False
        at, difference = self._stepped
        return self._clock.now() - at < ON_ITS_WAY and self._clock.now() + difference >= end_of(hour)

    def see_taken(self, token: str, record: MeteringRecord) -> None:
        """Judge a record that the service holds from now on."""
        if token in self.facts.taken:
            return
        self.facts.taken[token] = record
        product = record.dimension, record.product_code
        self._at_service[product] += record.quantity.millionths
        if self._at_service[product] > self._tally.total[product]:
            self.fail(f"{product}: the service holds {render(self._at_service[product])}, more than was accepted")

    def see_shared(self, token: str, record: MeteringRecord) -> None:
        """Know a record of another process that holds the same as this one's."""
        self.facts.shared[token] = record

    def see_answer(self, request: MeterUsageRequest, error: MarketplaceError | None) -> None:
        """Know what the pod was answered."""
        code = "accepted" if error is None else error.code
        self.answers[code] += 1
        if error is None or error.taken is Taken.NO:
            self.facts.answered[request.client_token].add(code)
            self.facts.denials[request.client_token] += 1
        number, (_, _, name, hour) = self._owners[request.client_token]
        self.note(f"record {number} {name} {timestamps.render(start_of(hour))}: {code}")

    def see_disturbance(self) -> None:
        """Know that the process died or could not write: answers may be lost on this side too."""
        self.facts.disturbed = True

    def audit(self, connection: sqlite3.Connection) -> None:
        """Prove the ledger from its rows, and compare each record with what the service holds."""
        for breach in auditing.breaches(connection, self.facts):
            self.fail(breach)
        forgotten = self.facts.taken.keys() - auditing.tokens(connection)
        for token in self.facts.taken:
            if token in forgotten:
                self.fail(f"the ledger has forgotten record {self._owners[token]}, which the service holds")

    def judge_failing(self, connection: sqlite3.Connection, failing: set[str]) -> None:
        """Compare what the submitter says of metering with what the records say."""
        for breach in auditing.misjudged(connection, failing, self.rules, self._judged_from, self._clock.now()):
            self.fail(breach)

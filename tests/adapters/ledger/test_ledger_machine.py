"""The ledger against an independent model: usage, seals, answers, restarts, other pods, other rules and clock steps."""

import shutil
import tempfile
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.adapters.ledger import conservation, digests, queries, recent
from sidecar.adapters.ledger.resolving import NotResolvable, resolve
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.metering.events import Aggregation, Dimension, IdReused, Receipt, Tags, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import Hour, hour_of, next_hour, to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.metering.records import FrozenRecord, Record
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.status import RecordQuery
from tests.support.books import BLUE, RED, RULES, UNBILLED_LATE, WHOLE, Books

MAX_FUTURE = timedelta(minutes=15)
MAX_PAST = timedelta(days=7)
REMEMBERED = timedelta(hours=24)
COMPARED = timedelta(hours=26)


def with_level(aggregation: Aggregation, rules: MeteringRules = RULES) -> MeteringRules:
    """Return the rules with `level` metered otherwise."""
    return replace(rules, dimensions={**rules.dimensions, "level": Dimension("level", aggregation)})


POLICIES = [RULES, UNBILLED_LATE, WHOLE]
CONFIGURATIONS = [
    *POLICIES,
    replace(WHOLE, product_code="0other"),
    replace(UNBILLED_LATE, product_code="0other", window=timedelta(hours=3)),
    replace(RULES, settle=timedelta(minutes=40)),
    replace(RULES, dimensions={name: RULES.dimensions[name] for name in ("requests", "peak")}),
    with_level(Aggregation.SUM),
    with_level(Aggregation.MAX, WHOLE),
]
"""What the next life may be configured with: `requests` is a sum and `peak` a maximum in all of them."""

quantities = st.one_of(st.integers(0, 5).map(lambda units: units * MILLION), st.integers(0, 3 * MILLION))
tag_sets = st.sampled_from([(), (), RED, BLUE])
offsets = st.one_of(
    st.none(),
    st.timedeltas(-timedelta(hours=3), MAX_FUTURE),
    st.timedeltas(-MAX_PAST, MAX_FUTURE),
)
drafts = st.lists(
    st.tuples(st.sampled_from(sorted(RULES.dimensions)), quantities, st.sampled_from("abcd"), offsets, tag_sets),
    min_size=1,
    max_size=5,
)
steps = st.one_of(
    st.timedeltas(timedelta(), timedelta(hours=2)),
    st.timedeltas(timedelta(), timedelta(hours=9)),
    st.timedeltas(-timedelta(hours=5), timedelta()),
    st.just(timedelta(days=11)),
)


class LedgerMachine(RuleBasedStateMachine):
    """Drives one ledger, and keeps a model of what it must add up to."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.small_steps = patch.object(recent, "MERGED_PER_STEP", 2)
        self.small_steps.start()
        self.books = Books(self.folder / "ledger.db", durable=False, followed=True)
        self.pods = 1
        self.counter = 0
        self.known: dict[str, tuple[UsageEvent, datetime]] = {}
        self.keys: dict[str, tuple[list[UsageEvent], datetime]] = {}
        self.latest = self.books.now
        """The latest instant that the clock has shown: what it has forgotten depends on that."""
        self.sums: dict[str, int] = defaultdict(int)
        """What the events of `sum` dimensions add up to: the part of the law that needs no aggregation."""
        self.peaks: dict[tuple[str, Hour, Tags], int] = defaultdict(int)
        """The largest event of each product, hour and tag set, whichever pod had it."""
        self.users: dict[tuple[str, Hour, Tags], set[str | None]] = defaultdict(set)
        """The users of each product, hour and tag set."""
        self.forgotten = False
        """A user was counted in an hour of which the ledger may have forgotten the others."""
        self.stepped_back = False
        """The clock has gone back so far that hours which were pruned may take events again."""
        self.billed: dict[str, int] = defaultdict(int)
        """What the world outside has taken, by dimension."""
        self.sent: dict[tuple[str, str, str, Hour], tuple[object, ...]] = {}
        """What was begun for each slot: pod, product, dimension, hour."""
        self.begun: list[tuple[Record, FrozenRecord]] = []

    @initialize(rules=st.sampled_from(POLICIES))
    def choose_rules(self, rules: MeteringRules) -> None:
        """Meter under one of the policies."""
        self.books.rules = rules

    def _event(self, draft: tuple[str, int, str, timedelta | None, Tags]) -> UsageEvent:
        name, quantity, value, offset, tags = draft
        if name not in self.books.rules.dimensions:
            name = "requests"
        unique = name == "users"
        if name in {"peak", "users"} and offset is None:
            offset = timedelta()
        if unique and offset is not None:
            offset = max(offset, -timedelta(hours=5))
        self.counter += 1
        return UsageEvent(
            f"e{self.counter}",
            name,
            MILLION if unique else quantity,
            value if unique else None,
            None if offset is None else self.books.now + offset,
            tags,
        )

    def _count(self, events: list[UsageEvent], *, named: bool = True) -> None:
        for event in events:
            if named:
                assert event.id is not None
                self.known[event.id] = event, self.books.now
            if event.dimension == "requests":
                self.sums["requests"] += event.quantity
            if event.dimension == "peak":
                assert event.timestamp is not None
                slot = self.books.rules.product_code, hour_of(event.timestamp), event.tags
                self.peaks[slot] = max(self.peaks[slot], event.quantity)
            if event.dimension == "users":
                assert event.timestamp is not None
                hour = hour_of(event.timestamp)
                self.forgotten = self.forgotten or hour < hour_of(self.latest - COMPARED)
                self.users[self.books.rules.product_code, hour, event.tags].add(event.value)

    @rule(groups=st.lists(drafts, min_size=1, max_size=3))
    def take(self, groups: list[list[tuple[str, int, str, timedelta | None, Tags]]]) -> None:
        """New usage is taken whole, several batches in one commit."""
        batches = [[self._event(draft) for draft in group] for group in groups]
        fates = self.books.take_together(*(UsageBatch(batch) for batch in batches))
        assert [Receipt(len(batch), 0) for batch in batches] == fates
        for batch in batches:
            self._count(batch)

    def _remembered(self) -> list[UsageEvent]:
        return [
            event
            for event, taken in self.known.values()
            if self.latest - taken < REMEMBERED and event.dimension in self.books.rules.dimensions
        ]

    @rule(data=st.data(), fresh=drafts)
    def repeat(self, data: st.DataObject, fresh: list[tuple[str, int, str, timedelta | None, Tags]]) -> None:
        """Events that are still remembered count no second time next to new ones."""
        events = self._remembered()
        if events:
            again = data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=4))
            new = [self._event(draft) for draft in fresh]
            assert Receipt(len(new), len(again)) == self.books.take(*again, *new)
            self._count(new)

    @rule(data=st.data(), fresh=drafts)
    def reuse(self, data: st.DataObject, fresh: list[tuple[str, int, str, timedelta | None, Tags]]) -> None:
        """A changed event refuses its whole batch and no neighbor in the commit."""
        events = self._remembered()
        if events:
            known = data.draw(st.sampled_from(events))
            changed = known._replace(tags=(("Other", "tag"),))
            doomed = [self._event(draft) for draft in fresh]
            good = [self._event(draft) for draft in fresh]
            fates = self.books.take_together(UsageBatch([*doomed, changed]), UsageBatch(good))
            assert isinstance(fates[0], IdReused)
            assert Receipt(len(good), 0) == fates[1]
            self._count(good)

    @rule(step=steps)
    def pass_time(self, step: timedelta) -> None:
        """The clock continues, leaps or steps back."""
        self.books.pass_time(step)
        self.latest = max(self.latest, self.books.now)
        self.stepped_back = self.stepped_back or self.latest - self.books.now > timedelta(days=1)

    @rule()
    def mark_reportable(self) -> None:
        """The gate is open."""
        self.books.mark_reportable()

    @rule(ending=st.booleans())
    def seal(self, ending: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        """What has ended is sealed; at the pod's end the open hour too."""
        self.books.rebook_future_hours()
        before = next_hour(next_hour(hour_of(self.books.now))) if ending else None
        self.books.seal_ended(before)

    @precondition(lambda self: self.books.waiting())
    @rule(data=st.data(), outcome=st.sampled_from(Outcome), answered=st.booleans())
    def attempt(self, data: st.DataObject, outcome: Outcome, answered: bool) -> None:  # noqa: FBT001 - drawn
        """A record is tried; the answer comes, or the process dies before it is written."""
        record = data.draw(st.sampled_from(self.books.waiting()))
        frozen = self.books.begin(record)
        assert frozen is not None
        assert self.books.rules.product_code == record.product_code
        slot = (self.books.pod, record.product_code, record.dimension, record.hour)
        what = (record.quantity, record.timestamp, frozen.client_token, frozen.whole, frozen.allocations)
        assert what == self.sent.setdefault(slot, what)
        if answered:
            self.books.answer(record, frozen, outcome)
            if outcome is Outcome.ACCEPTED:
                self.billed[record.dimension] += record.quantity

    @rule()
    def expire(self) -> None:
        """Windows close."""
        self.books.expire()

    @rule()
    def prune(self) -> None:
        """What has served its time goes."""
        self.books.prune()

    @rule()
    def merge(self) -> None:
        """A step of a merge writes digests of events that stay whole."""
        with self.books.store.transaction():
            self.books.store.recent.load(self.books.store.connection)
            self.books.store.recent.merge(self.books.store.connection)

    @rule(key=st.sampled_from("kl"), draft=drafts)
    def repeat_key(self, key: str, draft: list[tuple[str, int, str, timedelta | None, Tags]]) -> None:
        """A batch without ids counts once under its key, and another batch under that key is refused."""
        events = [self._event(each)._replace(id=None) for each in draft]
        known = self.keys.get(key)
        if known is not None and any(each.dimension not in self.books.rules.dimensions for each in known[0]):
            return
        if known is not None and self.latest - known[1] < REMEMBERED:
            assert Receipt(0, len(known[0])) == self.books.take(*known[0], key=key)
            fates = self.books.take_together(UsageBatch([*known[0], *events], key))
            assert isinstance(fates[0], IdReused)
        elif known is None:
            assert Receipt(len(events), 0) == self.books.take(*events, key=key)
            self.keys[key] = events, self.books.now
            self._count_nameless(events)

    @rule(draft=drafts)
    def take_nameless(self, draft: list[tuple[str, int, str, timedelta | None, Tags]]) -> None:
        """Events without an id are new each time and leave no row."""
        events = [self._event(each)._replace(id=None) for each in draft]
        before = self.books.count("event")
        assert Receipt(len(events), 0) == self.books.take(*events)
        assert before == self.books.count("event")
        self._count_nameless(events)

    def _count_nameless(self, events: list[UsageEvent]) -> None:
        self._count(events, named=False)

    @rule(rules=st.one_of(st.none(), st.sampled_from(CONFIGURATIONS)))
    def restart(self, rules: MeteringRules | None) -> None:
        """The container is restarted in its pod, perhaps with another configuration."""
        self.books.restart(self.books.pod, rules)
        self.prove_events()

    @rule(rules=st.one_of(st.none(), st.sampled_from(CONFIGURATIONS)))
    def replace_pod(self, rules: MeteringRules | None) -> None:
        """Another pod finds the ledger, perhaps with another configuration."""
        self.pods += 1
        self.books.restart(f"pod-{self.pods}", rules)
        self.prove_events()

    @rule(data=st.data(), action=st.sampled_from([Action.CARRY, Action.WRITE_OFF]))
    def decide(self, data: st.DataObject, action: Action) -> None:
        """A person decides about usage of another product."""
        rows = self.books.store.rows(
            "SELECT seq, name FROM record JOIN dimension ON dimension.id = record.dimension"
            " WHERE status = 'unbilled' AND resolved = 0 AND reason LIKE 'other-product%'"
        )
        if rows:
            row = data.draw(st.sampled_from(rows))
            decision, now = Resolution(action, "checked"), to_micros(self.books.now)
            try:
                with self.books.store.transaction():
                    resolve(self.books.store, f"rec-{row['seq']}", decision, who="anna", now=now)
            except NotResolvable:
                assert Action.CARRY is action
                assert row["name"] not in self.books.rules.dimensions

    def prove_events(self) -> None:
        """Every bucket is what its events make under the terms of their time."""
        assert [] == list(conservation.event_breaches(self.books.store.connection))

    @invariant()
    def law_holds(self) -> None:
        """Every accepted unit is in exactly one place, and the rows prove it."""
        assert [] == self.books.breaches()
        for name in self.books.rules.dimensions:
            terms = self.books.terms(name)
            assert min(terms.accepted, terms.submitted) >= 0
            assert terms.balanced
            assert self.billed[name] == terms.submitted
            assert min(terms.open, terms.sealed, terms.unbilled, terms.remainder) >= 0
        assert self.sums["requests"] == self.books.terms().accepted
        if not self.stepped_back:
            assert sum(self.peaks.values()) == self.books.terms("peak").accepted
        if self.users:
            counted = sum(map(len, self.users.values())) * MILLION
            accepted = self.books.terms("users").accepted
            assert counted == accepted or (self.forgotten and counted < accepted)

    @invariant()
    def totals_follow(self) -> None:
        """The running totals of open buckets are what the rows make, whichever step was the last."""
        store = self.books.store
        kept = dict(store.totals.quantities(store.connection)), store.totals.buckets(store.connection)
        store.totals.forget()
        rows = dict(store.totals.quantities(store.connection)), store.totals.buckets(store.connection)
        assert rows[1] == kept[1]
        assert {name: held for name, held in rows[0].items() if held} == {
            name: held for name, held in kept[0].items() if held
        }

    @invariant()
    def digests_are_whole(self) -> None:
        """Every id that must be recognized is there, whole or as a digest, and no digest is missing or left over."""
        connection = self.books.store.connection
        assert [] == list(digests.faults(connection))
        whole = {row["id"] for row in self.books.store.rows("SELECT id FROM event")}
        digested = {row["id"] for row in self.books.store.rows("SELECT id FROM event_digest")}
        assert None not in whole
        for event in self._remembered():
            assert event.id is not None
            assert event.id in whole or digests.digest_id(event.id) in digested

    @invariant()
    def events_prove_buckets(self) -> None:
        """Rows and tallies make every bucket, whatever was compacted meanwhile."""
        assert [] == list(conservation.event_breaches(self.books.store.connection))

    @invariant()
    def doubt_stays(self) -> None:
        """A record with an unanswered attempt is never carried."""
        page = queries.records(self.books.store.connection, RecordQuery(status="carried", limit=1000))
        rows = self.books.store.rows("SELECT count(*) AS n FROM record WHERE status = 'carried' AND unanswered > 1")
        assert 0 == rows[0]["n"]
        assert all(record.carried_to is not None for record in page.records)

    def teardown(self) -> None:
        """Let go of the file."""
        self.small_steps.stop()
        self.books.close()
        shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestLedgerMachine = LedgerMachine.TestCase

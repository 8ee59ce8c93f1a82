"""A ledger on a real file, driven step by step, and short ways to make what it is given."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.adapters.ledger import (
    conservation,
    generations,
    handover,
    last_hour,
    probe_slots,
    pruning,
    queries,
    series,
    submitting,
    taking,
)
from sidecar.adapters.ledger.file import open_for_writing
from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.events import Aggregation, Dimension, Receipt, Tags, UsageBatch, UsageEvent, UsageRefused
from sidecar.domain.metering.hours import Hour, hour_of, next_hour, to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.probes import decide_probe
from sidecar.domain.metering.quantity import parse, render
from sidecar.domain.metering.records import (
    Answer,
    FrozenRecord,
    Record,
    SealedHour,
    UnbilledReason,
    decide,
    expire,
    window_closes_at,
)
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.series import SeriesBatch, SeriesReceipt
from sidecar.domain.policy import LatePolicy, ProbeHour, QuantityKind
from sidecar.domain.status import RecordQuery, RecordView, Terms

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
RED: Tags = (("Team", "red"),)
BLUE: Tags = (("Team", "blue"),)
RULES = MeteringRules(
    product_code="0abc123example",
    dimensions={
        "requests": Dimension("requests", Aggregation.SUM),
        "peak": Dimension("peak", Aggregation.MAX),
        "level": Dimension("level", Aggregation.LAST),
        "users": Dimension("users", Aggregation.UNIQUE),
    },
    quantity=QuantityKind.DECIMAL,
    late=LatePolicy.CARRY,
    settle=timedelta(minutes=2),
    spread=timedelta(minutes=20),
    window=timedelta(hours=6),
    report_zero=True,
    failing_after=timedelta(hours=2),
)
UNBILLED_LATE = replace(RULES, late=LatePolicy.UNBILLED)
WHOLE = replace(RULES, quantity=QuantityKind.INTEGER)


def event(
    quantity: str = "1",
    *,
    id: str | None = None,  # noqa: A002 - the member's own name
    dimension: str = "requests",
    value: str | None = None,
    at: datetime | None = None,
    tags: Tags = (),
) -> UsageEvent:
    """Return a usage event as the API hands it on."""
    millionths = parse(quantity)
    assert millionths is not None
    return UsageEvent(id, dimension, millionths, value, at, tags)


class Books:
    """One pod's ledger; every step is a transaction, as in the running product."""

    def __init__(
        self,
        path: Path,
        rules: MeteringRules = RULES,
        *,
        pod: str | None = "pod-1",
        now: datetime = NOW,
        durable: bool = True,
        followed: bool = False,
    ) -> None:
        """Open it; with `followed` its running totals are kept, as in the running product."""
        self.path = path
        self._rules = rules
        self.now = now
        self.handed_over = 0
        self._durable = durable
        self._followed = followed
        self._tokens = 0
        self._open(pod)

    @property
    def rules(self) -> MeteringRules:
        """The rules that the next step follows."""
        return self._rules

    @rules.setter
    def rules(self, rules: MeteringRules) -> None:
        self._rules = rules
        with self.store.transaction():
            generations.apply_terms(self.store, rules, to_micros(self.now))

    def _open(self, pod: str | None) -> None:
        self.store = Store(open_for_writing(self.path))
        if self._followed:
            self.store.totals.attach(self.store.connection)
        if not self._durable:
            self.store.connection.execute("PRAGMA synchronous = OFF")
        with self.store.transaction():
            self.pod, self.pod_source = handover.take_identity(self.store, pod, "downward-api", to_micros(self.now))
            self.change = generations.apply_terms(self.store, self.rules, to_micros(self.now))
            self.handed_over = handover.take_over(self.store, self.rules, to_micros(self.now))

    def close(self) -> None:
        """Let go of the file."""
        self.store.connection.close()

    def restart(self, pod: str | None = "pod-1", rules: MeteringRules | None = None) -> None:
        """Open the file anew, as the next process does."""
        self.close()
        self._rules = rules or self._rules
        self._open(pod)

    def pass_time(self, by: timedelta) -> None:
        """Set the clock on, or back."""
        self.now += by

    def take_together(self, *batches: UsageBatch) -> list[Receipt | UsageRefused]:
        """Store batches in one commit."""
        with self.store.transaction():
            return taking.take(self.store, batches, self.rules, to_micros(self.now))

    def take(self, *events: UsageEvent, key: str | None = None) -> Receipt:
        """Store one batch, or raise why it was refused."""
        fate = self.take_together(UsageBatch(events, key))[0]
        if isinstance(fate, UsageRefused):
            raise fate
        return fate

    def begin_series(self, **origins: str) -> None:
        """Note the sources that count, and where their counters come from."""
        with self.store.transaction():
            series.begin(self.store, origins, to_micros(self.now))

    def take_series(self, *batches: SeriesBatch) -> list[SeriesReceipt]:
        """Store the samples of counters, and the usage that they prove."""
        judged = series.judge_batches(self.store, batches)
        with self.store.transaction():
            series.write(self.store, judged, self.rules, to_micros(self.now))
        return [each.receipt for each in judged]

    def mark_reportable(self) -> None:
        """Note that the current hour is to be reported whatever happens in it."""
        with self.store.transaction():
            submitting.mark_reportable(self.store, hour_of(self.now))

    def sealable(self, before: Hour | None = None) -> list[tuple[Hour, str]]:
        """Return what may be sealed now."""
        zero_from = next_hour(hour_of(self.now - self.rules.window))
        with self.store.transaction():
            submitting.forget_reportable(self.store, before=zero_from)
            return submitting.sealable(
                self.store,
                self.rules,
                before=hour_of(self.now - self.rules.settle) if before is None else before,
                zero_from=zero_from,
                now=to_micros(self.now),
            )

    def probe(
        self, dimension: str = "requests", preferred: ProbeHour = ProbeHour.PREVIOUS, refused: Hour | None = None
    ) -> Record | None:
        """Return the start probe, frozen now unless one is."""
        with self.store.transaction():
            return probe_slots.freeze_probe(
                self.store,
                dimension,
                preferred,
                refused,
                now=self.now,
                new_token=self._token,
            )

    def answer_probe(self, record: Record, outcome: Outcome, words: str = "words") -> None:
        """Try the probe once, and write the answer."""
        frozen = self.begin(record)
        assert frozen is not None
        fate = decide_probe(frozen.unanswered, outcome, words)
        with self.store.transaction():
            answer = Answer(words, f"mr-{record.seq}" if outcome is Outcome.ACCEPTED else None)
            probe_slots.record_probe_outcome(self.store, record, fate, answer, to_micros(self.now))

    def drop_unsent_probes(self) -> None:
        """Free the slots of probes that AWS did not take."""
        with self.store.transaction():
            probe_slots.drop_unsent_probes(self.store, to_micros(self.now))

    def keep_after_end(self) -> dict[UnbilledReason, dict[str, int]]:
        """Keep what the pod's last hour leaves without an hour."""
        with self.store.transaction():
            return last_hour.keep_after_end(self.store, to_micros(self.now))

    def expire_probes(self) -> None:
        """End the probes whose window has closed."""
        with self.store.transaction():
            probe_slots.expire_probes(self.store, to_micros(self.now))

    def seal(self, hour: Hour | None = None, dimension: str = "requests") -> SealedHour | None:
        """Freeze one hour, the current one unless another is named."""
        with self.store.transaction():
            return submitting.seal_hour(
                self.store,
                dimension,
                hour_of(self.now) if hour is None else hour,
                now=to_micros(self.now),
                new_token=self._token,
            )

    def _token(self) -> str:
        count = self.store.connection.execute("SELECT count(*) FROM record").fetchone()[0]
        self._tokens += 1
        return f"token-{count}-{self._tokens}-{self.pod}"

    def seal_ended(self, before: Hour | None = None) -> list[SealedHour]:
        """Freeze every hour that has ended and settled."""
        found = [self.seal(hour, dimension) for hour, dimension in self.sealable(before)]
        return [sealed for sealed in found if sealed is not None]

    def waiting(self) -> list[Record]:
        """Return the records that wait."""
        return submitting.waiting(self.store)

    def begin(self, record: Record) -> FrozenRecord | None:
        """Count an attempt and return what it sends."""
        with self.store.transaction():
            return submitting.begin(self.store, record, to_micros(self.now))

    def answer(self, record: Record, frozen: FrozenRecord, outcome: Outcome, words: str = "words") -> Hour | None:
        """Write what came back for an attempt."""
        accepted = outcome is Outcome.ACCEPTED
        answer = Answer(words, f"mr-{record.seq}" if accepted else None, "request-1")
        fate = decide(frozen.unanswered, outcome, words, self.rules.late)
        with self.store.transaction():
            return submitting.record_outcome(self.store, record, fate, answer, to_micros(self.now))

    def submit(self, record: Record, outcome: Outcome = Outcome.ACCEPTED, words: str = "words") -> Hour | None:
        """Make one attempt with such an outcome."""
        frozen = self.begin(record)
        assert frozen is not None
        return self.answer(record, frozen, outcome, words)

    def submit_all(self, outcome: Outcome = Outcome.ACCEPTED) -> None:
        """Make one attempt for every record that waits."""
        for record in self.waiting():
            self.submit(record, outcome)

    def expire(self) -> None:
        """Settle the records whose window has closed."""
        for record in self.waiting():
            if self.now > window_closes_at(record, self.rules.window):
                fate = expire(record.unanswered, self.rules.late, "words")
                with self.store.transaction():
                    submitting.record_outcome(self.store, record, fate, Answer("words"), to_micros(self.now))

    def rebook_future_hours(self, ahead: timedelta = timedelta(minutes=15)) -> int:
        """Mend what lies further ahead than events may be dated, or than `ahead`."""
        with self.store.transaction():
            after = hour_of(self.now + ahead)
            return submitting.rebook_future_hours(self.store, after=after, now=to_micros(self.now))

    def prune(self) -> None:
        """Drop what has served its time, to the end."""
        more = True
        while more:
            with self.store.transaction():
                more = pruning.prune(self.store, to_micros(self.now))

    def terms(self, dimension: str = "requests") -> Terms:
        """Return the terms of the conservation law."""
        return conservation.terms(self.store.connection)[dimension]

    def shown(self, dimension: str = "requests") -> dict[str, str]:
        """Return the terms that are not nothing, as people read them."""
        terms = self.terms(dimension)
        names = ("accepted", "open", "sealed", "submitted", "unbilled", "remainder")
        return {name: render(getattr(terms, name)) for name in names if getattr(terms, name)}

    def breaches(self) -> list[str]:
        """Return what the proof from the rows objects to."""
        return list(conservation.breaches(self.store.connection))

    def records(self, *, status: str | None = None, dimension: str | None = None) -> Sequence[RecordView]:
        """Return the records."""
        return queries.records(self.store.connection, RecordQuery(status=status, dimension=dimension)).records

    def buckets(self) -> dict[tuple[str, int, Tags], str]:
        """Return the open quantities by dimension, hour of the day and tag set."""
        views = queries.open_buckets(self.store.connection)
        return {(view.dimension, view.hour.hour, view.tags): render(view.quantity) for view in views}

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        with closing(self.store.connection.execute(f"SELECT count(*) FROM {table}")) as cursor:
            return int(cursor.fetchone()[0])


def make_schema_4(connection: sqlite3.Connection) -> None:
    """Make a ledger one of schema 4, which kept whole events in a table with an index over their ids."""
    columns = "seq, id, dimension, tag_set, millionths, value, given_at, counted_at, hour, pod, taken_at"
    connection.executescript(
        f"""
        DROP VIEW whole_event;
        DROP VIEW named_event_by_id;
        DROP VIEW named_event;
        INSERT INTO event_by_id ({columns}) SELECT {columns} FROM event;
        DROP TABLE event;
        ALTER TABLE event_by_id RENAME TO event;
        CREATE VIEW named_event AS
            SELECT event.*, dimension.name, tag_set.tags
            FROM event CROSS JOIN dimension ON dimension.id = event.dimension
                CROSS JOIN tag_set ON tag_set.id = event.tag_set;
        DELETE FROM meta WHERE key = 'merged-to';
        ALTER TABLE source DROP COLUMN denied_at;
        ALTER TABLE source DROP COLUMN denial_ended_at;
        ALTER TABLE source DROP COLUMN booted_at;
        PRAGMA user_version = 4;
        """
    )

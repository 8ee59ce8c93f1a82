"""The ledger as the services use it: opening, and the steps over usage, records and evidence.

Every step runs on the ledger's own thread, in one transaction (sidecar.adapters.ledger.access).
"""

import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
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
    succeeding,
    taking,
)
from sidecar.adapters.ledger.checkouts import CheckoutTable
from sidecar.adapters.ledger.courses import read_courses, write_course
from sidecar.adapters.ledger.evidence import last_accepted_at, read_evidence, write_evidence
from sidecar.adapters.ledger.figures import FiguresAccess
from sidecar.adapters.ledger.file import LedgerUnusable, cure_for, open_for_writing
from sidecar.adapters.ledger.generations import report_change
from sidecar.adapters.ledger.integrity import UNREADABLE_CURE, unreadable_row
from sidecar.adapters.ledger.space import Space
from sidecar.adapters.ledger.store import Store
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.events import LedgerFull, LedgerUnavailable, Receipt, UsageBatch, UsageRefused
from sidecar.domain.metering.failing import Course
from sidecar.domain.metering.hours import Hour, from_micros, to_micros
from sidecar.domain.metering.probes import ProbeFate
from sidecar.domain.metering.records import Answer, Fate, FrozenRecord, Record, SealedHour, UnbilledReason
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.sealing import sealable_at
from sidecar.domain.metering.series import SeriesBatch, SeriesReceipt
from sidecar.domain.pod.succession import PodPlace, Predecessor, TakenOver
from sidecar.domain.policy import ProbeHour
from sidecar.domain.status import LEDGER_CURE, MOST_BUCKETS, BucketView, RecordPage, RecordQuery, Terms

Fates = Callable[[], list[Receipt | UsageRefused]]
"""Returns the fate of each batch, or raises LedgerUnavailable: then none of them is stored."""


class Ledger(FiguresAccess):
    """A ledger held by this process."""

    def __init__(
        self,
        path: Path,
        rules: MeteringRules,
        *,
        max_size: int | None = None,
        connect: Callable[[Path], sqlite3.Connection] = open_for_writing,
    ) -> None:
        super().__init__(path, Space(path, max_size), connect)
        self.pod = ""
        self.pod_source = ""
        self.handed_over = 0
        self.taken_over: Sequence[TakenOver] = ()
        """Usage that this process took over from other pods when it opened the ledger."""
        self.predecessor: Predecessor | None = None
        """The pod that had the ledger before this one; None after a restart in the same pod."""
        self.courses: Mapping[str, Course] = {}
        """How the submissions of each dimension had gone when the ledger was opened."""
        self.rules = rules
        self.checkouts = CheckoutTable(self._write, self._read, self._admit_checkout)
        """What License Manager holds for this pod."""

    async def open(
        self,
        pod: str | None,
        source: str,
        now: datetime,
        *,
        place: PodPlace | None = None,
        admit: Callable[[Predecessor], Awaitable[None]] | None = None,
    ) -> None:
        """Take the ledger for this process and this pod.

        Args:
            pod: The pod's uid, or None where nothing outside names one.
            source: Where the uid comes from.
            now: The present instant.
            place: Where the cluster keeps the pod's object; None if unknown.
            admit: Called with the pod that had the ledger last, if that is another one, before anything is taken over
                from it. May raise LedgerUnusable; the ledger is then closed as it was found.

        Raises:
            LedgerUnusable: It cannot be used; names reason and cure (sidecar.adapters.ledger.file).
        """
        await self._perform(self._connect_alone)
        try:
            self.predecessor = await self._perform(lambda: self._find_predecessor(pod))
            if self.predecessor is not None and admit is not None:
                await admit(self.predecessor)
            await self._perform(lambda: self._take_over(pod, source, to_micros(now), place))
        except BaseException:
            await self._perform(self._close)
            raise

    def _find_predecessor(self, pod: str | None) -> Predecessor | None:
        assert self._store is not None  # noqa: S101 - _connect_alone comes first
        try:
            return succeeding.find_predecessor(self._store, pod)
        except sqlite3.Error as error:
            raise LedgerUnusable(self.path, str(error), cure_for(error)) from error

    def _take_over(self, pod: str | None, source: str, now: int, place: PodPlace | None) -> None:
        assert self._store is not None  # noqa: S101 - _connect_alone comes first
        store = self._store
        try:
            with store.transaction():
                self.pod, self.pod_source = handover.take_identity(store, pod, source, now)
                succeeding.note_place(store, place)
                change = generations.apply_terms(store, self.rules, now)
                self.taken_over = succeeding.find_unfinished(store, self.rules, now)
                self.handed_over = handover.take_over(store, self.rules, now)
                self.courses = read_courses(store.connection)
                self.room_watch.load(store.connection)
            # The process reads these later: a row that cannot be read ends the start here.
            conservation.terms(store.connection)
            submitting.waiting(store)
        except LedgerUnavailable as error:
            raise LedgerUnusable(self.path, str(error), LEDGER_CURE) from error
        except sqlite3.Error as error:
            raise LedgerUnusable(self.path, str(error), cure_for(error)) from error
        except (ValueError, OverflowError) as error:
            row = unreadable_row(store.connection)
            if row is None:
                raise
            raise LedgerUnusable(self.path, row, UNREADABLE_CURE) from error
        report_change(change, self.rules.product_code)
        self._keep_reserve(store)
        with suppress(LedgerUnavailable):
            self._look_at_room(store, from_micros(now))

    async def take(self, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        """Store the batches in one durable commit and return the fate of each.

        Raises:
            LedgerUnavailable: The disk did not take it; none of them is stored.
        """
        return await self._run(lambda store: self._take(store, batches, now))

    def store(self, batches: Sequence[UsageBatch], now: datetime, then: Callable[[Fates], None]) -> None:
        """Do what `take` does, without a task: `then` gets what returns the fates, or raises as `take` does."""
        self._start(lambda store: self._take(store, batches, now), then)

    async def begin_series(self, origins: Mapping[str, str], at: datetime) -> None:
        """Note the sources that this process measures by counters, before their first sample.

        Args:
            origins: Where the counters of each such dimension come from, in words of the configuration that do not
                change by themselves. Dimensions that are not named are measured so no more.
            at: The present instant by the system clock. A counter that starts after the first call of this pod counts
                from zero.

        Raises:
            LedgerUnavailable: The disk did not take it.
        """
        await self._write(lambda store: series.begin(store, origins, to_micros(at)))

    async def take_series(self, batches: Sequence[SeriesBatch], now: datetime) -> list[SeriesReceipt]:
        """Judge samples by the kept states of their series; store the new states and the usage in one durable commit.

        Args:
            batches: Of different dimensions.
            now: The present instant by the sidecar's clock.

        Raises:
            LedgerUnavailable: The disk did not take it, or the ledger is full; nothing is stored. The same samples may
                be given again, also if they were stored and the answer was lost.
        """

        def take(store: Store) -> list[SeriesReceipt]:
            judged = series.judge_batches(store, batches)
            usage = [UsageBatch(each.events(to_micros(now))) for each in judged]
            states = sum(each.states for each in judged)
            self._write_within_room(
                store, usage, now, lambda: series.write(store, judged, self.rules, to_micros(now)), states
            )
            return [each.receipt for each in judged]

        return await self._run(take)

    def _take(self, store: Store, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        fates = self._store_together(store, batches, now)
        # The usage is durable. A merge that fails begins anew, and so does the connection if the file is at fault.
        with suppress(LedgerUnavailable):
            while store.recent.owes_step and self._may_merge(store):
                with store.transaction():
                    store.recent.merge(store.connection)
        return fates

    def _store_together(
        self, store: Store, batches: Sequence[UsageBatch], now: datetime
    ) -> list[Receipt | UsageRefused]:
        """Store batches in one commit; in one for each where they do not fit together."""
        if len(batches) > 1:
            found = self._write_if_room(store, batches, now, lambda: self._store_usage(store, batches, now), 0)
            if isinstance(found, LedgerFull):
                return self._store_each(store, batches, now)
            self._keep_refusal(store)
            return found
        return self._write_within_room(store, batches, now, lambda: self._store_usage(store, batches, now))

    def _store_each(self, store: Store, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        """Store batches in a commit for each. What is stored has its receipt, whatever becomes of the others."""
        fates: list[Receipt | UsageRefused] = []
        stored = False
        for batch in batches:
            try:
                fates += self._store_together(store, [batch], now)
                stored = True
            except LedgerUnavailable as error:
                self._doubt(error)
                fates.append(error.with_traceback(None))  # its frames hold the batches
            except (ValueError, OverflowError) as error:
                if not stored:
                    raise
                fates.append(LedgerUnavailable(str(error)))  # the next try alone finds the row that is at fault
        if stored:
            return fates
        raise next(fate for fate in fates if isinstance(fate, LedgerUnavailable))

    def _store_usage(self, store: Store, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        return taking.take(store, batches, self.rules, to_micros(now))

    async def mark_reportable(self, hour: Hour) -> None:
        """Note that `hour` is to be reported even if nothing is used in it."""
        await self._write(lambda store: submitting.mark_reportable(store, hour))

    async def rebook_future_hours(self, *, after: Hour, now: datetime) -> int:
        """Move what lies open in hours later than `after` into the current one; how many buckets that were."""
        return await self._write(lambda store: submitting.rebook_future_hours(store, after=after, now=to_micros(now)))

    async def sealable(self, *, before: Hour, zero_from: Hour, now: datetime) -> list[tuple[Hour, str]]:
        """Return the (hour, dimension) pairs to seal among the hours earlier than `before`, oldest first.

        Those without events only from `zero_from` on; the notes of earlier hours are dropped.
        """

        def look(store: Store) -> list[tuple[Hour, str]]:
            submitting.forget_reportable(store, before=zero_from)
            return submitting.sealable(store, self.rules, before=before, zero_from=zero_from, now=to_micros(now))

        return await self._write_long(look)

    async def seal(
        self, hour: Hour, dimension: str, clock: Callable[[], datetime], settle: timedelta | None
    ) -> SealedHour | None:
        """Freeze one dimension's hour, with its client token; None when there is nothing to send, or it is too early.

        `clock` is read inside the step, because the clock may have been set since the caller read it; `settle` is as in
        `sidecar.domain.metering.sealing.sealable_at`.
        """

        def seal(store: Store) -> SealedHour | None:
            now = clock()
            if now < sealable_at(hour, settle):
                return None
            return submitting.seal_hour(store, dimension, hour, now=to_micros(now), new_token=lambda: str(uuid.uuid4()))

        return await self._write_long(seal)

    async def waiting(self) -> list[Record]:
        """Return the sealed records of this pod, oldest hour first."""
        return await self._look(submitting.waiting)

    async def begin(self, record: Record, now: datetime) -> FrozenRecord | None:
        """Count an attempt, durably, and return what it sends; None when the record no longer waits."""
        return await self._write_long(lambda store: submitting.begin(store, record, to_micros(now)))

    async def record_outcome(
        self, record: Record, fate: Fate, answer: Answer, now: datetime, course: Course | None = None
    ) -> Hour | None:
        """Write what became of a record, and the course of its dimension; the hour it was carried to, if it was."""

        def write(store: Store) -> Hour | None:
            if course is not None:
                write_course(store, record.dimension, course)
            return submitting.record_outcome(store, record, fate, answer, to_micros(now))

        return await self._write_long(write)

    async def prune(self, now: datetime) -> bool:
        """Drop a step's worth of what has served its time, and note how full the ledger is; whether there may be more.

        Pruning makes room, and without usage nothing else finds it: a gate that lack of room has closed would stay so.
        """

        def prune(store: Store) -> bool:
            with store.transaction():
                probe_slots.expire_probes(store, to_micros(now))
                more = pruning.prune(store, to_micros(now), may_merge=self._may_merge(store))
            if not more:
                self._keep_reserve(store)
            with suppress(LedgerUnavailable):
                self._look_at_room(store, now)
            return more

        return await self._run_long(prune)

    async def freeze_probe(
        self, dimension: str, preferred: ProbeHour, refused: Hour | None, clock: Callable[[], datetime]
    ) -> Record | None:
        """Return the pod's start probe, frozen with its client token; None if no slot is free.

        `refused` is the newest hour that AWS refused as out of bounds; `clock` is read inside the step, as in `seal`.
        """

        def freeze(store: Store) -> Record | None:
            now = clock()
            return probe_slots.freeze_probe(
                store, dimension, preferred, refused, now=now, new_token=lambda: str(uuid.uuid4())
            )

        return await self._write(freeze)

    async def record_probe_outcome(self, record: Record, fate: ProbeFate, answer: Answer, now: datetime) -> None:
        """Write what became of a start probe."""
        await self._write(lambda store: probe_slots.record_probe_outcome(store, record, fate, answer, to_micros(now)))

    async def drop_unsent_probes(self, now: datetime) -> None:
        """Free the slots of this pod's start probes that AWS certainly did not take."""
        await self._write(lambda store: probe_slots.drop_unsent_probes(store, to_micros(now)))

    async def keep_after_end(self, now: datetime) -> Mapping[UnbilledReason, Mapping[str, int]]:
        """Keep as unbilled what the last hour of a pod cannot take at its end; millionths by reason and dimension."""
        return await self._write(lambda store: last_hour.keep_after_end(store, to_micros(now)))

    async def load_evidence(self) -> Evidence | None:
        """Return the proof of registration kept last."""
        return await self._read(read_evidence)

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep a proof of registration durably."""
        await self._write(lambda store: write_evidence(store, evidence))

    async def last_accepted_at(self) -> datetime | None:
        """Return when AWS last showed that it holds a record of this pod under the configured product code."""

        def look(connection: sqlite3.Connection) -> datetime | None:
            asked = (connection, self.pod, self.rules.product_code)
            return max((at for at in (last_accepted_at(*asked), probe_slots.last_held_at(*asked)) if at), default=None)

        return await self._read(look)

    async def open_buckets(self, after: str | None = None) -> Sequence[BucketView]:
        """Return open buckets, oldest hour first: `MOST_BUCKETS`, and one more where there are more."""
        return await self._read(
            lambda connection: queries.open_buckets(connection, limit=MOST_BUCKETS + 1, after=after)
        )

    async def records(self, query: RecordQuery) -> RecordPage:
        """Return one page of records."""
        return await self._read(lambda connection: queries.records(connection, query))

    async def terms(self) -> dict[str, Terms]:
        """Return the terms of the conservation law by dimension."""
        return await self._read_store(
            lambda store: conservation.terms(store.connection, store.totals.quantities(store.connection))
        )

"""The ledger as the services use it: every call runs on one thread of its own, in one transaction.

A cancelled await does not cancel the step behind it; each step is whole by itself, so nothing is left half done.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from sidecar.adapters.ledger import (
    generations,
    handover,
    probe_slots,
    proof,
    pruning,
    queries,
    submitting,
    succeeding,
    taking,
)
from sidecar.adapters.ledger.courses import read_courses, write_course
from sidecar.adapters.ledger.evidence import last_accepted_at, read_evidence, write_evidence
from sidecar.adapters.ledger.file import LedgerLock, LedgerUnusable, cure_for, open_for_writing
from sidecar.adapters.ledger.file_guard import FileWatch, finish_restore, restore
from sidecar.adapters.ledger.generations import report_change
from sidecar.adapters.ledger.integrity import UNREADABLE_CURE, unreadable_row
from sidecar.adapters.ledger.roomwatch import RoomWatch
from sidecar.adapters.ledger.space import Room, Space
from sidecar.adapters.ledger.store import Store
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.events import LedgerFull, LedgerUnavailable, Receipt, UsageBatch, UsageRefused
from sidecar.domain.metering.failing import Course
from sidecar.domain.metering.hours import Hour, from_micros, to_micros
from sidecar.domain.metering.probes import ProbeFate
from sidecar.domain.metering.records import Answer, Fate, FrozenRecord, Record, SealedHour
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.sealing import sealable_at
from sidecar.domain.pod.succession import PodPlace, Predecessor, TakenOver
from sidecar.domain.policy import ProbeHour
from sidecar.domain.status import MOST_BUCKETS, BucketView, Progress, RecordPage, RecordQuery, Terms

log = structlog.get_logger()

Result = TypeVar("Result")


class Ledger:
    """A ledger held by this process."""

    def __init__(
        self,
        path: Path,
        rules: MeteringRules,
        *,
        max_size: int | None = None,
        connect: Callable[[Path], sqlite3.Connection] = open_for_writing,
    ) -> None:
        self.path = path
        self.pod = ""
        self.pod_source = ""
        self.adopted = 0
        self.taken_over: Sequence[TakenOver] = ()
        """Usage that this process took over from other pods when it opened the ledger."""
        self.predecessor: Predecessor | None = None
        """The pod that had the ledger before this one; None after a restart in the same pod."""
        self.courses: Mapping[str, Course] = {}
        """How the submissions of each dimension had gone when the ledger was opened."""
        self.rules = rules
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._lock: LedgerLock | None = None
        self._store: Store | None = None
        self._watch: FileWatch | None = None
        self._suspect = False
        self._removed = False
        self._was_restored = False
        self._unreadable: str | None = None
        self.fault: str | None = None
        """Why the ledger could not be used the last time; None while it can."""
        self.room_watch = RoomWatch(path)
        self._space = Space(path, max_size)

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
            place: Where the cluster keeps the pod's object, None where nothing says so.
            admit: Called with the pod that had the ledger last, if that is another one, before anything is taken over
                from it. May raise LedgerUnusable; the ledger is then closed as it was found.

        Raises:
            LedgerUnusable: It cannot be used; says why and what to do (sidecar.adapters.ledger.file).
        """
        run = asyncio.get_running_loop().run_in_executor
        await run(self._thread, self._connect_alone)
        try:
            self.predecessor = await run(self._thread, self._find_predecessor, pod)
            if self.predecessor is not None and admit is not None:
                await admit(self.predecessor)
            await run(self._thread, self._take_over, pod, source, to_micros(now), place)
        except BaseException:
            await run(self._thread, self._close)
            raise

    def _connect_alone(self) -> None:
        self._lock = LedgerLock(self.path)
        self._space.begin()
        try:
            finish_restore(self.path)
            store = Store(self._connect(self.path))
        except BaseException:
            self._space.end()
            self._lock.release()
            self._lock = None
            raise
        self._store = store
        try:
            self._follow(store)
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise LedgerUnusable(self.path, str(error), cure_for(error)) from error
        self._watch = FileWatch(self.path)

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
                self.taken_over = succeeding.find_unfinished(store)
                self.adopted = handover.take_over(store, self.rules, now)
                self.courses = read_courses(store.connection)
            # Reads what the process goes on to read, so that a row that cannot be read ends the start here.
            proof.terms(store.connection)
            submitting.waiting(store)
        except LedgerUnavailable as error:
            raise LedgerUnusable(self.path, str(error), "Make room on the volume, or restore the file.") from error
        except sqlite3.Error as error:
            raise LedgerUnusable(self.path, str(error), cure_for(error)) from error
        except (ValueError, OverflowError) as error:
            row = unreadable_row(store.connection)
            if row is None:
                raise
            raise LedgerUnusable(self.path, row, UNREADABLE_CURE) from error
        report_change(change, self.rules.product_code)
        self._keep_reserve(store)
        with suppress(OSError, sqlite3.Error):
            self._look_at_room(store, from_micros(now))

    def _follow(self, store: Store) -> None:
        """Watch the totals and the room of a fresh connection."""
        store.totals.attach(store.connection)
        self._space.set_up(store.connection)

    def _keep_reserve(self, store: Store) -> None:
        # Without it the ledger works; a full volume is then less well prepared for, and the next turn tries again.
        with suppress(OSError, sqlite3.Error):
            self._space.keep_reserve(store.connection, store.totals.buckets(store.connection))

    async def close(self) -> None:
        """Let go of the file; what was committed is safe whether or not this is reached."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._store is not None:
            self._store.connection.close()
            self._space.end()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _write(self, step: Callable[[Store], Result]) -> Result:
        def run(store: Store) -> Result:
            with store.transaction():
                return step(store)

        return await self._run(run)

    async def _read(self, look: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._read_store(lambda store: look(store.connection))

    async def _read_store(self, look: Callable[[Store], Result]) -> Result:
        def run(store: Store) -> Result:
            # At one instant: between two statements another command may resolve a record, and sums would not agree.
            store.connection.execute("BEGIN")
            try:
                return look(store)
            finally:
                with suppress(sqlite3.Error):
                    store.connection.execute("ROLLBACK")

        return await self._look(run)

    async def _look(self, look: Callable[[Store], Result]) -> Result:
        def run(store: Store) -> Result:
            try:
                return look(store)
            except sqlite3.Error as error:
                raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error

        return await self._run(run)

    async def _run(self, work: Callable[[Store], Result]) -> Result:
        """Do one piece of work on the ledger's thread, and note whether the ledger could be used."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, self._use, work)
        except LedgerFull:
            raise  # of a sound ledger; the watch over its room logs it
        except LedgerUnavailable as error:
            if self.fault is None:
                log.error("ledger.unavailable", path=str(self.path), detail=str(error))  # noqa: TRY400 - no bug: a state
            self.fault = str(error)
            raise
        if self._was_restored:
            self._was_restored = False
            log.warning("ledger.put_back", path=str(self.path), cure="Find out what removes it; nothing was lost.")
        if self.fault is not None:
            log.warning("ledger.recovered", path=str(self.path))
            self.fault = None
        return result

    def _use(self, work: Callable[[Store], Result]) -> Result:
        store = self._whole_store()
        try:
            return work(store)
        except LedgerFull:
            raise
        except LedgerUnavailable as error:
            if getattr(error.__cause__, "sqlite_errorname", "") == "SQLITE_FULL":
                raise  # the connection is sound, and its log holds the room that sealing needs
            # The next piece of work begins on a fresh connection, with nothing remembered of a bad file or disk.
            self._suspect = True
            raise
        except (ValueError, OverflowError) as error:
            # Looked for once: it reads the whole file, and the row is still there at the next try.
            self._unreadable = self._unreadable or unreadable_row(store.connection)
            if self._unreadable is None:
                raise
            raise LedgerUnavailable(f"{self._unreadable}. {UNREADABLE_CURE}") from error

    def _whole_store(self) -> Store:
        """Return the store, on the file that lies at the ledger's path, put back or opened anew if need be."""
        assert self._store is not None  # noqa: S101 - open() comes first
        assert self._watch is not None  # noqa: S101 - open() comes first
        # A restore that has failed half-way may have put the new file in place; only this process can complete it.
        self._removed = self._removed or not self._watch.is_whole()
        if self._removed:
            restore(self._store.connection, self.path)
            self._removed, self._suspect, self._was_restored = False, True, True
        if self._suspect:
            # Until a fresh connection is ready, whatever fails on the way: each try closes the log of the one before.
            self._store.connection.close()
            self._watch = FileWatch(self.path)
            self._watch.forget_log()
            try:
                self._store = Store(self._connect(self.path), self._store.pod)
                self._follow(self._store)
            except LedgerUnusable as error:
                raise LedgerUnavailable(str(error)) from error
            except (sqlite3.Error, OSError) as error:
                raise LedgerUnavailable(f"the ledger cannot be written: {error}") from error
            self._watch = FileWatch(self.path)
            self._suspect = False
        return self._store

    async def take(self, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        """Store the batches in one durable commit and return the fate of each.

        Raises:
            LedgerUnavailable: The disk did not take it; none of them is stored.
        """

        def take(store: Store) -> list[Receipt | UsageRefused]:
            self._admit(store, batches, now)
            with store.transaction():
                return taking.take(store, batches, self.rules, to_micros(now))

        return await self._run(take)

    def _admit(self, store: Store, batches: Sequence[UsageBatch], now: datetime) -> None:
        try:
            room = self._space.admit(store.connection, batches, store.totals.buckets(store.connection))
        except LedgerFull as full:
            self.room_watch.refuse(str(full), now, full.more)
            raise
        except (sqlite3.Error, OSError) as error:
            raise LedgerUnavailable(f"the ledger's room cannot be measured: {error}") from error
        self.room_watch.see(room, now)

    async def room(self, now: datetime) -> Room:
        """Return the room of the ledger, and note how full it is."""

        def measure(store: Store) -> Room:
            try:
                return self._look_at_room(store, now)
            except OSError as error:
                raise LedgerUnavailable(f"the ledger's room cannot be measured: {error}") from error

        return await self._look(measure)

    def _look_at_room(self, store: Store, now: datetime) -> Room:
        room = self._space.measure(store.connection, store.totals.buckets(store.connection))
        self.room_watch.look(room, now)
        return room

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
            submitting.forget_witnessed(store, before=zero_from)
            return submitting.sealable(store, self.rules, before=before, zero_from=zero_from, now=to_micros(now))

        return await self._write(look)

    async def seal(
        self, hour: Hour, dimension: str, clock: Callable[[], datetime], settle: timedelta | None
    ) -> SealedHour | None:
        """Freeze one dimension's hour, with its client token; None when there is nothing to send, or it is too early.

        Args:
            hour: The hour to close.
            dimension: The dimension's name.
            clock: Returns the present instant. It is read inside the step, because the clock may have been set since
                the caller read it.
            settle: As in `sidecar.domain.metering.sealing.sealable_at`.
        """

        def seal(store: Store) -> SealedHour | None:
            now = clock()
            if now < sealable_at(hour, settle):
                return None
            return submitting.seal_hour(store, dimension, hour, now=to_micros(now), new_token=lambda: str(uuid.uuid4()))

        return await self._write(seal)

    async def waiting(self) -> list[Record]:
        """Return the sealed records of this pod, oldest hour first."""
        return await self._look(submitting.waiting)

    async def begin(self, record: Record, now: datetime) -> FrozenRecord | None:
        """Count an attempt, durably, and return what it sends; None when the record no longer waits."""
        return await self._write(lambda store: submitting.begin(store, record, to_micros(now)))

    async def settle(
        self, record: Record, fate: Fate, answer: Answer, now: datetime, course: Course | None = None
    ) -> Hour | None:
        """Write what became of a record, and the course of its dimension; the hour it was carried to, if it was."""

        def write(store: Store) -> Hour | None:
            if course is not None:
                write_course(store, record.dimension, course)
            return submitting.settle(store, record, fate, answer, to_micros(now))

        return await self._write(write)

    async def prune(self, now: datetime) -> bool:
        """Drop a step's worth of what has served its time, and note how full the ledger is; whether there may be more.

        Pruning makes room, and without usage nothing else finds it: a gate that lack of room has closed would stay so.
        """

        def prune(store: Store) -> bool:
            with store.transaction():
                probe_slots.expire_probes(store, to_micros(now))
                more = pruning.prune(store, to_micros(now))
            if not more:
                self._keep_reserve(store)
            with suppress(OSError, sqlite3.Error):
                self._look_at_room(store, now)
            return more

        return await self._run(prune)

    async def freeze_probe(
        self, dimension: str, preferred: ProbeHour, refused: Hour | None, clock: Callable[[], datetime]
    ) -> Record | None:
        """Return the pod's start probe, frozen with its client token; None if no slot is free.

        Args:
            dimension: The dimension's name.
            preferred: The hour that the seller chose.
            refused: The newest hour that AWS refused as out of bounds.
            clock: Returns the present instant; read inside the step, as in `seal`.
        """

        def freeze(store: Store) -> Record | None:
            now = clock()
            return probe_slots.freeze_probe(
                store, dimension, preferred, refused, now=now, new_token=lambda: str(uuid.uuid4())
            )

        return await self._write(freeze)

    async def settle_probe(self, record: Record, fate: ProbeFate, answer: Answer, now: datetime) -> None:
        """Write what became of a start probe."""
        await self._write(lambda store: probe_slots.settle_probe(store, record, fate, answer, to_micros(now)))

    async def keep_probe_usage(self, now: datetime) -> Mapping[str, int]:
        """Keep as unbilled what the probe's slot leaves without an hour at the pod's end; millionths by dimension."""
        return await self._write(lambda store: probe_slots.keep_probe_usage(store, to_micros(now)))

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

    async def progress(self) -> Progress:
        """Return how far the submissions have come."""
        return await self._read(queries.progress)

    async def terms(self) -> dict[str, Terms]:
        """Return the terms of the conservation law by dimension."""
        return await self._read_store(
            lambda store: proof.terms(store.connection, store.totals.quantities(store.connection))
        )

    def size(self) -> int | None:
        """Return the bytes of the ledger's files, None while they cannot be seen."""
        try:
            return sum(part.stat().st_size for part in self.path.parent.glob(self.path.name + "*") if part.is_file())
        except OSError:
            return None

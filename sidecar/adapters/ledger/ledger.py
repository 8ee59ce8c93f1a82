"""The ledger as the services use it: every call runs on one thread of its own, in one transaction.

A cancelled await does not cancel the step behind it; each step is whole by itself, so nothing is left half done.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import structlog

from sidecar.adapters.ledger import adopting, proof, pruning, reading, submitting, taking
from sidecar.adapters.ledger.evidence import last_accepted_at, read_evidence, write_evidence
from sidecar.adapters.ledger.file import LedgerLock, LedgerUnusable, open_for_writing
from sidecar.adapters.ledger.keeping import FileWatch, put_back
from sidecar.adapters.ledger.store import Store
from sidecar.domain.entitlement import Evidence
from sidecar.domain.hours import Hour, to_micros
from sidecar.domain.records import Answer, Fate, FrozenRecord, Record, SealedHour
from sidecar.domain.rules import MeteringRules
from sidecar.domain.status import BucketView, Progress, RecordPage, RecordQuery, Terms
from sidecar.domain.usage import LedgerUnavailable, Receipt, UsageBatch, UsageRefused

log = structlog.get_logger()

Result = TypeVar("Result")


class Ledger:
    """A ledger held by this process."""

    def __init__(
        self, path: Path, rules: MeteringRules, *, connect: Callable[[Path], sqlite3.Connection] = open_for_writing
    ) -> None:
        self.path = path
        self.pod = ""
        self.pod_source = ""
        self.adopted = 0
        self.rules = rules
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._lock: LedgerLock | None = None
        self._store: Store | None = None
        self._watch: FileWatch | None = None
        self._suspect = False
        self._was_put_back = False
        self.fault: str | None = None
        """Why the ledger could not be used the last time; None while it can."""

    async def open(self, pod: str | None, source: str, now: datetime) -> None:
        """Take the ledger for this process and this pod.

        Args:
            pod: The pod's uid, or None where nothing outside names one.
            source: Where the uid comes from.
            now: The present instant.

        Raises:
            LedgerUnusable: It cannot be used; says why and what to do (sidecar.adapters.ledger.file).
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open, pod, source, to_micros(now))

    def _open(self, pod: str | None, source: str, now: int) -> None:
        self._lock = LedgerLock(self.path)
        try:
            store = Store(self._connect(self.path))
        except BaseException:
            self._lock.release()
            self._lock = None
            raise
        self._store = store
        self._watch = FileWatch(self.path)
        try:
            with store.transaction():
                self.pod, self.pod_source = adopting.take_identity(store, pod, source, now)
                for name in self.rules.dimensions:
                    store.dimension(name)
                self.adopted = adopting.adopt(store, now)
        except LedgerUnavailable as error:
            self._close()
            raise LedgerUnusable(self.path, str(error), "Make room on the volume, or restore the file.") from error

    async def close(self) -> None:
        """Let go of the file; what was committed is safe whether or not this is reached."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._store is not None:
            self._store.connection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _write(self, step: Callable[[Store], Result]) -> Result:
        def run(store: Store) -> Result:
            with store.transaction():
                return step(store)

        return await self._run(run)

    async def _read(self, look: Callable[[sqlite3.Connection], Result]) -> Result:
        def run(store: Store) -> Result:
            # At one instant: between two statements another command may resolve a record, and sums would not agree.
            store.connection.execute("BEGIN")
            try:
                return look(store.connection)
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
        except LedgerUnavailable as error:
            if self.fault is None:
                log.error("ledger.unavailable", path=str(self.path), detail=str(error))  # noqa: TRY400 - no bug: a state
            self.fault = str(error)
            raise
        if self._was_put_back:
            self._was_put_back = False
            log.warning("ledger.put_back", path=str(self.path), cure="Find out what removes it; nothing was lost.")
        if self.fault is not None:
            log.warning("ledger.recovered", path=str(self.path))
            self.fault = None
        return result

    def _use(self, work: Callable[[Store], Result]) -> Result:
        store = self._whole_store()
        try:
            return work(store)
        except LedgerUnavailable:
            # The next piece of work begins on a fresh connection, with nothing remembered of a bad file or disk.
            self._suspect = True
            raise

    def _whole_store(self) -> Store:
        """Return the store, on the file that lies at the ledger's path, put back or opened anew if need be."""
        assert self._store is not None  # noqa: S101 - open() comes first
        assert self._watch is not None  # noqa: S101 - open() comes first
        removed = not self._watch.is_whole()
        if removed:
            put_back(self._store.connection, self.path)
            self._was_put_back = True
        if removed or self._suspect:
            self._store.connection.close()
            try:
                self._store = Store(self._connect(self.path), self._store.pod)
            except LedgerUnusable as error:
                raise LedgerUnavailable(str(error)) from error
            self._watch = FileWatch(self.path)
            self._suspect = False
        return self._store

    async def take(self, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        """Store the batches in one durable commit and return the fate of each.

        Raises:
            LedgerUnavailable: The disk did not take it; none of them is stored.
        """
        return await self._write(lambda store: taking.take(store, batches, self.rules, to_micros(now)))

    async def witness(self, hour: Hour) -> None:
        """Note that `hour` is to be reported even if nothing is used in it."""
        await self._write(lambda store: submitting.witness(store, hour))

    async def bring_back(self, *, after: Hour, now: datetime) -> int:
        """Move what lies open in hours later than `after` into the current one; how many buckets that were."""
        return await self._write(lambda store: submitting.bring_back(store, after=after, now=to_micros(now)))

    async def sealable(self, *, before: Hour, zero_from: Hour, now: datetime) -> list[tuple[Hour, str]]:
        """Return the (hour, dimension) pairs to seal among the hours earlier than `before`, oldest first.

        Those without events only from `zero_from` on; the notes of earlier hours are dropped.
        """

        def look(store: Store) -> list[tuple[Hour, str]]:
            submitting.forget_witnessed(store, before=zero_from)
            return submitting.sealable(store, self.rules, before=before, zero_from=zero_from, now=to_micros(now))

        return await self._write(look)

    async def seal(self, hour: Hour, dimension: str, now: datetime) -> SealedHour | None:
        """Freeze one dimension's hour, with its client token; None when there is nothing to send."""
        return await self._write(
            lambda store: submitting.seal_hour(
                store,
                dimension,
                hour,
                self.rules,
                now=to_micros(now),
                new_token=lambda: str(uuid.uuid4()),
            )
        )

    async def waiting(self) -> list[Record]:
        """Return the sealed records of this pod, oldest hour first."""
        return await self._look(submitting.waiting)

    async def begin(self, record: Record, now: datetime) -> FrozenRecord | None:
        """Count an attempt, durably, and return what it sends; None when the record no longer waits."""
        return await self._write(lambda store: submitting.begin(store, record, to_micros(now)))

    async def settle(self, record: Record, fate: Fate, answer: Answer, now: datetime) -> Hour | None:
        """Write what became of a record; the hour it was carried to, if it was."""
        return await self._write(lambda store: submitting.settle(store, record, fate, answer, to_micros(now)))

    async def prune(self, now: datetime) -> bool:
        """Drop a step's worth of what has served its time; whether there may be more."""
        return await self._write(lambda store: pruning.prune(store, to_micros(now)))

    async def load_evidence(self) -> Evidence | None:
        """Return the proof of registration kept last."""
        return await self._read(read_evidence)

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep a proof of registration durably."""
        await self._write(lambda store: write_evidence(store, evidence))

    async def last_accepted_at(self) -> datetime | None:
        """Return when AWS last accepted a record of this pod."""
        return await self._read(lambda connection: last_accepted_at(connection, self.pod))

    async def open_buckets(self) -> Sequence[BucketView]:
        """Return the open buckets, oldest hour first."""
        return await self._read(reading.open_buckets)

    async def records(self, query: RecordQuery) -> RecordPage:
        """Return one page of records."""
        return await self._read(lambda connection: reading.records(connection, query))

    async def progress(self) -> Progress:
        """Return how far the submissions have come."""
        return await self._read(reading.progress)

    async def terms(self) -> dict[str, Terms]:
        """Return the terms of the conservation law by dimension."""
        return await self._read(proof.terms)

    def size(self) -> int | None:
        """Return the bytes of the ledger's files, None while they cannot be seen."""
        try:
            return sum(part.stat().st_size for part in self.path.parent.glob(self.path.name + "*") if part.is_file())
        except OSError:
            return None

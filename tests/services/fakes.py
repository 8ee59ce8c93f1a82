"""What the metering services talk to in tests: a ledger without a thread, a metering service, a gate."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from sidecar.adapters.ledger import conservation, probe_slots, pruning, submitting
from sidecar.adapters.ledger.courses import write_course
from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, State
from sidecar.domain.metering.events import LedgerUnavailable, Receipt, UsageBatch, UsageRefused
from sidecar.domain.metering.failing import Course
from sidecar.domain.metering.hours import Hour, to_micros
from sidecar.domain.metering.probes import ProbeFate
from sidecar.domain.metering.records import Answer, Fate, FrozenRecord, Record, SealedHour, UnbilledReason
from sidecar.domain.metering.sealing import sealable_at
from sidecar.domain.policy import ProbeHour
from sidecar.domain.status import Terms
from sidecar.marketplace import (
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    MarketplaceError,
    MeterUsageRequest,
    MeterUsageResult,
    RegisterUsageRequest,
    RegisterUsageResult,
    ResolveCustomerRequest,
    ResolveCustomerResult,
)
from sidecar.marketplace.errors import NoAnswer
from tests.support.books import Books

START = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)


class Shelf:
    """The record store over a real file, whose next steps may fail by name."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.failing: list[str] = []
        """The names of steps that fail, each once."""

    def _step(self, name: str, now: datetime | None = None) -> Books:
        if name in self.failing:
            self.failing.remove(name)
            raise LedgerUnavailable(f"{name}: disk I/O error")
        if now is not None:
            self.books.now = now
        return self.books

    async def mark_reportable(self, hour: Hour) -> None:
        """Note the hour."""
        books = self._step("mark_reportable")
        with books.store.transaction():
            submitting.mark_reportable(books.store, hour)

    async def rebook_future_hours(self, *, after: Hour, now: datetime) -> int:
        """Move what lies ahead."""
        books = self._step("rebook_future_hours", now)
        with books.store.transaction():
            return submitting.rebook_future_hours(books.store, after=after, now=to_micros(now))

    async def sealable(self, *, before: Hour, zero_from: Hour, now: datetime) -> list[tuple[Hour, str]]:
        """Return what may be sealed."""
        books = self._step("sealable", now)
        with books.store.transaction():
            submitting.forget_reportable(books.store, before=zero_from)
            return submitting.sealable(books.store, books.rules, before=before, zero_from=zero_from, now=to_micros(now))

    async def seal(
        self, hour: Hour, dimension: str, clock: Callable[[], datetime], settle: timedelta | None
    ) -> SealedHour | None:
        """Freeze an hour."""
        now = clock()
        books = self._step("seal", now)
        return None if now < sealable_at(hour, settle) else books.seal(hour, dimension)

    async def waiting(self) -> list[Record]:
        """Return what waits."""
        return self._step("waiting").waiting()

    async def begin(self, record: Record, now: datetime) -> FrozenRecord | None:
        """Count an attempt."""
        return self._step("begin", now).begin(record)

    async def record_outcome(
        self, record: Record, fate: Fate, answer: Answer, now: datetime, course: Course | None = None
    ) -> Hour | None:
        """Record a fate."""
        books = self._step("settle", now)
        with books.store.transaction():
            if course is not None:
                write_course(books.store, record.dimension, course)
            return submitting.record_outcome(books.store, record, fate, answer, to_micros(now))

    async def drop_unsent_probes(self, now: datetime) -> None:
        """Free the slots of probes that AWS did not take."""
        self._step("drop_unsent_probes", now).drop_unsent_probes()

    async def keep_after_end(self, now: datetime) -> dict[UnbilledReason, dict[str, int]]:
        """Keep what has no hour."""
        return self._step("keep_after_end", now).keep_after_end()

    async def freeze_probe(
        self, dimension: str, preferred: ProbeHour, refused: Hour | None, clock: Callable[[], datetime]
    ) -> Record | None:
        """Freeze the probe."""
        return self._step("freeze_probe", clock()).probe(dimension, preferred, refused)

    async def record_probe_outcome(self, record: Record, fate: ProbeFate, answer: Answer, now: datetime) -> None:
        """Record a fate of the probe."""
        books = self._step("record_probe_outcome", now)
        with books.store.transaction():
            probe_slots.record_probe_outcome(books.store, record, fate, answer, to_micros(now))

    async def prune(self, now: datetime) -> bool:
        """Drop what has served its time."""
        books = self._step("prune", now)
        with books.store.transaction():
            return pruning.prune(books.store, to_micros(now))

    async def terms(self) -> dict[str, Terms]:
        """Return the terms of the law."""
        return conservation.terms(self._step("terms").store.connection)


class Marketplace:
    """A metering service that takes every record once, or says what it was told to say for a dimension."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.requests: list[MeterUsageRequest] = []
        self.called_at: list[datetime] = []
        self.taken: dict[tuple[str, datetime], MeterUsageRequest] = {}
        self.script: dict[str, deque[MarketplaceError]] = {}
        self.always: dict[str, MarketplaceError] = {}
        self.drops: set[str] = set()
        """Dimensions whose next request is processed while its answer is lost."""
        self.wait: Callable[[MeterUsageRequest], Awaitable[object]] | None = None

    def says(self, dimension: str, *errors: MarketplaceError) -> None:
        """Answer the next calls for a dimension so, then take them."""
        self.script[dimension] = deque(errors)

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Take it, or raise what the script names."""
        self.requests.append(request)
        self.called_at.append(self.now())
        name = request.usage_dimension
        await asyncio.sleep(0)
        if self.wait is not None:
            await self.wait(request)
        if self.script.get(name):
            raise self.script[name].popleft()
        if name in self.always:
            raise self.always[name]
        slot = name, request.timestamp.replace(minute=0, second=0, microsecond=0)
        assert request == self.taken.setdefault(slot, request)
        if name in self.drops:
            self.drops.remove(name)
            raise lost_answer()
        return MeterUsageResult(metering_record_id=f"mr-{len(self.taken)}", request_id="request-1")

    async def register_usage(self, request: RegisterUsageRequest) -> RegisterUsageResult:
        """Is not asked here."""
        raise NotImplementedError

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Is not for containers."""
        raise NotImplementedError

    async def resolve_customer(self, request: ResolveCustomerRequest) -> ResolveCustomerResult:
        """Is not for containers."""
        raise NotImplementedError


def lost_answer() -> MarketplaceError:
    """Return the error of a call whose answer never came."""
    return NoAnswer("the connection was dropped")


class OpenGate:
    """An entitlement that a test sets, and that remembers what it was told."""

    def __init__(self, state: State = State.ENTITLED) -> None:
        self.state = state
        self.since = START
        self.told_so: list[bool] = []

    def entitlement(self) -> Entitlement:
        """Return what the test has set."""
        return Entitlement(
            state=self.state,
            reason="registered",
            detail=f"The pod is {self.state}.",
            source=EntitlementSource.LIVE,
            product_code="0abc123example",
            public_key_version=1,
            since=self.since,
        )

    async def wait_while(self, state: State, timeout: object) -> Entitlement:
        """Is not asked here."""
        raise NotImplementedError

    async def attest(self, nonce: str) -> str:
        """Is not asked here."""
        raise NotImplementedError

    async def on_submission(self, *, accepted: bool) -> None:
        """Remember it."""
        self.told_so.append(accepted)


class MemoryStore:
    """A usage store that keeps batches in a list, whose disk may be slow or full."""

    def __init__(self) -> None:
        self.commits: list[list[UsageBatch]] = []
        self.refusals: dict[str, UsageRefused] = {}
        """What becomes of batches with this Idempotency-Key."""
        self.duplicates = 0
        self.full = False
        self.bug: Exception | None = None
        self.bug_is_late = False
        """The bug shows after a while, not when the batches are handed in."""
        self.disk = asyncio.Event()
        self.disk.set()
        self.asked = asyncio.Event()

    def store(
        self,
        batches: Sequence[UsageBatch],
        now: datetime,
        then: Callable[[Callable[[], list[Receipt | UsageRefused]]], None],
    ) -> None:
        """Store the batches once the disk is ready."""
        if self.bug is not None and not self.bug_is_late:
            raise self.bug
        asyncio.ensure_future(self._take(batches)).add_done_callback(lambda fates: then(fates.result))

    async def _take(self, batches: Sequence[UsageBatch]) -> list[Receipt | UsageRefused]:
        self.asked.set()
        await self.disk.wait()
        if self.bug is not None:
            raise self.bug
        if self.full:
            raise LedgerUnavailable("database or disk is full", retry_after=7)
        self.commits.append(list(batches))
        return [
            self.refusals.get(
                batch.idempotency_key or "", Receipt(len(batch.events) - self.duplicates, self.duplicates)
            )
            for batch in batches
        ]

    @property
    def stored(self) -> list[UsageBatch]:
        """Everything that was committed, in order."""
        return [batch for commit in self.commits for batch in commit]

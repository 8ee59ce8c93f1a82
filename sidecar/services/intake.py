"""Takes usage: one writer gathers the batches that wait and stores them in one commit.

A batch is answered only once it is on disk. While a commit runs, the next batches gather; an idle writer starts without
a delay. It holds at most `most_waiting` events in memory: beyond that it raises `Overloaded`, and the caller retries.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

from sidecar.domain.entitlement.states import State
from sidecar.domain.histogram import Histogram
from sidecar.domain.metering.events import LedgerUnavailable, NotEntitled, Overloaded, Receipt, UsageBatch, UsageRefused
from sidecar.domain.ports import Clock
from sidecar.services.ports import EntitlementReader

MOST_WAITING = 50_000
"""Events that may wait for the disk."""
MOST_TOGETHER = 5_000
"""Events in one commit: a batch must not wait long behind others."""
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds of the histograms in seconds: from a fast disk to one on which clients give up."""
_QUIET_TURNS = 3
"""Turns of the event loop in a row without a new batch, before a commit: answers to the last commit bring the next
requests of many connections. They take no time when there is nothing to do."""
MOST_GATHERED = 64
"""Batches that begin a commit without further turns: the first one must not wait long for others."""
_ALONE = 8
"""Commits of one batch in a row after which the turns are left out: the app sends one request after the other."""

Fate = Receipt | UsageRefused


class UsageStore(Protocol):
    """What the intake needs of the ledger."""

    def store(
        self, batches: Sequence[UsageBatch], now: datetime, then: Callable[[Callable[[], list[Fate]]], None]
    ) -> None:
        """Store the batches in one durable commit.

        Args:
            batches: What is stored.
            now: The present instant.
            then: Called in a later turn of the event loop with what returns the fate of each batch. That raises
                LedgerUnavailable if none of them is stored.
        """


class _Waiting(NamedTuple):
    batch: UsageBatch
    answer: Callable[[Fate], None]
    arrived: float


class UsageIntake:
    """The way of usage events into the ledger."""

    def __init__(
        self, *, store: UsageStore, gate: EntitlementReader, clock: Clock, most_waiting: int = MOST_WAITING
    ) -> None:
        self._store = store
        self._gate = gate
        self._clock = clock
        self._most_waiting = most_waiting
        self._waiting: deque[_Waiting] = deque()
        self._events_waiting = 0
        self._storing = False
        """A commit runs, or is about to."""
        self._alone = 0
        """Commits of one batch in a row."""
        self._closed = False
        self._ended = asyncio.Event()
        self._bug: BaseException | None = None
        self.accepted = 0
        self.duplicates = 0
        self.taking = Histogram(*_BOUNDS)
        """From the call of `take` to the durable commit, of what was taken; real time, whatever the clock shows."""
        self.committing = Histogram(*_BOUNDS)
        """From handing batches to the ledger to their durable commit; real time."""
        self.last_taken: float = float("-inf")
        """When a batch last came, by the loop's own time."""

    def take(self, batch: UsageBatch) -> asyncio.Future[Receipt]:
        """Return a future that has its receipt once the batch is on disk, or UsageRefused as its exception.

        Raises:
            UsageRefused: The batch does not wait for the disk; nothing of it is stored.
        """
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.submit(batch, partial(_resolve, future))
        return future

    def submit(self, batch: UsageBatch, answer: Callable[[Fate], None]) -> None:
        """Take a batch that waits for the disk. `answer` gets its receipt once it is on disk, or why it is not.

        Raises:
            UsageRefused: The batch does not wait for the disk; nothing of it is stored.
        """
        began = self.last_taken = asyncio.get_running_loop().time()
        entitlement = self._gate.entitlement()
        if entitlement.state is State.DENIED:
            raise NotEntitled(entitlement.detail)
        if self._closed:
            raise LedgerUnavailable("the sidecar is shutting down", retry_after=1)
        if self._waiting and self._events_waiting + len(batch.events) > self._most_waiting:
            raise Overloaded(f"{self._events_waiting} events wait for the disk")
        self._waiting.append(_Waiting(batch, answer, began))
        self._events_waiting += len(batch.events)
        if self._storing:
            self._alone = 0
        else:
            self._storing = True
            self._begin()

    def note_arrival(self) -> None:
        """Note that usage came, by whatever way; a drain waits until no more comes."""
        self.last_taken = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Return once the intake is closed and nothing waits any more; raise what no code foresees of the ledger."""
        try:
            await self._ended.wait()
        finally:
            self._end()
        if self._bug is not None:
            raise self._bug

    def close(self) -> None:
        """Refuse what comes from now on; what waits is still stored, and `run` returns after it."""
        self._closed = True
        if not self._storing:
            self._ended.set()

    def _end(self) -> None:
        """Store nothing more: what waits was not acknowledged."""
        self._closed = True
        self._waiting.clear()
        self._ended.set()

    def _stop(self, bug: BaseException) -> None:
        self._bug = bug
        self._end()

    def _begin(self) -> None:
        """Begin a commit: directly, or after the turns in which more batches may come."""
        if self._alone >= _ALONE and len(self._waiting) == 1:
            self._store_next()
        else:
            self._gather(0, 0)

    def _gather(self, before: int, quiet: int) -> None:
        """Store what waits, once `quiet` turns have passed in which nothing was added to the batches of `before`."""
        waiting = len(self._waiting)
        quiet = quiet + 1 if waiting == before else 0
        if quiet < _QUIET_TURNS and waiting < MOST_GATHERED:
            asyncio.get_running_loop().call_soon(self._gather, waiting, quiet)
        elif waiting:
            self._store_next()

    def _store_next(self) -> None:
        """Store the batches that wait, as many as one commit may hold."""
        group = [self._waiting.popleft()]
        events = len(group[0].batch.events)
        while self._waiting and events + len(self._waiting[0].batch.events) <= MOST_TOGETHER:
            group.append(self._waiting.popleft())
            events += len(group[-1].batch.events)
        self._events_waiting -= events
        self._alone = self._alone + 1 if len(group) == 1 else 0
        began = asyncio.get_running_loop().time()
        try:
            self._store.store([each.batch for each in group], self._clock.now(), partial(self._finish, group, began))
        except Exception as bug:  # noqa: BLE001 - `run` raises it
            self._stop(bug)

    def _finish(self, group: list[_Waiting], began: float, outcome: Callable[[], list[Fate]]) -> None:
        """Answer a group, and store the next one."""
        loop = asyncio.get_running_loop()
        ended = loop.time()
        try:
            fates = outcome()
        except LedgerUnavailable as error:
            error.__traceback__ = None  # its frames hold the batches and, by the outcome, the error itself
            fates = [LedgerUnavailable(str(error), error.retry_after) for _ in group]
        except BaseException as bug:  # noqa: BLE001 - `run` raises it
            self._stop(bug)
            return
        else:
            self.committing.observe(ended - began)
        for waiting, fate in zip(group, fates, strict=True):
            if isinstance(fate, Receipt):
                self.accepted += fate.accepted
                self.duplicates += fate.duplicates
                self.taking.observe(ended - waiting.arrived)
            try:
                waiting.answer(fate)
            except Exception as bug:  # noqa: BLE001 - the others have their answers all the same
                loop.call_exception_handler({"message": "an answer to usage failed", "exception": bug})
        if self._waiting:
            self._begin()
        else:
            self._storing = False
            if self._closed:
                self._ended.set()


def _resolve(future: asyncio.Future[Receipt], fate: Fate) -> None:
    if future.done():  # the caller has gone; what it sent is stored all the same
        return
    if isinstance(fate, Receipt):
        future.set_result(fate)
    else:
        future.set_exception(fate)

"""Takes usage: one writer gathers the batches that wait and stores them in one commit.

A batch is answered only once it is on disk. While a commit runs, the next batches gather; an idle writer starts without
a delay. It holds at most `most_waiting` events in memory: beyond that it raises `Overloaded`, and the caller retries.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime
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
_TURNS = 3
"""Turns of the event loop before a commit, which then includes what has come already: the first sends the answers of
the last commit, the next read requests and hand them in. They take no time when there is nothing to do."""
_ALONE = 8
"""Commits of one batch in a row after which the turns are left out: the app sends one request after the other."""


class UsageStore(Protocol):
    """What the intake needs of the ledger."""

    async def take(self, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        """Store the batches in one durable commit and return the fate of each."""


class _Waiting(NamedTuple):
    batch: UsageBatch
    future: asyncio.Future[Receipt]
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
        self._wake = asyncio.Event()
        self._closed = False
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
        loop = asyncio.get_running_loop()
        began = self.last_taken = loop.time()
        entitlement = self._gate.entitlement()
        if entitlement.state is State.DENIED:
            raise NotEntitled(entitlement.detail)
        if self._closed:
            raise LedgerUnavailable("the sidecar is shutting down", retry_after=1)
        if self._waiting and self._events_waiting + len(batch.events) > self._most_waiting:
            raise Overloaded(f"{self._events_waiting} events wait for the disk")
        future: asyncio.Future[Receipt] = loop.create_future()
        self._waiting.append(_Waiting(batch, future, began))
        self._events_waiting += len(batch.events)
        self._wake.set()
        return future

    def note_arrival(self) -> None:
        """Note that usage came, by whatever way; a drain waits until no more comes."""
        self.last_taken = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Store what waits, until the intake is closed and nothing waits any more."""
        alone = 0
        while not self._closed or self._waiting:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                if alone < _ALONE or len(self._waiting) > 1:
                    for _ in range(_TURNS):
                        await asyncio.sleep(0)
                alone = alone + 1 if await self._store_next() == 1 else 0

    def close(self) -> None:
        """Refuse what comes from now on; what waits is still stored by `run`, which then returns."""
        self._closed = True
        self._wake.set()

    async def _store_next(self) -> int:
        """Store the batches that wait, as many as one commit may hold; how many batches that were."""
        group = [self._waiting.popleft()]
        events = len(group[0].batch.events)
        while self._waiting and events + len(self._waiting[0].batch.events) <= MOST_TOGETHER:
            group.append(self._waiting.popleft())
            events += len(group[-1].batch.events)
        self._events_waiting -= events
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            fates = await self._store.take([each.batch for each in group], self._clock.now())
        except LedgerUnavailable as error:
            fates = [LedgerUnavailable(str(error), error.retry_after) for _ in group]
        else:
            self.committing.observe(loop.time() - began)
        ended = loop.time()
        for (_, future, arrived), fate in zip(group, fates, strict=True):
            if isinstance(fate, Receipt):
                self.accepted += fate.accepted
                self.duplicates += fate.duplicates
            if future.done():  # the caller has gone; what it sent is stored all the same
                continue
            if isinstance(fate, Receipt):
                self.taking.observe(ended - arrived)
                future.set_result(fate)
            else:
                future.set_exception(fate)
        return len(group)

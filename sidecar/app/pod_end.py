"""What a drain knows of its pod's end, and the deadlines that follow from it.

Two deadlines, both counted from the drain's start: a slow answer of the cluster extends neither.

    whole     shutdown.timeout; shorter once the cluster has reported a shorter rest of the grace period
    first     the whole less OPEN_HOUR_RESERVE; the last sample and ended hours may use it up, never the reserve
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from sidecar.domain.pod.lifecycle import PodEnd, drain_within

OPEN_HOUR_RESERVE = timedelta(seconds=10)
"""The part of the time that ended hours may not use up."""
ASK_AGAIN = timedelta(seconds=1)
"""Between an answer of the cluster, or a refusal, and the next question."""
ASK_SILENT_AGAIN = timedelta(seconds=5)
"""The same after silence: the thread of the question may still wait for an answer."""
SILENT_AFTER = timedelta(seconds=1)
"""A question that fails sooner was refused, as by an API server that restarts."""


class KnownEnd:
    """The pod's end as the cluster shows it during one drain, which begins now.

    `ask` asks the cluster, and returns None without an answer; `timeout` is the whole by the configuration.
    """

    def __init__(self, ask: Callable[[], Awaitable[PodEnd | None]], timeout: timedelta) -> None:
        self._ask = ask
        self._timeout = timeout
        self._began_at = asyncio.get_running_loop().time()
        self._ending: bool | None = None
        self._may_lag = False
        self._limit: asyncio.Timeout | None = None
        self._least = timedelta()
        self.at = self._began_at + timeout.total_seconds()
        """When the drain must be over, in the loop's time."""
        self.answered = asyncio.Event()
        """Set once the cluster has answered, was silent, or has refused two questions."""
        self.settled = asyncio.Event()
        """The same, but not while the newest answer shows a status that may lag behind the pod's end."""

    @property
    def ending(self) -> bool:
        """Whether the pod itself ends; also while no question has had an answer."""
        return self._ending is not False

    async def follow(self) -> None:
        """Ask until cancelled.

        At the start and not when the open hour is due: a pod that has used up its grace period leaves no time for a
        question. Again and again, because the pod of a restarted container may be deleted meanwhile, and a second
        deletion may shorten the grace period.
        """
        loop, asked_at = asyncio.get_running_loop(), self._began_at
        try:
            while True:
                end = await self._ask()
                silent = end is None and loop.time() - asked_at >= SILENT_AFTER.total_seconds()
                if end is not None:
                    self._learn(end, asked_at)
                elif self._may_lag:
                    self._ending = None  # the old status shows nothing any more
                # A drain with nothing to do waits for a second question: the first may meet a moment's refusal, and
                # the pod's end would stay unknown.
                if end is not None or silent or asked_at > self._began_at:
                    self.answered.set()
                    if self._may_lag:
                        self.settled.clear()
                    else:
                        self.settled.set()
                wait = ASK_SILENT_AGAIN if silent else ASK_AGAIN
                await asyncio.sleep(wait.total_seconds())
                asked_at = loop.time()
        finally:
            self.answered.set()
            self.settled.set()

    @asynccontextmanager
    async def before_reserve(self, least: timedelta = timedelta()) -> AsyncIterator[None]:
        """End a block by TimeoutError at the first deadline, but not before `least` has passed of the drain."""
        self._least = least
        async with asyncio.timeout_at(self._first) as limit:
            self._limit = limit
            try:
                yield
            finally:
                self._limit = None

    @property
    def _first(self) -> float:
        return max(self.at - OPEN_HOUR_RESERVE.total_seconds(), self._began_at + self._least.total_seconds())

    def _learn(self, end: PodEnd, asked_at: float) -> None:
        """Take over an answer. It only shortens the drain, and what has begun to end ends."""
        self._ending = self._ending or end.ending
        self._may_lag = end.may_lag and not self._ending
        left = self._timeout - timedelta(seconds=asked_at - self._began_at)
        self.at = min(self.at, asked_at + drain_within(left, end.left, OPEN_HOUR_RESERVE).total_seconds())
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(self._first)

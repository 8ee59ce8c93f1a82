"""Simulated wall clocks: the world's, by which AWS judges, and a pod's, which may be wrong."""

import asyncio
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 2, 27, 21, 50, tzinfo=UTC)


class World:
    """True time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._suspended = timedelta()

    def now(self) -> datetime:
        """Return the true instant."""
        return _START + self._suspended + timedelta(seconds=self._loop.time())

    def suspend(self, duration: timedelta) -> None:
        """Let time pass in which nothing runs; timers do not notice."""
        self._suspended += duration


class PodClock:
    """The wall clock of the machine that a pod runs on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sleepers: dict[asyncio.Future[None], None] = {}
        self.skew = timedelta()
        """How far it is ahead of the truth."""

    def now(self) -> datetime:
        """Return what the clock shows."""
        return self._world.now() + self.skew

    def booted_at(self) -> datetime:
        """Return when the machine started, by this clock."""
        return _START + self.skew

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the clock shows `instant`."""
        loop = asyncio.get_running_loop()
        while (left := (instant - self.now()).total_seconds()) > 0:
            waiter: asyncio.Future[None] = loop.create_future()
            timer = loop.call_later(left, _wake, waiter)
            self._sleepers[waiter] = None
            try:
                await waiter
            finally:
                timer.cancel()
                del self._sleepers[waiter]

    def judge_anew(self) -> None:
        """Let every sleeper look at the clock: it was set, or the machine woke up."""
        for waiter in self._sleepers:
            _wake(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

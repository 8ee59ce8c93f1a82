"""The machine's own clock."""

import asyncio
from datetime import UTC, datetime, timedelta

from sidecar.domain.ports import Clock
from sidecar.system_clock import SystemClock
from tests.support.tools import PATIENCE


class SteppedClock(SystemClock):
    """A system clock that can be stepped by a test, judged anew every millisecond."""

    def __init__(self) -> None:
        super().__init__(longest_nap=0.001)
        self.step = timedelta()
        self.asked = asyncio.Event()

    def now(self) -> datetime:
        """Return the stepped time."""
        self.asked.set()
        return super().now() + self.step


def test_now_is_aware() -> None:
    """The present instant is aware, in UTC, and the machine's."""
    clock: Clock = SystemClock()
    before = datetime.now(UTC)
    now = clock.now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_measured_time_is_monotonic() -> None:
    """A step of the wall clock does not change what is measured."""
    clock = SteppedClock()
    before = clock.measured_ns()
    clock.step = timedelta(days=-1)
    assert 0 <= clock.measured_ns() - before < 3600 * 10**9


async def test_wait_reaches_instant() -> None:
    """A wait does not end before its instant."""
    clock = SystemClock()
    instant = clock.now() + timedelta(milliseconds=30)
    await clock.sleep_until(instant)
    assert clock.now() >= instant


async def test_past_instant_yields() -> None:
    """A wait for the past ends immediately, but lets other tasks run."""
    ran = asyncio.Event()
    other = asyncio.create_task(_set(ran))
    clock = SystemClock()
    await clock.sleep_until(clock.now() - timedelta(hours=1))
    assert ran.is_set()
    await other


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_step_forwards_ends_wait() -> None:
    """A clock that is stepped past the instant ends a wait that would have taken a day."""
    clock = SteppedClock()
    instant = clock.now() + timedelta(days=1)
    waiting = asyncio.create_task(clock.sleep_until(instant))
    clock.asked.clear()
    await clock.asked.wait()
    clock.step = timedelta(days=2)
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert instant <= clock.now()


async def test_step_backwards_prolongs_wait() -> None:
    """A clock that is stepped back is waited for, however much real time has gone by."""
    clock = SteppedClock()
    instant = clock.now() + timedelta(milliseconds=20)
    waiting = asyncio.create_task(clock.sleep_until(instant))
    clock.step = timedelta(days=-1)
    while SystemClock.now(clock) < instant + timedelta(milliseconds=20):
        clock.asked.clear()
        await clock.asked.wait()
    assert not waiting.done()
    clock.step = timedelta()
    async with asyncio.timeout(PATIENCE):
        await waiting

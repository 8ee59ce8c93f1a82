"""Checks the set-up while the process runs: each fault is logged once, and shown in the status until a check passes.

Runs once after the start, and again every few minutes until all is right. The clock is watched until the process ends.
Nothing waits for that: the checks run on a thread that does not keep the process from ending, however long they take.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta

from sidecar.domain.check_result import CheckResult, CheckStatus
from sidecar.domain.ports import Clock
from sidecar.domain.skew import DOUBTFUL_FROM
from sidecar.marketplace.service_clock import ServiceClock
from sidecar.services.faults import FaultLog, FaultRegister

RECHECK_INTERVAL = timedelta(minutes=5)
"""Between two runs while something is not right, on average."""
CLOCK_COUNTS_FOR = timedelta(hours=1)
"""How long a clock that was right is taken to be right still."""

Poll = Callable[[], Sequence[CheckResult]]
"""Blocks. A check that it leaves out or skips keeps its state; only the result `ok` ends a fault."""


@dataclass(eq=False, repr=False)
class SetupWatch:
    """Runs the checks of one part of the set-up.

    Args:
        poll: Runs the checks; never raises.
        faults: Where its results are registered, under the codes `setup-...`.
        spread: Real time over which the first runs of pods that start together are spread.
        random: Returns a uniform random number in [0, 1).
        rest: Waits for so many real seconds, even if an emulator's clock runs fast.
        first: Checks that cost nothing. They run before everything else: their faults cause others.
    """

    poll: Poll
    faults: FaultRegister
    _: KW_ONLY
    spread: timedelta
    random: Callable[[], float]
    rest: Callable[[float], Awaitable[None]] = asyncio.sleep
    first: Poll = tuple
    _wrong: set[str] = field(default_factory=set, init=False)

    async def run(self, clock: Clock) -> None:
        """Check until all is right; faults are dated by `clock`."""
        for result in self.first():
            self._take(result, clock.now())
        await self.rest(self.spread.total_seconds() * self.random())
        while True:
            now = clock.now()
            found = await _on_own_thread(self.poll)
            for result in found or ():
                self._take(result, now)
            if found is not None and not self._wrong:
                return
            # Pods that started together drift apart.
            await self.rest(RECHECK_INTERVAL.total_seconds() * (0.5 + self.random()))

    def _take(self, result: CheckResult, now: datetime) -> None:
        match result.status:
            case CheckStatus.OK:
                self._wrong.discard(result.code)
                self.faults.clear(result.code, now, detail=result.found)
            case CheckStatus.WARN:
                self._observe(result, now, "setup.doubtful", logging.WARNING)
            case CheckStatus.FAIL:
                self._observe(result, now, "setup.wrong", logging.ERROR)
            case CheckStatus.SKIPPED:
                pass  # not judged

    def _observe(self, result: CheckResult, now: datetime, event: str, level: int) -> None:
        self._wrong.add(result.code)
        report = FaultLog(begins=event, ends="setup.mended", about={"check": result.name}, level=level)
        self.faults.observe(result.code, result.found, result.cure, now, report=report)


@dataclass(eq=False, repr=False)
class ClockWatch:
    """Compares our clock with AWS's while no call does: a pod that is registered may call for hours or never again.

    So a fault of the clock begins within about an hour, and ends minutes after the clock is right.

    Args:
        service_clock: What the last answer of any client showed.
        look: Asks AWS for its time and notes it there. Blocks; never raises.
        random: As in `SetupWatch`.
        rest: As in `SetupWatch`.
    """

    service_clock: ServiceClock
    look: Callable[[], None]
    _: KW_ONLY
    random: Callable[[], float]
    rest: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.rest(RECHECK_INTERVAL.total_seconds() * (0.5 + self.random()))
            skew, age = self.service_clock.skew, self.service_clock.age
            if skew is None or age is None or abs(skew) > DOUBTFUL_FROM or age >= CLOCK_COUNTS_FOR:
                await _on_own_thread(self._poll)

    def _poll(self) -> Sequence[CheckResult]:
        self.look()
        return ()


async def _on_own_thread(poll: Poll) -> Sequence[CheckResult] | None:
    """Return the results; None if no thread can be started, which must not end the process.

    The thread is not one of the loop's workers: the end of the process would wait for those.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[CheckResult]] = loop.create_future()

    def deliver(found: Sequence[CheckResult]) -> None:
        if not answer.done():
            answer.set_result(found)

    def work() -> None:
        found = poll()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(deliver, found)

    try:
        threading.Thread(target=work, daemon=True, name="setup").start()
    except RuntimeError:
        return None
    return await answer

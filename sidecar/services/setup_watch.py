"""What of the set-up is doubtful or wrong while the process runs: said once in the log, shown until it has passed.

Looks once after the start, and again every few minutes for as long as something is not right; then no more. Nothing
waits for it: a look runs on a thread that does not keep the process from ending, however long it takes.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sidecar.domain.check_result import CheckResult, CheckStatus
from sidecar.domain.ports import Clock
from sidecar.services.faults import FaultLog, FaultRegister

RECHECK_INTERVAL = timedelta(minutes=5)
"""Between two looks while something is not right, on average."""

Look = Callable[[], Sequence[CheckResult]]
"""Blocks; what it does not judge stands as it was, and only what it finds to be right has passed."""


class SetupWatch:
    """Looks at one part of the set-up.

    Args:
        look: Judges it; never raises.
        faults: Where its results are registered, under the codes `setup-...`.
        spread: Real time over which the first looks of pods that start together are spread.
        random: Returns a uniform random number in [0, 1).
        rest: Waits for so many real seconds, also beside an emulator whose clock runs fast.
        first: A look that costs nothing, taken at once: what it finds is said before something else is blamed for it.
    """

    def __init__(
        self,
        look: Look,
        faults: FaultRegister,
        *,
        spread: timedelta,
        random: Callable[[], float],
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
        first: Look = tuple,
    ) -> None:
        self._look = look
        self._spread = spread
        self._random = random
        self._rest = rest
        self._first = first
        self._faults = faults
        self._wrong: set[str] = set()

    async def run(self, clock: Clock) -> None:
        """Look until all is right; findings are dated by `clock`."""
        for result in self._first():
            self._take(result, clock.now())
        await self._rest(self._spread.total_seconds() * self._random())
        while True:
            now = clock.now()
            found = await _on_own_thread(self._look)
            for result in found or ():
                self._take(result, now)
            if found is not None and not self._wrong:
                return
            # Pods that started together drift apart.
            await self._rest(RECHECK_INTERVAL.total_seconds() * (0.5 + self._random()))

    def _take(self, result: CheckResult, now: datetime) -> None:
        match result.status:
            case CheckStatus.OK:
                self._wrong.discard(result.code)
                self._faults.clear(result.code, now, detail=result.found)
            case CheckStatus.WARN:
                self._observe(result, now, "setup.doubtful", logging.WARNING)
            case CheckStatus.FAIL:
                self._observe(result, now, "setup.wrong", logging.ERROR)
            case CheckStatus.SKIPPED:
                pass  # not judged

    def _observe(self, result: CheckResult, now: datetime, event: str, level: int) -> None:
        self._wrong.add(result.code)
        report = FaultLog(begins=event, ends="setup.mended", about={"check": result.name}, level=level)
        self._faults.observe(result.code, result.found, result.cure, now, report=report)


async def _on_own_thread(look: Look) -> Sequence[CheckResult] | None:
    """Return what a look finds; None where no thread can be had for it, which must not end the process.

    Its thread is no worker of the loop's, for which the end of the process would wait.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[CheckResult]] = loop.create_future()

    def settle(found: Sequence[CheckResult]) -> None:
        if not answer.done():
            answer.set_result(found)

    def work() -> None:
        found = look()
        with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits
            loop.call_soon_threadsafe(settle, found)

    try:
        threading.Thread(target=work, daemon=True, name="setup").start()
    except RuntimeError:
        return None
    return await answer

"""What of the set-up is doubtful or wrong while the process runs: said once in the log, shown until it has passed.

Looks once after the start, and again every few minutes for as long as something is not right; then no more. Nothing
waits for it: a look runs on a thread that does not keep the process from ending, however long it takes.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from sidecar.domain.check_result import CheckResult, CheckStatus
from sidecar.domain.ports import Clock
from sidecar.domain.status import Finding

AGAIN = timedelta(minutes=5)
"""Between two looks while something is not right, on average."""

Look = Callable[[], Sequence[CheckResult]]
"""Blocks; what it does not judge stands as it was, and only what it finds to be right has passed."""

log = structlog.get_logger()


class SetupWatch:
    """Looks at one part of the set-up.

    Args:
        look: Judges it; never raises.
        spread: Real time over which the first looks of pods that start together are spread.
        random: Returns a uniform random number in [0, 1).
        rest: Waits for so many real seconds, also beside an emulator whose clock runs fast.
        first: A look that costs nothing, taken at once: what it finds is said before something else is blamed for it.
    """

    def __init__(
        self,
        look: Look,
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
        self._wrong: dict[str, tuple[CheckResult, Finding]] = {}

    @property
    def findings(self) -> list[Finding]:
        """What an operator should know at this instant."""
        return [finding for _, finding in self._wrong.values()]

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
            await self._rest(AGAIN.total_seconds() * (0.5 + self._random()))

    def _take(self, result: CheckResult, now: datetime) -> None:
        match result.status:
            case CheckStatus.OK:
                self._pass(result, now)
            case CheckStatus.WARN | CheckStatus.FAIL:
                self._note(result, now)
            case CheckStatus.SKIPPED:
                pass  # not judged

    def _note(self, result: CheckResult, now: datetime) -> None:
        known, finding = self._wrong.get(result.name, (None, None))
        since = now if finding is None else finding.since
        self._wrong[result.name] = result, Finding(result.code, result.found, result.cure, since)
        if known is not None and (known.status, known.cure) == (result.status, result.cure):
            return  # the same fault, though its figures may have changed
        said = {"check": result.name, "detail": result.found, "cure": result.cure}
        if result.status is CheckStatus.FAIL:
            log.error("setup.wrong", **said)
        else:
            log.warning("setup.doubtful", **said)

    def _pass(self, result: CheckResult, now: datetime) -> None:
        _, finding = self._wrong.pop(result.name, (None, None))
        if finding is not None:
            log.info("setup.mended", check=result.name, detail=result.found, lasted=now - finding.since)


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

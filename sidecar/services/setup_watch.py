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

from sidecar.domain.diagnosis import Diagnosis, Result
from sidecar.domain.ports import Clock
from sidecar.domain.status import Finding

AGAIN = timedelta(minutes=5)
"""Between two looks while something is not right, on average."""

Look = Callable[[], Sequence[Diagnosis]]
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
        self._wrong: dict[str, tuple[Diagnosis, Finding]] = {}

    @property
    def findings(self) -> list[Finding]:
        """What an operator should know at this instant."""
        return [finding for _, finding in self._wrong.values()]

    async def run(self, clock: Clock) -> None:
        """Look until all is right; findings are dated by `clock`."""
        for diagnosis in self._first():
            self._take(diagnosis, clock.now())
        await self._rest(self._spread.total_seconds() * self._random())
        while True:
            now = clock.now()
            found = await _on_own_thread(self._look)
            for diagnosis in found or ():
                self._take(diagnosis, now)
            if found is not None and not self._wrong:
                return
            # Pods that started together drift apart.
            await self._rest(AGAIN.total_seconds() * (0.5 + self._random()))

    def _take(self, diagnosis: Diagnosis, now: datetime) -> None:
        match diagnosis.status:
            case Result.OK:
                self._pass(diagnosis, now)
            case Result.WARN | Result.FAIL:
                self._note(diagnosis, now)
            case Result.SKIPPED:
                pass  # not judged

    def _note(self, diagnosis: Diagnosis, now: datetime) -> None:
        known, finding = self._wrong.get(diagnosis.name, (None, None))
        since = now if finding is None else finding.since
        self._wrong[diagnosis.name] = diagnosis, Finding(diagnosis.code, diagnosis.found, diagnosis.cure, since)
        if known is not None and (known.status, known.cure) == (diagnosis.status, diagnosis.cure):
            return  # the same fault, though its figures may have changed
        said = {"check": diagnosis.name, "detail": diagnosis.found, "cure": diagnosis.cure}
        if diagnosis.status is Result.FAIL:
            log.error("setup.wrong", **said)
        else:
            log.warning("setup.doubtful", **said)

    def _pass(self, diagnosis: Diagnosis, now: datetime) -> None:
        _, finding = self._wrong.pop(diagnosis.name, (None, None))
        if finding is not None:
            log.info("setup.mended", check=diagnosis.name, detail=diagnosis.found, lasted=now - finding.since)


async def _on_own_thread(look: Look) -> Sequence[Diagnosis] | None:
    """Return what a look finds; None where no thread can be had for it, which must not end the process.

    Its thread is no worker of the loop's, for which the end of the process would wait.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[Diagnosis]] = loop.create_future()

    def settle(found: Sequence[Diagnosis]) -> None:
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

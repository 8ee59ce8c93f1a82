"""Wall time and waiting by the emulator's clock, which can be set, stepped, frozen or sped up.

Waits end by the clock's own time, never by a duration computed once. The clock is polled; between two
answers it is extrapolated with the monotonic clock. It does not fail once started: if the emulator stops answering, the
last answer remains valid.
"""

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from sidecar.domain.metering.hours import to_micros
from sidecar.http_client import Listener, Response
from sidecar.system_clock import LONGEST_NAP, SystemClock

_POLL = 0.25
"""Seconds of real time between two requests to the emulator."""
_TIMEOUT = 2.0
"""Seconds that one answer may take."""
_LARGEST = 4096
"""Bytes of an answer that are read."""
_JSON = {"Accept": "application/json"}
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a clock showed at one instant of the monotonic clock, and its speed."""

    shown: datetime
    taken: float
    speed: float

    def at(self, monotonic: float) -> datetime:
        """Return what the clock shows at another instant."""
        try:
            return self.shown + timedelta(seconds=(monotonic - self.taken) * self.speed)
        except OverflowError:
            return _LATEST


@dataclass(frozen=True, slots=True)
class _Answer:
    """The emulator's answer between two instants of the monotonic clock."""

    now: datetime
    speed: float
    asked: float
    answered: float


class _NoSuchClockError(Exception):
    """The service has no clock to follow."""


class EmulatorClock:
    """The clock of the emulator at `endpoint_url`; the system's until the first answer, and for good after a 404."""

    def __init__(self, endpoint_url: str) -> None:
        self._listener, base = Listener.of_url(endpoint_url, ("http", "https"))
        self._path = f"{base.rstrip('/')}/_emulator/clock"
        self._system = SystemClock()
        self._reading: _Reading | None = None
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "emulator-clock")
        self._following: asyncio.Task[None] | None = None
        self._absent = False

    async def start(self) -> None:
        """Ask once, for a few seconds at most, and then poll in the background."""
        await self.refresh()
        self._following = asyncio.create_task(self._follow(), name="emulator-clock")

    async def close(self) -> None:
        """Stop polling; a request in flight ends within its time-out."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        self._thread.shutdown(wait=False, cancel_futures=True)

    def now(self) -> datetime:
        """Return the emulator's present instant, aware, in UTC."""
        if self._reading is None:
            return self._system.now()
        return self._reading.at(time.monotonic())

    def measured_ns(self) -> int | None:
        """Return nanoseconds of the emulator's time, which measured usage follows; None before the first answer."""
        if self._absent:
            return self._system.measured_ns()
        return None if self._reading is None else to_micros(self.now()) * 1000

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` has reached `instant`; each answer with a step or another speed counts."""
        await asyncio.sleep(0)
        while (left := (instant - self.now()).total_seconds()) > 0:
            speed = 1.0 if self._reading is None else self._reading.speed
            real = min(left / speed, LONGEST_NAP) if speed else LONGEST_NAP
            try:
                async with asyncio.timeout(real):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> None:
        """Ask now; without a valid answer nothing changes."""
        if self._absent:
            return
        try:
            async with asyncio.timeout(2 * _TIMEOUT):
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
        except _NoSuchClockError:
            self._absent = True
            self._set(None)
        except (OSError, ValueError, OverflowError):
            return
        else:
            self._take(answer)

    async def _follow(self) -> None:
        while not self._absent:
            await asyncio.sleep(_POLL)
            await self.refresh()

    def _take(self, answer: _Answer) -> None:
        """Set the clock by an answer, unless it already shows a time that the answer allows.

        The emulator read its clock at some instant between request and answer. Setting the clock each time would
        make it jitter by that uncertainty times the speed, and go back.
        """
        earliest = _Reading(answer.now, answer.answered, answer.speed)
        latest = _Reading(answer.now, answer.asked, answer.speed)
        known = self._reading
        if known is not None and known.speed == answer.speed:
            expected = known.at(answer.answered)
            if earliest.at(answer.answered) <= expected <= latest.at(answer.answered):
                return
        self._set(_Reading(answer.now, (answer.asked + answer.answered) / 2, answer.speed))

    def _set(self, reading: _Reading | None) -> None:
        self._reading = reading
        self._changed.set()
        self._changed = asyncio.Event()

    def _ask(self) -> _Answer:
        response = self._listener.send("GET", self._path, _TIMEOUT, headers=_JSON, largest=_LARGEST)
        if response.status == HTTPStatus.NOT_FOUND:
            raise _NoSuchClockError
        if response.status != HTTPStatus.OK:
            raise ValueError("the emulator answered without its clock")
        return _decode(response)


def _decode(response: Response) -> _Answer:
    match response.document():
        case {"now": str(now), "speed": int() | float() as speed}:
            instant = datetime.fromisoformat(now)
            if instant.tzinfo is None or not math.isfinite(speed) or speed < 0:
                raise ValueError("the emulator's clock shows no instant, or runs backwards")
            return _Answer(instant.astimezone(UTC), float(speed), response.sent_at, response.answered_at)
        case _:
            raise ValueError("the emulator's clock is not an object with now and speed")

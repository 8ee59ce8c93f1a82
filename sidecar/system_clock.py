"""Wall time and waiting by the clock of the machine.

Waits end by the clock's own time, never by a duration computed once.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

LONGEST_NAP: Final = 30.0
"""Seconds of real time after which every wait reads the clock again: it may be stepped, the machine suspended."""


class SystemClock:
    """The wall clock of the machine."""

    def __init__(self, longest_nap: float = LONGEST_NAP) -> None:
        """Read the clock again after `longest_nap` seconds of a wait."""
        self._longest_nap = longest_nap

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)

    def booted_at(self) -> datetime:
        """Return when the machine started, by the present wall clock: it moves only when the clock is set."""
        since_boot = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
        return self.now() - timedelta(seconds=since_boot)

    def measured_ns(self) -> int:
        """Return nanoseconds of monotonic time, from any start: what measured usage is billed by."""
        return time.monotonic_ns()

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` has reached `instant`; the clock is read again after every nap."""
        # Even a wait for a past instant gives other tasks a turn.
        await asyncio.sleep(0)
        while (left := (instant - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - no event reports a stepped clock
            await asyncio.sleep(min(left, self._longest_nap))

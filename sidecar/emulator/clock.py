"""The emulated time: the system's until a client sets it, steps it or makes it run fast.

Once touched it runs on the monotonic clock, so steps of the system clock do not show. Refuses times outside
1970 to 2999 and speeds outside 0 (stopped) to 100,000. Stops at the end of 2999, where it can still be changed.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sidecar.emulator.state.entries import ClockSetting

FASTEST = 100_000.0
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2999, 12, 31, tzinfo=UTC)


def system_now() -> datetime:
    """Read the system clock."""
    return datetime.now(UTC)


class Clock:
    """A clock that can be set, stepped and run at any speed."""

    def __init__(
        self, system: Callable[[], datetime] = system_now, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Follow the system clock until the first change."""
        self._system = system
        self._monotonic_ns = monotonic_ns
        self._base: datetime | None = None
        self._base_ns = 0
        self._speed = 1.0

    @property
    def speed(self) -> float:
        """Emulated seconds that pass in one real second."""
        return self._speed

    def now(self) -> datetime:
        """Return the emulated time."""
        if self._base is None:
            return self._system()
        elapsed = (self._monotonic_ns() - self._base_ns) * self._speed // 1000
        left = (_LATEST - self._base) // timedelta(microseconds=1)
        return self._base + timedelta(microseconds=min(elapsed, left))

    def change(
        self, *, now: datetime | None = None, advance: timedelta = timedelta(), speed: float | None = None
    ) -> ClockSetting:
        """Set the time, then step it, then change its speed; what is left out stays.

        Raises:
            ValueError: The time or the speed is out of range. Nothing is changed then.
        """
        chosen = self._speed if speed is None else speed
        if not 0 <= chosen <= FASTEST:
            raise ValueError(f"speed: {chosen}: must be from 0 to {FASTEST:.0f}")
        base = (self.now() if now is None else now) + advance
        if not _EARLIEST <= base <= _LATEST:
            raise ValueError(f"now: {base.isoformat()}: must lie in the years 1970 to 2999")
        self._base = base
        self._base_ns = self._monotonic_ns()
        self._speed = float(chosen)
        return ClockSetting(base, self._system(), self._speed)

    def resume(self, setting: ClockSetting) -> None:
        """Go on from a setting of an earlier process, as if this clock had run all the while."""
        elapsed = max(self._system() - setting.system_at, timedelta())
        self.change(now=setting.now + min(elapsed * setting.speed, _LATEST - setting.now), speed=setting.speed)

    def reset(self) -> None:
        """Follow the system clock again."""
        self._base = None
        self._speed = 1.0

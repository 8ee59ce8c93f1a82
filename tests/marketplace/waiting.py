"""Waits without time: a clock that moves by waiting alone, and a back-off without chance."""

from datetime import UTC, datetime, timedelta

from sidecar.marketplace import BackOff
from sidecar.system_clock import SystemClock

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
HALF = BackOff(random=lambda: 0.5)
SHORT = BackOff(base=timedelta(milliseconds=2), cap=timedelta(milliseconds=2))


class FakeClock:
    """Time that passes only by waiting; each wait ends `late` after its end."""

    def __init__(self, late: timedelta = timedelta()) -> None:
        self.waits: list[float] = []
        self._now = START
        self._late = late

    def now(self) -> datetime:
        """Return the instant to which waiting has led."""
        return self._now

    async def sleep_until(self, instant: datetime) -> None:
        """Be at `instant`, or late."""
        self.waits.append((instant - self._now).total_seconds())
        self._now = max(self._now, instant + self._late)


class SetBackClock(SystemClock):
    """The machine's clock, which is set back by an hour as soon as somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._behind = timedelta()

    def now(self) -> datetime:
        """Return the machine's instant, or an hour less."""
        return super().now() - self._behind

    async def sleep_until(self, instant: datetime) -> None:
        """Wait, by a clock that has been set back."""
        self._behind = timedelta(hours=1)
        await super().sleep_until(instant)

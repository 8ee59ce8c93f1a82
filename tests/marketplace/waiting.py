"""Waits without time: a clock that moves by waiting alone, and a back-off without chance."""

from datetime import UTC, datetime, timedelta

from sidecar.marketplace import BackOff

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
HALF = BackOff(random=lambda: 0.5)


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

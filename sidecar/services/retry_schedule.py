"""When each of several things may be tried again after it has failed: full jitter, counted for each by itself."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sidecar.domain.backoff import full_jitter

FIRST_WAIT: Final = timedelta(seconds=1)
"""The first window of the jitter for a call to AWS."""
LONGEST_WAIT: Final = timedelta(seconds=60)
"""The largest window of the jitter for a call to AWS."""


class RetrySchedule:
    """The waits after failures.

    The first window of the jitter is `base`; it doubles with each failure, up to `cap`. `random` is uniform in [0, 1).
    """

    def __init__(
        self, *, random: Callable[[], float], base: timedelta = FIRST_WAIT, cap: timedelta = LONGEST_WAIT
    ) -> None:
        self._base = base
        self._cap = cap
        self._random = random
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, datetime] = {}

    def failed(self, name: str, now: datetime) -> None:
        """Note a failure: the next attempt waits."""
        wait = full_jitter(self._failures[name], base=self._base, cap=self._cap, draw=self._random())
        self._failures[name] += 1
        self._not_before[name] = now + wait

    def succeeded(self, name: str) -> None:
        """Forget the failures."""
        self._failures.pop(name, None)
        self._not_before.pop(name, None)

    def not_before(self, name: str) -> datetime | None:
        """Return the instant of the next attempt; None where nothing has failed."""
        return self._not_before.get(name)

    def lift_waits(self) -> None:
        """Allow every attempt now; the wait after the next failure is not shortened."""
        self._not_before.clear()

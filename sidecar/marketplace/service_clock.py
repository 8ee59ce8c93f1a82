"""The service's own time, from the Date header of an answer, compared with ours.

Judges nothing (see `sidecar.domain.skew`). An answer that is not the service's, such as a proxy's, is ignored.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sidecar.domain.http_date import read_date
from sidecar.domain.skew import measure


class ServiceClock:
    """The last difference between our clock and AWS's, of every client that has this.

    Calls on several threads may note theirs; the last one counts. `monotonic` returns real seconds: the clock that is
    compared may be repaired meanwhile.
    """

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._measured: tuple[timedelta, float] | None = None

    @property
    def skew(self) -> timedelta | None:
        """By how much ours was ahead at the last answer; None before the first one with a date."""
        return None if self._measured is None else self._measured[0]

    @property
    def age(self) -> timedelta | None:
        """How long ago the last answer came; None before the first one with a date."""
        return None if self._measured is None else timedelta(seconds=self._monotonic() - self._measured[1])

    def asked(self) -> datetime:
        """Return the instant before which the service cannot have answered."""
        return self._now()

    def answered(self, asked_at: datetime, metadata: Mapping[str, Any]) -> None:
        """Note an answer to what was asked at `asked_at`, by the metadata that the SDK keeps of it."""
        if metadata.get("RequestId"):
            self.note(asked_at, read_date(metadata.get("HTTPHeaders", {}).get("date")))

    def note(self, asked_at: datetime, shown: datetime | None) -> None:
        """Note the date of an answer, None if it has none."""
        if shown is not None:
            self._measured = measure(shown, asked_at, self._now()), self._monotonic()

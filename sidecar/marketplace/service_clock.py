"""The service's own time, from the Date header of an answer, compared with ours.

Judges nothing (see `sidecar.domain.skew`). An answer that is not the service's, such as a proxy's, is ignored.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sidecar.domain.http_date import read_date
from sidecar.domain.skew import measure


class ServiceClock:
    """The last difference between two clocks. Calls on several threads may note theirs; the last one counts."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.skew: timedelta | None = None
        """By how much ours was ahead at the last answer; None before the first one with a date."""

    def asked(self) -> datetime:
        """Return the instant before which the service cannot have answered."""
        return self._now()

    def answered(self, asked_at: datetime, metadata: Mapping[str, Any]) -> None:
        """Note an answer to what was asked at `asked_at`, by the metadata that the SDK keeps of it."""
        shown = read_date(metadata.get("HTTPHeaders", {}).get("date")) if metadata.get("RequestId") else None
        if shown is not None:
            self.skew = measure(shown, asked_at, self._now())

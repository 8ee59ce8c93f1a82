"""Call rates per operation and Region on the emulated clock: Metering's as published, License Manager's assumed.

Refuses nothing unless asked for at start. Each quota admits one second's worth of calls immediately and then fills
up evenly.
"""

from datetime import datetime

from sidecar.emulator.protocol.errors import LICENSE_MODELLED

PER_SECOND = {
    "RegisterUsage": 5,
    "MeterUsage": 10,
    "BatchMeterUsage": 10,
    **dict.fromkeys(LICENSE_MODELLED, 10),
}
"""The rates; operations that are missing here have none. AWS publishes none for License Manager."""


class Quotas:
    """How many calls are left."""

    def __init__(self, *, enforced: bool) -> None:
        self._enforced = enforced
        self._levels: dict[tuple[str, str], tuple[float, datetime]] = {}

    @property
    def enforced(self) -> bool:
        """Calls beyond the rate are throttled."""
        return self._enforced

    def admit(self, operation: str, region: str, now: datetime) -> bool:
        """Count a call; False if it must be throttled."""
        rate = PER_SECOND.get(operation)
        if rate is None or not self._enforced:
            return True
        level, since = self._levels.get((operation, region), (float(rate), now))
        # A clock that was set back gives nothing and takes nothing.
        refilled = min(float(rate), level + max((now - since).total_seconds(), 0.0) * rate)
        admitted = refilled >= 1
        self._levels[operation, region] = (refilled - 1 if admitted else refilled, now)
        return admitted

    def reset(self) -> None:
        """Start full again."""
        self._levels.clear()

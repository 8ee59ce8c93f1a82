"""Many pods at the top of the hour against the account's quota: when each of their records is taken.

Event by event with the product's own schedule, back-off and pace, and the emulator's own quota; without ledgers, since
every record is the same here. It refuses to know anything but throttling.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from sidecar.domain.backoff import full_jitter
from sidecar.domain.metering.hours import end_of, hour_of
from sidecar.domain.metering.schedule import BURST, PACE, due_at, stretch
from sidecar.emulator.protocol.quotas import Quotas
from sidecar.services.submitter import RETRY_BASE, RETRY_CAP

HOUR = hour_of(datetime(2026, 11, 23, 10, tzinfo=UTC))


@dataclass
class Fleet:
    """Pods of one account that all report the same hour."""

    pods: int
    dimensions: int
    settle: timedelta
    spread: timedelta
    random: Random = field(default_factory=lambda: Random(1))
    calls: int = 0
    throttled: int = 0
    taken_at: dict[tuple[int, int], datetime] = field(default_factory=dict)
    """When the record of each pod and dimension was taken."""

    @property
    def share_throttled(self) -> float:
        """The share of all calls that were throttled."""
        return self.throttled / self.calls

    @property
    def lasted(self) -> timedelta:
        """From the hour's end until the last record was taken."""
        return max(self.taken_at.values()) - end_of(HOUR)

    def submit(self) -> None:
        """Let every pod submit its records until all are taken."""
        quotas = Quotas(enforced=True)
        failures: Counter[tuple[int, int]] = Counter()
        paced_until: dict[int, datetime] = {}
        waiting = [(self._due_at(*record), False, record) for record in self._records()]
        heapq.heapify(waiting)
        while waiting:
            now, has_turn, record = heapq.heappop(waiting)
            if not has_turn:
                full = now - BURST * PACE
                paced_until[record[0]] = turn = max(paced_until.get(record[0], full), full) + PACE
                heapq.heappush(waiting, (max(turn, now), True, record))
                continue
            self.calls += 1
            if quotas.admit("MeterUsage", "us-east-1", now):
                self.taken_at[record] = now
                continue
            self.throttled += 1
            wait = full_jitter(failures[record], base=RETRY_BASE, cap=RETRY_CAP, draw=self.random.random())
            failures[record] += 1
            heapq.heappush(waiting, (now + wait, False, record))

    def _records(self) -> list[tuple[int, int]]:
        return [(pod, dimension) for pod in range(self.pods) for dimension in range(self.dimensions)]

    def _due_at(self, pod: int, dimension: int) -> datetime:
        spread = stretch(self.spread, dimensions=self.dimensions, settle=self.settle)
        return due_at(HOUR, pod=f"pod-{pod}", dimension=f"d{dimension}", settle=self.settle, spread=spread)

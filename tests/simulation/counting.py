"""An app that counts by itself, and the judge of what the sidecar bills for its counters.

The page has what one process of the app has counted. Billed is never more than the true increase, and never less than
what the stored pages prove: only what was counted after the last stored page of an app's process may be missed.
"""

import sqlite3
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from sidecar.domain.metering.events import UsageEvent
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.pages import PageUnusable
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.sources import Otlp, Prometheus
from tests.simulation.clocks import PodClock
from tests.simulation.exporting import ExportingApp

COUNTED = "served"
"""The dimension that is measured."""
_TENANTS = "abc"
_BOOTS_FOR = timedelta(seconds=5)
"""How long a new process of the app serves no page."""
_LAST_PAGE = "SELECT last_at FROM source JOIN pod ON pod.id = source.pod WHERE pod.uid = ? AND dimension = ?"


@dataclass(frozen=True, slots=True)
class Body:
    """A page as it came."""

    text: str
    openmetrics: bool = False

    def unpack(self) -> bytes:
        """Return the page."""
        return self.text.encode()


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a page showed."""

    at: int
    process: int
    """The number of the app's process."""
    counts: dict[str, int]


class CountingApp:
    """The app of one pod, which outlives the sidecar's processes; and what is to be billed for it."""

    def __init__(self, pod: str, source: Prometheus, clock: PodClock, *, shows_starts: bool) -> None:
        self._pod = pod
        self._factor = source.scale * MILLION
        self._clock = clock
        self._shows_starts = shows_starts
        self._random = Random(f"app of {pod}")
        self._counts: dict[str, int] = {}
        self._process = 0
        self._started_at = clock.now()
        self._latest = clock.now()
        self._exact = True
        """The sidecar noted its begin before the app started, and the clock was not set back: no sample is in doubt."""
        self._pages: deque[_Shown] = deque(maxlen=8)
        self._stored_at: int | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        """Process and count of each series on the last stored page that had it."""
        self._true: Counter[str] = Counter()
        self._proved: Counter[str] = Counter()
        self._billed: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()

    def start(self, *, noted: bool) -> None:
        """Start with the pod, unless it runs; `noted` tells whether the ledger knows that the sidecar counts."""
        if not self._process:
            self._exact = noted
            self._begin()

    def serve(self) -> None:
        """Count what was asked for since the last time."""
        if self._process:
            for tenant in self._random.sample(_TENANTS, self._random.randint(0, 2)):
                count = self._random.choice([0, 1, 7, 1000]) * self._random.randint(1, 9)
                self._counts[tenant] = self._counts.get(tenant, 0) + count
                self._true[tenant] += count

    def fetch(self, _url: str, _within: timedelta) -> Body:
        """Return the page; sometimes the app has restarted, or the page does not come."""
        now = self._look_at_clock()
        self.serve()
        if self._random.random() < 0.04:
            self._begin()
        if not self._process or abs(now - self._started_at) < _BOOTS_FOR or self._random.random() < 0.1:
            self.figures["page-lost"] += 1
            raise PageUnusable("is not served")
        self._pages.append(_Shown(to_micros(now), self._process, dict(self._counts)))
        lines = [f'served_total{{tenant="{tenant}"}} {count}\n' for tenant, count in self._counts.items()]
        if self._shows_starts:
            lines.append(f"process_start_time_seconds {self._started_at.timestamp()}\n")
        self.serve()
        return Body("".join(lines))

    def see_commit(self, connection: sqlite3.Connection, events: list[UsageEvent]) -> str | None:
        """Judge a commit, and what it bills; return what is wrong."""
        for event in events:
            ((_, tenant),) = event.tags
            self._billed[tenant] += event.quantity
        self._look_at_clock()
        row = connection.execute(_LAST_PAGE, (self._pod, COUNTED)).fetchone()
        if row is not None and row[0] != self._stored_at:
            self._stored_at = row[0]
            self._prove(next(page for page in self._pages if page.at >= row[0] or not self._exact))
        for tenant in _TENANTS:
            billed = self._billed[tenant]
            if billed > self._true[tenant] * self._factor:
                return f"{self._pod} bills {billed} millionths of {tenant}, which has counted {self._true[tenant]}"
            if self._exact and billed <= self._proved[tenant] * self._factor - 1:
                return f"{self._pod} bills {billed} millionths of {tenant}; pages prove {self._proved[tenant]}"
        return None

    def _begin(self) -> None:
        """Start a process of the app."""
        self._counts = {}
        self._process += 1
        self._started_at = self._look_at_clock()
        self.figures["app-start"] += 1

    def _look_at_clock(self) -> datetime:
        """Return what the clock shows; one that was set back makes start times doubtful."""
        now = self._clock.now()
        self._exact = self._exact and now >= self._latest
        self._latest = max(now, self._latest)
        return now

    def _prove(self, page: _Shown) -> None:
        """Know what a page proves that is on disk now."""
        self.figures["page-stored"] += 1
        self.figures["page-exact"] += self._exact
        for tenant, count in page.counts.items():
            process, before = self._seen.get(tenant, (0, 0))
            if self._shows_starts:
                self._proved[tenant] += count - before if process == page.process else count
            elif process:
                self._proved[tenant] += count - before if count >= before else count
            self._seen[tenant] = page.process, count


class CountingApps:
    """The apps of all pods of a world; none if its product has no counter."""

    def __init__(self, rules: MeteringRules, clock: PodClock, *, shows_starts: bool) -> None:
        dimension = rules.dimensions.get(COUNTED)
        self._source = None if dimension is None else dimension.source
        self._clock = clock
        self._shows_starts = shows_starts
        self._apps: dict[str, CountingApp | ExportingApp] = {}

    def of(self, pod: str) -> CountingApp | ExportingApp | None:
        """Return the app of a pod."""
        if pod not in self._apps and isinstance(self._source, Otlp):
            self._apps[pod] = ExportingApp(pod, self._source, self._clock)
        if pod not in self._apps and isinstance(self._source, Prometheus):
            self._apps[pod] = CountingApp(pod, self._source, self._clock, shows_starts=self._shows_starts)
        return self._apps.get(pod)

    def serve(self) -> None:
        """Let every app count."""
        for app in self._apps.values():
            app.serve()

    @property
    def figures(self) -> Counter[str]:
        """What the apps amount to."""
        return sum((app.figures for app in self._apps.values()), Counter())

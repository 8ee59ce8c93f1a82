"""An app that exports its counters by OpenTelemetry, and the judge of what the sidecar bills for them.

Two SDKs of one pod, one of them behind a collector, export cumulative or delta sums. Answers are lost and exports
repeated; app, collector and sidecar restart. Billed is never more than the true increase, and never less than what was
answered.
"""

import sqlite3
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from sidecar.domain.metering.events import LedgerUnavailable, NotEntitled, UsageEvent
from sidecar.domain.metering.exports import Export
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.metering.series import SeriesSample, Temporality
from sidecar.domain.metering.sources import Otlp
from tests.simulation.clocks import PodClock

_TENANTS = "abc"
_LONGEST_GAP = timedelta(hours=20)
"""Between two answered exports: the states of series that do not come are kept for a day."""


@dataclass
class _Sdk:
    """One process of the app with its exporter."""

    name: str
    temporality: Temporality
    waits: bool
    """A collector keeps its exports, also when the process ends."""
    dates: bool
    """The collector does not know when a counter started: it writes the instant of the first point that it sees."""
    started_at: int = 0
    collected_at: int = 0
    process: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sending: deque[list[SeriesSample]] = field(default_factory=deque)
    dated: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The start that the collector writes, and the last count that it saw, by tenant."""

    def begin(self, at: int) -> None:
        """Start a new process."""
        self.process += 1
        self.started_at = self.collected_at = at
        self.counts.clear()
        if not self.waits:
            self.sending.clear()

    def collect(self, at: int) -> None:
        """Make an export of the present counts."""
        started = self.started_at if self.temporality is Temporality.CUMULATIVE else self.collected_at
        starts = {
            tenant: self._date(tenant, count, at) if self.dates else started for tenant, count in self.counts.items()
        }
        samples = [
            SeriesSample(
                f"{self.name} {tenant}".encode(),
                (("Customer", tenant),),
                Decimal(count),
                starts[tenant],
                at,
                self.temporality,
            )
            for tenant, count in self.counts.items()
            if starts[tenant] <= at or self.temporality is Temporality.DELTA
        ]
        if self.temporality is Temporality.DELTA:
            self.counts.clear()
            self.collected_at = at
        if samples:
            self.sending.append(samples)

    def restart_collector(self) -> None:
        """Start the collector anew: what waits is lost, and what it knows."""
        self.sending.clear()
        self.dated.clear()

    def _date(self, tenant: str, count: int, at: int) -> int:
        started, before = self.dated.get(tenant, (at, 0))
        started = at if count < before else started
        self.dated[tenant] = started, count
        return started


class ExportingApp:
    """The app of one pod, which outlives the sidecar's processes; and what is to be billed for it."""

    def __init__(self, pod: str, source: Otlp, clock: PodClock) -> None:
        self._pod = pod
        self._factor = source.scale * MILLION
        self._clock = clock
        self._random = Random(f"exports of {pod}")
        kinds = list(Temporality)
        collected = self._random.choice(kinds)
        dates = collected is Temporality.CUMULATIVE and self._random.random() < 0.5
        self._sdks = [
            _Sdk("direct", self._random.choice(kinds), waits=False, dates=False),
            _Sdk("collected", collected, waits=True, dates=dates),
        ]
        self._runs = False
        self._exact = True
        """The sidecar noted its begin before the app started; neither the clock nor a gap made a sample doubtful."""
        self._latest = self._answered_at = clock.now()
        self._true: Counter[str] = Counter()
        self._billed: Counter[str] = Counter()
        self._answered: defaultdict[str, dict[tuple[bytes, int, int], Decimal]] = defaultdict(dict)
        """The highest value that was answered, by tenant, for each series and start, and for each delta."""
        self.figures: Counter[str] = Counter()

    def start(self, *, noted: bool) -> None:
        """Start with the pod, unless it runs; `noted` tells whether the ledger knows that the sidecar counts."""
        if not self._runs:
            self._runs, self._exact = True, noted
            for sdk in self._sdks:
                sdk.begin(to_micros(self._look_at_clock()))

    def serve(self) -> None:
        """Count what was asked for since the last time."""
        if self._runs:
            for sdk in self._sdks:
                for tenant in self._random.sample(_TENANTS, self._random.randint(0, 2)):
                    count = self._random.choice([0, 1, 7, 1000]) * self._random.randint(1, 9)
                    sdk.counts[tenant] += count
                    self._true[tenant] += count

    async def export(self, take: Callable[[Export], Awaitable[None]], dimension: str) -> None:
        """Let each SDK export once; sometimes a process or the collector has restarted, or an answer is lost."""
        for sdk in self._sdks:
            at = to_micros(self._look_at_clock())
            self.serve()
            if self._random.random() < 0.04:
                self.figures["app-start"] += 1
                sdk.begin(at)
            if sdk.waits and self._random.random() < 0.04:
                self.figures["collector-start"] += 1
                sdk.restart_collector()
            sdk.collect(at)
            while sdk.sending and self._random.random() > 0.1:
                if not await self._send(sdk, take, dimension):
                    break

    async def _send(self, sdk: _Sdk, take: Callable[[Export], Awaitable[None]], dimension: str) -> bool:
        """Send the oldest export; whether it was answered."""
        samples = sdk.sending[0]
        try:
            await take(Export({dimension: samples}))
        except LedgerUnavailable:
            self.figures["export-refused"] += 1
            return False
        except NotEntitled:
            self._exact = False
            sdk.sending.popleft()
            return True
        if self._random.random() < 0.1:
            self.figures["answer-lost"] += 1
            return False
        self.figures["export-answered"] += 1
        self.figures["export-exact"] += self._exact
        sdk.sending.popleft()
        now = self._look_at_clock()
        self._exact = self._exact and now - self._answered_at < _LONGEST_GAP
        self._answered_at = now
        if sdk.dates:
            return True  # what it proves is not known
        for sample in samples:
            instant = sample.at if sample.temporality is Temporality.DELTA else 0
            known = self._answered[sample.tags[0][1]]
            known[sample.key, sample.started_at or 0, instant] = sample.value
        return True

    def see_commit(self, _connection: sqlite3.Connection, events: list[UsageEvent]) -> str | None:
        """Judge a commit, and what it bills; return what is wrong."""
        for event in events:
            ((_, tenant),) = event.tags
            self._billed[tenant] += event.quantity
        self._look_at_clock()
        for tenant in _TENANTS:
            billed, answered = self._billed[tenant], sum(self._answered[tenant].values())
            if billed > self._true[tenant] * self._factor:
                return f"{self._pod} bills {billed} millionths of {tenant}, which has counted {self._true[tenant]}"
            if self._exact and billed <= answered * self._factor - len(self._sdks):
                return f"{self._pod} bills {billed} millionths of {tenant}; {answered} were answered"
        return None

    def _look_at_clock(self) -> datetime:
        """Return what the clock shows; one that was set makes start times and gaps doubtful."""
        now = self._clock.now()
        self._exact = self._exact and now >= self._latest
        self._latest = max(now, self._latest)
        return now

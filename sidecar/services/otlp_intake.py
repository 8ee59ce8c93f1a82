"""Takes the OpenTelemetry exports of the app: counts the samples of its counters, and shows how the sources do.

An export is answered once its samples are on disk. The app's SDK repeats an export without an answer; the ledger then
knows its samples. What the SDK gives up is made up by the next export of a cumulative counter.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import Dimension, NotEntitled
from sidecar.domain.metering.exports import Export
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.measuring import CounterView, SourceState, SourceView
from sidecar.domain.metering.series import SeriesBatch, SeriesReceipt
from sidecar.domain.metering.sources import Otlp
from sidecar.domain.ports import Clock
from sidecar.services.counting import Counters, right_of
from sidecar.services.faults import FaultRegister
from sidecar.services.ports import EntitlementReader
from sidecar.services.source_faults import SourceFaults

INCONSISTENT_CURE = (
    "Give each process that exports the counter resource attributes of its own (service.instance.id), and make it set "
    "start times. Until then the series are not billed (docs/sources.md)."
)
REFUSED_CURE = "Export a counter, not a gauge, an up-down counter or a histogram (docs/sources.md). The rest is billed."
REFUSED = "refused"
"""Counted with the outcomes of samples: a data point that cannot be counted."""


@dataclass(slots=True)
class _Counter:
    """One dimension while it is counted."""

    dimension: str
    source: Otlp
    last_sample_at: datetime | None = None
    series: int = 0
    """Series of the last export."""
    folded: int = 0
    """Those of them that count without tags."""
    samples: Counter[str] = field(default_factory=Counter)
    """Samples of this process by what they mean; and data points that were refused."""
    fault: str | None = None

    def view(self) -> SourceView:
        """Return the source for the status."""
        state, detail = SourceState.WAITING, f"counts {self.source.counts}"
        if self.fault is not None:
            state, detail = SourceState.INCONSISTENT, self.fault
        elif self.last_sample_at is not None:
            state = SourceState.MEASURING
        counters = CounterView(dict(self.samples), unusable=0, folded=self.folded)
        return SourceView(self.dimension, state, self.last_sample_at, detail, series=self.series, counters=counters)


class OtlpIntake:
    """The sources `otlp` of one process."""

    def __init__(
        self,
        *,
        dimensions: Sequence[Dimension],
        counters: Counters,
        gate: EntitlementReader,
        clock: Clock,
        faults: FaultRegister,
        arrived: Callable[[], None],
    ) -> None:
        """Make the intake.

        Args:
            dimensions: The product's; those without a source `otlp` are left out.
            counters: Takes the samples.
            gate: Knows whether AWS has refused this pod.
            clock: Dates the status.
            faults: Where exports that cannot be counted are registered.
            arrived: Notes that usage came, which a drain waits for.
        """
        self._counted = {
            each.name: _Counter(each.name, each.source) for each in dimensions if isinstance(each.source, Otlp)
        }
        self._counters = counters
        self._gate = gate
        self._clock = clock
        self._faults = SourceFaults(faults, clock)
        self._arrived = arrived

    @property
    def views(self) -> list[SourceView]:
        """The sources for the status."""
        return [counter.view() for counter in self._counted.values()]

    def instant(self) -> int:
        """Return epoch microseconds of the clock that the app dates its data points by."""
        return self._counters.instant

    async def take(self, export: Export) -> None:
        """Return once the samples of an export, and what they bill, are on disk.

        Raises:
            UsageRefused: NotEntitled or LedgerUnavailable; nothing is billed.
        """
        entitlement = self._gate.entitlement()
        denied = entitlement.state is State.DENIED
        if not denied:
            self._arrived()
        at, shift = self._counters.instant, self._counters.shift
        batches = [
            SeriesBatch(
                dimension,
                samples,
                self._counted[dimension].source.scale,
                at,
                shift,
                right=right_of(entitlement),
                right_since=to_micros(entitlement.since) - shift,
                whole=False,
            )
            for dimension, samples in export.samples.items()
        ]
        receipts = await self._counters.take(batches) if batches else []
        if denied:
            # The states are kept: a cumulative counter shows this usage again once the pod is entitled.
            raise NotEntitled(entitlement.detail)
        now = self._clock.now()
        for batch, receipt in zip(batches, receipts, strict=True):
            counter = self._counted[batch.dimension]
            counter.folded = export.folded[batch.dimension]
            self._note(counter, batch, receipt, now)
        self._judge_refusals(export)

    def _note(self, counter: _Counter, batch: SeriesBatch, receipt: SeriesReceipt, now: datetime) -> None:
        counter.last_sample_at = now
        counter.series = len({sample.key for sample in batch.samples})
        counter.samples.update({outcome.value: count for outcome, count in receipt.outcomes.items()})
        counter.fault = None
        if not receipt.inconsistent:
            self._faults.clear("source-inconsistent", counter.dimension)
            return
        counter.fault = (
            f"{receipt.inconsistent} of {counter.series} series of {counter.source.metric} decrease without a new "
            "start, as those of several processes with one identity do"
        )
        self._faults.observe("source-inconsistent", counter.dimension, counter.fault, INCONSISTENT_CURE)

    def _judge_refusals(self, export: Export) -> None:
        """Register metrics with refused data points, until an export brings good ones alone."""
        refused: Counter[str] = Counter()
        for (metric, _), count in export.faults.items():
            refused[metric] += count
        for counter in self._counted.values():
            if counter.source.metric in refused:
                counter.samples[REFUSED] += refused[counter.source.metric]
                self._faults.observe("source-refused", counter.dimension, export.describe(), REFUSED_CURE)
            elif counter.dimension in export.samples:
                self._faults.clear("source-refused", counter.dimension)

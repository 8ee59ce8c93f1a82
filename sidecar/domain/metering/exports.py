"""An OpenTelemetry export: which data points are samples of a source, and why others are refused.

Only monotonic sums of a metric that a source names are counted. Points of every other metric are ignored: an SDK
exports all that an app has. A refused point is counted, its reason is answered, and its neighbors are taken.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import NamedTuple

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.series import SeriesSample, Temporality, shortest
from sidecar.domain.metering.sources import Otlp
from sidecar.domain.metering.validation import MAX_FUTURE, MAX_PAST, is_tag_value

MOST_SAMPLES = 25_000
"""Samples of one export, of all dimensions: until they are stored, each may take 2 KiB of memory."""
_MICROSECOND = 1_000
"""Nanoseconds."""
_MOST_NAMED = 5
"""Reasons that one answer gives."""


class TooManySamples(Exception):
    """An export has more than `MOST_SAMPLES` samples of all dimensions."""


class PointFault(StrEnum):
    """Why a data point of a metric that a source names is refused."""

    KIND = "not a sum: a source counts counters only"
    NOT_MONOTONIC = "of a sum that can decrease: use a counter, not an up-down counter"
    NO_TEMPORALITY = "of a sum without a temporality: set cumulative or delta"
    NO_VALUE = "without a value"
    NOT_FINITE = "with a value that is not a finite number"
    NEGATIVE = "with a negative value: a counter never decreases below zero"
    NO_TIME = "without a time"
    FUTURE = "dated more than 15 minutes ahead of the clock"
    PAST = "dated more than 7 days behind the clock"
    BACKWARDS = "of a cumulative sum with a start that lies after its time"


class Point(NamedTuple):
    """A data point as it was sent."""

    identity: bytes
    """A digest of resource, scope and attributes."""
    value: int | float | None
    started: int
    """Epoch nanoseconds; 0 if unknown."""
    at: int
    """Epoch nanoseconds."""
    temporality: Temporality
    texts: Mapping[str, str]
    """The texts of the attributes that sources name, of the point or else of its resource."""


@dataclass(slots=True)
class Export:
    """What one request holds for the sources."""

    samples: dict[str, list[SeriesSample]] = field(default_factory=dict)
    """By dimension, in the order in which they were sent."""
    faults: Counter[tuple[str, PointFault]] = field(default_factory=Counter)
    """Refused data points by metric and reason."""

    folded: Counter[str] = field(default_factory=Counter)
    """Samples by dimension that are counted without tags, because a value breaks the rules of tags."""

    @property
    def refused(self) -> int:
        """The number of refused data points."""
        return self.faults.total()

    def describe(self) -> str:
        """Return a sentence on the refused data points; empty if there are none."""
        if not self.faults:
            return ""
        named = [
            f"{metric}: {_points(count)} {fault.value}"
            for (metric, fault), count in self.faults.most_common(_MOST_NAMED)
        ]
        more = len(self.faults) - _MOST_NAMED
        rest = f"; and {more} more reasons" if more > 0 else ""
        return f"{_points(self.refused)} refused, not billed. {'; '.join(named)}{rest}"


class ExportReader:
    """Reads the data points of one request."""

    def __init__(self, sources: Mapping[str, Sequence[tuple[str, Otlp]]], now: int) -> None:
        """Begin an export.

        Args:
            sources: Dimensions with their sources, by the metric that they count.
            now: Epoch microseconds of the system clock; points are dated from `MAX_PAST` before to `MAX_FUTURE` after.
        """
        self._sources = sources
        self.keys = frozenset(key for named in sources.values() for _, source in named for key, _ in source.tags)
        """The attributes that sources name."""
        self._earliest = now - int(MAX_PAST.total_seconds()) * 1_000_000
        self._latest = now + int(MAX_FUTURE.total_seconds()) * 1_000_000
        self._samples = 0
        self.export = Export()

    def counts(self, metric: str) -> bool:
        """Return whether a source counts the metric."""
        return metric in self._sources

    def refuse(self, metric: str, fault: PointFault, count: int) -> None:
        """Count refused data points of a metric."""
        if count:
            self.export.faults[metric, fault] += count

    def add(self, metric: str, point: Point) -> None:
        """Take a data point of a monotonic sum, or refuse it.

        Raises:
            TooManySamples: Nothing of the export may be counted.
        """
        fault = self._fault_of(point)
        if fault is not None:
            self.refuse(metric, fault, 1)
            return
        started = point.started // _MICROSECOND or None
        value = shortest(point.value) if isinstance(point.value, float) else Decimal(point.value or 0)
        for dimension, source in self._sources[metric]:
            if self._samples == MOST_SAMPLES:
                raise TooManySamples
            self._samples += 1
            tags = _tags(source, point.texts)
            if tags is None:
                self.export.folded[dimension] += 1
            at = point.at // _MICROSECOND
            sample = SeriesSample(point.identity, tags or (), value, started, at, point.temporality)
            self.export.samples.setdefault(dimension, []).append(sample)

    def _fault_of(self, point: Point) -> PointFault | None:
        value = point.value
        if value is None:
            return PointFault.NO_VALUE
        if not isfinite(value) or value < 0:
            return PointFault.NEGATIVE if value < 0 and isfinite(value) else PointFault.NOT_FINITE
        return self._fault_of_time(point)

    def _fault_of_time(self, point: Point) -> PointFault | None:
        at = point.at // _MICROSECOND
        # A delta's interval in which the clock was set back is not sent again, but a cumulative sum is.
        is_ordered = point.started <= point.at or point.temporality is Temporality.DELTA
        if self._earliest <= at <= self._latest and is_ordered:
            return None
        if not point.at:
            return PointFault.NO_TIME
        if at > self._latest:
            return PointFault.FUTURE
        return PointFault.PAST if at < self._earliest else PointFault.BACKWARDS


def _tags(source: Otlp, texts: Mapping[str, str]) -> Tags | None:
    """Return the tag set of a data point; None if a value breaks the rules of tags."""
    found = sorted((tag, texts[key]) for key, tag in source.tags if key in texts)
    return tuple(found) if all(is_tag_value(text) for _, text in found) else None


def _points(count: int) -> str:
    return "1 data point" if count == 1 else f"{count} data points"

"""The sidecar's status in the Prometheus text format.

All samples of a scrape come from one `Status` and agree with each other. Labels are bounded: dimensions, states,
the API's own problems and AWS's own answers; never a tag value, an event id or anything else that a client chooses.
An unknown value has no sample. Quantities are floats because the format has no other type; the API has the exact ones.
Base units are seconds and bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.domain.entitlement.states import State
from sidecar.domain.histogram import Distribution
from sidecar.domain.metering.failing import Cause
from sidecar.domain.metering.measuring import CounterView
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.status import Metering, Status, Terms

_TERMS: tuple[tuple[str, str, Callable[[Terms], int]], ...] = (
    ("accepted", "acknowledged to the app", lambda terms: terms.accepted),
    ("open", "in open buckets", lambda terms: terms.open),
    ("sealed", "in records that wait or are being tried", lambda terms: terms.sealed),
    ("submitted", "taken by AWS", lambda terms: terms.submitted),
    ("unbilled", "kept with a reason and not billed", lambda terms: terms.unbilled),
    ("remainder", "held back by rounding to whole numbers", lambda terms: terms.remainder),
)


def expose(status: Status) -> bytes:
    """Return `status` in the Prometheus text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(status))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        yield _labeled("marketplace_build_info", "The version that runs.", "version", {status.versions["sidecar"]: 1})
        yield _labeled(
            "marketplace_entitlement_state",
            "1 for the state that the entitlement is in.",
            "state",
            {state.value: int(status.entitlement.state is state) for state in State},
        )
        yield _gauge("marketplace_entitled", "1 while the app may run.", int(status.entitlement.entitled))
        yield from _license(status)
        yield from _progress(status)
        yield from _usage(status)
        yield from _intake(status)
        yield from _sources(status)
        yield _labeled(
            "marketplace_faults",
            "1 for each fault an operator can act on.",
            "code",
            dict.fromkeys(sorted({finding.kind or finding.code for finding in status.findings}), 1),
        )


def _license(status: Status) -> Iterator[Metric]:
    license_ = status.entitlement.license
    if license_ is None:
        return
    if license_.end is not None:
        yield _gauge("marketplace_license_end_timestamp_seconds", "When the contract ends.", license_.end.timestamp())
    counted = [each for each in license_.entitlements if each.max is not None]
    yield _labeled(
        "marketplace_license_seats_held",
        "How many of an entitlement this pod holds.",
        "entitlement",
        {each.name: each.held for each in counted},
    )
    yield _labeled(
        "marketplace_license_seats_max",
        "How many of an entitlement the contract grants.",
        "entitlement",
        {each.name: each.max for each in counted if each.max is not None},
    )


def _progress(status: Status) -> Iterator[Metric]:
    yield _labeled(
        "marketplace_metering_state",
        "1 for the state that metering is in.",
        "state",
        {state.value: int(status.metering is state) for state in Metering},
    )
    yield _labeled(
        "marketplace_metering_failing",
        "1 for each cause for which metering fails, 0 for the others.",
        "cause",
        {cause.value: int(cause in status.failing) for cause in Cause},
    )
    yield _gauge("marketplace_start_time_seconds", "When the process started.", status.started_at.timestamp())
    if status.last_success_at is not None:
        yield from _since(
            "marketplace_last_submission_success", "AWS last took a metering record", status.last_success_at, status.now
        )
    if status.oldest_unsent_hour is not None:
        yield from _since(
            "marketplace_oldest_unsent_hour",
            "the oldest hour began that is sealed and that AWS has not taken",
            status.oldest_unsent_hour,
            status.now,
        )
    if status.oldest_open_hour is not None:
        yield from _since(
            "marketplace_oldest_open_hour",
            "the oldest hour began that has usage and is not sealed",
            status.oldest_open_hour,
            status.now,
        )
    if status.window_closes_at is not None:
        yield _gauge(
            "marketplace_submission_window_close_timestamp_seconds",
            "When the oldest sealed record can no longer be sent: it is carried or unbilled then.",
            status.window_closes_at.timestamp(),
        )
        yield _gauge(
            "marketplace_submission_window_left_seconds",
            "Time until the oldest sealed record can no longer be sent.",
            _seconds(status.now, status.window_closes_at),
        )
    yield _gauge("marketplace_records_in_doubt", "Records whose fate at AWS is unknown.", status.in_doubt)
    yield _counted(
        "marketplace_submission_answers",
        "Attempts of this process by AWS's answer.",
        "answer",
        # From 0 on: the first success is a rise.
        {"accepted": 0, **status.answers},
    )
    if status.clock_skew is not None:
        yield _gauge(
            "marketplace_clock_skew_seconds",
            "By how much the clock was ahead of AWS's at its last answer; negative when behind.",
            status.clock_skew.total_seconds(),
        )


def _usage(status: Status) -> Iterator[Metric]:
    for term, meaning, value in _TERMS:
        yield _labeled(
            f"marketplace_usage_{term}",
            f"Quantity {meaning}.",
            "dimension",
            {name: value(terms) / MILLION for name, terms in status.conservation.items()},
        )
    yield _labeled(
        "marketplace_usage_left_unsent",
        "Quantity that the pod's end leaves unsent, such as a fraction of a whole number; 0 until then.",
        "dimension",
        {name: status.left_unsent.get(name, 0) / MILLION for name in status.conservation},
    )
    yield _counted(
        "marketplace_usage_probe_slot",
        "Quantity that is not billed, because the start probe has the slot of the pod's last hour.",
        "dimension",
        {name: status.lost_to_probe.get(name, 0) / MILLION for name in status.conservation},
    )
    yield _gauge("marketplace_ledger_balanced", "1 while the conservation law holds.", int(status.balanced))
    if status.ledger_bytes is not None:
        yield _gauge("marketplace_ledger_bytes", "Size of the ledger on disk.", status.ledger_bytes)
    if status.ledger_used is not None and status.ledger_limit is not None:
        yield _gauge(
            "marketplace_ledger_used_bytes",
            "Pages in use, log and index of the ledger; free pages inside its file are not counted.",
            status.ledger_used,
        )
        yield _gauge("marketplace_ledger_limit_bytes", "What the ledger may take at most.", status.ledger_limit)


def _intake(status: Status) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "marketplace_usage_events_accepted", "Events of this process that were taken.", value=status.accepted_events
    )
    yield CounterMetricFamily(
        "marketplace_usage_events_duplicate",
        "Events of this process that the ledger already had.",
        value=status.duplicate_events,
    )
    yield _counted(
        "marketplace_usage_requests_refused",
        "Usage requests to this process of which nothing was taken, by the type of the problem.",
        "reason",
        status.refused,
    )
    if status.taking is not None:
        yield _spread(
            "marketplace_usage_take_duration_seconds",
            "From a batch's arrival in the intake to its durable answer, in this process.",
            status.taking,
        )
    if status.committing is not None:
        yield _spread(
            "marketplace_ledger_commit_duration_seconds",
            "From handing usage to the ledger to its durable commit, in this process.",
            status.committing,
        )


def _sources(status: Status) -> Iterator[Metric]:
    timed = [source for source in status.sources if source.counters is None]
    if timed:
        yield _counted(
            "marketplace_source_observed_seconds",
            "Time that a source of this process has counted.",
            "dimension",
            {source.dimension: source.observed for source in timed},
        )
        yield _counted(
            "marketplace_source_missed_seconds",
            "Time that a source of this process should have counted and has not observed; it is never billed.",
            "dimension",
            {source.dimension: source.missed for source in timed},
        )
    counting = {source.dimension: source.counters for source in status.sources if source.counters is not None}
    if counting:
        yield from _counters(status, counting)


def _counters(status: Status, counting: Mapping[str, CounterView]) -> Iterator[Metric]:
    yield _labeled(
        "marketplace_source_series",
        "Series of the last sample of a source.",
        "dimension",
        {source.dimension: source.series for source in status.sources if source.dimension in counting},
    )
    yield _labeled(
        "marketplace_source_series_folded",
        "Series of the last sample with invalid label values for tags: they count without tags.",
        "dimension",
        {dimension: view.folded for dimension, view in counting.items()},
    )
    yield _counted(
        "marketplace_source_samples_unusable",
        "Samples of this process that were refused whole: no answer, an error status, a cut or invalid page.",
        "dimension",
        {dimension: view.unusable for dimension, view in counting.items()},
    )
    outcomes: Counter[str] = Counter()
    for view in counting.values():
        outcomes.update(view.samples)
    yield _counted(
        "marketplace_source_series_samples",
        "Samples of series in this process, by their meaning.",
        "outcome",
        outcomes,
    )


def _since(name: str, meaning: str, instant: datetime, now: datetime) -> Iterator[Metric]:
    """Return when something happened, and how long ago that was."""
    yield _gauge(f"{name}_timestamp_seconds", f"When {meaning}.", instant.timestamp())
    yield _gauge(f"{name}_age_seconds", f"Time since {meaning}.", _seconds(instant, now))


def _seconds(begin: datetime, end: datetime) -> float:
    """Return the time from `begin` to `end`: 0 when a clock that went back would make it less."""
    return max((end - begin).total_seconds(), 0)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _labeled(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counted(name: str, meaning: str, label: str, counts: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=[label])
    for key, count in counts.items():
        family.add_metric([key], count)
    return family


def _spread(name: str, meaning: str, found: Distribution) -> Metric:
    buckets = [(str(float(bound)), count) for bound, count in found.at_most]
    return HistogramMetricFamily(name, meaning, buckets=[*buckets, ("+Inf", found.count)], sum_value=found.seconds)

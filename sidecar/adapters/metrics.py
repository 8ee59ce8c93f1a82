"""The sidecar's status in the Prometheus text format.

Every sample comes from one `Status`, so that a scrape is consistent in itself. Labels are bounded: dimensions, states
and AWS's own answers; never a tag value, an event id or anything else that a client chooses. Quantities are floats here
because the format knows nothing else; the exact ones are in the API.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.domain.entitlement import State
from sidecar.domain.quantity import MILLION
from sidecar.domain.status import Status, Terms

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
        yield _labelled("marketplace_build_info", "The version that runs.", "version", {status.versions["sidecar"]: 1})
        yield _labelled(
            "marketplace_entitlement_state",
            "1 for the state that the entitlement is in.",
            "state",
            {state.value: int(status.entitlement.state is state) for state in State},
        )
        yield GaugeMetricFamily(
            "marketplace_entitled", "1 while the app may run.", value=int(status.entitlement.entitled)
        )
        yield from _times(status)
        yield from _usage(status)


def _times(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "marketplace_start_time_seconds", "When the process started.", value=status.started_at.timestamp()
    )
    if status.last_success_at is not None:
        yield GaugeMetricFamily(
            "marketplace_last_submission_success_timestamp_seconds",
            "When AWS last took a metering record.",
            value=status.last_success_at.timestamp(),
        )
        yield GaugeMetricFamily(
            "marketplace_last_submission_success_age_seconds",
            "Time since AWS last took a metering record.",
            value=max((status.now - status.last_success_at).total_seconds(), 0),
        )
    if status.oldest_unsent_hour is not None:
        yield GaugeMetricFamily(
            "marketplace_oldest_unsent_hour_timestamp_seconds",
            "The oldest hour with usage that AWS has not taken yet.",
            value=status.oldest_unsent_hour.timestamp(),
        )


def _usage(status: Status) -> Iterator[Metric]:
    yield _labelled(
        "marketplace_metering_state",
        "1 for the state that metering is in.",
        "state",
        {state: int(status.metering == state) for state in ("ok", "failing", "gated", "stopped")},
    )
    for term, meaning, value in _TERMS:
        yield _labelled(
            f"marketplace_usage_{term}",
            f"Quantity {meaning}.",
            "dimension",
            {name: value(terms) / MILLION for name, terms in status.conservation.items()},
        )
    yield GaugeMetricFamily(
        "marketplace_ledger_balanced", "1 while the conservation law holds.", value=int(status.balanced)
    )
    yield GaugeMetricFamily(
        "marketplace_records_in_doubt", "Records whose fate at AWS is unknown.", value=status.in_doubt
    )
    if status.ledger_bytes is not None:
        yield GaugeMetricFamily("marketplace_ledger_bytes", "Size of the ledger on disk.", value=status.ledger_bytes)
    answers = CounterMetricFamily(
        "marketplace_submission_answers", "Attempts of this process by AWS's answer.", labels=["answer"]
    )
    for answer, count in status.answers.items():
        answers.add_metric([answer], count)
    yield answers
    yield CounterMetricFamily(
        "marketplace_usage_events_accepted", "Events of this process that were taken.", value=status.accepted_events
    )
    yield CounterMetricFamily(
        "marketplace_usage_events_duplicate",
        "Events of this process that the ledger already had.",
        value=status.duplicate_events,
    )
    faults = GaugeMetricFamily("marketplace_faults", "1 for each fault an operator can act on.", labels=["code"])
    for code in sorted({finding.code for finding in status.findings}):
        faults.add_metric([code], 1)
    yield faults


def _labelled(name: str, meaning: str, label: str, values: dict[str, float] | dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family

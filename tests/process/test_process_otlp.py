"""Exports of the real OpenTelemetry SDK to a real sidecar: cumulative and delta counters, and kills in between."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from sidecar.commands.demo.environment import free_port
from tests.support.otlp import SECOND, as_json, counter, export, point

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Sidecar, Site

pytestmark = pytest.mark.process

METERING = {
    "dimensions": [
        {
            "name": "tokens",
            "source": {"otlp": {"metric": "app.tokens", "tags": {"tenant": "Customer"}, "scale": "0.5"}},
        },
        {"name": "requests"},
    ]
}
NEVER = 1e9
"""Milliseconds between two exports that nothing asks for."""


class PatientExporter(OTLPMetricExporter):
    """Exports until the data is taken: the SDK's own gives up after some tries, and deltas are then lost to it."""

    def export(self, *args: Any, **options: Any) -> MetricExportResult:
        """Export the same data again until it is taken, or the exporter ends."""
        while (result := super().export(*args, **options)) is not MetricExportResult.SUCCESS and not self._shutdown:
            pass
        return result


@contextmanager
def sdk(port: int, temporality: AggregationTemporality) -> Iterator[MeterProvider]:
    """Run the SDK of an app that exports to a port of the pod, by its own settings but for the compression."""
    exporter = PatientExporter(
        f"http://127.0.0.1:{port}/v1/metrics",
        preferred_temporality={Counter: temporality},
        compression=Compression.Gzip,
        timeout=30,
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=NEVER, export_timeout_millis=60_000)
    provider = MeterProvider([reader], Resource.create({"service.instance.id": "app-1"}), shutdown_on_exit=False)
    try:
        yield provider
    finally:
        provider.shutdown()


def billed(sidecar: "Sidecar") -> Decimal:
    """Return what was accepted of the counted dimension."""
    return Decimal(sidecar.terms("tokens").get("accepted", "0"))


def source(sidecar: "Sidecar") -> Any:
    """Return the source as the status shows it."""
    (found,) = sidecar.get("/v1/status")["sources"]
    return found


@pytest.mark.ending
@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_counter_of_the_sdk(site: "Site", emulator: "Emulator", temporality: AggregationTemporality) -> None:
    """Each increase is billed once, by tenant; the pod's end submits it to AWS."""
    sidecar = site.start_entitled(metering=METERING)
    assert "waiting" == source(sidecar)["state"]
    with sdk(sidecar.api, temporality) as provider:
        tokens = provider.get_meter("app").create_counter("app.tokens")
        for amount in (3, 4, 5):
            tokens.add(amount, {"tenant": "acme"})
            tokens.add(1, {"tenant": "other"})
            assert provider.force_flush()
    assert Decimal("7.5") == billed(sidecar)
    found = source(sidecar)
    assert ("measuring", 2) == (found["state"], found["series"])
    shares = {bucket["tags"]["Customer"]: bucket["quantity"] for bucket in sidecar.get("/v1/usage")["buckets"]}
    assert {"acme": "6", "other": "1.5"} == shares
    sidecar.signal(signal.SIGTERM)
    assert 0 == sidecar.await_end()
    assert [Decimal("7.5")] == [Decimal(each) for (_, name), each in emulator.held().items() if name == "tokens"]


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_kills_between_exports(site: "Site", temporality: AggregationTemporality) -> None:
    """A sidecar that is killed at any instant neither loses a unit nor counts one twice; the SDK repeats its export."""
    dice = random.Random(20)
    changes: dict[str, Any] = {"metering": METERING, "api": {"port": free_port()}}
    sidecar = site.start_entitled(**changes)
    stop, counted = threading.Event(), 0

    def work() -> None:
        nonlocal counted
        while not stop.is_set():
            tokens.add(1, {"tenant": "acme"})
            counted += 1
            provider.force_flush(60_000)

    with sdk(sidecar.api, temporality) as provider:
        tokens = provider.get_meter("app").create_counter("app.tokens")
        app = threading.Thread(target=work)
        app.start()
        try:
            for _ in range(4):
                time.sleep(dice.random())
                sidecar.kill()
                sidecar = site.start_entitled(**changes)
        finally:
            stop.set()
            app.join()
        tokens.add(1, {"tenant": "acme"})
        counted += 1
        assert provider.force_flush()
        assert counted > 8
        assert Decimal(counted) / 2 == billed(sidecar)


def test_json_by_hand(site: "Site") -> None:
    """Any program can export: JSON by one request. A gauge of the name is refused, and the fault names it."""
    sidecar = site.start_entitled(metering=METERING)
    now = time.time_ns()
    body = as_json(export(counter("app.tokens", point(5, at=now, start=now - SECOND // 1000))))
    assert (200, {}) == _post(sidecar, body)
    assert (200, {}) == _post(sidecar, body)
    assert Decimal("2.5") == billed(sidecar)
    wrong = as_json(export(counter("app.tokens", point(5, at=now), monotonic=False)))
    status, document = _post(sidecar, wrong)
    assert (200, "1") == (status, document["partialSuccess"]["rejectedDataPoints"])
    (fault,) = [each for each in sidecar.get("/v1/status")["faults"] if each["code"] == "source-refused"]
    assert "tokens" in fault["detail"]


def test_unused_path(site: "Site") -> None:
    """Without a source the path names the key to set; OpenTelemetry's packages are not loaded."""
    sidecar = site.start_entitled()
    status, document = _post(sidecar, {})
    assert 404 == status
    assert "no dimension has a source otlp" in document["message"]


def _post(sidecar: "Sidecar", body: object) -> tuple[int, Any]:
    reply = sidecar.post("/v1/metrics", body)
    return reply.status, reply.document

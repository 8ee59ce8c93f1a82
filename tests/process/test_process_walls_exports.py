"""What one OpenTelemetry export can cost a running sidecar."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from sidecar.adapters.http.bodies import MOST_BODY
from sidecar.adapters.http.otlp_messages import MOST_JSON, MOST_PARTS
from sidecar.domain.metering.exports import MOST_SAMPLES
from tests.process.walls import JSON, Cost, answers, post_bytes
from tests.support.otlp import DELTA, counter, export, point

if TYPE_CHECKING:
    from tests.support.processes import Site

pytestmark = pytest.mark.process

LIMIT = 100
"""MiB that one export may cost."""
PROTOBUF = "application/x-protobuf"
METERING = {
    "dimensions": [{"name": "tokens", "source": {"otlp": {"metric": "app.tokens", "tags": {"t": "Customer"}}}}],
}


def samples() -> bytes:
    """Return as many series as an export may have, each with a tag of its own."""
    now = time.time_ns()
    points = [point(1, at=now, start=now - 1000, labels={"t": f"{number:05}"}) for number in range(MOST_SAMPLES)]
    return export(counter("app.tokens", *points, temporality=DELTA))


def parts() -> bytes:
    """Return as many messages as a body may have, each with a field that is unknown."""
    return b"\x0a\x03\xf8\x07\x01" * MOST_PARTS


def packed() -> bytes:
    """Return a histogram that no source counts, with a list of small numbers."""
    request = ExportMetricsServiceRequest()
    made = Metric(name="other")
    made.exponential_histogram.data_points.add().positive.bucket_counts.extend([0] * (MOST_BODY - 100))
    request.resource_metrics.add().scope_metrics.add().metrics.append(made)
    return bytes(request.SerializeToString())


def numbers() -> bytes:
    """Return JSON of numbers alone."""
    return b'{"x": [' + b"1," * (MOST_JSON // 2 - 8) + b"1]}"


@pytest.mark.parametrize(
    ("make", "media"),
    [(samples, PROTOBUF), (parts, PROTOBUF), (packed, PROTOBUF), (numbers, JSON)],
)
def test_exports_cost_little(site: "Site", make: Callable[[], bytes], media: str) -> None:
    """The largest export of its kind costs little memory, and holds up no probe."""
    sidecar = site.start_entitled(metering=METERING)
    body = make()
    assert len(body) <= MOST_BODY
    cost = Cost(sidecar.process.pid)
    assert 200 == post_bytes(sidecar.api, body, media, "/v1/metrics").status
    assert 200 == answers(sidecar.probes)
    assert cost.mebibytes < LIMIT

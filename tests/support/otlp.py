"""OTLP exports as bytes, made by OpenTelemetry's own messages."""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, NumberDataPoint

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
SECOND = 1_000_000_000


def attributes(values: Mapping[str, str | float]) -> list[KeyValue]:
    """Return attributes; an int, a bool and a float keep their kinds."""
    made = []
    for key, value in values.items():
        one = KeyValue(key=key)
        match value:
            case bool():
                one.value.bool_value = value
            case int():
                one.value.int_value = value
            case float():
                one.value.double_value = value
            case str():
                one.value.string_value = value
        made.append(one)
    return made


def point(
    value: float, *, at: int, start: int = 0, flags: int = 0, labels: Mapping[str, str | float] | None = None
) -> NumberDataPoint:
    """Return a data point; instants are epoch nanoseconds."""
    made = NumberDataPoint(time_unix_nano=at, start_time_unix_nano=start, flags=flags)
    made.attributes.extend(attributes(labels or {}))
    if isinstance(value, int):
        made.as_int = value
    else:
        made.as_double = value
    return made


def counter(name: str, *points: NumberDataPoint, temporality: int = CUMULATIVE, monotonic: bool = True) -> Metric:
    """Return a sum."""
    made = Metric(name=name)
    made.sum.is_monotonic = monotonic
    made.sum.aggregation_temporality = temporality  # type: ignore[assignment]  # an enumeration is open
    made.sum.data_points.extend(points)
    return made


def export(*metrics: Metric, resource: Mapping[str, str] | None = None, scope: str = "") -> bytes:
    """Return an export of one resource and scope in protobuf."""
    request = ExportMetricsServiceRequest()
    above = request.resource_metrics.add()
    above.resource.attributes.extend(attributes(resource or {}))
    inner = above.scope_metrics.add()
    inner.scope.name = scope
    inner.metrics.extend(metrics)
    return bytes(request.SerializeToString())


def as_json(body: bytes) -> dict[str, Any]:
    """Return an export in OTLP/JSON: integers for enumerations."""
    request = ExportMetricsServiceRequest.FromString(body)
    text = json_format.MessageToJson(request, use_integers_for_enums=True)
    document: dict[str, Any] = json.loads(text)
    return document

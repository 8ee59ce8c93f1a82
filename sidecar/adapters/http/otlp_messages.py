"""The messages of OTLP/HTTP: from a body to the data points of an export, and the answers.

Loaded only for a source `otlp`. The messages and their decoding are OpenTelemetry's and protobuf's own. The parts of a
body are counted before it is decoded: a message of two bytes becomes an object of about 70, and nothing interrupts the
decoding.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidecar.adapters.http.decoding import decode_document
from sidecar.adapters.http.otlp_media import SMALLER, Encoding
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.domain.metering.exports import MOST_SAMPLES, Export, ExportReader, Point, PointFault, TooManySamples
from sidecar.domain.metering.series import Temporality

MOST_PARTS = 600_000
"""Messages and texts in a protobuf body: 75 MiB at most. 50,000 data points with two attributes count as 600,000."""
MOST_JSON = 1024 * 1024
"""Bytes of a JSON body: about 4,000 data points. A byte of it may take 60 of memory, and seconds on the thread."""
_NOT_A_PART = bytes(byte for byte in range(256) if byte & 7 != 2)
"""Bytes that begin no message and no text: the low bits of a field's first byte are its type, and 2 has a length."""
_UNREAD = frozenset({"HistogramDataPoint", "ExponentialHistogramDataPoint", "SummaryDataPoint"})
"""Messages that are only counted."""
_DIGEST_BYTES = 16
_TEMPORALITIES: dict[int, Temporality] = {
    AGGREGATION_TEMPORALITY_CUMULATIVE: Temporality.CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA: Temporality.DELTA,
}


class _Above(NamedTuple):
    """What data points have of their resource and scope."""

    identity: bytes
    """A digest of them."""
    texts: Mapping[str, str]
    """Of the attributes of the resource that sources name."""


def read_export(encoding: Encoding, body: bytes, reader: ExportReader) -> Export:
    """Return what the body holds for the sources of `reader`.

    Raises:
        HttpProblem: malformed or too-large.
    """
    request = _decode_json(body) if encoding is Encoding.JSON else _decode_protobuf(body)
    try:
        _read_request(request, reader)
    except TooManySamples:
        words = f"the body has over {MOST_SAMPLES} samples: {SMALLER}"
        raise HttpProblem(ProblemKind.TOO_LARGE, words) from None
    return reader.export


def _make_request() -> type[ExportMetricsServiceRequest]:
    """Return the message of an export without the fields of `_UNREAD`: protobuf keeps their bytes as they are.

    It would make eight bytes of each byte of a histogram's counts.
    """
    pool = DescriptorPool()
    for each in (common_pb2, resource_pb2, metrics_pb2, metrics_service_pb2):
        file = FileDescriptorProto()
        each.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            if message.name in _UNREAD:
                message.ClearField("field")
                message.ClearField("oneof_decl")
        pool.Add(file)
    name = ExportMetricsServiceRequest.DESCRIPTOR.full_name
    return cast("type[ExportMetricsServiceRequest]", GetMessageClass(pool.FindMessageTypeByName(name)))


_REQUEST = _make_request()


def _read_request(request: ExportMetricsServiceRequest, reader: ExportReader) -> None:
    for resource_metrics in request.resource_metrics:
        # Read once, and only if it is needed: a body may have very many attributes, and very many scopes or points.
        resource: _Above | None = None
        for scope_metrics in resource_metrics.scope_metrics:
            scope: _Above | None = None
            for metric in scope_metrics.metrics:
                if reader.counts(metric.name):
                    resource = resource or _read_resource(resource_metrics.resource, reader.keys)
                    scope = scope or _read_scope(scope_metrics.scope, resource)
                    _read_metric(metric, scope, reader)


def encode_answer(encoding: Encoding, refused: int, message: str) -> bytes:
    """Return the body of a success; it names the refused data points if there are any."""
    answer = ExportMetricsServiceResponse()
    if refused:
        answer.partial_success.rejected_data_points = refused
        answer.partial_success.error_message = message
    if encoding is Encoding.JSON:
        return json.dumps(json_format.MessageToDict(answer)).encode() + b"\n"
    return bytes(answer.SerializeToString())


def _decode_protobuf(body: bytes) -> ExportMetricsServiceRequest:
    if len(body.translate(None, _NOT_A_PART)) > MOST_PARTS:
        raise HttpProblem(ProblemKind.TOO_LARGE, f"the body may have over {MOST_PARTS} parts: {SMALLER}")
    request = _REQUEST()
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise HttpProblem(ProblemKind.MALFORMED, "the body is not an OTLP ExportMetricsServiceRequest") from None
    return request


def _decode_json(body: bytes) -> ExportMetricsServiceRequest:
    if len(body) > MOST_JSON:
        words = f"a JSON body is over {MOST_JSON} bytes: {SMALLER}, or use protobuf"
        raise HttpProblem(ProblemKind.TOO_LARGE, words)
    document = decode_document(body)
    request = _REQUEST()
    try:
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
        _demand_objects(document, request.DESCRIPTOR)
    except (json_format.ParseError, TypeError):
        raise HttpProblem(
            ProblemKind.MALFORMED, "the body is not an ExportMetricsServiceRequest of OTLP/JSON"
        ) from None
    return request


def _demand_objects(value: object, message: Descriptor) -> None:
    """Refuse a text or a list in the place of a message: json_format takes it for an empty message.

    Raises:
        TypeError: There is one.
    """
    if not isinstance(value, dict):
        raise TypeError
    for field in message.fields:
        inner = value.get(field.json_name)
        if field.message_type is not None and inner is not None:
            for each in inner if isinstance(inner, list) else [inner]:
                _demand_objects(each, field.message_type)


def _read_resource(resource: Resource, keys: Collection[str]) -> _Above:
    return _Above(_digest(_encode(resource.attributes)), _texts_of(resource.attributes, keys))


def _read_scope(scope: InstrumentationScope, resource: _Above) -> _Above:
    parts = resource.identity, scope.name.encode(), scope.version.encode(), *_encode(scope.attributes)
    return _Above(_digest(parts), resource.texts)


def _read_metric(metric: Metric, above: _Above, reader: ExportReader) -> None:
    """Take the data points of a metric that a source counts."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    if kind != "sum":
        reader.refuse(metric.name, PointFault.KIND, len(getattr(metric, kind).data_points))
        return
    points, temporality = metric.sum.data_points, _TEMPORALITIES.get(metric.sum.aggregation_temporality)
    if not metric.sum.is_monotonic:
        reader.refuse(metric.name, PointFault.NOT_MONOTONIC, len(points))
        return
    if temporality is None:
        reader.refuse(metric.name, PointFault.NO_TEMPORALITY, len(points))
        return
    for point in points:
        if not point.flags & DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            reader.add(metric.name, _read_point(point, above, temporality, reader.keys))


def _read_point(point: NumberDataPoint, above: _Above, temporality: Temporality, keys: Collection[str]) -> Point:
    which = point.WhichOneof("value")
    return Point(
        identity=_digest([above.identity, *_encode(point.attributes)]),
        value=None if which is None else getattr(point, which),
        started=point.start_time_unix_nano,
        at=point.time_unix_nano,
        temporality=temporality,
        texts={**above.texts, **_texts_of(point.attributes, keys)},
    )


def _texts_of(attributes: Iterable[KeyValue], keys: Collection[str]) -> dict[str, str]:
    """Return the texts of the attributes with these keys. If an attribute is there twice, the first one decides."""
    found: dict[str, str] = {}
    for each in attributes:
        if each.key in keys and each.key not in found:
            found[each.key] = _text_of(each.value)
    return {key: text for key, text in found.items() if text}


def _text_of(value: AnyValue) -> str:
    """Return the text of a value; it is empty for a list, a mapping and bytes."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return repr(value.double_value)
        case _:
            return ""


def _encode(attributes: Iterable[KeyValue]) -> list[bytes]:
    """Return the identities of attributes, in an order that does not depend on the sender's; that of a mapping does."""
    return sorted([each.SerializeToString() for each in attributes])


def _digest(parts: Iterable[bytes]) -> bytes:
    """Return a digest of a list of texts: another list has another one."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()

"""POST /v1/metrics over a socket."""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from sidecar.adapters.http.admission import MOST_EXPORTS, MOST_REPORTS
from sidecar.adapters.http.bodies import MOST_BODY
from sidecar.adapters.http.otlp_media import Encoding
from sidecar.adapters.http.otlp_messages import MOST_JSON, MOST_PARTS, read_export
from sidecar.adapters.http.problems import HttpProblem
from sidecar.domain.metering.events import Dimension, LedgerUnavailable, NotEntitled, Overloaded, UsageRefused
from sidecar.domain.metering.exports import MOST_SAMPLES, Export, ExportReader
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.series import SeriesSample, Temporality
from sidecar.domain.metering.sources import Otlp
from tests.support.http_fakes import NOW, Answer, Api, FakeExports
from tests.support.otlp import DELTA, SECOND, as_json, counter, export, point
from tests.support.tools import PATIENCE

AT = to_micros(NOW) * 1000
SOURCE = Otlp("app.tokens", (("tenant", "Customer"),))
DIMENSIONS = {"tokens": Dimension("tokens", source=SOURCE), "requests": Dimension("requests")}
PROTOBUF = "application/x-protobuf"
ONE = export(counter("app.tokens", point(3, at=AT, start=AT - 60 * SECOND, labels={"tenant": "acme"})))


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Start an API with a source for one test."""
    running = Api(exports=FakeExports(), dimensions=DIMENSIONS)
    await running.start()
    yield running
    await running.stop()


def samples(api: Api) -> list[SeriesSample]:
    """Return what the intake was given."""
    assert api.exports is not None
    return [sample for taken in api.exports.exports for sample in taken.samples.get("tokens", ())]


def partial_success(answer: Answer) -> tuple[int, str]:
    """Return the count and the words of a success in protobuf."""
    assert (200, PROTOBUF) == (answer.status, answer.headers["content-type"])
    found = ExportMetricsServiceResponse.FromString(answer.body).partial_success
    return found.rejected_data_points, found.error_message


def status_of(answer: Answer) -> str:
    """Return the message of a protobuf Status; read by hand, as its encoding is written by hand."""
    assert PROTOBUF == answer.headers["content-type"]
    assert b"\x12"[0] == answer.body[0]
    length, shift, at = 0, 0, 1
    while True:
        length |= (answer.body[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if answer.body[at - 1] < 128:
            break
    assert length == len(answer.body) - at
    return answer.body[at:].decode()


async def test_protobuf_taken(api: Api) -> None:
    """A data point becomes a sample with its value, start, time and tags; the answer is an empty success."""
    answer = await api.post("/v1/metrics", ONE, media=PROTOBUF)
    assert (200, PROTOBUF, b"") == (answer.status, answer.headers["content-type"], answer.body)
    (sample,) = samples(api)
    instants = AT // 1000 - 60_000_000, AT // 1000
    assert (Decimal(3), *instants) == (sample.value, sample.started_at, sample.at)
    assert ((("Customer", "acme"),), Temporality.CUMULATIVE) == (sample.tags, sample.temporality)


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8"])
async def test_json_is_the_same(api: Api, media: str) -> None:
    """The same export in JSON makes the same sample, and the answer is JSON."""
    await api.post("/v1/metrics", ONE, media=PROTOBUF)
    answer = await api.post("/v1/metrics", json.dumps(as_json(ONE)), media=media)
    assert (200, "application/json", {}) == (answer.status, answer.headers["content-type"], answer.document)
    first, second = samples(api)
    assert first == second


async def test_json_written_by_hand(api: Api) -> None:
    """JSON as the protocol has it: lower camel case, 64-bit integers as text, hexadecimal ids, unknown members."""
    body = {
        "resourceMetrics": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
                "schemaUrl": "https://example.com/1",
                "scopeMetrics": [
                    {
                        "scope": {"name": "shop"},
                        "futureMember": {"a": [1]},
                        "metrics": [
                            {
                                "name": "app.tokens",
                                "sum": {
                                    "aggregationTemporality": 1,
                                    "isMonotonic": True,
                                    "dataPoints": [
                                        {
                                            "asInt": "9007199254740993",
                                            "startTimeUnixNano": str(AT - SECOND),
                                            "timeUnixNano": str(AT),
                                            "attributes": [{"key": "tenant", "value": {"intValue": "12"}}],
                                            "exemplars": [
                                                {"traceId": "5b8efff798038103d269b633813fc60c", "asInt": "1"}
                                            ],
                                        }
                                    ],
                                },
                            }
                        ],
                    }
                ],
            }
        ]
    }
    answer = await api.post("/v1/metrics", json.dumps(body))
    assert (200, {}) == (answer.status, answer.document)
    (sample,) = samples(api)
    assert (Decimal(9007199254740993), Temporality.DELTA) == (sample.value, sample.temporality)
    assert (("Customer", "12"),) == sample.tags


async def test_gzip_taken(api: Api) -> None:
    """A compressed body is the same export."""
    answer = await api.post("/v1/metrics", gzip.compress(ONE), "Content-Encoding: gzip", media=PROTOBUF)
    assert 200 == answer.status
    assert 1 == len(samples(api))


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (Metric(name="app.tokens", gauge={"data_points": [point(1, at=AT)]}), "not a sum"),  # type: ignore[arg-type]
        (Metric(name="app.tokens", histogram={"data_points": [{}]}), "not a sum"),  # type: ignore[arg-type]
        (Metric(name="app.tokens", summary={"data_points": [{}]}), "not a sum"),  # type: ignore[arg-type]
        (counter("app.tokens", point(1, at=AT), monotonic=False), "can decrease"),
        (counter("app.tokens", point(1, at=AT), temporality=0), "temporality"),
        (counter("app.tokens", point(1, at=AT), temporality=77), "temporality"),
        (counter("app.tokens", point(-1, at=AT)), "negative"),
        (counter("app.tokens", point(-0.5, at=AT)), "negative"),
        (counter("app.tokens", point(float("nan"), at=AT)), "not a finite number"),
        (counter("app.tokens", point(float("inf"), at=AT)), "not a finite number"),
        (counter("app.tokens", point(1, at=0)), "without a time"),
        (counter("app.tokens", point(1, at=AT, start=AT + 1)), "start that lies after"),
        (counter("app.tokens", point(1, at=AT + 901 * SECOND)), "ahead of the clock"),
        (counter("app.tokens", point(1, at=AT - 8 * 86400 * SECOND)), "7 days"),
    ],
)
async def test_partial_success(api: Api, refused: Metric, words: str) -> None:
    """A data point that no source can count is refused with its metric and the reason; the others are taken."""
    good = counter("app.tokens", point(7, at=AT))
    count, message = partial_success(await api.post("/v1/metrics", export(good, refused), media=PROTOBUF))
    assert 1 == count
    assert message.startswith("1 data point refused")
    assert "app.tokens" in message
    assert words in message
    assert [Decimal(7)] == [sample.value for sample in samples(api)]


async def test_delta_across_a_clock_that_is_set_back(api: Api) -> None:
    """A delta's interval that ends before its start is taken: its SDK does not send it again."""
    body = export(counter("app.tokens", point(7, at=AT, start=AT + SECOND), temporality=DELTA))
    assert 200 == (await api.post("/v1/metrics", body, media=PROTOBUF)).status
    assert [(AT + SECOND) // 1000] == [sample.started_at for sample in samples(api)]


async def test_partial_success_in_json(api: Api) -> None:
    """The refused data points are named in JSON as well."""
    body = as_json(export(counter("app.tokens", point(1, at=AT), monotonic=False)))
    answer = await api.post("/v1/metrics", json.dumps(body))
    found = answer.document["partialSuccess"]
    assert "1" == found["rejectedDataPoints"]
    assert "up-down counter" in found["errorMessage"]


async def test_other_metrics_are_ignored(api: Api) -> None:
    """A metric that no source names is taken and not counted, whatever its kind."""
    other = Metric(name="cpu", gauge={"data_points": [point(1, at=AT)]})  # type: ignore[arg-type]
    body = export(other, counter("app.tokens.other", point(-1, at=0)))
    assert (0, "") == partial_success(await api.post("/v1/metrics", body, media=PROTOBUF))
    assert [] == samples(api)


async def test_point_without_a_recorded_value(api: Api) -> None:
    """A data point that only marks the end of a series is no sample and no fault."""
    body = export(counter("app.tokens", point(0, at=AT, flags=1)))
    assert (0, "") == partial_success(await api.post("/v1/metrics", body, media=PROTOBUF))
    assert [] == samples(api)


async def test_point_without_a_value(api: Api) -> None:
    """A data point that has neither an integer nor a double is refused."""
    empty = point(0, at=AT)
    empty.ClearField("as_int")
    count, message = partial_success(
        await api.post("/v1/metrics", export(counter("app.tokens", empty)), media=PROTOBUF)
    )
    assert 1 == count
    assert "without a value" in message


def read(body: bytes, source: Otlp = SOURCE) -> list[SeriesSample]:
    """Return the samples of a body in protobuf."""
    reader = ExportReader({source.metric: [("tokens", source)]}, AT // 1000)
    return read_export(Encoding.PROTOBUF, body, reader).samples.get("tokens", [])


def test_identity_of_a_series() -> None:
    """Resource, scope and attributes tell series apart; the order of attributes does not."""
    bodies = [
        export(counter("app.tokens", point(1, at=AT, labels={"a": "1", "b": "2"}))),
        export(counter("app.tokens", point(1, at=AT, labels={"b": "2", "a": "1"}))),
        export(counter("app.tokens", point(1, at=AT, labels={"a": "1", "b": 2}))),
        export(counter("app.tokens", point(1, at=AT, labels={"a": "1"}))),
        export(counter("app.tokens", point(1, at=AT, labels={"a": "1", "b": "2"})), resource={"host": "x"}),
        export(counter("app.tokens", point(1, at=AT, labels={"a": "1", "b": "2"})), scope="shop"),
    ]
    first, same, *others = [read(body)[0].key for body in bodies]
    assert first == same
    assert len(others) + 1 == len({first, *others})


def test_keys_of_ledgers_that_exist() -> None:
    """A ledger knows a running counter by key and origin: a version that changes the key changes the origin, too."""
    body = export(counter("app.tokens", point(1, at=AT, labels={"a": "1"})), resource={"host": "x"}, scope="shop")
    assert ("otlp app.tokens keys 2", "628cbc9e7221bc7a62eaded93a82181b") == (SOURCE.origin, read(body)[0].key.hex())


def lines_run(body: bytes) -> int:
    """Return how many lines of the sidecar's code the reading of a body takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read(body)
    finally:
        sys.settrace(before)
    return count


def many_points(size: int) -> bytes:
    """Return data points without the attribute of the tag, in a resource with as many attributes, also without it."""
    resource = {f"a{number}": "x" for number in range(size)}
    return export(counter("app.tokens", *[point(1, at=AT)] * size), resource=resource)


def many_scopes(size: int) -> bytes:
    """Return scopes in a resource with as many attributes."""
    request = ExportMetricsServiceRequest.FromString(many_points(size))
    (resource,) = request.resource_metrics
    del resource.scope_metrics[0].metrics[0].sum.data_points[:]
    resource.scope_metrics.extend(list(resource.scope_metrics) * (size - 1))
    return bytes(request.SerializeToString())


@pytest.mark.parametrize("shape", [many_points, many_scopes])
def test_work_grows_with_the_body(shape: Callable[[int], bytes]) -> None:
    """A body of twice the size takes twice the work: no part of it is read once for each of another."""
    assert lines_run(shape(200)) < 2.5 * lines_run(shape(100))


@pytest.mark.parametrize(
    ("labels", "resource", "tags"),
    [
        ({"tenant": "acme"}, {}, (("Customer", "acme"),)),
        ({"tenant": "acme"}, {"tenant": "other"}, (("Customer", "acme"),)),
        ({}, {"tenant": "other"}, (("Customer", "other"),)),
        ({"tenant": True}, {}, (("Customer", "true"),)),
        ({"tenant": 0.5}, {}, (("Customer", "0.5"),)),
        ({"tenant": ""}, {}, ()),
        ({}, {}, ()),
        ({"tenant": "smith & sons"}, {}, ()),
    ],
)
def test_tags(labels: dict[str, str | float], resource: dict[str, str], tags: tuple[tuple[str, str], ...]) -> None:
    """A tag comes from the point, else from its resource; a value that AWS does not take leaves it untagged."""
    (sample,) = read(export(counter("app.tokens", point(1, at=AT, labels=labels)), resource=resource))
    assert tags == sample.tags


@pytest.mark.parametrize(
    ("value", "exact"),
    [(0.1, "0.1"), (1e22, "1E+22"), (3.0, "3.0"), (2**53 + 1, "9007199254740993"), (0, "0")],
)
def test_values_are_exact(value: float, exact: str) -> None:
    """An integer is exact, and a double is its shortest decimal."""
    (sample,) = read(export(counter("app.tokens", point(value, at=AT))))
    assert Decimal(exact) == sample.value


@pytest.mark.parametrize(
    ("media", "headers", "body"),
    [
        (PROTOBUF, (), b"\x0a\x05ab"),
        (PROTOBUF, (), b"{}"),
        (PROTOBUF, ("Content-Encoding: gzip",), ONE),
        (PROTOBUF, ("Content-Encoding: gzip",), gzip.compress(ONE, mtime=0)[:-4]),
        (PROTOBUF, ("Content-Encoding: gzip",), gzip.compress(ONE, mtime=0) + b"x"),
        ("application/json", (), ONE),
        ("application/json", (), b"[]"),
        ("application/json", (), b'{"resourceMetrics": {}}'),
        ("application/json", (), b'{"resourceMetrics": ["text"]}'),
        ("application/json", (), b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"sum": "text"}]}]}]}'),
        ("application/json", (), b'{"resourceMetrics": [], "resourceMetrics": []}'),
        ("application/json", (), b'{"resourceMetrics": [' + b"[" * 100_000),
        (
            "application/json",
            (),
            b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"sum": {"isMonotonic": 1}}]}]}]}',
        ),
    ],
    ids=[
        *("cut", "json", "plain", "cut gzip", "after gzip", "protobuf", "array", "mapping", "text", "sum", "twice"),
        *("deep", "name"),
    ],
)
async def test_unreadable_body(api: Api, media: str, headers: tuple[str, ...], body: bytes) -> None:
    """What cannot be read is 400 with a Status message in the encoding of the request, and stores nothing."""
    answer = await api.post("/v1/metrics", body, *headers, media=media)
    assert 400 == answer.status
    message = status_of(answer) if media == PROTOBUF else answer.document["message"]
    assert message.startswith("The request cannot be read: ")
    assert [] == samples(api)
    assert 1 == api.refused["malformed"]


async def test_unsupported_types(api: Api) -> None:
    """Another type or compression is 415."""
    assert "unsupported-media-type" == (await api.post("/v1/metrics", ONE, media="text/plain")).problem
    assert "unsupported-media-type" == (await api.post("/v1/metrics", ONE, media="application/json; charset=x")).problem
    answer = await api.post("/v1/metrics", ONE, "Content-Encoding: br", media=PROTOBUF)
    assert 415 == answer.status
    assert "use gzip" in status_of(answer)


@pytest.mark.parametrize(
    ("body", "headers", "media"),
    [
        (b"\x0a\x00" * (MOST_PARTS + 1), (), PROTOBUF),
        (gzip.compress(bytes(MOST_BODY + 1)), ("Content-Encoding: gzip",), PROTOBUF),
        (b" " * (MOST_JSON + 1), (), "application/json"),
        (export(counter("app.tokens", *[point(1, at=AT)] * (MOST_SAMPLES + 1))), (), PROTOBUF),
    ],
    ids=["parts", "gzip", "json", "samples"],
)
async def test_too_large(api: Api, body: bytes, headers: tuple[str, ...], media: str) -> None:
    """A body that would take too much memory is 413, and nothing of it is stored."""
    answer = await api.post("/v1/metrics", body, *headers, media=media)
    assert 413 == answer.status
    assert [] == samples(api)
    assert 1 == api.refused["too-large"]


@pytest.mark.parametrize(
    ("refusal", "status", "retry_after"),
    [
        (LedgerUnavailable("no room", 30), 503, "30"),
        (Overloaded("busy"), 503, "1"),
        (NotEntitled("denied"), 403, None),
    ],
)
async def test_refused_by_the_services(api: Api, refusal: UsageRefused, status: int, retry_after: str | None) -> None:
    """A ledger that cannot take the export makes the client repeat it; a denied pod's usage is not taken."""
    assert api.exports is not None
    api.exports.refusal = refusal
    answer = await api.post("/v1/metrics", ONE, media=PROTOBUF)
    assert (status, retry_after) == (answer.status, answer.headers.get("retry-after"))
    assert str(refusal) in status_of(answer)


async def test_without_a_source() -> None:
    """Without a source the path is 404 with a sentence that names the key."""
    running = Api()
    await running.start()
    try:
        answer = await running.post("/v1/metrics", ONE, media=PROTOBUF)
        assert 404 == answer.status
        assert "no dimension has a source otlp" in status_of(answer)
    finally:
        await running.stop()


async def test_only_post(api: Api) -> None:
    """Other methods are 405."""
    answer = await api.get("/v1/metrics")
    assert (405, "POST") == (answer.status, answer.headers["allow"])


async def test_token_is_demanded(tmp_path: Path) -> None:
    """The bearer token holds for exports as for usage."""
    token = tmp_path / "token"
    token.write_text("s" * 32)
    running = Api(exports=FakeExports(), dimensions=DIMENSIONS, token_file=token)
    await running.start()
    try:
        assert 401 == (await running.post("/v1/metrics", ONE, media=PROTOBUF)).status
        answer = await running.post("/v1/metrics", ONE, f"Authorization: Bearer {'s' * 32}", media=PROTOBUF)
        assert 200 == answer.status
    finally:
        await running.stop()


async def test_exports_are_stored_one_by_one(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repetition waits for the first copy of the export."""
    running, most = 0, 0

    async def take(_: Export) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    monkeypatch.setattr(api.exports, "take", take)
    answers = await asyncio.gather(*(api.post("/v1/metrics", ONE, media=PROTOBUF) for _ in range(8)))
    assert {200} == {answer.status for answer in answers}
    assert 1 == most


async def test_waiting_exports_leave_room(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports beyond their own limit are repeated later; those that wait take no place of other reports."""
    stored = asyncio.Event()
    taken = FakeExports.take

    async def take(export: Export) -> None:
        assert api.exports is not None
        await stored.wait()
        await taken(api.exports, export)

    monkeypatch.setattr(api.exports, "take", take)
    waiting = [asyncio.ensure_future(api.post("/v1/metrics", ONE, media=PROTOBUF)) for _ in range(MOST_EXPORTS + 1)]
    (refused,), _ = await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert (503, "1") == (refused.result().status, refused.result().headers["retry-after"])
    api.intake.gate = asyncio.Event()
    reports = [asyncio.ensure_future(api.report('{"dimension": "requests"}')) for _ in range(MOST_REPORTS + 1)]
    await asyncio.wait(reports, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    api.intake.gate.set()
    statuses = [answer.status for answer in await asyncio.gather(*reports)]
    assert [202] * MOST_REPORTS + [503] == sorted(statuses)
    stored.set()
    assert [200] * MOST_EXPORTS + [503] == sorted([answer.status for answer in await asyncio.gather(*waiting)])


def outcome(encoding: Encoding, body: bytes) -> int:
    """Return the status that a body is answered with."""
    try:
        read_export(encoding, body, ExportReader({"app.tokens": [("tokens", SOURCE)]}, AT // 1000))
    except HttpProblem as problem:
        return problem.kind.status
    return 200


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes(body: bytes) -> None:
    """Any bytes are an export or a problem."""
    assert {outcome(encoding, body) for encoding in Encoding} <= {200, 400}


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_exports(data: st.DataObject) -> None:
    """An export with changed bytes is an export or a problem, never another error."""
    body = bytearray(ONE)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(Encoding.PROTOBUF, bytes(body)) in {200, 400}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("resourceMetrics", "scopeMetrics", "metrics", "name", "sum", "dataPoints", "asInt", "asDouble"),
                    *("attributes", "key", "value", "stringValue", "kvlistValue", "arrayValue", "values"),
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json(document: object) -> None:
    """Any JSON is an export or a problem."""
    assert outcome(Encoding.JSON, json.dumps(document).encode()) in {200, 400}

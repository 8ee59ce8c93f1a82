"""Requests whose head was seen before: they are answered as the parser's requests are, and no others are."""

import ast
import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import hdrs, web_protocol
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.adapters.http import direct_connection, known_heads
from sidecar.adapters.http.access import LOOK_AGAIN_SECONDS
from sidecar.adapters.http.client_connection import ClientConnection
from sidecar.adapters.http.direct_connection import _MOST_WAITING, DirectConnection
from sidecar.adapters.http.known_heads import LARGEST_KEPT, MOST_HEADS, UNREAD, KnownHeads
from sidecar.domain.metering.events import UsageBatch
from tests.support.http_fakes import Api, Wire, request

JSON = "Content-Type: application/json"
EVENT = '{"dimension": "requests", "quantity": 1}'
OTHER = '{"dimension": "requests", "quantity": 2}'
REPORT = request("POST", "/v1/usage", EVENT, headers=[JSON])
ASK = request("GET", "/v1/entitlement")
ASK_WITH_BODY = request("GET", "/v1/entitlement", "a body")


def _trace(number: int) -> str:
    return f"00-{number + 1:032x}-{number + 1:016x}-01"


async def _learn(wire: Wire, data: bytes, times: int = 2) -> None:
    """Send a request so often that its head is known then."""
    for _ in range(times):
        wire.send(data)
        assert (await wire.receive()).status in {200, 202}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note what the parser gets."""
    parsed: list[bytes] = []
    parse = DirectConnection._parse

    def note(connection: DirectConnection, data: bytes) -> None:
        parsed.append(data)
        parse(connection, data)

    monkeypatch.setattr(DirectConnection, "_parse", note)
    return parsed


@pytest.mark.parametrize("asked", [ASK, REPORT], ids=["entitlement", "usage"])
async def test_known_head_is_not_parsed(api: Api, parsed: list[bytes], asked: bytes) -> None:
    """The third request with the same head is not parsed, on whichever connection it comes."""
    for _ in range(2):
        wire = await Wire.open(api.port)
        await _learn(wire, asked)
        await wire.close()
    assert [asked, asked] == parsed


@pytest.mark.parametrize(
    "names",
    [
        ["traceparent", "Traceparent"],
        ["tracestate", "baggage", "b3", "X-B3-TraceId"],
        ["X-Request-ID", "x-datadog-trace-id", "X-Amzn-Trace-Id", "x-"],
    ],
    ids=["trace", "others of a trace", "ids"],
)
async def test_unread_headers_are_no_part_of_a_head(api: Api, parsed: list[bytes], names: list[str]) -> None:
    """Requests that differ in headers that nothing reads have one head; another header with the same value counts."""
    wire = await Wire.open(api.port)
    for number in range(5):
        for name in names:
            wire.send(request("POST", "/v1/usage", EVENT, headers=[JSON, f"{name}: {_trace(number)}", f"{name}:"]))
            assert 202 == (await wire.receive()).status
    wire.send(REPORT)
    assert 202 == (await wire.receive()).status
    assert 2 == len(parsed)
    wire.send(request("POST", "/v1/usage", EVENT, headers=[JSON, f"Idempotency-Key: {_trace(1)}"]))
    assert 202 == (await wire.receive()).status
    assert _trace(1) == api.intake.batches[-1].idempotency_key
    assert 5 * len(names) + 2 == len(api.intake.batches)
    await wire.close()


def test_no_header_is_both_read_and_left_out() -> None:
    """No name of a header in the code of the API, and none that it takes from aiohttp, is one that it leaves out."""
    names: set[str] = set()
    for file in Path(known_heads.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant):
                names.add(str(node.value))
            elif isinstance(node, ast.Attribute) and node.attr.isupper():
                names.add(str(getattr(hdrs, node.attr, "")))
    assert {"Idempotency-Key", "Authorization", "Content-Length"} <= names
    assert [] == [name for name in sorted(names) if UNREAD.match(f"\r\n{name}: 1\r\n".encode())]


@pytest.mark.parametrize("header", ["X-Long: " + "x" * 9000, f"X-{'x' * 9000}: long"], ids=["value", "name"])
async def test_unread_headers_are_bounded(api: Api, header: str) -> None:
    """A header that nothing reads is bounded in length as the others."""
    wire = await Wire.open(api.port)
    await _learn(wire, ASK)
    wire.send(request("GET", "/v1/entitlement", headers=[header]))
    assert "headers-too-large" == (await wire.receive()).problem
    await wire.close()


async def test_each_unread_header_is_left_out(api: Api, parsed: list[bytes]) -> None:
    """However many come before them, the headers that are left out are: an upgrade would end the connection."""
    wire = await Wire.open(api.port)
    many = [f"X-{number}: x" for number in range(90)]
    for number in range(5):
        wire.send(request("GET", "/v1/entitlement", headers=[*many, "Upgrade: h2c", f"traceparent: {_trace(number)}"]))
        assert 200 == (await wire.receive()).status
    assert [ASK, ASK] == parsed
    await wire.close()


async def test_each_body_is_read(api: Api, parsed: list[bytes]) -> None:
    """Of a known head the head alone is known: each body is read, judged and stored by itself."""
    wire = await Wire.open(api.port)
    await _learn(wire, REPORT)
    wire.send(request("POST", "/v1/usage", OTHER, headers=[JSON]))
    assert 202 == (await wire.receive()).status
    wire.send(request("POST", "/v1/usage", "x" * len(EVENT), headers=[JSON]))
    assert "malformed" == (await wire.receive()).problem
    assert 2 == len(parsed)
    assert [1_000_000, 1_000_000, 2_000_000] == [batch.events[0].quantity for batch in api.intake.batches]
    assert 1 == api.refused["malformed"]
    await wire.close()


async def test_other_heads_are_parsed(api: Api) -> None:
    """A head that differs in one byte from a known one is judged by itself."""
    wire = await Wire.open(api.port)
    await _learn(wire, REPORT)
    await _learn(wire, ASK)
    refused = {
        "unsupported-media-type": REPORT.replace(b"application/json", b"application/jsom"),
        "misdirected": ASK.replace(b"Host: localhost", b"Host: localhosT.example"),
        "not-found": ASK.replace(b"/v1/entitlement", b"/v1/entitlemenT"),
    }
    for problem, data in refused.items():
        for _ in range(3):
            wire.send(data)
            assert problem == (await wire.receive()).problem
    await wire.close()


@pytest.mark.parametrize("token", ["wrong", ""], ids=["other", "none"])
async def test_token_is_compared_each_time(tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known head gets no answer once its token is not the one of the file any more."""
    file = tmp_path / "token"
    file.write_text("right")
    api = Api(token_file=file)
    await api.start()
    asked = request("GET", "/v1/entitlement", headers=["Authorization: Bearer right"])
    reported = request("POST", "/v1/usage", EVENT, headers=[JSON, "Authorization: Bearer right"])
    wire = await Wire.open(api.port)
    await _learn(wire, asked, times=3)  # the first one looks at the file
    await _learn(wire, reported)
    foreign = asked.replace(b"Authorization: Bearer right\r\n", f"Authorization: Bearer {token}\r\n".encode())
    for _ in range(3):
        wire.send(foreign)
        assert "unauthorized" == (await wire.receive()).problem
    file.write_text("rotated")
    assert api.server._token is not None
    monkeypatch.setattr(api.server._token, "_look_again_at", asyncio.get_running_loop().time() - LOOK_AGAIN_SECONDS)
    for data in (asked, reported, asked, reported):
        wire.send(data)
        assert "unauthorized" == (await wire.receive()).problem
    assert 2 == len(api.intake.batches)
    await wire.close()
    await api.stop()


async def test_known_head_waits_for_its_turn(api: Api) -> None:
    """A request with a known head is answered after the one before it."""
    connection, transport = _connect(api)
    await _pass_pieces(connection, [ASK, ASK])
    api.intake.gate = asyncio.Event()
    transport.written = b""
    await _pass_pieces(connection, [REPORT, ASK])
    assert b"" == transport.written
    api.intake.gate.set()
    await _pass_pieces(connection, [])
    assert [b"202", b"200"] == re.findall(rb"HTTP/1.1 (\d+)", transport.written)
    connection.connection_lost(None)


async def test_unread_answers_are_not_piled_up(api: Api) -> None:
    """A client that reads no answers is answered by the task, also where the head is known: it waits for the client."""
    connection, transport = _connect(api)
    await _pass_pieces(connection, [ASK] * 4)
    transport.written = b""
    connection.pause_writing()
    await _pass_pieces(connection, [ASK] * 4)
    assert 1 == transport.written.count(b"HTTP/1.1 200")
    connection.resume_writing()
    await _pass_pieces(connection, [])
    assert 4 == transport.written.count(b"HTTP/1.1 200")
    connection.connection_lost(None)


async def test_ending_connection_answers_nothing(api: Api) -> None:
    """A connection that is ending takes no request, also where the head is known."""
    connection, transport = _connect(api)
    await _pass_pieces(connection, [ASK] * 4)
    transport.written = b""
    connection.close()
    connection.data_received(ASK)
    assert b"" == transport.written
    connection.connection_lost(None)


async def test_head_is_kept_for_its_own_request(api: Api) -> None:
    """Requests that come while another one waits for the disk do not take each other's heads."""
    foreign = request("POST", "/v1/usage", EVENT, headers=["Content-Type: text/plain"])
    connection, transport = _connect(api)
    await _pass_pieces(connection, [ASK])
    for _ in range(3):
        transport.written = b""
        api.intake.gate = asyncio.Event()
        await _pass_pieces(connection, [REPORT, REPORT, foreign])
        api.intake.gate.set()
        await _pass_pieces(connection, [])
        assert [b"202", b"202", b"415"] == re.findall(rb"HTTP/1.1 (\d+)", transport.written)
    transport.written = b""
    await _pass_pieces(connection, [foreign])
    assert transport.written.startswith(b"HTTP/1.1 415")
    connection.connection_lost(None)


@pytest.mark.parametrize("before", [b"", ASK, b"\n", b"\n\r\n"], ids=["first", "pipelined", "line end", "empty line"])
@pytest.mark.parametrize(
    ("begin", "problem"),
    [
        (b"GET /nothing HTTP/1.1\r\nX-Part: ", "not-found"),
        (request("POST", "/v1/usage", ASK, headers=[JSON])[: -len(ASK)], "malformed"),
        (request("POST", "/v1/usage", ASK + ASK, headers=[JSON])[: -len(ASK)], "malformed"),
    ],
    ids=["header", "body", "rest of a body"],
)
async def test_known_bytes_within_a_request(api: Api, before: bytes, begin: bytes, problem: str) -> None:
    """The bytes of a known head are no request of their own where they are part of another one."""
    connection, transport = _connect(api)
    await _pass_pieces(connection, [ASK, ASK, before + begin, ASK])
    assert 1 == transport.written.rpartition(b"\n{")[2].count(f"problem:{problem}".encode())
    assert 2 + before.count(ASK) == transport.written.count(b"HTTP/1.1 200")
    connection.connection_lost(None)


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\r\n\r\n", b"\n\r\n\r\n", b"\r\r\n\r\n"])
async def test_line_ends_are_no_head(api: Api, blank: bytes) -> None:
    """Line ends before a request, which the parser passes over, are not learned as the head of that request."""
    for data in (REPORT, ASK):
        for _ in range(3):
            connection, _ = _connect(api)
            await _pass_pieces(connection, [blank + data, blank + data])
            connection.connection_lost(None)
    taken = len(api.intake.batches)
    for no_request in (blank + EVENT.encode(), blank, blank + f"traceparent: {_trace(1)}\r\n".encode() + ASK):
        connection, transport = _connect(api)
        await _pass_pieces(connection, [no_request])
        assert {b"400"} >= set(re.findall(rb"HTTP/1.\d (\d+)", transport.written))
        connection.connection_lost(None)
    assert taken == len(api.intake.batches)


async def test_heads_that_never_repeat_are_not_kept(api: Api) -> None:
    """Heads with an id of their own leave nothing behind, and do not displace those that come again."""
    wire = await Wire.open(api.port)
    await _learn(wire, ASK)
    for number in range(2 * MOST_HEADS):
        wire.send(request("GET", "/v1/entitlement", headers=[f"Referer: {number}"]))
        assert 200 == (await wire.receive()).status
    heads = api.server._listeners[0]._heads
    assert [ASK] == list(heads._heads)
    assert len(heads._seen) <= MOST_HEADS
    await wire.close()


async def test_memory_is_bounded(api: Api) -> None:
    """However many heads repeat, and however long they are, the memory of a listener has an end."""
    wire = await Wire.open(api.port)
    for number in range(MOST_HEADS + 10):
        await _learn(wire, request("GET", "/v1/entitlement", headers=[f"Referer: {number}"]))
    await _learn(wire, request("GET", "/v1/entitlement", headers=[f"Referer: {'x' * LARGEST_KEPT}"]))
    heads = api.server._listeners[0]._heads._heads
    assert 0 < len(heads) <= MOST_HEADS
    assert max(map(len, heads)) <= LARGEST_KEPT
    await wire.close()


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\n folded", b"\r\n\tfolded", b"\rX: y"])
async def test_lines_have_one_form(api: Api, end: bytes) -> None:
    """The parser refuses the forms of a head, and of its lines, that a search for bytes would take for another one."""
    data = b"GET /v1/entitlement HTTP/1.1\r\nHost: localhost" + end + b"\r\n\r\n"
    wire = await Wire.open(api.port)
    wire.send(data)
    assert "malformed" == (await wire.receive()).problem
    await wire.close()


# Each with what the parser or the handler makes of it; equal heads come often.
REQUESTS = [
    ASK,
    REPORT,
    request("POST", "/v1/usage", OTHER, headers=[JSON]),
    request("POST", "/v1/usage", "[" + EVENT + "]", headers=[JSON]),
    request("POST", "/v1/usage", "{" * len(EVENT), headers=[JSON]),
    request("POST", "/v1/usage", REPORT, headers=[JSON]),
    request("POST", "/v1/usage", EVENT, headers=[JSON, "Expect: 100-continue"]),
    request("POST", "/v1/usage", EVENT, headers=[JSON, "Idempotency-Key: one"]),
    request("POST", "/v1/usage", EVENT, headers=[JSON, "Idempotency-Key: two words"]),
    request("POST", "/v1/usage", EVENT, headers=["Content-Type: text/plain"]),
    request("POST", "/v1/usage", EVENT, headers=[f"traceparent: {_trace(1)}", JSON]),
    request("POST", "/v1/usage", EVENT, headers=[f"traceparent: {_trace(2)}", f"traceparent: {_trace(3)}", JSON]),
    request("POST", "/v1/usage", EVENT, headers=[JSON, f"traceparent: {_trace(4)}\r\n\tfolded"]),
    request("POST", "/v1/usage", EVENT, headers=[JSON, f"traceparent: {_trace(5)}\x00"]),
    request("POST", "/v1/usage", EVENT, headers=[JSON, "Upgrade: h2c"]),
    request("POST", "/v1/usage", EVENT, headers=["X-Id: 1", JSON, "x-id: 2", "X-:", "b3: 0", "Baggage: a=b,\tc"]),
    request("POST", "/v1/usage", EVENT, headers=["X-Id: 1\r\n folded", JSON]),
    request("POST", "/v1/usage", EVENT, headers=["X-Id : 1", JSON]),
    request("POST", "/v1/usage", EVENT, headers=["X-Id\t: 1", "X Id: 2", "X-(Id): 3", JSON]),
    request("POST", "/v1/usage", EVENT, headers=["X-\xef: 1", "X-Id: \xef", JSON]),
    request("POST", "/v1/usage", EVENT, headers=["X-Id: \x7f", JSON]),
    request("POST", "/v1/usage", EVENT, headers=["X-Id: \x01", JSON]),
    request("POST", "/v1/usage", "", headers=[JSON]),
    request("POST", "/v1/usage?x=1", EVENT, headers=[JSON]),
    b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT.encode()),
    ASK_WITH_BODY,
    request("HEAD", "/v1/entitlement"),
    request("GET", "/v1/status"),
    request("GET", "/v1/entitlement", host="evil.example"),
    request("GET", "/nothing"),
    b"\r\n" + ASK,
    b"\n\r\n\r\n" + REPORT,
    b"\r\r\n\r\n" + ASK,
    b"\n\r\n\r\n",
    b"\n\r\n\r\n" + EVENT.encode(),
    f"\r\ntraceparent: {_trace(6)}".encode() + b"\r\n" + ASK,
    b"\r\n\r\n" + REPORT,
    b"GET /v1/entitlement HTTP/1.1\r\n\r\n",
]
LAST = [
    b"",
    request("GET", "/v1/entitlement", headers=["Connection: close"]),
    request("POST", "/v1/usage", EVENT, headers=[JSON, "Connection: close"]),
    b"GET /v1/entitlement HTTP/1.0\r\nHost: localhost\r\n\r\n",
    b"NO HTTP\r\n\r\n",
    REPORT[:-1],
    ASK[:-1],
    ASK.replace(b"\r\n\r\n", b"\n\n"),
]


class _Transport(asyncio.Transport):
    """Takes what the server writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.written += b"".join(list_of_data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""


async def _serve(pieces: Sequence[bytes], *, directly: bool) -> tuple[list[bytes], bool, list[UsageBatch]]:
    """Let a connection receive the pieces one by one; return the answers, whether it has closed, and what was taken."""
    api = Api()
    await api.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct_connection, "can_answer_directly", lambda: directly)
        # Requests that are parsed together with a fault are not answered, so as many are parsed at a time.
        patch.setattr(web_protocol, "MAX_MSG_QUEUE_SIZE", _MOST_WAITING + 1)
        connection, transport = _connect(api)
        connection._max_msg_queue_size = _MOST_WAITING
    assert directly is isinstance(connection, DirectConnection)
    await _pass_pieces(connection, pieces)
    closed = transport.is_closing()
    connection.connection_lost(None)
    await api.stop()
    return re.split(rb"(?<=\n)Date: [^\r]*\r\n", transport.written), closed, api.intake.batches


def _connect(api: Api) -> tuple[ClientConnection, _Transport]:
    transport = _Transport()
    connection = api.server._listeners[0]()
    connection.connection_made(transport)
    return connection, transport


async def _pass_pieces(connection: ClientConnection, pieces: Sequence[bytes]) -> None:
    """Let a connection receive pieces, each after the answers to the one before."""
    for piece in [b"", *pieces]:
        if piece and connection.transport is not None:
            connection.data_received(piece)
        for _ in range(200):
            await asyncio.sleep(0)


@given(
    st.lists(st.sampled_from(REQUESTS), max_size=12),
    st.sampled_from(LAST),
    st.sets(st.integers(1, 4000), max_size=12),
    st.booleans(),
)
@example([ASK_WITH_BODY, *[REPORT] * 3], LAST[-1], set(), False)  # noqa: FBT003 - drawn otherwise
def test_answers_are_those_of_the_parser(sent: list[bytes], last: bytes, cuts: set[int], whole: bool) -> None:  # noqa: FBT001 - drawn
    """Requests in any order and in any pieces are answered as aiohttp alone answers them, byte for byte."""
    pieces = [ASK, ASK, REPORT, REPORT]
    if whole:
        pieces += [*sent, last]
    else:
        data = b"".join([*sent, last])
        edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
        pieces += [data[start:end] for start, end in pairwise(edges)]
    pieces = [piece for piece in pieces if piece]
    assert asyncio.run(_serve(pieces, directly=False)) == asyncio.run(_serve(pieces, directly=True))


def test_second_time_keeps() -> None:
    """A head is kept when it comes for the second time."""
    heads = KnownHeads()
    known: Any = object()
    heads.note(b"head", known)
    assert heads.get(b"head") is None
    heads.note(b"head", known)
    assert known is heads.get(b"head")

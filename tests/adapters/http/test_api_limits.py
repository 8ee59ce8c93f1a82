"""What is admitted at the same time, and for how long."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from sidecar.adapters.http.admission import MOST_CALLS, MOST_POLLS, MOST_QUESTIONS, MOST_REPORTS, MemoryBudget
from sidecar.adapters.http.bodies import MOST_BODY, read_body
from sidecar.adapters.http.client_connection import ClientConnection
from sidecar.adapters.http.listening import Listener
from sidecar.adapters.http.problems import HttpProblem, answer
from sidecar.adapters.http.replies import Reply, reply
from tests.support.http_fakes import Answer, Api, Wire, request
from tests.support.tools import PATIENCE

EVENT = '{"dimension": "requests"}'


async def test_body_at_the_limit_taken(api: Api) -> None:
    """A body of exactly 8 MiB is read."""
    assert 202 == (await api.report(b" " * (MOST_BODY - len(EVENT)) + EVENT.encode())).status


async def test_announced_large_body_refused(api: Api) -> None:
    """A body that announces more than 8 MiB is refused before it is sent."""
    wire = await Wire.open(api.port)
    wire.send(
        b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1)
    )
    assert "too-large" == (await wire.receive()).problem
    await wire.close()


async def test_chunked_large_body_refused(api: Api) -> None:
    """A body that grows past 8 MiB is refused while it arrives."""
    wire = await Wire.open(api.port)
    wire.send(
        b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b" " * 0x100000 + b"\r\n") * 9
    )
    assert "too-large" == (await wire.receive()).problem
    await wire.close()


async def test_chunked_body_taken(api: Api) -> None:
    """A body in chunks is put together, and the connection continues after it."""
    wire = await Wire.open(api.port)
    head = (
        b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for _ in range(2):
        wire.send(head + b"5\r\n" + EVENT[:5].encode() + b"\r\n")
        wire.send(b"%x\r\n" % (len(EVENT) - 5) + EVENT[5:].encode() + b"\r\n0\r\n\r\n")
        assert 202 == (await wire.receive()).status
    await wire.close()


async def test_continue_sent_when_asked(api: Api) -> None:
    """A client that expects 100-continue gets it before it sends the body."""
    wire = await Wire.open(api.port)
    wire.send(
        b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Expect: 100-Continue\r\nContent-Length: %d\r\n\r\n" % len(EVENT)
    )
    assert 100 == (await wire.receive()).status
    wire.send(EVENT.encode())
    assert 202 == (await wire.receive()).status
    await wire.close()


async def test_other_expectations_fail(api: Api) -> None:
    """Nothing else can be expected."""
    wire = await Wire.open(api.port)
    wire.send(
        b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Expect: cake\r\nContent-Length: 9\r\n\r\n"
    )
    assert "expectation-failed" == (await wire.receive()).problem
    await wire.close()


async def test_client_gone_in_mid_body(api: Api) -> None:
    """A client that hangs up in the middle of a body leaves nothing behind."""
    wire = await Wire.open(api.port)
    wire.send(
        b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n"
    )
    assert 100 == (await wire.receive()).status
    wire.send(EVENT.encode())
    await wire.close()
    assert 202 == (await api.report(EVENT)).status
    assert 1 == len(api.intake.batches)


async def test_too_many_requests_refused(api: Api) -> None:
    """Beyond the limit a request is refused immediately, while the entitlement is still answered."""
    api.intake.gate = asyncio.Event()
    waiting = [asyncio.ensure_future(api.report(EVENT)) for _ in range(MOST_REPORTS + 1)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [("overloaded", "1")] == [(task.result().problem, task.result().headers["retry-after"]) for task in done]
    assert 200 == (await api.get("/v1/entitlement")).status
    api.intake.gate.set()
    answers = await asyncio.gather(*waiting)
    assert [202] * MOST_REPORTS + [503] == sorted(answer.status for answer in answers)
    assert 202 == (await api.report(EVENT)).status


async def test_polls_do_not_starve_usage(api: Api) -> None:
    """Long polls have a limit of their own; usage continues when it is reached."""
    waiting = [asyncio.ensure_future(api.get("/v1/entitlement?wait=5m")) for _ in range(MOST_POLLS)]
    await api.gate.until_waiting(MOST_POLLS)
    refused = await Wire.open(api.port)
    refused.send(request("GET", "/v1/entitlement?wait=5m"))
    answer = await refused.receive()
    assert ("overloaded", "close") == (answer.problem, answer.headers["connection"])
    assert await refused.at_end()
    await refused.close()
    assert 200 == (await api.get("/v1/entitlement")).status
    assert 202 == (await api.report(EVENT)).status
    await api.stop()
    assert {200} == {answer.status for answer in await asyncio.gather(*waiting)}


@pytest.mark.parametrize("kind", ["calls", "questions"])
async def test_others_do_not_starve_usage(api: Api, kind: str) -> None:
    """Requests that wait for AWS or the ledger have limits of their own: neither keeps out usage, or the other kind."""

    def attest() -> Awaitable[Answer]:
        return api.post("/v1/attestations", '{"nonce": "a-nonce-of-the-app"}')

    def look() -> Awaitable[Answer]:
        return api.get("/v1/status")

    api.gate.answering = api.health.gate = asyncio.Event()
    ask, limit, other = (attest, MOST_CALLS, look) if kind == "calls" else (look, MOST_QUESTIONS, attest)
    waiting = [asyncio.ensure_future(ask()) for _ in range(limit + 1)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert ["overloaded"] == [task.result().problem for task in done]
    assert 202 == (await api.report(EVENT)).status
    waiting.append(asyncio.ensure_future(other()))
    api.health.gate.set()
    statuses = [answer.status for answer in await asyncio.gather(*waiting)]
    assert 1 == statuses.count(503)


def test_memory_is_given_back() -> None:
    """What is held counts until it is released, and a refusal takes nothing."""
    memory = MemoryBudget(limit=10)
    memory.hold(6)
    with pytest.raises(HttpProblem, match="memory"):
        memory.hold(5)
    memory.hold(4)
    memory.release(10)
    memory.hold(10)


Reader = Callable[[web.BaseRequest], Awaitable[bytes]]


@asynccontextmanager
async def listening(read: Reader, *, most_connections: int = 512, idle_seconds: float = 75) -> AsyncIterator[int]:
    """Serve a handler that reads the body and answers its length."""

    async def handle(incoming: web.BaseRequest) -> Reply:
        try:
            return reply(b"%d" % len(await read(incoming)))
        except HttpProblem as problem:
            return answer(problem)

    listener = Listener(handle, most_connections=most_connections, idle_seconds=idle_seconds)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    try:
        yield listener.port
    finally:
        await listener.stop(1)


async def test_slow_body_times_out() -> None:
    """A body that does not arrive in time is 408."""
    async with listening(lambda incoming: read_body(incoming, MemoryBudget(), seconds=0.05)) as port:
        wire = await Wire.open(port)
        wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
        assert "request-timeout" == (await wire.receive()).problem
        await wire.close()


async def test_broken_framing_times_out() -> None:
    """A body whose framing breaks after it has begun never ends, so its time does."""
    async with listening(lambda incoming: read_body(incoming, MemoryBudget(), seconds=0.05)) as port:
        wire = await Wire.open(port)
        wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert 100 == (await wire.receive()).status
        wire.send(b"zz\r\n")
        assert "request-timeout" == (await wire.receive()).problem
        await wire.close()


async def test_broken_body_refused() -> None:
    """A body that the HTTP parser gives up on is 400."""

    async def read(incoming: web.BaseRequest) -> bytes:
        incoming.content.set_exception(web.RequestPayloadError("broken"))
        return await read_body(incoming, MemoryBudget())

    async with listening(read) as port:
        wire = await Wire.open(port)
        wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
        assert "malformed" == (await wire.receive()).problem
        await wire.close()


async def test_memory_shared_by_requests() -> None:
    """Bodies beyond the memory set aside are refused, and what a refused one held is given back."""
    memory = MemoryBudget(limit=8)

    async def read(incoming: web.BaseRequest) -> bytes:
        body = await read_body(incoming, memory)
        memory.release(len(body))
        return body

    async with listening(read) as port:
        for rest in (
            b"Content-Length: 9\r\n\r\n123456789",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n",
        ):
            wire = await Wire.open(port)
            wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + rest)
            assert "overloaded" == (await wire.receive()).problem
            await wire.close()
        wire = await Wire.open(port)
        wire.send(request("POST", "/", "12345678"))
        assert b"8" == (await wire.receive()).body
        await wire.close()


async def test_slow_headers_end() -> None:
    """A connection whose headers do not arrive in time is closed."""
    async with listening(lambda incoming: read_body(incoming, MemoryBudget()), idle_seconds=0.05) as port:
        wire = await Wire.open(port)
        wire.send(b"GET / HTTP/1.1\r\nHost: local")
        assert await wire.at_end()
        await wire.close()


@pytest.mark.parametrize(
    "headers",
    [
        ["baggage: " + "k=" + "v" * 8190],
        [f"baggage: key{number}={'v' * 110}" for number in range(64)],
        ["traceparent: 00-" + "a" * 52, "tracestate: " + "s" * 512, "baggage: " + "b" * 8192, "x-b3: " + "c" * 200],
    ],
    ids=["one", "many", "all"],
)
async def test_tracing_headers_pass(api: Api, headers: list[str]) -> None:
    """8 KiB of baggage, in one header or in many, and what else a tracer sends come with any request."""
    assert 200 == (await api.get("/v1/entitlement", *headers)).status
    assert 202 == (await api.report(EVENT, *headers)).status


async def test_endless_headers_refused(api: Api) -> None:
    """Headers that stay small but do not end are 431 once they are 32 KiB together."""
    wire = await Wire.open(api.port)
    wire.send(b"GET /v1/entitlement HTTP/1.1\r\nHost: localhost\r\n")
    for number in range(80):
        wire.send(b"A%d: %s\r\n" % (number, b"a" * 1000))
    answer = await wire.receive()
    assert (431, "headers-too-large") == (answer.status, answer.problem)
    assert await wire.at_end()
    await wire.close()


async def test_endless_headers_behind_a_poll(api: Api) -> None:
    """Headers that pile up behind a request which waits end the connection, and the long poll with it."""
    wire = await Wire.open(api.port)
    wire.send(request("GET", "/v1/entitlement?wait=5m"))
    await api.gate.until_waiting()
    wire.send(b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: %s\r\n" % (each, b"a" * 1000) for each in range(80)))
    assert await wire.at_end()
    await api.gate.ended.wait()
    await wire.close()


async def test_large_bodies_are_no_headers(api: Api) -> None:
    """Bodies count as bodies, on a connection that is used again and again."""
    wire = await Wire.open(api.port)
    for _ in range(3):
        wire.send(
            request("POST", "/v1/usage", b" " * 1_000_000 + EVENT.encode(), headers=["Content-Type: application/json"])
        )
        assert 202 == (await wire.receive()).status
    await wire.close()


async def test_unread_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves a large answer unread loses the connection."""
    monkeypatch.setattr("sidecar.adapters.http.client_connection.WRITE_SECONDS", 0.05)
    lost = asyncio.Event()

    class Watched(Listener):
        def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
            super().connection_lost(handler, exc)
            lost.set()

    async def handle(_: web.BaseRequest) -> Reply:
        return reply(b"x" * 20_000_000)

    listener = Watched(handle)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    with socket.create_connection(("127.0.0.1", listener.port)) as client:
        client.sendall(request("GET", "/"))
        async with asyncio.timeout(PATIENCE):
            assert await lost.wait()
    await listener.stop(1)


async def test_running_requests_keep_their_places() -> None:
    """Where each place has a running request, a new connection is told so and closed; one that ends makes room."""
    running, release = asyncio.Event(), asyncio.Event()

    async def read(incoming: web.BaseRequest) -> bytes:
        running.set()
        await release.wait()
        return await read_body(incoming, MemoryBudget())

    async with listening(read, most_connections=1) as port:
        first = await Wire.open(port)
        first.send(request("GET", "/"))
        await running.wait()
        second = await Wire.open(port)
        answer = await second.receive()
        assert ("overloaded", "1") == (answer.problem, answer.headers["retry-after"])
        assert await second.at_end()
        await second.close()
        release.set()
        assert 200 == (await first.receive()).status
        await first.close()
        third = await Wire.open(port)
        third.send(request("GET", "/"))
        assert 200 == (await third.receive()).status
        await third.close()


LARGE = b"x" * 20_000_000


def _awaits_client(listener: Listener) -> bool:
    return any(isinstance(each, ClientConnection) and each.awaits_client for each in listener.connections)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
        request("GET", "/large"),
    ],
    ids=["idle", "head", "body", "unread answer"],
)
async def test_connection_that_waits_gives_way(begun: bytes) -> None:
    """A connection that waits for its client loses its place to a new one."""

    async def handle(incoming: web.BaseRequest) -> Reply:
        if incoming.path == "/large":
            return reply(LARGE)
        return reply(await read_body(incoming, MemoryBudget()))

    listener = Listener(handle, most_connections=1)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    first = socket.create_connection(("127.0.0.1", listener.port))
    first.sendall(begun)
    async with asyncio.timeout(PATIENCE):
        while not _awaits_client(listener):  # noqa: ASYNC110 - the server sends no signal
            await asyncio.sleep(0.001)
    second = await Wire.open(listener.port)
    second.send(request("POST", "/", "12345678"))
    answer = await second.receive()
    assert (200, b"12345678") == (answer.status, answer.body)
    await second.close()
    await listener.stop(1)
    first.settimeout(PATIENCE)
    with first, suppress(ConnectionError):
        received = 0
        while part := first.recv(1_000_000):
            received += len(part)
        assert received < len(LARGE)


async def test_oldest_request_gives_way() -> None:
    """The connection goes whose last request is the oldest, whenever it connected."""
    async with listening(lambda incoming: read_body(incoming, MemoryBudget()), most_connections=2) as port:
        old, new = await Wire.open(port), await Wire.open(port)
        for one in (new, old):
            one.send(request("GET", "/"))
            assert 200 == (await one.receive()).status
        third = await Wire.open(port)
        third.send(request("GET", "/"))
        assert 200 == (await third.receive()).status
        assert await new.at_end()
        old.send(request("GET", "/"))
        assert 200 == (await old.receive()).status
        for one in (old, new, third):
            await one.close()


async def test_slow_bodies_take_no_requests(api: Api) -> None:
    """Requests whose body has not arrived leave the places of those that wait for the disk."""
    slow = [await Wire.open(api.port) for _ in range(MOST_REPORTS)]
    for one in slow:
        one.send(request("POST", "/v1/usage", EVENT, headers=["Content-Type: application/json"])[:-1])
    assert 202 == (await api.report(EVENT)).status
    for one in slow:
        await one.close()

"""Requests that are answered without a task of their own: small usage, and the entitlement."""

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from sidecar.adapters.http.known_heads import Direct, Later, Take
from sidecar.adapters.http.listening import Listener
from sidecar.adapters.http.replies import Reply, reply
from sidecar.domain.metering.events import LedgerUnavailable
from tests.support.http_fakes import Api, Wire, request
from tests.support.tools import PATIENCE

EVENT = '{"dimension": "requests"}'
REPORT = request("POST", "/v1/usage", EVENT, headers=["Content-Type: application/json"])
ASK = request("GET", "/v1/entitlement")


async def _leave(_: web.BaseRequest) -> Reply:
    return reply(b"by the task")


@asynccontextmanager
async def listening(take: Take, *, most_connections: int = 512) -> AsyncIterator[Listener]:
    """Run a listener on which `take` answers directly; its handler answers `by the task`."""
    listener = Listener(_leave, Direct(lambda _: take), most_connections=most_connections)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    yield listener
    await listener.stop(1)


class Waiting:
    """Lets each request wait for its answer."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.later: list[Later] = []

    def answer(self, _: bytes, later: Later) -> None:
        """Keep the request."""
        self.later.append(later)
        self.came.set()

    def end(self) -> None:
        """Answer what waits."""
        for later in self.later:
            later(lambda: reply(b"directly"))
        self.later.clear()
        self.came.clear()


@pytest.mark.parametrize("asked", [ASK, REPORT], ids=["entitlement", "usage"])
async def test_no_task_is_made(api: Api, monkeypatch: pytest.MonkeyPatch, asked: bytes) -> None:
    """Both paths are answered without aiohttp's handler; a new aiohttp whose inner members differ fails here."""
    wire = await Wire.open(api.port)
    wire.send(ASK)
    await wire.receive()
    monkeypatch.setattr(web.RequestHandler, "_handle_request", None)
    for _ in range(3):
        wire.send(asked)
        assert (await wire.receive()).status in {200, 202}
    await wire.close()


async def test_last_request_ends_the_connection(api: Api) -> None:
    """A request that asks for the end of its connection is answered, and the connection ends."""
    wire = await Wire.open(api.port)
    wire.send(ASK)
    await wire.receive()
    wire.send(request("GET", "/v1/entitlement", headers=["Connection: close"]))
    answer = await wire.receive()
    assert (200, "close") == (answer.status, answer.headers["connection"])
    assert await wire.at_end()
    await wire.close()


async def test_answers_keep_their_order(api: Api) -> None:
    """Requests sent together are answered in their order, also when the first waits for the disk."""
    api.intake.gate = asyncio.Event()
    wire = await Wire.open(api.port)
    wire.send(REPORT + ASK + request("GET", "/v1/status") + REPORT)
    await api.intake.entered.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    api.intake.gate.set()
    assert [202, 200, 200, 202] == [(await wire.receive()).status for _ in range(4)]
    assert 2 == len(api.intake.batches)
    await wire.close()


async def test_client_gone_before_its_answer(api: Api) -> None:
    """What a client sent that hangs up is taken, and its place and memory are free again."""
    api.intake.gate = asyncio.Event()
    wire = await Wire.open(api.port)
    wire.send(REPORT)
    await api.intake.entered.wait()
    await wire.close()
    api.intake.gate.set()
    assert 202 == (await api.report(EVENT)).status
    assert 2 == len(api.intake.batches)
    assert (0, 0) == (api.server._reports._taken, api.server._memory._held)


async def test_late_refusal_is_answered_and_counted(api: Api) -> None:
    """A refusal that comes after the wait for the disk has its problem, and its place and memory are free again."""
    api.intake.refusal = LedgerUnavailable("the disk is full", retry_after=7)
    wire = await Wire.open(api.port)
    for _ in range(2):
        wire.send(REPORT)
        answer = await wire.receive()
        assert ("ledger-unavailable", "7") == (answer.problem, answer.headers["retry-after"])
    assert 2 == api.refused["ledger-unavailable"]
    assert (0, 0) == (api.server._reports._taken, api.server._memory._held)
    await wire.close()


@pytest.mark.parametrize("late", [False, True], ids=["immediately", "after a wait"])
async def test_unforeseen_error_is_a_problem(late: bool) -> None:  # noqa: FBT001 - a case
    """An error that no code foresees is answered, and ends the connection."""

    def fail() -> Reply:
        raise RuntimeError("a bug")

    def answer(_: bytes, later: Later) -> Reply | None:
        if not late:
            return fail()
        asyncio.get_running_loop().call_soon(later, fail)
        return None

    async with listening(answer) as listener:
        wire = await Wire.open(listener.port)
        with capture_logs() as lines:
            wire.send(ASK)
            assert "internal-error" == (await wire.receive()).problem
        assert ["api.request_failed"] == [line["event"] for line in lines]
        assert await wire.at_end()
        await wire.close()


async def test_unforeseen_error_is_counted(api: Api) -> None:
    """An unforeseen error of usage shows in the count of refusals."""
    api.intake.refusal = RuntimeError("a bug")
    wire = await Wire.open(api.port)
    with capture_logs():
        wire.send(REPORT)
        assert "internal-error" == (await wire.receive()).problem
    assert 1 == api.refused["internal-error"]
    await wire.close()


async def test_waiting_request_keeps_its_place() -> None:
    """A connection whose request waits for its answer is not cut for a new one."""
    desk = Waiting()
    async with listening(desk.answer, most_connections=1) as listener:
        first = await Wire.open(listener.port)
        first.send(ASK)
        await desk.came.wait()
        second = await Wire.open(listener.port)
        assert "overloaded" == (await second.receive()).problem
        await second.close()
        desk.end()
        assert b"directly" == (await first.receive()).body
        await first.close()


async def test_waiting_request_is_not_idle() -> None:
    """The idle time ends no connection whose request waits, and begins anew with the answer."""
    desk = Waiting()
    async with listening(desk.answer) as listener:
        wire = await Wire.open(listener.port)
        wire.send(ASK)
        await desk.came.wait()
        (connection,) = listener.connections
        connection._next_keepalive_close_time = 0
        connection._process_keepalive()
        desk.end()
        assert b"directly" == (await wire.receive()).body
        assert connection._next_keepalive_close_time > asyncio.get_running_loop().time() + 70
        connection._next_keepalive_close_time = 0
        connection._process_keepalive()
        assert await wire.at_end()
        await wire.close()


async def test_stop_waits_for_the_answer(api: Api) -> None:
    """The end of the listener lets a request that waits for the disk have its answer."""
    api.intake.gate = asyncio.Event()
    wire = await Wire.open(api.port)
    wire.send(ASK)
    await wire.receive()
    wire.send(REPORT)
    await api.intake.entered.wait()
    stopping = asyncio.create_task(api.server.stop(timedelta(hours=1)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not stopping.done()
    api.intake.gate.set()
    assert 202 == (await wire.receive()).status
    async with asyncio.timeout(PATIENCE):
        await stopping
    await wire.close()


async def test_unread_answers_are_the_tasks_work() -> None:
    """A client that reads no answers is answered by its task, which waits for it: nothing piles up in memory."""
    answered = 0

    def answer(_: bytes, _later: Later) -> Reply:
        nonlocal answered
        answered += 1
        return reply(b"x" * 2_000_000)

    async with listening(answer) as listener:
        wire = await Wire.open(listener.port)
        wire.send(ASK)
        assert 2_000_000 == len((await wire.receive()).body)
        wire.send(ASK * 20)
        assert 2_000_000 == len((await wire.receive()).body)
        assert answered < 10
        await wire.close()


async def test_reset_before_the_answer() -> None:
    """A client that resets its connection, with another request on its way, ends it: no task is woken without one."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    waiting = Waiting()
    async with listening(waiting.answer) as listener:
        with socket.create_connection(("127.0.0.1", listener.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(ASK + b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            await waiting.came.wait()
        waiting.end()
    gc.collect()
    assert [] == faults


async def test_unknown_expectation_is_refused(api: Api) -> None:
    """A report with an expectation that is not met is refused, however small it is, and each time."""
    wire = await Wire.open(api.port)
    for _ in range(4):
        wire.send(request("POST", "/v1/usage", EVENT, headers=["Content-Type: application/json", "Expect: a-reply"]))
        assert "expectation-failed" == (await wire.receive()).problem
    assert [] == api.intake.batches
    await wire.close()


@pytest.mark.parametrize("count", [31, 32, 33, 100])
@pytest.mark.parametrize("asked", [ASK, REPORT], ids=["entitlement", "usage"])
async def test_burst_after_a_late_body(api: Api, asked: bytes, count: int) -> None:
    """Requests that are sent together are all answered, also after one whose body came after its head."""
    wire = await Wire.open(api.port)
    head, body = REPORT[: -len(EVENT)], REPORT[-len(EVENT) :]
    for _ in range(2):
        wire.send(head)
        await _until_requested(api)
        wire.send(body)
        assert 202 == (await wire.receive()).status
    wire.send(asked * count)
    assert {200 if asked is ASK else 202} == {(await wire.receive()).status for _ in range(count)}
    await wire.close()


async def _until_requested(api: Api) -> None:
    """Return once a connection waits for the body of its request."""
    connections = api.server._listeners[0].connections
    while not any(connection._request_in_progress for connection in connections):  # noqa: ASYNC110 - no signal
        await asyncio.sleep(0)


async def test_bytes_after_an_upgrade_are_no_head(api: Api) -> None:
    """A request that asks for an upgrade is answered, and so is a large one that follows it."""
    wire = await Wire.open(api.port)
    upgrade = request("GET", "/v1/entitlement", headers=["Connection: upgrade", "Upgrade: websocket"])
    wire.send(upgrade + request("POST", "/v1/usage", EVENT + " " * 100_000, headers=["Content-Type: application/json"]))
    assert [200, 202] == [(await wire.receive()).status for _ in range(2)]
    await wire.close()


async def test_late_large_body_changes_no_order(api: Api) -> None:
    """Requests that wait behind each other, and before a large one that has not come whole, keep their own answers."""
    api.intake.gate = asyncio.Event()
    json = ["Content-Type: application/json"]
    refused = request("POST", "/v1/usage", '{"dimension": "unknown"}', headers=json)
    large = request("POST", "/v1/usage", EVENT + " " * 900_000, headers=json)
    wire = await Wire.open(api.port)
    wire.send(REPORT + REPORT + refused + ASK + large)
    await api.intake.entered.wait()
    (connection,) = api.server._listeners[0].connections
    while not connection._buffer_paused:  # noqa: ASYNC110 - no signal
        await asyncio.sleep(0)
    api.intake.gate.set()
    assert [202, 202, 422, 200, 202] == [(await wire.receive()).status for _ in range(5)]
    assert 3 == len(api.intake.batches)
    await wire.close()


ENDLESS = b"GET /v1/entitlement HTTP/1.1\r\nHost: localhost\r\n" + b"".join(
    b"X-%d: %s\r\n" % (number, b"y" * 8000) for number in range(8)
)
CHUNKED = (
    b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT.encode())
)


@pytest.mark.parametrize("report", [REPORT, CHUNKED], ids=["directly", "by the task"])
async def test_head_too_large_after_usage(api: Api, report: bytes) -> None:
    """A report that was taken has its own answer, also where a head that is too large follows it."""
    api.intake.gate = asyncio.Event()
    wire = await Wire.open(api.port)
    wire.send(report + ENDLESS)
    await api.intake.entered.wait()
    (connection,) = api.server._listeners[0].connections
    while not connection._close:  # noqa: ASYNC110 - no signal
        await asyncio.sleep(0)
    api.intake.gate.set()
    assert 202 == (await wire.receive()).status
    assert await wire.at_end()
    assert 1 == len(api.intake.batches)
    await wire.close()


async def test_late_body_after_an_upgrade(api: Api) -> None:
    """The body of a request behind an upgrade that is declined is no head, also where it comes later."""
    wire = await Wire.open(api.port)
    report = request("POST", "/v1/usage", EVENT + " " * 100_000, headers=["Content-Type: application/json"])
    wire.send(request("GET", "/v1/entitlement", headers=["Connection: upgrade", "Upgrade: websocket"]) + report[:200])
    assert 200 == (await wire.receive()).status
    await _until_requested(api)
    wire.send(report[200:])
    assert 202 == (await wire.receive()).status
    await wire.close()

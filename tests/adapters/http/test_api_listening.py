"""Addresses, starting, stopping, and requests that are no HTTP."""

import asyncio
import socket
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sidecar.adapters.http.listening import CannotListen, Listener, PortInUse
from sidecar.adapters.http.replies import Reply
from tests.support.http_fakes import Api, Wire, request
from tests.support.tools import PATIENCE

EVENT = '{"dimension": "requests"}'


async def test_port_in_use_named(api: Api) -> None:
    """A port that another process has is named with its host and key."""
    second = Api()
    with pytest.raises(PortInUse, match=f"api.port: port {api.port} of 127.0.0.1 is in use"):
        await second.start(port=api.port)


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
async def test_foreign_address_named(host: str) -> None:
    """An address that is not this host's is named with its key."""
    with pytest.raises(CannotListen, match=f"api.port: cannot listen on {host}"):
        await Api().start(host=host)


async def test_unix_socket_beside_tcp(tmp_path: Path) -> None:
    """The unix socket is for owner and group, serves next to TCP, and is gone after the end."""
    path = tmp_path / "api.sock"
    running = Api(unix_socket=path)
    await running.start()
    assert 0o660 == stat.S_IMODE(path.stat().st_mode)
    assert 200 == (await running.get("/v1/entitlement")).status
    wire = await Wire.open_unix(path)
    wire.send(request("GET", "/v1/entitlement"))
    assert 200 == (await wire.receive()).status
    await wire.close()
    await running.stop()
    assert not path.exists()


async def test_stale_socket_replaced(tmp_path: Path) -> None:
    """A socket that a killed process left behind is replaced."""
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    running = Api(unix_socket=path)
    await running.start()
    wire = await Wire.open_unix(path)
    wire.send(request("GET", "/v1/entitlement"))
    assert 200 == (await wire.receive()).status
    await wire.close()
    await running.stop()


def _file(path: Path) -> None:
    path.write_text("precious")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [_file, _folder])
async def test_nothing_else_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """What is no socket is never removed; the error names path and key, and TCP is closed again."""
    path = tmp_path / "api.sock"
    make(path)
    running = Api(unix_socket=path)
    with pytest.raises(CannotListen, match=f"api.socket: cannot listen on {path}"):
        await running.start()
    assert path.exists()


async def test_socket_in_use_named(tmp_path: Path) -> None:
    """A socket that another process listens on is left alone."""
    path = tmp_path / "api.sock"
    first, second = Api(unix_socket=path), Api(unix_socket=path)
    await first.start()
    with pytest.raises(CannotListen, match="another process listens there"):
        await second.start()
    wire = await Wire.open_unix(path)
    wire.send(request("GET", "/v1/entitlement"))
    assert 200 == (await wire.receive()).status
    await wire.close()
    await first.stop()


@pytest.mark.parametrize("path", ["/no/such/folder/api.sock", "/tmp/" + "x" * 200])
async def test_impossible_socket_named(path: str) -> None:
    """A socket that cannot be made is named with its key."""
    with pytest.raises(CannotListen, match=r"api\.socket: cannot listen on"):
        await Api(unix_socket=Path(path)).start()


async def test_stop_lets_requests_finish(api: Api) -> None:
    """Usage that is being taken when the sidecar stops is still answered; no other request gets in."""
    api.intake.gate = asyncio.Event()
    port = api.port
    idle = await Wire.open(port)
    idle.send(request("GET", "/v1/entitlement"))
    await idle.receive()
    running = asyncio.ensure_future(api.report(EVENT))
    await api.intake.entered.wait()
    stopping = asyncio.ensure_future(api.stop())
    assert await idle.at_end()
    with pytest.raises(ConnectionError):
        await Wire.open(port)
    assert not stopping.done()
    api.intake.gate.set()
    assert 202 == (await running).status
    await stopping
    await idle.close()


async def test_stop_ends_in_time(api: Api) -> None:
    """A request that does not end is cut off when the time is over."""
    api.intake.gate = asyncio.Event()
    running = asyncio.ensure_future(api.report(EVENT))
    await api.intake.entered.wait()
    async with asyncio.timeout(PATIENCE):
        await api.server.stop(timedelta(milliseconds=50))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await running


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GET\r\n\r\n", "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "malformed"),
        (b"GET / HTTP/9.9\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \x00\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "malformed"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 100 + b"\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 9000 + b"\r\n\r\n", "headers-too-large"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "headers-too-large"),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else value,
)
async def test_broken_http_is_a_problem(api: Api, data: bytes, problem: str) -> None:
    """What HTTP's own parser refuses is a problem document, closes the connection, and is not logged."""
    with capture_logs() as lines:
        wire = await Wire.open(api.port)
        wire.send(data)
        assert problem == (await wire.receive()).problem
        assert await wire.at_end()
        await wire.close()
    assert not lines


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\n123456\r\n", b"-1\r\n"])
async def test_broken_chunks_are_a_problem(api: Api, chunks: bytes) -> None:
    """A body that comes with its headers and breaks its own framing is 400."""
    wire = await Wire.open(api.port)
    wire.send(
        b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    )
    assert "malformed" == (await wire.receive()).problem
    await wire.close()


async def test_fault_after_half_an_answer_hangs_up() -> None:
    """A fault after part of an answer is sent ends the connection, because nothing else can be said on it."""

    async def handle(incoming: web.BaseRequest) -> Reply:
        response = web.StreamResponse()
        await response.prepare(incoming)
        await response.write(b"half")
        raise RuntimeError

    listener = Listener(handle)
    with pytest.raises(RuntimeError, match="not started"):
        _ = listener.port
    await listener.stop(1)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    wire = await Wire.open(listener.port)
    wire.send(request("GET", "/"))
    assert b"half" in await wire.rest()
    await wire.close()
    await listener.stop(1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.binary(max_size=200)
    | st.from_regex(
        rb"(GET|POST|PUT) /[a-z1/]{0,20}( HTTP/1\.[01])?\r\n([A-Za-z-]{1,9}:[ -~]{0,9}\r\n){0,4}\r\n.{0,20}"
    )
)
def test_any_bytes_leave_it_standing(data: bytes) -> None:
    """Whatever arrives, no answer is a 5xx and the next client is served."""

    async def throw() -> None:
        running = Api()
        await running.start()
        wire = await Wire.open(running.port)
        wire.send(data + b"\r\n\r\n")
        wire.hang_up_sending()
        answered = await wire.rest()
        assert not answered.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5"))
        await wire.close()
        assert 200 == (await running.get("/v1/entitlement")).status
        await running.stop()

    asyncio.run(throw())

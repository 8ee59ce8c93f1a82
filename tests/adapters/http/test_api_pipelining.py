"""Requests that a client sends ahead of the answers: they are answered in their order, and few wait in memory."""

import asyncio

import pytest
from aiohttp import web

from sidecar.adapters.http import direct_connection
from sidecar.adapters.http.client_connection import INBOX, READ_AHEAD
from sidecar.domain.entitlement.states import State
from tests.support.http_fakes import Api, Wire, request
from tests.support.tools import PATIENCE

EVENT = '{"dimension": "requests"}'
JSON = ["Content-Type: application/json"]
REPORT = request("POST", "/v1/usage", EVENT, headers=JSON)
MOST_KEPT = 2 * (2 * READ_AHEAD + INBOX)
"""Bytes of bodies that one connection may keep: two that wait, or one that is not read by its request."""
MOST_CHUNKS = READ_AHEAD // 16
"""Chunks of one body that aiohttp's reader takes before it pauses."""


async def _until_unread(api: Api) -> web.RequestHandler:
    """Return the one connection once its client is not read."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for connection in api.server._listeners[0].connections:
                if connection.transport is not None and not connection.transport.is_reading():
                    return connection
            await asyncio.sleep(0)


def _kept(connection: web.RequestHandler) -> int:
    return sum(body._size for _, body in connection._messages) + (
        0 if connection._current_request is None else connection._current_request.content._size
    )


@pytest.mark.parametrize("size", [10, 30_000, 60_000, 500_000])
async def test_client_ahead_is_not_read(api: Api, size: int) -> None:
    """While a request runs, little of what comes after it is kept; later all are answered, each taken once."""
    api.intake.gate = asyncio.Event()
    wire = await Wire.open(api.port)
    count = 3 + 3_000_000 // (size + 200) if size > 10 else 500
    one = request("POST", "/v1/usage", EVENT + " " * size, headers=JSON)
    wire.send(REPORT + one * count)
    await api.intake.entered.wait()
    assert _kept(await _until_unread(api)) <= MOST_KEPT
    api.intake.gate.set()
    assert {202} == {(await wire.receive()).status for _ in range(count + 1)}
    assert count + 1 == len(api.intake.batches)
    await wire.close()


async def test_body_that_is_not_read_is_not_kept(api: Api) -> None:
    """A body that its request does not need is not received while the request waits; the next request is served."""
    wire = await Wire.open(api.port)
    wire.send(request("GET", "/v1/entitlement?wait=5m", " " * 2_000_000) + REPORT)
    await api.gate.until_waiting()
    assert _kept(await _until_unread(api)) <= MOST_KEPT
    await api.gate.become(State.DENIED)
    assert [200, 202] == [(await wire.receive()).status for _ in range(2)]
    await wire.close()


async def test_few_heads_wait(api: Api) -> None:
    """Small requests with many headers wait as bytes: as headers they would take fifty times the memory."""
    api.intake.gate = asyncio.Event()
    wire = await Wire.open(api.port)
    wire.send(REPORT + request("GET", "/v1/entitlement", headers=["a:b"] * 90) * 50)
    await api.intake.entered.wait()
    assert len((await _until_unread(api))._messages) < 8
    api.intake.gate.set()
    assert [202] + [200] * 50 == [(await wire.receive()).status for _ in range(51)]
    await wire.close()


def _chunked(count: int) -> bytes:
    """Return a report in `count` chunks of one byte."""
    head = request("POST", "/v1/usage", headers=[*JSON, "Transfer-Encoding: chunked"])
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in EVENT.ljust(count).encode())
    return head.replace(b"Content-Length: 0\r\n", b"") + chunks + b"0\r\n\r\n"


async def test_few_heads_wait_behind_many_chunks(api: Api) -> None:
    """Reading a body chunk by chunk does not bring in a further request with each chunk."""
    wire = await Wire.open(api.port)
    small = request("GET", "/v1/entitlement", headers=["a:b"] * 90)
    wire.send(_chunked(200) + request("GET", "/v1/entitlement?wait=5m") + small * 50)
    await api.gate.until_waiting()
    assert len((await _until_unread(api))._messages) < 8
    await api.gate.become(State.DENIED)
    assert [202] + [200] * 51 == [(await wire.receive()).status for _ in range(52)]
    await wire.close()


async def test_few_chunks_wait(api: Api) -> None:
    """Bodies in tiny chunks wait as bytes: as chunks they would take ten times the memory."""
    wire = await Wire.open(api.port)
    wire.send(request("GET", "/v1/entitlement?wait=5m") + _chunked(MOST_CHUNKS - 1) * 5)
    await api.gate.until_waiting()
    waiting = (await _until_unread(api))._messages
    assert sum(len(body._buffer) for _, body in waiting) < 3 * MOST_CHUNKS
    await api.gate.become(State.DENIED)
    assert [200] + [202] * 5 == [(await wire.receive()).status for _ in range(6)]
    await wire.close()


@pytest.mark.parametrize("directly", [True, False], ids=["direct", "task"])
@pytest.mark.parametrize("count", [MOST_CHUNKS, MOST_CHUNKS + 1, 2 * MOST_CHUNKS + 1])
async def test_report_after_many_chunks(
    api: Api, monkeypatch: pytest.MonkeyPatch, count: int, *, directly: bool
) -> None:
    """A report is answered after one whose last chunk is one more than aiohttp's reader takes."""
    monkeypatch.setattr(direct_connection, "can_answer_directly", lambda: directly)
    wire = await Wire.open(api.port)
    for one in (_chunked(count), REPORT, _chunked(count), _chunked(count), REPORT):
        wire.send(one)
        async with asyncio.timeout(PATIENCE):
            assert 202 == (await wire.receive()).status
    assert 5 == len(api.intake.batches)
    await wire.close()

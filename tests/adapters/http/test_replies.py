"""What a response looks like on the wire, beside aiohttp's own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sidecar.adapters.http.listening import Listener
from sidecar.adapters.http.replies import Reply, reply
from tests.support.http_fakes import Wire, request
from tests.support.tools import PATIENCE

RETRY = {"Retry-After": "1", "Content-Type": "application/problem+json"}


def response_of(answer: Reply, headers: dict[str, str]) -> web.Response:
    """Return aiohttp's own response with the same content."""
    always = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "marketplace-sidecar"}
    made = web.Response(status=answer.status, body=answer.body, headers={**always, **headers})
    if answer.status == 204:
        del made.headers["Content-Type"]
    return made


ANSWERS: dict[str, Callable[[], tuple[Reply, dict[str, str]]]] = {
    "ok": lambda: (reply(b'{"entitled": true}'), {}),
    "accepted": lambda: (reply(b"{}", status=202), {}),
    "nothing": lambda: (reply(b"", status=204), {}),
    "problem": lambda: (
        reply(b"{}", status=503, media_type="application/problem+json", headers={"Retry-After": "1"}),
        RETRY,
    ),
    "large": lambda: (reply(b"x" * 3_000_000), {}),
}


@asynccontextmanager
async def both(name: str, *, closes: bool) -> AsyncIterator[tuple[int, int]]:
    """Serve a reply, and aiohttp's own response with the same content; the two ports."""

    async def ours(_: web.BaseRequest) -> Reply:
        answer, _unused = ANSWERS[name]()
        if closes:
            answer.force_close()
        return answer

    async def theirs(_: web.BaseRequest) -> Any:
        made = response_of(*ANSWERS[name]())
        if closes:
            made.force_close()
        return made

    handlers: tuple[Callable[[web.BaseRequest], Awaitable[Any]], ...] = (ours, theirs)
    listeners = [Listener(handler) for handler in handlers]
    for listener in listeners:
        await listener.listen_tcp("127.0.0.1", 0, "api.port")
    yield listeners[0].port, listeners[1].port
    for listener in listeners:
        await listener.stop(1)


async def told(port: int, request: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Return status line, headers but the date, and body of the first answer, with what follows until the end."""
    wire = await Wire.open(port)
    wire.send(request)
    whole = await wire.rest()
    await wire.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    return first, sorted(line for line in headers if not line.startswith(b"Date: ")), body


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
    ids=["get", "head", "1.0", "two", "two 1.0", "head and get"],
)
async def test_reply_is_a_response(name: str, *, closes: bool, request_: bytes) -> None:
    """Status, headers, body and what becomes of the connection are those of aiohttp's own response."""
    async with both(name, closes=closes) as (ours, theirs):
        found, expected = await asyncio.gather(told(ours, request_), told(theirs, request_))
    assert _without_dates(expected) == _without_dates(found)


def _without_dates(answer: tuple[bytes, list[bytes], bytes]) -> tuple[bytes, list[bytes], list[bytes]]:
    """Take the dates, and the order of headers, out of answers that follow."""
    first, headers, rest = answer
    return first, headers, sorted(line for line in rest.split(b"\r\n") if not line.startswith(b"Date: "))


async def test_unread_replies_hold_the_next() -> None:
    """Of the requests of a client that reads no answer, none is handled once the socket takes no more."""
    handled = 0

    async def handle(_: web.BaseRequest) -> Reply:
        nonlocal handled
        handled += 1
        return reply(b"x" * 60_000)

    listener = Listener(handle)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    with socket.create_connection(("127.0.0.1", listener.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        async with asyncio.timeout(PATIENCE):
            while not any(each.writing_paused for each in listener.connections):  # noqa: ASYNC110 - no signal
                await asyncio.sleep(0)
        before = handled
        for _ in range(100):
            await asyncio.sleep(0)
        assert (before, True) == (handled, handled < 500)
    await listener.stop(1)


async def test_sent_reply_is_not_kept() -> None:
    """A connection that stays open keeps no answer: hundreds that each asked for a long one would fill the memory."""
    sent: list[Reply] = []

    async def handle(_: web.BaseRequest) -> Reply:
        sent.append(reply(b"x" * 60_000))
        return sent[-1]

    listener = Listener(handle)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    wire = await Wire.open(listener.port)
    wire.send(request("GET", "/"))
    assert 60_000 == len((await wire.receive()).body)
    assert [b""] == [each.body for each in sent]
    await wire.close()
    await listener.stop(1)


async def test_reply_is_one_write() -> None:
    """Head and body go to the socket together, so a client that waits for both wakes once."""
    written: list[bytes] = []

    async def handle(incoming: web.BaseRequest) -> Reply:
        transport: Any = incoming.transport
        write = transport.write

        def note(data: bytes) -> None:
            written.append(data)
            write(data)

        transport.write = note
        return reply(b"body")

    listener = Listener(handle)
    await listener.listen_tcp("127.0.0.1", 0, "api.port")
    wire = await Wire.open(listener.port)
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"body" == (await wire.receive()).body
    assert [True] == [each.startswith(b"HTTP/1.1 200 OK\r\n") and each.endswith(b"\r\n\r\nbody") for each in written]
    await wire.close()
    await listener.stop(1)

"""One connection of the probe listener: one small request, one answer, closed.

Every pod of the cluster can reach this listener, so a connection may cost next to nothing whatever its other end does:
the head of a request is small and comes within seconds, a body is never read, a reader that does not read is cut off.
So the listener does not use the HTTP server of the API: its connections keep all that a slow sender sends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus

import structlog
from aiohttp import hdrs

from sidecar.adapters.http.problems import HttpProblem, ProblemKind, answer
from sidecar.adapters.http.replies import Reply

LARGEST_HEAD = 4096
"""Bytes of request line and headers: the kubelet sends 150, Prometheus with a token and a mesh some 2,000."""
MOST_HEADERS = 32
HEAD_SECONDS = 5.0
"""Real time for a head to arrive, from the connection's begin: a byte a second prolongs nothing."""
WRITE_SECONDS = 5.0
"""Real time for an answer to be read."""
LINGER_SECONDS = 1.0
"""Real time for the rest that a refused client sends. On an immediate close its kernel would drop the answer."""
_METHOD_LONGEST = 20

_log = structlog.get_logger()

Ask = Callable[[str, str], Awaitable[Reply]]
"""From a method and a path to the answer."""


class Stage(Enum):
    """What a connection is at."""

    HEAD = "waits for the head of the request"
    ANSWER = "waits for its answer"
    WRITE = "waits for the client to read"
    LINGER = "reads what a refused client still sends"
    CLOSED = "is over"


class ProbeConnection(asyncio.Protocol):
    """The protocol of one connection; `changed` is called after each step."""

    def __init__(self, ask: Ask, changed: Callable[["ProbeConnection"], None]) -> None:
        self._ask = ask
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._answering: asyncio.Task[None] | None = None
        self.stage = Stage.HEAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
        self._go(Stage.HEAD, HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take a part of the head; what comes after it is passed over."""
        if self.stage is not Stage.HEAD:
            return
        # Line ends before a request are passed over, as HTTP asks.
        self._head = (self._head + data[: LARGEST_HEAD + 1 - len(self._head)]).lstrip(b"\r\n")
        head, end, _ = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) <= LARGEST_HEAD:
            return
        self._head = b""
        if not end:
            self._write(hdrs.METH_GET, answer(_too_large(f"{LARGEST_HEAD} bytes in all")))
            return
        try:
            method, path = read_head(head)
        except HttpProblem as problem:
            self._write(hdrs.METH_GET, answer(problem))
            return
        self._go(Stage.ANSWER, None)
        self._answering = self._loop.create_task(self._answer(method, path), name="probe")

    def eof_received(self) -> bool:
        """Keep the connection half open while its answer is on the way: `Connection: close` allows that."""
        if self.stage in (Stage.HEAD, Stage.LINGER):
            self.cut()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever ended it, it is over
        """End what runs for a client that is gone."""
        if self._answering is not None:
            self._answering.cancel()
        self._transport = None
        self._go(Stage.CLOSED, None)

    def cut(self) -> None:
        """End the connection immediately, whatever its state."""
        if self._transport is not None:
            self._transport.abort()

    async def _answer(self, method: str, path: str) -> None:
        try:
            response = await self._ask(method, path)
        except Exception:  # noqa: BLE001 - the client gets an answer, the log the reason
            _log.exception("api.request_failed", method=method, path=path)
            response = answer(HttpProblem(ProblemKind.INTERNAL_ERROR, "the log has the reason"))
        self._answering = None
        self._write(method, response)

    def _write(self, method: str, response: Reply) -> None:
        transport = self._transport
        if transport is None:
            return
        transport.write(response.render(method, keep_alive=False))
        if response.status in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
            self._go(Stage.WRITE, WRITE_SECONDS)
            transport.close()
        else:
            self._go(Stage.LINGER, LINGER_SECONDS)
            transport.write_eof()

    def _go(self, stage: Stage, seconds: float | None) -> None:
        self.stage = stage
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self.cut)
        self._changed(self)


def read_head(head: bytes) -> tuple[str, str]:
    """Return method and path of the request with the head `head`, without the blank line.

    Raises:
        HttpProblem: malformed, or headers-too-large.
    """
    line, *headers = head.split(b"\r\n")
    if len(headers) > MOST_HEADERS:
        raise _too_large(f"{MOST_HEADERS} headers")
    try:
        method, target, version = line.decode("ascii").split(" ")
    except ValueError:
        raise _no_request() from None
    if version not in ("HTTP/1.1", "HTTP/1.0") or not method.isalpha() or len(method) > _METHOD_LONGEST:
        raise _no_request()
    if not all(b":" in header for header in headers) or b"\x00" in head:
        raise _no_request()
    if not target.startswith("/"):
        # A whole URL, as a proxy's client sends it, names a path too.
        scheme, mark, rest = target.partition("://")
        if not mark or scheme.lower() != "http":
            raise _no_request()
        target = f"/{rest.partition('/')[2]}"
    return method, target.partition("?")[0].partition("#")[0]


def _too_large(limit: str) -> HttpProblem:
    return HttpProblem(ProblemKind.HEADERS_TOO_LARGE, f"the limit is {limit}")


def _no_request() -> HttpProblem:
    return HttpProblem(ProblemKind.MALFORMED, "this is not an HTTP request")

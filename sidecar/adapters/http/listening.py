"""Sockets and connections of a listener, below any path.

Owns what HTTP itself asks for: addresses, limits on connections, headers and idle time, answers to requests that cannot
be parsed, and an ending that waits for running requests. A connection that trickles its headers ends with the idle
time; one that trickles its body is `bodies`' business.
"""

import asyncio
import errno
import socket
import stat
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.adapters.http import sockets
from sidecar.adapters.http.admission import MOST_CONNECTIONS
from sidecar.adapters.http.problems import HttpProblem, ProblemKind, answer, busy, document_of

IDLE_SECONDS = 75
"""How long a connection may wait for its next request to be complete; longer than the minute at which apps report."""

LARGEST_HEADER = 8704
"""Bytes of one header: 8 KiB of baggage, which the W3C allows, and its name."""
LARGEST_HEAD = 32 * 1024
"""Bytes of request line and headers together; a sender that never ends them is refused, so 512 of them cost little."""
MOST_HEADERS = 96
WRITE_SECONDS = 30.0
"""How long a client may leave an answer unread."""

_LARGEST_LINE = 8190
_SLICE = 16 * 1024
"""Bytes that are parsed at a time, so a head cannot exceed `LARGEST_HEAD` by more."""
_LINGER_SECONDS = 2.0
_SOCKET_MODE = 0o660
_RAW = (
    b"HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)

_ABSENT_CURE = "Nothing, if the pod is not meant to have this address; else correct the name's addresses."

_log = structlog.get_logger()

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class CannotListen(Exception):  # noqa: N818 - names the failed act
    """An address of the configuration cannot be listened on; the message names it, its key and the cure."""


class PortInUse(CannotListen):
    """Another process listens on the port."""

    def __init__(self, host: str, port: int, key: str) -> None:
        super().__init__(f"{key}: port {port} of {host} is in use: stop the other process or set another {key}")
        self.host = host
        self.port = port
        self.key = key


class ClientConnection(web.RequestHandler):
    """One connection; knows the long poll that waits on it, and bounds what its client makes it keep."""

    __slots__ = ("_body", "_head", "_unread", "poll")

    poll: asyncio.Task[object] | None
    _body: StreamReader

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without a long poll."""
        self.poll = None
        self._head = 0
        self._body = EMPTY_PAYLOAD
        self._unread: asyncio.TimerHandle | None = None
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the long poll of a client that is gone."""
        if self.poll is not None:
            self.poll.cancel()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and refuse a head that does not end."""
        if len(data) <= _SLICE:
            self._receive(data)
            return
        for start in range(0, len(data), _SLICE):
            self._receive(data[start : start + _SLICE])

    def _receive(self, data: bytes) -> None:
        in_body = not self._body.is_eof()
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._head = 0
            self._body = self._messages[-1][1]
        elif not in_body and not self._close and not self._force_close:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._refuse_head()

    def _refuse_head(self) -> None:
        if self.transport is not None and not self._request_in_progress:
            problem = HttpProblem(ProblemKind.HEADERS_TOO_LARGE, f"the limit is {LARGEST_HEAD} bytes in all")
            self.transport.write(raw_answer(problem))
        self.force_close()

    def pause_writing(self) -> None:
        """Give the client its time to read."""
        super().pause_writing()
        if self.transport is not None:
            self._unread = self._loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        if self._unread is not None:
            self._unread.cancel()
        super().resume_writing()

    def force_close(self) -> None:
        """Close; what the client has not read by then keeps the connection for its time only."""
        transport = self.transport
        super().force_close()
        if transport is not None and transport.get_write_buffer_size():
            self._loop.call_later(WRITE_SECONDS, transport.abort)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request
    ) -> web.StreamResponse:
        """Answer what HTTP's parser refused, and what no handler foresaw, with a problem document."""
        if isinstance(exc, ConnectionError):
            raise exc  # the client is gone
        if request.writer.output_size > 0:
            raise ConnectionError("part of another answer is already sent")
        if isinstance(exc, LineTooLong):
            problem = HttpProblem(ProblemKind.HEADERS_TOO_LARGE, f"the limit is {exc.args[1]} bytes")
        elif status < 500:
            problem = HttpProblem(ProblemKind.MALFORMED, "this is not an HTTP request")
        else:
            _log.error("api.request_failed", method=request.method, path=request.path, exc_info=exc)
            problem = HttpProblem(ProblemKind.INTERNAL_ERROR, "the log has the reason")
        response = answer(problem)
        response.force_close()
        return response


class Accepting(ABC):
    """The listening sockets of one listener; calling it makes the protocol of a new connection."""

    def __init__(self) -> None:
        self._running = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []

    @abstractmethod
    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""

    async def listen_tcp(self, host: str, port: int, key: str) -> None:
        """Start on every local address of `host`; port 0 takes one free port for all.

        `key` is where the configuration names the port.

        Raises:
            PortInUse: Another process listens there.
            CannotListen: None of the addresses is one of this host's.
        """
        try:
            bound = await asyncio.to_thread(sockets.bind, host, port)
        except OSError as fault:
            if fault.errno == errno.EADDRINUSE:
                raise PortInUse(host, port, key) from None
            raise CannotListen(f"{key}: cannot listen on {host} port {port}: {fault.strerror or fault}") from None
        for address in bound.absent:
            _log.warning("listener.address_absent", key=key, host=host, address=address, cure=_ABSENT_CURE)
        for one in bound.sockets:
            self._servers.append(await self._running.create_server(self, sock=one))
            # asyncio accepts as many in one turn as it gives the kernel to keep: few in a turn, many kept.
            one.listen(sockets.BACKLOG)

    @property
    def port(self) -> int:
        """The TCP port in use."""
        if not self._servers:
            raise RuntimeError("not started")
        return int(self._servers[0].sockets[0].getsockname()[1])

    def close_sockets(self) -> bool:
        """Take no more connections; False when nothing was listened on."""
        if not self._servers:
            return False
        for server in self._servers:
            server.close()
        self._servers.clear()
        return True


class Listener(Accepting, web.Server):
    """Takes connections on the addresses of one host, or on a unix socket, and hands their requests to a handler."""

    def __init__(
        self, handle: Handler, *, most_connections: int = MOST_CONNECTIONS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        Accepting.__init__(self)
        web.Server.__init__(self, handle)
        self._most_connections = most_connections
        self._idle_seconds = idle_seconds
        self._path: Path | None = None

    def __call__(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return ClientConnection(
            self,
            loop=self._running,
            keepalive_timeout=self._idle_seconds,
            access_log=None,  # type: ignore[arg-type]  # taken since 3.0, though not annotated
            max_line_size=_LARGEST_LINE,
            max_field_size=LARGEST_HEADER,
            max_headers=MOST_HEADERS,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Accept a connection, or answer that there are too many."""
        super().connection_made(handler, transport)
        if len(self.connections) > self._most_connections:
            transport.write(
                raw_answer(busy(ProblemKind.OVERLOADED, f"{self._most_connections} connections are open", 1))
            )
            transport.close()

    async def listen_unix(self, path: Path, key: str) -> None:
        """Start on a unix socket, for the owner and the group; a stale one at `path` is replaced.

        Raises:
            CannotListen: Another process listens there, something else than a socket is there, or it cannot be made.
        """
        try:
            bound = await asyncio.to_thread(_bind, path)
        except OSError as fault:
            raise CannotListen(f"{key}: cannot listen on {path}: {fault.strerror or fault}") from None
        self._servers.append(await self._running.create_unix_server(self, sock=bound))
        self._path = path

    async def stop(self, seconds: float) -> None:
        """Accept no more connections, wait for running requests, then close; at most about `seconds` of real time."""
        if not self.close_sockets():
            return
        await asyncio.sleep(0)  # what was accepted a moment ago becomes a connection first
        self.pre_shutdown()
        await self.shutdown(seconds / 2)  # waits twice: for the answers, then for the connections
        if self._path is not None:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)


def raw_answer(problem: HttpProblem) -> bytes:
    """Return the response that carries `problem`, for a connection without a request."""
    status = problem.kind.status
    headers = "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items()).encode()
    body = document_of(problem)
    return _RAW % (status, HTTPStatus(status).phrase.encode(), headers, len(body), body)


def _bind(path: Path) -> socket.socket:
    """Return a socket bound to `path` and not yet listening: no client may connect before its mode is set."""
    if path.exists():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "something else than a socket is there")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, "another process listens there")
        path.unlink()
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(str(path))
        path.chmod(_SOCKET_MODE)
    except OSError:
        bound.close()
        raise
    return bound

"""Sockets and connections of a listener, below any path.

Owns what HTTP itself asks for: addresses, limits on connections, headers and idle time, answers to requests that cannot
be parsed, and an ending that lets running requests finish. A connection that trickles its headers ends with the idle
time; one that trickles its body is `bodies`' business.
"""

import asyncio
import errno
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from sidecar.adapters.http.admission import MOST_CONNECTIONS
from sidecar.adapters.http.problems import Kind, Problem, answer, document_of

IDLE_SECONDS = 75
"""How long a connection may wait for its next request to be complete; longer than the minute at which apps report."""

_LARGEST_HEADER = 8190
_MOST_HEADERS = 64
_LINGER_SECONDS = 2.0
_SOCKET_MODE = 0o660
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)

_log = structlog.get_logger()

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class CannotListen(Exception):  # noqa: N818 - says what cannot be done
    """An address of the configuration cannot be listened on; the message names it, its key and the cure."""


class PortInUse(CannotListen):
    """Another process listens on the port."""

    def __init__(self, host: str, port: int, key: str) -> None:
        super().__init__(f"{key}: port {port} of {host} is in use: stop the other process or set another {key}")
        self.host = host
        self.port = port
        self.key = key


class Connection(web.RequestHandler):
    """One connection; knows the long poll that waits on it."""

    __slots__ = ("poll",)

    poll: asyncio.Task[object] | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without a long poll."""
        self.poll = None
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the long poll of a client that is gone."""
        if self.poll is not None:
            self.poll.cancel()
        super().connection_lost(exc)

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
            problem = Problem(Kind.HEADERS_TOO_LARGE, f"the limit is {_LARGEST_HEADER} bytes")
        elif status < 500:
            problem = Problem(Kind.MALFORMED, "this is not an HTTP request")
        else:
            _log.error("api.request_failed", method=request.method, path=request.path, exc_info=exc)
            problem = Problem(Kind.INTERNAL_ERROR, "the log has the reason")
        response = answer(problem)
        response.force_close()
        return response


class Listener(web.Server):
    """Takes connections on one address and hands their requests to a handler."""

    def __init__(
        self, handle: Handler, *, most_connections: int = MOST_CONNECTIONS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        super().__init__(handle)
        self._most_connections = most_connections
        self._idle_seconds = idle_seconds
        self._running = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(
            self,
            loop=self._running,
            keepalive_timeout=self._idle_seconds,
            access_log=None,  # type: ignore[arg-type]  # taken since 3.0, though not annotated
            max_line_size=_LARGEST_HEADER,
            max_field_size=_LARGEST_HEADER,
            max_headers=_MOST_HEADERS,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection, or tell it that there are too many."""
        super().connection_made(handler, transport)
        if len(self.connections) > self._most_connections:
            body = document_of(Problem(Kind.OVERLOADED, f"{self._most_connections} connections are already open"))
            transport.write(_FULL % (len(body), body))
            transport.close()

    async def listen_tcp(self, host: str, port: int, key: str) -> None:
        """Start on a TCP address; port 0 takes a free one. `key` is where the configuration names the port.

        Raises:
            PortInUse: Another process listens there.
            CannotListen: The address is not one of this host's.
        """
        try:
            self._server = await self._running.create_server(self, host, port)
        except OSError as fault:
            if fault.errno == errno.EADDRINUSE:
                raise PortInUse(host, port, key) from None
            raise CannotListen(f"{key}: cannot listen on {host} port {port}: {fault.strerror or fault}") from None

    async def listen_unix(self, path: Path, key: str) -> None:
        """Start on a unix socket, for the owner and the group; a stale one at `path` is replaced.

        Raises:
            CannotListen: Another process listens there, something else than a socket is there, or it cannot be made.
        """
        try:
            bound = await asyncio.to_thread(_bind, path)
        except OSError as fault:
            raise CannotListen(f"{key}: cannot listen on {path}: {fault.strerror or fault}") from None
        self._server = await self._running.create_unix_server(self, sock=bound)
        self._path = path

    @property
    def port(self) -> int:
        """The TCP port in use."""
        if self._server is None:
            raise RuntimeError("not started")
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, seconds: float) -> None:
        """Take no more connections, let running requests finish, then close; at most about `seconds` of real time."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        await asyncio.sleep(0)  # what was accepted a moment ago becomes a connection first
        self.pre_shutdown()
        await self.shutdown(seconds / 2)  # waits twice: for the answers, then for the connections
        if self._path is not None:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)


def _bind(path: Path) -> socket.socket:
    """Return a socket bound to `path` and not yet listening, so that nobody connects before its mode is set."""
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

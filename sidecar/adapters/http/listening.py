"""Sockets and connections of a listener, below any path.

Owns addresses, the number of connections, and an ending that waits for running requests. A connection that trickles its
headers ends with the idle time. Where all places are taken, a connection that waits for its client gives way to a new
one. What clients leave unread is bounded by `unread_answers`.
"""

import asyncio
import errno
import socket
import stat
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web

from sidecar.adapters.http import sockets
from sidecar.adapters.http.admission import MOST_CONNECTIONS
from sidecar.adapters.http.client_connection import INBOX, ClientConnection, raw_answer
from sidecar.adapters.http.direct_connection import make_connection
from sidecar.adapters.http.known_heads import Direct, KnownHeads
from sidecar.adapters.http.problems import ProblemKind, busy
from sidecar.adapters.http.replies import Reply
from sidecar.adapters.http.unread_answers import UnreadAnswers

IDLE_SECONDS = 75
"""How long a connection may wait for its next request to be complete; longer than the minute at which apps report."""

_LINGER_SECONDS = 2.0
_SOCKET_MODE = 0o660
_RETRY_AFTER = 1

_ABSENT_CURE = "Nothing, if the pod is not meant to have this address; else correct the name's addresses."

_log = structlog.get_logger()

Handler = Callable[[web.BaseRequest], Awaitable[Reply]]


class CannotListen(Exception):
    """An address of the configuration cannot be listened on; the message names it, its key and the cure."""


class PortInUse(CannotListen):
    """Another process listens on the port."""

    def __init__(self, host: str, port: int, key: str) -> None:
        super().__init__(f"{key}: port {port} of {host} is in use: stop the other process or set another {key}")
        self.host = host
        self.port = port
        self.key = key


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
        self,
        handle: Handler,
        direct: Direct | None = None,
        *,
        most_connections: int = MOST_CONNECTIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Make the listener; `direct` gets each request first that has arrived whole."""
        Accepting.__init__(self)
        web.Server.__init__(self, handle)
        self._direct = direct
        self._heads = KnownHeads()
        self._inbox = memoryview(bytearray(INBOX))
        self._answers = UnreadAnswers()
        self._most_connections = most_connections
        self._idle_seconds = idle_seconds
        self._path: Path | None = None

    def __call__(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return make_connection(
            self,
            self._inbox,
            self._answers,
            self._direct,
            self._heads,
            loop=self._running,
            keepalive_timeout=self._idle_seconds,
            access_log=None,
            lingering_time=_LINGER_SECONDS,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Accept a connection; where all places are taken, make room, or answer that there are too many."""
        super().connection_made(handler, transport)
        if not self._make_room():
            problem = busy(ProblemKind.OVERLOADED, f"{self._most_connections} requests are running", _RETRY_AFTER)
            transport.write(raw_answer(problem))
            # The task of the new connection begins in the next turn of the loop, and must find it open.
            self._running.call_soon(transport.close)

    def _make_room(self) -> bool:
        """Cut a connection if there is one too many; return False if all of them have a running request."""
        if len(self.connections) <= self._most_connections:
            return True
        open_ = [each for each in self.connections if isinstance(each, ClientConnection) and not each.is_cut]
        if len(open_) <= self._most_connections:
            return True
        waiting = [each for each in open_ if each.awaits_client]
        if not waiting:
            return False
        min(waiting, key=lambda each: each.requested_at).cut()
        return True

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

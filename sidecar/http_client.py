"""The one small HTTP client: for probes, the local API, the emulator, pages of counters and the ECS metadata endpoint.

`healthcheck` runs every few seconds, so this module imports little: no dataclasses, and what an ordinary check does not
need only in the function that does. Sends one request on one connection. Follows neither proxies nor redirects, and
never retries.
"""

import http.client
import ipaddress
import socket
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_LARGEST = 4 * 1024 * 1024
_CHUNK = 256 * 1024


class NoAnswer(OSError):
    """The listener did not answer; the message names the reason."""


class Response(NamedTuple):
    """An HTTP response of any status."""

    status: int
    body: bytes
    sent_at: float
    """When the connection was open and the request was about to be sent, on the monotonic clock."""
    answered_at: float
    """When the response's head had arrived, on the monotonic clock."""
    headers: http.client.HTTPMessage
    """Finds a header by its name in any case."""

    def document(self) -> Any:
        """Return the JSON document in the body; raises ValueError if the body is not JSON."""
        import json  # noqa: PLC0415 - an ordinary check reads the status alone

        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


class Listener(NamedTuple):
    """The address of an HTTP listener."""

    host: str
    port: int
    socket: "Path | None" = None
    """A unix socket, which takes precedence over host and port."""
    tls: bool = False

    @classmethod
    def of_url(cls, url: str, schemes: Collection[str] = ("http",)) -> tuple[Self, str]:
        """Return the listener of a URL, and the URL's path with its query.

        Raises:
            ValueError: It is not a URL of one of the schemes (http, https).
        """
        parts = urlsplit(url)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError("it is not an http URL")
        tls = parts.scheme == "https"
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls=tls), f"{parts.path}{query}"

    def get(self, path: str, timeout: float, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
        """Send one GET; see `send`."""
        return self.send("GET", path, timeout, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        timeout: float,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: str | None = None,
        largest: int = _LARGEST,
    ) -> Response:
        """Send one request and return the response.

        Args:
            method: The method.
            path: The path with its query; an empty one means the root.
            timeout: Seconds that connecting may take, and then the whole answer, however it trickles.
            headers: Further headers.
            body: The body of the request.
            largest: Bytes of the body that are read at most; the rest is left out.

        Raises:
            NoAnswer: There is no whole response, or the request cannot be written (a header with a line end).
        """
        connection = self._connection(timeout)
        ended, watchdog = threading.Event(), None
        try:
            connection.connect()
            sent_at = time.monotonic()
            watchdog = threading.Timer(timeout, _hang_up, [connection.sock, ended])
            watchdog.daemon = True
            watchdog.start()
            connection.request(method, path if path.startswith("/") else f"/{path}", body, dict(headers))
            response = connection.getresponse()
            answered_at = time.monotonic()
            content = _read(response, largest)
            if ended.is_set():
                raise TimeoutError
            return Response(response.status, content, sent_at, answered_at, response.headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(_explain(TimeoutError() if ended.is_set() else error)) from error
        finally:
            if watchdog is not None:
                watchdog.cancel()
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.socket is not None:
            return _UnixConnection(self.socket, timeout)
        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=timeout)


def authority(host: str, port: int) -> str:
    """Return host and port as a URL has them; an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def http_url(host: str, port: int) -> str:
    """Return the URL of a listener."""
    return f"http://{authority(host, port)}"


def reachable(host: str) -> str:
    """Return the loopback address for a host that means every address, else the host itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def other_loopback(host: str) -> str | None:
    """Return the loopback address of the other family; None if the host is not a loopback address."""
    return {"127.0.0.1": "::1", "::1": "127.0.0.1"}.get(host)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: "Path", timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _hang_up(connected: socket.socket, ended: threading.Event) -> None:
    """End an answer: the time limit of a socket counts for each read anew, and a trickle would have no end."""
    ended.set()
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _read(response: http.client.HTTPResponse, largest: int) -> bytes:
    declared = response.length
    body = bytearray()
    while len(body) < largest and (chunk := response.read1(min(_CHUNK, largest - len(body)))):
        body += chunk
    if declared is not None and len(body) < min(declared, largest):
        raise http.client.IncompleteRead(bytes(body))
    return bytes(body)


def _explain(error: Exception) -> str:
    """Return the reason in words instead of an error number."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended within the body"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__

"""Peers on real sockets that misbehave at one step of the way to the metering service: TLS fronts and proxies.

Each connection is served on a thread of its own. What a front has read of requests is kept, so a test can compare
what the client believes to have sent with what arrived.
"""

import contextlib
import json
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

HOST = "metering.marketplace.eu-west-1.amazonaws.com"
"""Where live calls go in the Region of the tests."""
_PATIENCE = 60.0

Step = Callable[[socket.socket, "Front"], None]
"""What a front does with a connection; it is closed afterwards."""


class Front:
    """A server that does one step of its script with each connection, the last step with all that follow."""

    def __init__(self, *script: Step, context: ssl.SSLContext | None = None) -> None:
        self._script = list(script)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.released = threading.Event()
        self.requests: list[bytes] = []
        """What arrived after the handshake, by request; of a request without an end, what there was."""
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        for thread in self._threads:
            thread.join()

    @property
    def context(self) -> ssl.SSLContext:
        """The certificate that it shows."""
        assert self._context is not None
        return self._context

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            thread = threading.Thread(target=self._serve, args=(connection, step))
            with self._lock:
                self._open.append(connection)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, step: Step) -> None:
        connection.settimeout(_PATIENCE)
        with contextlib.suppress(OSError, ValueError), connection:
            step(connection, self)


def reset(connection: socket.socket, front: Front) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(connection: socket.socket, front: Front) -> None:
    """Close with FIN."""


def stay_silent(connection: socket.socket, front: Front) -> None:
    """Say nothing for as long as the front lives."""
    front.released.wait(_PATIENCE)


def speak_plainly(connection: socket.socket, front: Front) -> None:
    """Answer the client's hello by plain HTTP."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def hang_up_on_hello(connection: socket.socket, front: Front) -> None:
    """Read the client's hello and close."""
    connection.recv(65536)


def break_handshake(connection: socket.socket, front: Front) -> None:
    """Read the client's hello and answer with half a TLS record."""
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x03\x40\x00\x02")


def with_tls(step: Step) -> Step:
    """Return a step that shakes hands first."""

    def shake(connection: socket.socket, front: Front) -> None:
        with front.context.wrap_socket(connection, server_side=True) as secure:
            step(secure, front)

    return shake


def reading(*steps: Step) -> Step:
    """Return a step that reads one request before each of these steps."""

    def read(connection: socket.socket, front: Front) -> None:
        for step in steps:
            front.requests.append(read_request(connection))
            step(connection, front)

    return read


def read_request(connection: socket.socket) -> bytes:
    """Return the next request of a connection."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += (part := connection.recv(65536))
        if not part:
            return text
    head, _, body = text.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        body += (part := connection.recv(65536))
        if not part:
            break
    return head + b"\r\n\r\n" + body


def saying(answer: bytes) -> Step:
    """Return a step that sends these bytes."""

    def say(connection: socket.socket, front: Front) -> None:
        connection.sendall(answer)

    return say


def answering(status: str, body: object, kind: str = "application/x-amz-json-1.1") -> bytes:
    """Return an answer: JSON, or text as it is."""
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nx-amzn-RequestId: request-1\r\n"
        f"Content-Length: {len(raw)}\r\n\r\n"
    ).encode() + raw


PAGE = "<html>secret-page</html>"
TAKEN = answering("200 OK", {"MeteringRecordId": "record-1"})


def tunnelling(to: int, seen: list[bytes] | None = None) -> Step:
    """Return a proxy's step that takes CONNECT and passes on to a port of this machine."""

    def tunnel(connection: socket.socket, front: Front) -> None:
        asked = read_request(connection)
        if seen is not None:
            seen.append(asked)
        with socket.create_connection(("127.0.0.1", to)) as onward:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(connection, onward)

    return tunnel


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass on both ways until one end closes, on one thread: before Python 3.13, two may not share a TLS connection."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while ready := selector.select(_PATIENCE):
            for key, _ in ready:
                source, sink = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                for part in _received(source):
                    if not part:
                        return
                    sink.sendall(part)


def _received(source: socket.socket) -> Iterator[bytes]:
    """Yield what can be read without waiting, of which TLS may hold a part that the socket does not show."""
    while True:
        source.settimeout(0)
        try:
            part = source.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        finally:
            source.settimeout(_PATIENCE)
        yield part
        if not part:
            return


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Yield a port at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]

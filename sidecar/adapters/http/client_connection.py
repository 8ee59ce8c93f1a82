"""One connection of the API: what its client may make it keep, and whether it waits for its client.

Bounds the head of a request and the time in which an answer must be read. A body that trickles is `bodies`' business.
Rests on public members of aiohttp alone; `direct_connection` adds what rests on others.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong

from sidecar.adapters.http.problems import HttpProblem, ProblemKind, answer
from sidecar.adapters.http.replies import Reply
from sidecar.adapters.http.unread_answers import UnreadAnswers

LARGEST_HEADER = 8704
"""Bytes of one header: 8 KiB of baggage, which the W3C allows, and its name."""
MOST_HEADERS = 96
LARGEST_LINE = 8190
"""Bytes of a request line."""
READ_AHEAD = 32 * 1024
"""Half the bytes of a body that are kept before it is read; the body of a small report fits into the whole."""
PARSING: Final[Mapping[str, Any]] = {
    "max_line_size": LARGEST_LINE,
    "max_field_size": LARGEST_HEADER,
    "max_headers": MOST_HEADERS,
    "auto_decompress": False,
}
"""Options of aiohttp's parser."""
INBOX = 16 * 1024
"""Bytes that are received and parsed at a time; asyncio alone takes 256 KiB.

What a client sends ahead is in no budget. Neither a head nor a waiting body exceeds its bound by more than these bytes.
"""
WRITE_SECONDS = 30.0
"""How long a client may leave an answer unread."""

_log = structlog.get_logger()


class ClientConnection(web.RequestHandler, asyncio.BufferedProtocol):
    """One connection; knows the long poll that waits on it, and bounds what its client makes it keep."""

    __slots__ = ("_answers", "_inbox", "_is_full", "_socket", "_timers", "_unread", "is_cut", "poll", "requested_at")

    poll: asyncio.Task[object] | None
    requested_at: float
    """When the client's newest request began, by the event loop's clock; before the first one, when it connected."""
    is_cut: bool
    """The connection was ended for lack of room."""
    _socket: asyncio.BaseTransport

    def __init__(self, manager: web.Server, inbox: memoryview, answers: UnreadAnswers, **options: Any) -> None:
        """Make the connection; `inbox` is where all connections of the listener receive."""
        super().__init__(manager, read_bufsize=READ_AHEAD, **PARSING, **options)
        self._inbox = inbox
        self._answers = answers
        self._is_full = False
        self._timers = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without a long poll."""
        self.poll = None
        self.requested_at = self._timers.time()
        self.is_cut = False
        self._unread: asyncio.TimerHandle | None = None
        self._socket = transport
        super().connection_made(transport)

    @property
    def awaits_client(self) -> bool:
        """Whether only the client can go on, as far as it is known: by reading an answer."""
        return self.writing_paused

    @property
    def unread(self) -> int:
        """Bytes of answers that wait for the client."""
        return self._socket.get_write_buffer_size() if isinstance(self._socket, asyncio.WriteTransport) else 0

    def cut(self) -> None:
        """End the connection immediately, with what its client has not read."""
        self.is_cut = True
        if isinstance(self._socket, asyncio.WriteTransport):
            self._socket.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the long poll of a client that is gone."""
        if self.poll is not None:
            self.poll.cancel()
        self._answers.discard(self)
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where the next bytes of the client go; `buffer_updated` takes them from there in the same turn."""
        return self._inbox

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that have come."""
        self.data_received(bytes(self._inbox[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self.requested_at = self._timers.time()
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        super().data_received(data)

    def pause_reading(self) -> None:
        """Receive no more: a body has reached its bound. The parser is not stopped; it has few bytes left.

        aiohttp stops it, too. After the last chunk of a body it then stops within the next body, which never ends.
        """
        self._is_full = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - aiohttp's signature
        """Receive again if a body has stopped it. aiohttp asks for it at each chunk, and would parse a request then."""
        if self._is_full:
            self._is_full = False
            super().resume_reading(resume_parser=False)

    def pause_writing(self) -> None:
        """Give the client its time to read, if the answers that wait for all clients leave room."""
        super().pause_writing()
        if self.transport is not None:
            self._unread = self._timers.call_later(WRITE_SECONDS, self.transport.abort)
            self._answers.add(self)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._answers.discard(self)
        if self._unread is not None:
            self._unread.cancel()
        super().resume_writing()

    def force_close(self) -> None:
        """Close; what the client has not read by then keeps the connection for its time only."""
        transport = self.transport
        super().force_close()
        if transport is not None and transport.get_write_buffer_size():
            self._timers.call_later(WRITE_SECONDS, transport.abort)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request
    ) -> Reply:
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
            return internal_error(request.method, request.path, exc)
        response = answer(problem)
        response.force_close()
        return response


def internal_error(method: str, path: str, fault: BaseException | None) -> Reply:
    """Log a fault that no code foresees, and return its answer, which ends the connection."""
    _log.error("api.request_failed", method=method, path=path, exc_info=fault)
    response = answer(HttpProblem(ProblemKind.INTERNAL_ERROR, "the log has the reason"))
    response.force_close()
    return response


def raw_answer(problem: HttpProblem) -> bytes:
    """Return the response that carries `problem`, for a connection without a request."""
    return answer(problem).render(hdrs.METH_GET, keep_alive=False)

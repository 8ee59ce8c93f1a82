"""One connection of the API: what its client may make it keep, and whether it waits for its client.

Bounds the head of a request and the time in which an answer must be read. A body that trickles is `bodies`' business.
"""

import asyncio

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.adapters.http.problems import HttpProblem, ProblemKind, answer
from sidecar.adapters.http.replies import Reply

LARGEST_HEADER = 8704
"""Bytes of one header: 8 KiB of baggage, which the W3C allows, and its name."""
LARGEST_HEAD = 32 * 1024
"""Bytes of request line and headers together; a sender that never ends them is refused, so 512 of them cost little."""
MOST_HEADERS = 96
LARGEST_LINE = 8190
"""Bytes of a request line."""
WRITE_SECONDS = 30.0
"""How long a client may leave an answer unread."""

_SLICE = 16 * 1024
"""Bytes that are parsed at a time, so a head cannot exceed `LARGEST_HEAD` by more."""

_log = structlog.get_logger()


class ClientConnection(web.RequestHandler):
    """One connection; knows the long poll that waits on it, and bounds what its client makes it keep."""

    __slots__ = ("_body", "_head", "_socket", "_unread", "is_cut", "poll", "requested_at")

    poll: asyncio.Task[object] | None
    requested_at: float
    """When the client's newest request began, by the event loop's clock; before the first one, when it connected."""
    is_cut: bool
    """The connection was ended for lack of room."""
    _body: StreamReader
    _socket: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin without a long poll."""
        self.poll = None
        self.requested_at = self._loop.time()
        self.is_cut = False
        self._head = 0
        self._body = EMPTY_PAYLOAD
        self._unread: asyncio.TimerHandle | None = None
        self._socket = transport
        super().connection_made(transport)

    @property
    def awaits_client(self) -> bool:
        """Whether only the client can go on: with a request, with the rest of a body, or by reading an answer."""
        if self.writing_paused:
            return True
        # Without a waiter the server is at a request; with a message, it is about to be.
        return not self._messages and (self._waiter is not None or not self._body.is_eof())

    def cut(self) -> None:
        """End the connection immediately, with what its client has not read."""
        self.is_cut = True
        if isinstance(self._socket, asyncio.WriteTransport):
            self._socket.abort()

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
            self.requested_at = self._loop.time()
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
            _log.error("api.request_failed", method=request.method, path=request.path, exc_info=exc)
            problem = HttpProblem(ProblemKind.INTERNAL_ERROR, "the log has the reason")
        response = answer(problem)
        response.force_close()
        return response


def raw_answer(problem: HttpProblem) -> bytes:
    """Return the response that carries `problem`, for a connection without a request."""
    return answer(problem).render(hdrs.METH_GET, keep_alive=False)

"""One connection of the API: what its client may make it keep, and whether it waits for its client.

Bounds the head of a request and the time in which an answer must be read. A body that trickles is `bodies`' business.

aiohttp gives each request to a task. A request that has arrived whole may be answered without one, in the same turn of
the event loop; the task of the connection sleeps meanwhile, and gets everything else.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage, StreamWriter
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

Found = TypeVar("Found")
Later = Callable[[Callable[[], Reply]], None]
"""Takes what makes the reply of a request that had to wait."""
Direct = Callable[[web.BaseRequest, Later], Reply | bool]
"""Answers a request that has arrived whole: returns the reply, or True if it will call `Later` once. False leaves the
request to the handler; nothing of it was read then."""


class ClientConnection(web.RequestHandler):
    """One connection; knows the long poll that waits on it, and bounds what its client makes it keep."""

    __slots__ = ("_body", "_direct", "_head", "_socket", "_unread", "is_cut", "poll", "requested_at")

    poll: asyncio.Task[object] | None
    requested_at: float
    """When the client's newest request began, by the event loop's clock; before the first one, when it connected."""
    is_cut: bool
    """The connection was ended for lack of room."""
    _body: StreamReader
    _socket: asyncio.BaseTransport

    def __init__(self, manager: web.Server, direct: Direct | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self._direct = direct

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
        is_idle = self._waiter is not None and not self._request_in_progress
        return not self._messages and (is_idle or not self._body.is_eof())

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
        waiter, self._waiter = self._waiter, None  # what comes does not wake the task by itself
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if self._request_count != requests:
            self._head = 0
            self._body = self._messages[-1][1]
            self.requested_at = self._loop.time()
        elif not in_body and not self._close and not self._force_close:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._refuse_head()
        self._serve()

    def _serve(self) -> None:
        """Answer the requests that need no task, and wake the task for the first other one."""
        waiter = self._waiter
        if waiter is None or self._close or self._force_close:
            return  # the task is at a request, and takes the next one by itself; or the connection is ending
        while self._messages and not self._request_in_progress and not waiter.done():
            if not self._answer_directly():
                waiter.set_result(None)

    def _answer_directly(self) -> bool:
        """Answer the next request, now or later; return False if that is the task's work."""
        message, body = self._messages[0]
        if (
            self._direct is None
            or self._request_factory is None
            or self._task_handler is None
            or self._parser is None
            or not isinstance(message, RawRequestMessage)
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or not body.is_eof()
            or self.writing_paused
            or self._buffer_paused
        ):
            return False
        writer = StreamWriter(self, self._loop)
        request = self._request_factory(message, body, self, writer, self._task_handler)
        self._request_in_progress = True
        found = self._guard(request, partial(self._direct, request, partial(self._answer_later, request)))
        if found is False:
            self._request_in_progress = False
            return False
        self._messages.popleft()
        self._parser.message_consumed()
        if isinstance(found, Reply):
            self._send(request, found)
        return True

    def _answer_later(self, request: web.BaseRequest, make: Callable[[], Reply]) -> None:
        """Send the answer of a request that has waited, and go on with the next one."""
        self._send(request, self._guard(request, make))
        self._serve()

    def _guard(self, request: web.BaseRequest, work: Callable[[], Found]) -> Found | Reply:
        """Do the work; what it does not foresee is logged and answered, as the task does it."""
        try:
            return work()
        except Exception as fault:  # noqa: BLE001 - logged with its traceback
            return _internal_error(request, fault)

    def _send(self, request: web.BaseRequest, reply: Reply) -> None:
        self._request_in_progress = False
        if self.transport is not None:
            self.transport.write(reply.render(request.method, keep_alive=reply.keep_alive))
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)  # the connection is ending
        elif not reply.keep_alive:
            self.force_close()

    def _process_keepalive(self) -> None:
        """Close a connection without a request; one that is answered without the task has one."""
        if self._request_in_progress:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def _refuse_head(self) -> None:
        if self.transport is not None and not self._request_in_progress:
            problem = HttpProblem(ProblemKind.HEADERS_TOO_LARGE, f"the limit is {LARGEST_HEAD} bytes in all")
            self.transport.write(raw_answer(problem))
        self.force_close()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Read on if reading was paused. aiohttp asks for it at each body, and would parse nothing once more."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

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
            return _internal_error(request, exc)
        response = answer(problem)
        response.force_close()
        return response


def _internal_error(request: web.BaseRequest, fault: BaseException | None) -> Reply:
    _log.error("api.request_failed", method=request.method, path=request.path, exc_info=fault)
    response = answer(HttpProblem(ProblemKind.INTERNAL_ERROR, "the log has the reason"))
    response.force_close()
    return response


def raw_answer(problem: HttpProblem) -> bytes:
    """Return the response that carries `problem`, for a connection without a request."""
    return answer(problem).render(hdrs.METH_GET, keep_alive=False)

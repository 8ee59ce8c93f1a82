"""Answers a request that has arrived whole without a task, in the same turn of the event loop.

aiohttp gives each request to a task. Here the task of the connection sleeps meanwhile, and gets everything else. A
request with a known head (see `known_heads`) is not even parsed, where a request certainly begins with it.

This rests on members of aiohttp that are not public, as version 3.14 has them. `can_answer_directly` asks for the
version and for each member; without them, `make_connection` returns a `ClientConnection`, and each request goes to a
task. aiohttp alone then bounds a head, by `MOST_HEADERS` of `LARGEST_HEADER` bytes, and lets 31 requests wait behind
another one. Its parser drops what follows a request that asks for an upgrade. A full listener makes room for a new
connection only where another client leaves an answer unread.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import HttpVersion11, http, web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.adapters.http.client_connection import (
    PARSING,
    READ_AHEAD,
    ClientConnection,
    internal_error,
    raw_answer,
)
from sidecar.adapters.http.known_heads import END, Direct, KnownHead, KnownHeads, head_of, length_of
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.adapters.http.replies import Reply
from sidecar.adapters.http.unread_answers import UnreadAnswers

LARGEST_HEAD = 32 * 1024
"""Bytes of request line and headers together; a sender that never ends them is refused, so 512 of them cost little."""

_MOST_WAITING = 2
"""Requests of one connection that wait behind another one; then its client is not read."""

_TESTED_VERSION = "3.14."
_MEMBERS = (
    "_buffer_paused",
    "_close",
    "_force_close",
    "_handler_waiter",
    "_keepalive_timeout",
    "_loop",
    "_max_msg_queue_size",
    "_messages",
    "_msg_queue_resume_size",
    "_next_keepalive_close_time",
    "_parser",
    "_process_keepalive",
    "_request_count",
    "_request_in_progress",
    "_resume_reading_if_drained",
    "_upgraded",
    "_waiter",
)
"""What this module uses of `web.RequestHandler`; aiohttp declares its attributes as slots."""


def can_answer_directly() -> bool:
    """Return whether the installed aiohttp is a version that this module was tested with, and has what it uses."""
    return (
        aiohttp.__version__.startswith(_TESTED_VERSION)
        and all(hasattr(web.RequestHandler, member) for member in _MEMBERS)
        and hasattr(http.HttpRequestParser, "message_consumed")
    )


def make_connection(
    manager: web.Server,
    inbox: memoryview,
    answers: UnreadAnswers,
    direct: Direct | None,
    heads: KnownHeads,
    **options: Any,
) -> ClientConnection:
    """Return the protocol of a new connection; `direct` gets each request first that has arrived whole."""
    if can_answer_directly():
        return DirectConnection(manager, inbox, answers, direct, heads, **options)
    return ClientConnection(manager, inbox, answers, **options)


class DirectConnection(ClientConnection):
    """One connection; answers without a task what it can, and bounds the head of a request."""

    __slots__ = ("_answered", "_body", "_direct", "_head", "_heads", "_missing", "_seen")

    _body: StreamReader
    _answered: KnownHead
    """The head of the request that is answered directly."""

    def __init__(
        self,
        manager: web.Server,
        inbox: memoryview,
        answers: UnreadAnswers,
        direct: Direct | None,
        heads: KnownHeads,
        **options: Any,
    ) -> None:
        super().__init__(manager, inbox, answers, **options)
        self._direct = direct
        self._heads = heads
        self._max_msg_queue_size = _MOST_WAITING
        self._msg_queue_resume_size = _MOST_WAITING - 1
        # The parser counts a request twice if its body came after its head, and then pauses one request earlier.
        most, broken = _MOST_WAITING + 1, web.RequestPayloadError
        self._parser = http.HttpRequestParser(
            self, self._loop, READ_AHEAD, payload_exception=broken, max_msg_queue_size=most, **PARSING
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin at the head of a request."""
        self._head = 0
        self._body = EMPTY_PAYLOAD
        self._missing: int | None = 0
        """Bytes of the newest request that are still to come; 0 between two requests, None if that is not known."""
        self._seen = b""
        """The head of the newest request, if that came by itself and whole."""
        super().connection_made(transport)

    @property
    def awaits_client(self) -> bool:
        """Whether only the client can go on: with a request, with the rest of a body, or by reading an answer."""
        if self.writing_paused:
            return True
        # Without a waiter the server is at a request; with a message, it is about to be.
        is_idle = self._waiter is not None and not self._request_in_progress
        return not self._messages and (is_idle or not self._body.is_eof())

    def data_received(self, data: bytes) -> None:
        """Parse what has come or answer it by its known head, and refuse a head that does not end."""
        head, end = head_of(data) if self._missing == 0 else (b"", 0)
        if end and self._answer_known(head, data[end:]):
            return
        in_body = not self._body.is_eof()
        requests = self._request_count
        waiter, self._waiter = self._waiter, None  # what comes does not wake the task by itself
        try:
            self._parse(data if len(head) == end else head + data[end:])
        finally:
            self._waiter = waiter
        if self._request_count != requests:
            self._head = 0
            message, self._body = self._messages[-1]
            if isinstance(message, http.RawRequestMessage) and message.upgrade:
                # `head_of` has not seen the header. The parser drops bytes that follow, so no request may.
                self._messages[-1] = message._replace(should_close=True), self._body
            self.requested_at = self._loop.time()
        elif not (in_body or self._upgraded or self._buffer_paused or self._close or self._force_close):
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._refuse_head()
        self._note_end(head, end, data, self._request_count - requests)
        self._serve()

    def _note_end(self, head: bytes, end: int, data: bytes, requests: int) -> None:
        """Note how much of the newest request is missing.

        Args:
            head: With which the bytes that have come begin, if a request begins there.
            end: Where it ends; otherwise 0.
            data: The bytes that have come.
            requests: How many requests the parser has found in them.
        """
        missing, self._missing, self._seen = self._missing, None, b""
        if requests == 0 and missing is not None:
            self._missing = missing - len(data)  # below zero once another request has begun
        elif requests == 1 and end:
            message = self._messages[-1][0]
            if isinstance(message, http.RawRequestMessage) and not message.chunked and not message.upgrade:
                self._missing = end + length_of(message) - len(data)
                self._seen = head if self._missing == 0 else b""
        if data.endswith(END) and self._body.is_eof() and not self._buffer_paused:
            self._missing = 0  # no head and no body is unfinished behind such bytes, and the parser has taken them all

    def _serve(self) -> None:
        """Answer the requests that need no task, and wake the task for the first other one."""
        waiter = self._waiter
        if waiter is None or self._close or self._force_close or self.transport is None or self.transport.is_closing():
            return  # the task is at a request, and takes the next one by itself; or the connection is ending
        while self._messages and not self._request_in_progress and not waiter.done():
            if not self._answer_directly():
                waiter.set_result(None)

    def _answer_known(self, head: bytes, body: bytes) -> bool:
        """Answer a request by its known head; return False if it is to be parsed."""
        direct, waiter = self._direct, self._waiter
        if direct is None or waiter is None or waiter.done() or self._request_in_progress or self.writing_paused:
            return False
        known = self._heads.get(head)
        if known is None or known.length != len(body) or not direct.is_ready():
            return False
        self.requested_at = self._loop.time()
        self._answer(known, body)
        return True

    def _answer_directly(self) -> bool:
        """Answer the next request, now or later; return False if that is the task's work."""
        message, body = self._messages[0]
        if (
            self._direct is None
            or self._parser is None
            or not isinstance(message, http.RawRequestMessage)
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or message.chunked
            or not body.is_eof()
            or self.writing_paused
            or not self._direct.is_ready()
        ):
            return False
        take = self._direct.choose(message)
        if take is None:
            return False
        known = KnownHead(message.method, message.path, length_of(message), take)
        if self._seen and len(self._messages) == 1:
            self._heads.note(self._seen, known)
        self._request_in_progress = True  # resuming the parser may find the next request, which must wait
        self._messages.popleft()
        self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        self._answer(known, body.read_nowait())
        return True

    def _answer(self, known: KnownHead, body: bytes) -> None:
        """Answer a request, now or later."""
        self._request_in_progress = True
        self._answered = known
        try:
            found = known.take(body, self._answer_later)
        except Exception as fault:  # noqa: BLE001 - logged with its traceback, and answered, as the task does it
            found = internal_error(known.method, known.path, fault)
        if found is not None:
            self._send(found)

    def _answer_later(self, make: Callable[[], Reply]) -> None:
        """Send the answer of a request that has waited, and go on with the next one."""
        try:
            found = make()
        except Exception as fault:  # noqa: BLE001 - logged with its traceback, and answered, as the task does it
            found = internal_error(self._answered.method, self._answered.path, fault)
        self._send(found)
        if self._messages:
            self._serve()

    def _send(self, reply: Reply) -> None:
        self._request_in_progress = False
        if self.transport is not None:
            self.transport.write(reply.render(self._answered.method, keep_alive=reply.keep_alive))
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)  # the connection is ending
        elif not reply.keep_alive or self._close:
            self.force_close()

    def _process_keepalive(self) -> None:
        """Close a connection without a request; one that is answered without the task has one."""
        if self._request_in_progress:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def _refuse_head(self) -> None:
        polls = self.poll is not None and not self.poll.done()
        if (self._request_in_progress or self._messages) and not polls:
            self.close()  # the request before it has its answer first; nothing more is parsed
            return
        if self.transport is not None and not polls:
            problem = HttpProblem(ProblemKind.HEADERS_TOO_LARGE, f"the limit is {LARGEST_HEAD} bytes in all")
            self.transport.write(raw_answer(problem))
        self.force_close()

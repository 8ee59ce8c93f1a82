"""Answers a request that has arrived whole without a task, in the same turn of the event loop.

aiohttp gives each request to a task. Here the task of the connection sleeps meanwhile, and gets everything else.

This rests on members of aiohttp that are not public, as version 3.14 has them. `can_answer_directly` asks for the
version and for each member; without them, `make_connection` returns a `ClientConnection`, and each request goes to a
task. aiohttp alone then bounds a head, by `MOST_HEADERS` of `LARGEST_HEADER` bytes, and a full listener makes room for
a new connection only where another client leaves an answer unread.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp import HttpVersion11, http, web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.adapters.http.client_connection import ClientConnection, internal_error, raw_answer
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.adapters.http.replies import Reply

LARGEST_HEAD = 32 * 1024
"""Bytes of request line and headers together; a sender that never ends them is refused, so 512 of them cost little."""

_TESTED_VERSION = "3.14."
_MEMBERS = (
    "_buffer_paused",
    "_close",
    "_force_close",
    "_handler_waiter",
    "_keepalive_timeout",
    "_loop",
    "_messages",
    "_next_keepalive_close_time",
    "_parser",
    "_process_keepalive",
    "_reading_paused",
    "_request_count",
    "_request_factory",
    "_request_in_progress",
    "_task_handler",
    "_waiter",
)
"""What this module uses of `web.RequestHandler`; aiohttp declares its attributes as slots."""

Later = Callable[[Callable[[], Reply]], None]
"""Takes what makes the reply of a request that had to wait."""
Direct = Callable[[web.BaseRequest, Later], Reply | bool]
"""Answers a request that has arrived whole: returns the reply, or True if it will call `Later` once. False leaves the
request to the handler; nothing of it was read then."""


def can_answer_directly() -> bool:
    """Return whether the installed aiohttp is a version that this module was tested with, and has what it uses."""
    return (
        aiohttp.__version__.startswith(_TESTED_VERSION)
        and all(hasattr(web.RequestHandler, member) for member in _MEMBERS)
        and hasattr(http.HttpRequestParser, "message_consumed")
    )


def make_connection(manager: web.Server, direct: Direct | None, **options: Any) -> ClientConnection:
    """Return the protocol of a new connection; `direct` gets each request first that has arrived whole."""
    if can_answer_directly():
        return DirectConnection(manager, direct, **options)
    return ClientConnection(manager, **options)


class DirectConnection(ClientConnection):
    """One connection; answers without a task what it can, and bounds the head of a request."""

    __slots__ = ("_body", "_direct", "_head")

    _body: StreamReader

    def __init__(self, manager: web.Server, direct: Direct | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self._direct = direct

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin at the head of a request."""
        self._head = 0
        self._body = EMPTY_PAYLOAD
        super().connection_made(transport)

    @property
    def awaits_client(self) -> bool:
        """Whether only the client can go on: with a request, with the rest of a body, or by reading an answer."""
        if self.writing_paused:
            return True
        # Without a waiter the server is at a request; with a message, it is about to be.
        is_idle = self._waiter is not None and not self._request_in_progress
        return not self._messages and (is_idle or not self._body.is_eof())

    def _receive(self, data: bytes) -> None:
        in_body = not self._body.is_eof()
        requests = self._request_count
        waiter, self._waiter = self._waiter, None  # what comes does not wake the task by itself
        try:
            self._parse(data)
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
        if waiter is None or self._close or self._force_close or self.transport is None or self.transport.is_closing():
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
            or not isinstance(message, http.RawRequestMessage)
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or not body.is_eof()
            or self.writing_paused
            or self._buffer_paused
        ):
            return False
        writer = http.StreamWriter(self, self._loop)
        request = self._request_factory(message, body, self, writer, self._task_handler)
        self._request_in_progress = True
        found: Reply | bool
        try:
            found = self._direct(request, partial(self._answer_later, request))
        except Exception as fault:  # noqa: BLE001 - logged with its traceback, and answered, as the task does it
            found = internal_error(request, fault)
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
        try:
            found = make()
        except Exception as fault:  # noqa: BLE001 - logged with its traceback, and answered, as the task does it
            found = internal_error(request, fault)
        self._send(request, found)
        if self._messages:
            self._serve()

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

"""The one shape of every response: a whole body, its type, not to be stored by caches. It is sent by one write.

Responses have few headers, and each combination of them is rendered once. A long body waits for its client to read.
"""

import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from aiohttp.http import StreamWriter

JSON: Final = "application/json"
_SERVER: Final = "marketplace-sidecar"
"""Names no version."""
_HTTP_11: Final = (1, 1)


class Reply(web.StreamResponse):
    """A whole response. The server of aiohttp calls `prepare` and `write_eof`, and reads `keep_alive`.

    Does not call the base class's `__init__`: that makes headers, cookies and a state that nothing here uses.
    """

    def __init__(self, body: bytes, status: int, media_type: str, headers: Mapping[str, str]) -> None:
        self._payload = body
        self._code = status
        self._media_type = media_type
        self._extra = headers
        self._stays_open = True

    @property
    def status(self) -> int:
        """The status code."""
        return self._code

    @property
    def body(self) -> bytes:
        """The whole body; empty once it is sent."""
        return self._payload

    @property
    def prepared(self) -> bool:
        """False: this response prepares nothing before it is sent."""
        return False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open; known once the response is sent."""
        return self._stays_open

    def force_close(self) -> None:
        """Close the connection after this response."""
        self._stays_open = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send the response."""
        self._stays_open = self._stays_open and request.keep_alive
        # The server keeps a response until the next request comes, and a writer that drains keeps what it has written.
        rendered, self._payload = self.render(request.method, request.version, keep_alive=self._stays_open), b""
        await cast("StreamWriter", request.writer).write(rendered, drain=False)
        del rendered
        if request.protocol.writing_paused:
            # The client may have sent many more requests.
            await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has sent all."""

    def render(self, method: str, version: tuple[int, int] = _HTTP_11, *, keep_alive: bool) -> bytes:
        """Return the bytes of the response to a request with this method and HTTP version."""
        head = _render_head(self._code, self._media_type, tuple(self._extra.items()), version, keep_alive=keep_alive)
        if self._code == HTTPStatus.NO_CONTENT:
            return b"%b%b\r\n" % (head, _date(int(time.time())))
        body = b"" if method == hdrs.METH_HEAD else self._payload
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, _date(int(time.time())), len(self._payload), body)


def reply(body: bytes, *, status: int = 200, media_type: str = JSON, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a response."""
    return Reply(body, status, media_type, headers or {})


def reply_json(document: object, *, status: int = 200) -> Reply:
    """Return a response that carries `document`."""
    return reply(encode(document), status=status)


def encode(document: object) -> bytes:
    """Return `document` as JSON that ends with a line feed: a terminal's prompt then begins on its own line."""
    return json.dumps(document).encode() + b"\n"


@lru_cache(maxsize=128)
def _render_head(
    status: int, media_type: str, extra: tuple[tuple[str, str], ...], version: tuple[int, int], *, keep_alive: bool
) -> bytes:
    """Return the status line and all headers but the date and the length."""
    lines = [f"HTTP/{version[0]}.{version[1]} {status} {HTTPStatus(status).phrase}"]
    if status != HTTPStatus.NO_CONTENT:
        lines.append(f"{hdrs.CONTENT_TYPE}: {media_type}")
    lines += [f"{hdrs.CACHE_CONTROL}: no-store", f"{hdrs.SERVER}: {_SERVER}"]
    lines += [f"{name}: {value}" for name, value in extra]
    if keep_alive is (version < _HTTP_11):  # what the version does not imply
        lines.append(f"{hdrs.CONNECTION}: {'keep-alive' if keep_alive else 'close'}")
    return "\r\n".join([*lines, ""]).encode()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return f"{hdrs.DATE}: {formatdate(second, usegmt=True)}\r\n".encode()

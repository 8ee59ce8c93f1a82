"""Heads of requests that were parsed before: an app sends the same few again and again.

What answers a request directly is chosen by its head alone, so equal bytes have the same answerer. Kept are only heads
that aiohttp's parser has taken, each with the one length of body that it names. Headers that nothing here reads are no
part of them: a trace context and ids of all kinds, which an instrumented client makes for each request, and `Upgrade`,
by which Java's client asks for HTTP/2. The parser would drop what follows a request that asks for an upgrade.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import hdrs, http

from sidecar.adapters.http.replies import Reply

MOST_HEADS = 128
"""Heads of one listener. With one more the memory begins anew: heads that all differ gain nothing by it."""
LARGEST_KEPT = 4096
"""Bytes of a head that is kept."""
END = b"\r\n\r\n"
"""The end of a head, and of a body in chunks."""
# The parser refuses a next line that would continue one of them.
UNREAD = re.compile(
    rb"\r\n(?:traceparent|tracestate|baggage|b3|upgrade|x-[\w!#$%&'*+.^`|~-]{0,64}):[\t -~]{0,1024}(?=\r\n)",
    re.IGNORECASE,
)
"""Headers that nothing reads, with the line end before each; the parser, which bounds headers, gets longer ones."""

Later = Callable[[Callable[[], Reply]], None]
"""Takes what makes the reply of a request that had to wait."""
Take = Callable[[bytes, Later], Reply | None]
"""Answers a request by its body: returns the reply, or None if it will call `Later` once."""


class Direct(NamedTuple):
    """What answers requests without a task."""

    choose: Callable[[http.RawRequestMessage], Take | None]
    """Returns what answers each request with this head, by the head alone; None leaves them to the handler."""
    is_ready: Callable[[], bool] = lambda: True
    """Whether requests may be answered directly at this moment."""


class KnownHead(NamedTuple):
    """A head that was parsed."""

    method: str
    path: str
    length: int
    """Bytes of the body."""
    take: Take


class KnownHeads:
    """The heads of one listener."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}
        self._seen: set[int] = set()
        """The hashes of heads that were seen once. Most of them never come again if each has an id of its own."""

    def get(self, head: bytes) -> KnownHead | None:
        """Return what is known of a head."""
        return self._heads.get(head)

    def note(self, head: bytes, known: KnownHead) -> None:
        """Note a head that the parser has taken as `known`; the second time it is kept, if it is not too long."""
        if len(head) > LARGEST_KEPT:
            return
        seen = hash(head)
        if seen not in self._seen:
            if len(self._seen) >= MOST_HEADS:
                self._seen.clear()
            self._seen.add(seen)
            return
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[head] = known


def head_of(data: bytes) -> tuple[bytes, int]:
    """Return the head with which `data` begins, without the headers that nothing reads, and its length in `data`.

    The length is 0 if the head does not end.
    """
    end = data.find(END)
    if end < 0 or not data[:1].isalpha():  # the parser passes over line ends before a request: they are no head
        return b"", 0
    end += len(END)
    return UNREAD.sub(b"", data[:end]), end


def length_of(head: http.RawRequestMessage) -> int:
    """Return the bytes of the body that a head names; the parser has taken the header."""
    return int(head.headers.get(hdrs.CONTENT_LENGTH, 0))

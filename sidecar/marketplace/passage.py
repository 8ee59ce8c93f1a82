"""How far a call has come, and a call that its caller gives up: no byte of it leaves from then on, unless one has left.

A cancelled await does not end the call behind it, and after a byte has left only the service knows its fate. The
cancellation itself shows whether the call was sent: see `never_left`.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from sidecar.marketplace.errors import NotSent

_GIVEN_UP: Final = "the caller gave the call up before it was sent"


class Passage:
    """One call, between the thread that makes it and the caller that may give it up."""

    def __init__(self) -> None:
        # Between the last look at `_given_up` and the first byte the caller must not believe that nothing leaves.
        self._lock = threading.Lock()
        self._given_up = False
        self.sent = False
        """Its first byte may have left."""

    def leave(self) -> None:
        """Note that the first byte leaves now; raises NotSent if the call was given up."""
        with self._lock:
            if self._given_up:
                raise NotSent(_GIVEN_UP)
            self.sent = True

    def give_up(self) -> bool:
        """Let nothing leave from now on; return whether nothing has left."""
        with self._lock:
            self._given_up = not self.sent
            return self._given_up


_PASSAGE: ContextVar[Passage | None] = ContextVar("passage", default=None)
"""The call that this thread makes; the SDK makes each call on the thread that asks for it."""


@contextmanager
def following(call: Passage) -> Iterator[None]:
    """Let `call` be the one that this thread makes."""
    token = _PASSAGE.set(call)
    try:
        yield
    finally:
        _PASSAGE.reset(token)


def current() -> Passage | None:
    """Return the call that this thread makes; None if nothing follows it."""
    return _PASSAGE.get()


def mark_unsent(cut: asyncio.CancelledError) -> None:
    """Note in a cancellation that the call which it cuts off was never sent."""
    # Its class must stay: asyncio.timeout compares it by identity.
    cut.__cause__ = NotSent(_GIVEN_UP)


@contextmanager
def sends_nothing() -> Iterator[None]:
    """Mark a cancellation inside the block: the call that was to follow was never sent."""
    try:
        yield
    except asyncio.CancelledError as cut:
        mark_unsent(cut)
        raise


def never_left(cut: asyncio.CancelledError) -> bool:
    """Return whether the call that the cancellation cut off was certainly never sent."""
    return isinstance(cut.__cause__, NotSent)

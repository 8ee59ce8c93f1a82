"""Lines for standard error that a reader which stopped reading cannot hold up.

A thread of its own writes them, because a full pipe blocks its writer and must not block the event loop. Keeps a
bounded number of lines; drops later ones, and writes how many were dropped once the reader reads again.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

MOST = 10_000
"""How many lines wait for a reader."""

_DRAIN_WITHIN = 1.0


class LineWriter:
    """A context that writes lines to a file descriptor, in order. At its end it drains for at most a second."""

    def __init__(self, descriptor: int, note: Callable[[int], str], most: int = MOST) -> None:
        """`note` returns the line that takes the place of a number of dropped ones."""
        self._descriptor = descriptor
        self._note = note
        self._most = most
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._ended = False
        self._changed = threading.Condition()
        # A daemon: a writer that is blocked for good must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="line-writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(_DRAIN_WITHIN)

    def write(self, line: str) -> None:
        """Take a line without its end; never blocks."""
        with self._changed:
            if len(self._lines) >= self._most:
                self._dropped += 1
                return
            if self._dropped:
                self._lines.append(self._take_note())
            self._lines.append(line)
            self._changed.notify()

    def _run(self) -> None:
        while (line := self._next()) is not None:
            # A reader that is gone must not end the emulator.
            with suppress(OSError):
                self._send(f"{line}\n".encode(errors="backslashreplace"))

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._dropped or self._ended)
            if self._lines:
                return self._lines.popleft()
            return self._take_note() if self._dropped else None

    def _take_note(self) -> str:
        dropped, self._dropped = self._dropped, 0
        return self._note(dropped)

    def _send(self, text: bytes) -> None:
        while text:
            try:
                text = text[os.write(self._descriptor, text) :]
            except BlockingIOError:  # another program has made the shared terminal non-blocking
                select.select([], [self._descriptor], [])

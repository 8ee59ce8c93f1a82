"""A terminal with a writer thread of its own: lines that scroll, and one status line below them.

A caller of `write` never blocks. A person may pause a terminal for an hour (Ctrl-S, a selection, a stopped pager), and
a write to it blocks for that time: only this thread. The number of waiting lines is bounded; the oldest are dropped,
and a line reports their number.

The status line starts at the left edge and the cursor returns there. Erasing from the cursor to the end of the screen
then removes the whole line, even if a narrower window has wrapped it into several rows.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable

from sidecar.terminal.size import size_of

_MOST = 1000
"""Maximum number of waiting pieces of text."""
_PATIENCE = 0.5
"""Seconds that `close` waits for a paused terminal."""
_ERASE = "\r\033[J"

StatusLine = Callable[[int], str]
"""Returns the status line for a number of columns."""


class TerminalWriter:
    """A stream of log lines to a terminal."""

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._status: StatusLine | None = None
        self._stale = False
        """The status line may have changed."""
        self._spoiled = False
        """The screen no longer shows what was drawn."""
        self._closed = False
        self._drawn = ""
        """The status line on the screen; only the thread uses it."""
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Queue text; after `close`, write it directly."""
        with self._changed:
            if not self._closed:
                self._waiting.append(text)
                if len(self._waiting) > _MOST:
                    self._waiting.popleft()
                    self._lost += 1
                self._changed.notify()
                return
        self._put(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as the terminal accepts text."""

    def isatty(self) -> bool:
        """Return True."""
        return True

    def show(self, status: StatusLine | None) -> None:
        """Show this status line below the lines, or none; an unchanged line is not redrawn."""
        with self._changed:
            self._status = status
            self._stale = True
            self._changed.notify()

    def redraw(self) -> None:
        """Redraw the status line: the terminal's size has changed, or another program wrote to it."""
        with self._changed:
            self._spoiled = self._stale = True
            self._changed.notify()

    def close(self) -> None:
        """Write the waiting text and remove the status line; wait for a paused terminal half a second at most."""
        with self._changed:
            self._closed = True
            self._status, self._stale = None, True
            self._changed.notify()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stale or self._closed)
                text = "".join(self._waiting)
                self._waiting.clear()
                lost, self._lost = self._lost, 0
                status, self._stale = self._status, False
                spoiled, self._spoiled = self._spoiled, False
                ended = self._closed
            if lost:
                text = f"... {lost} lines are missing here: the terminal was paused\n{text}"
            in_front = self._is_in_front()
            line = status(size_of(self._descriptor).columns - 1) if status is not None and in_front else ""
            if text or (in_front and (spoiled or line != self._drawn)):
                # In the background the shell uses the row of the status line.
                erase = _ERASE if self._drawn and in_front else ""
                self._drawn = line
                self._put(f"{erase}{text}{line}\r" if line else f"{erase}{text}")
            if ended:
                return

    def _is_in_front(self) -> bool:
        """Return whether this process may draw; the shell uses the terminal while a job is in the background."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:  # not a controlling terminal, so no shell uses it
            return True

    def _put(self, text: str) -> None:
        data = text.encode(self._encoding, "backslashreplace")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Another program has set the terminal to non-blocking writes.
                select.select([], [self._descriptor], [])
            except OSError:
                # The terminal is gone; the sidecar keeps running.
                return

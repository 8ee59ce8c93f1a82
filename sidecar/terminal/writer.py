"""A terminal that is written to by a thread of its own: lines that scroll, and one status line below them.

Whoever writes never waits. A person may pause a terminal for an hour (Ctrl-S, a selection, a stopped pager), and a
write to it waits as long: here that holds nobody but this thread. What gathers meanwhile is bounded; the oldest lines
go, and how many went is said.

The status line is drawn from the left edge and leaves the cursor there, so that erasing from the cursor to the end of
the screen removes it whole, also where a narrower window has wrapped it into several rows.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable

from sidecar.terminal.size import size_of

_MOST = 1000
"""Pieces of text that may wait."""
_PATIENCE = 0.5
"""Seconds that the end waits for a terminal that takes nothing."""
_ERASE = "\r\033[J"

StatusLine = Callable[[int], str]
"""Returns the status line for so many columns."""


class TerminalWriter:
    """A stream for log lines onto a terminal."""

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        """Begin to write.

        Args:
            descriptor: The terminal.
            encoding: What it understands.
        """
        self._descriptor = descriptor
        self._encoding = encoding
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._status: StatusLine | None = None
        self._stale = False
        """The status line may look different now."""
        self._spoiled = False
        """What stands on the screen is not what was drawn."""
        self._closed = False
        self._drawn = ""
        """The status line that stands on the screen; the thread's own."""
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take text to be written; after the end it is written at once."""
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
        """Do nothing: the thread writes as soon as the terminal takes it."""

    def isatty(self) -> bool:
        """Tell that it is a terminal."""
        return True

    def show(self, status: StatusLine | None) -> None:
        """Have this status line below the lines, or none; nothing is drawn if it looks as the one before."""
        with self._changed:
            self._status = status
            self._stale = True
            self._changed.notify()

    def redraw(self) -> None:
        """Draw the status line anew: the terminal's size has changed, or something else wrote on it."""
        with self._changed:
            self._spoiled = self._stale = True
            self._changed.notify()

    def close(self) -> None:
        """Write what waits and remove the status line; a terminal that takes nothing holds nobody up."""
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
                # In the background the row where the line stood is the shell's by now.
                erase = _ERASE if self._drawn and in_front else ""
                self._drawn = line
                self._put(f"{erase}{text}{line}\r" if line else f"{erase}{text}")
            if ended:
                return

    def _is_in_front(self) -> bool:
        """Tell whether the terminal is this process's to draw on; a shell uses it while a job is in the background."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:  # it is no controlling terminal, so nobody else's either
            return True

    def _put(self, text: str) -> None:
        data = text.encode(self._encoding, "backslashreplace")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Another program on this terminal has left it so that it does not wait by itself.
                select.select([], [self._descriptor], [])
            except OSError:
                # The terminal is gone; the sidecar goes on.
                return

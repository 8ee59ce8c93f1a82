"""`status --watch`: polls the status repeatedly, and shows each one in place of the one before, or below it.

On a terminal it draws on the alternate screen, in one write and without clearing first, which avoids flicker; the
cursor and the screen are restored however it ends. The last status remains on the screen.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn, Self

from sidecar.commands.status.following import Following, View
from sidecar.commands.tables import print_line
from sidecar.terminal.size import columns_of, size_of
from sidecar.terminal.text import fit

_ENTER = "\033[?1049h\033[?25l"
_LEAVE = "\033[?25h\033[?1049l"
_HOME = "\033[H"
_ERASE_LINE = "\033[K"
_ERASE_BELOW = "\033[J"


def watch_as_documents(following: Following, every: float) -> NoReturn:
    """Print one JSON document per line, without end."""
    while True:
        following.poll()
        sys.stdout.write(f"{json.dumps(following.document())}\n")
        sys.stdout.flush()
        time.sleep(every)


def watch_as_text(following: Following, view: View, every: float) -> NoReturn:
    """Print one status below the other, without end."""
    while True:
        following.poll()
        for line in [*view.lines(following, columns_of(sys.stdout)), ""]:
            print_line(line)
        sys.stdout.flush()
        time.sleep(every)


def watch_on_terminal(following: Following, view: View, every: float) -> NoReturn:
    """Draw each status over the one before, until a signal ends it."""

    def lines(columns: int) -> list[str]:
        return view.lines(following, columns)

    following.poll()
    try:
        with _Screen(lines) as screen:
            while True:
                screen.draw()
                screen.wait(every)
                following.poll()
    finally:
        for line in lines(columns_of(sys.stdout)):
            print_line(line)


class _Screen:
    """The terminal's alternate screen; redrawn when its size changes and after a suspension."""

    def __init__(self, lines: Callable[[int], list[str]]) -> None:
        self._lines = lines
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (signal.SIGWINCH, signal.SIGCONT):
            signal.signal(number, _note)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
        signal.signal(signal.SIGTSTP, self._suspend)
        _put(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        _put(_LEAVE)

    def draw(self) -> None:
        """Draw the status in one write; lines that do not fit are counted instead."""
        columns, height = columns_of(sys.stdout), size_of(sys.stdout).lines
        lines = self._lines(columns)
        if len(lines) > height:
            lines[height - 1 :] = [fit(f"... {len(lines) - height + 1} more lines do not fit this terminal", columns)]
        _put(_HOME + "\n".join(f"{line}{_ERASE_LINE}" for line in lines) + _ERASE_BELOW)

    def wait(self, seconds: float) -> None:
        """Return after this many seconds; meanwhile follow the terminal's size."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._wake], [], [], left)[0]:
                os.read(self._wake, 4096)
                self.draw()

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Restore the terminal while the process is stopped."""
        _put(_LEAVE)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._suspend)
        _put(_ENTER)


def _put(text: str) -> None:
    """Write past the stream's buffer, which a signal's handler may not enter while it is being written."""
    data = text.encode(sys.stdout.encoding or "ascii", "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def _note(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the signal itself ends a wait."""


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)

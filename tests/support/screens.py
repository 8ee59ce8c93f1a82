"""Programs on a terminal of their own: a real pty, whose output an independent emulator turns into a screen.

A person's hands are here too: keys, a window that is resized, a terminal that is paused.
"""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import pyte

from tests.support.tools import PATIENCE

PAUSE, RESUME, INTERRUPT, SUSPEND = b"\x13", b"\x11", b"\x03", b"\x1a"
"""What the keys Ctrl-S, Ctrl-Q, Ctrl-C and Ctrl-Z send."""


def own_command(*arguments: str) -> list[str]:
    """Return the product's command as a program and its arguments."""
    return [sys.executable, "-m", "sidecar", *arguments]


class Screen:
    """One program on a terminal."""

    def __init__(
        self, arguments: Sequence[str], variables: Mapping[str, str], *, columns: int = 80, lines: int = 24
    ) -> None:
        """Start it.

        Args:
            arguments: The program and what it is given.
            variables: The environment.
            columns: Of the terminal.
            lines: Of the terminal.
        """
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        """Everything that was written so far."""
        self._master, slave = os.openpty()
        self.announce(columns, lines)
        self.process = subprocess.Popen(
            # A session of its own whose terminal this is, so keys become signals.
            [sys.executable, "-c", _ON_A_TERMINAL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"TERM": "xterm-256color", **variables},
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def rows(self) -> list[str]:
        """What stands on the screen now, without spaces at the ends."""
        return [row.rstrip() for row in self._screen.display]

    @property
    def cursor_is_shown(self) -> bool:
        """The cursor can be seen."""
        return not self._screen.cursor.hidden

    @property
    def cursor_column(self) -> int:
        """Where the cursor stands in its row."""
        return int(self._screen.cursor.x)

    def read(self, within: float = 0.05) -> None:
        """Take in what has been written, waiting a little for the first of it."""
        while select.select([self._master], [], [], within)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side has been closed
                return
            if not data:
                return
            self.raw += data
            self._stream.feed(data)
            within = 0

    def await_for(self, what: str, look: Callable[[list[str]], object]) -> list[str]:
        """Return the rows of the screen as soon as `look` takes them."""
        deadline = time.monotonic() + PATIENCE
        while not look(self.rows):
            if time.monotonic() > deadline:
                raise AssertionError("\n".join([f"never came: {what}; the screen:", *self.rows]))
            self.read()
        return self.rows

    def await_text(self, text: str) -> list[str]:
        """Return the rows as soon as one of them holds a text."""
        return self.await_for(repr(text), lambda rows: any(text in row for row in rows))

    def press(self, keys: bytes) -> None:
        """Type on the keyboard."""
        os.write(self._master, keys)

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size."""
        self._screen.resize(lines, columns)
        self.announce(columns, lines)

    def announce(self, columns: int, lines: int) -> None:
        """Tell the program another size; what it wrote before it knows still goes to the old window."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def await_end(self) -> int:
        """Return the exit code, with everything read that was written."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "\n".join(["it does not end; the screen:", *self.rows])
            self.read()
        self.read()
        return self.process.returncode


_ON_A_TERMINAL = f"""
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal({int(signal.SIGINT)}, signal.default_int_handler)
os.execvp(sys.argv[1], sys.argv[1:])
"""

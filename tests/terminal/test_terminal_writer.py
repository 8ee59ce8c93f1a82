"""The writer that never waits, on a real terminal."""

import os
import termios
from collections.abc import Iterator

import pyte
import pytest

from sidecar.commands.demo.environment import wait_for
from sidecar.terminal.writer import TerminalWriter


class Terminal:
    """The other side of a terminal, which reads when it is told to."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        termios.tcsetwinsize(self.slave, (24, 40))
        os.set_blocking(self.master, False)
        self._screen = pyte.Screen(40, 24)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    def rows(self) -> list[str]:
        """What stands on the screen after everything that has been written."""
        try:
            while data := os.read(self.master, 65536):
                self.raw += data
                self._stream.feed(data)
        except BlockingIOError:
            pass
        return [row.rstrip() for row in self._screen.display if row.strip()]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal of 40 columns."""
    terminal = Terminal()
    yield terminal
    os.close(terminal.master)
    os.close(terminal.slave)


@pytest.fixture
def writer(terminal: Terminal) -> Iterator[TerminalWriter]:
    """A writer on it."""
    writer = TerminalWriter(terminal.slave)
    yield writer
    writer.close()


def settled_rows(terminal: Terminal, expected: list[str]) -> list[str]:
    """Return the rows of the screen as soon as they are the expected ones."""
    wait_for(f"{expected}", lambda: terminal.rows() == expected)
    return terminal.rows()


def test_lines_go_above_status(terminal: Terminal, writer: TerminalWriter) -> None:
    """A line that is written goes above the status line, which is there once."""
    writer.show(lambda _columns: "all is well")
    rows = ["all is well"]
    assert rows == settled_rows(terminal, rows)
    writer.write("first\n")
    writer.write("second\n")
    rows = ["first", "second", "all is well"]
    assert rows == settled_rows(terminal, rows)
    writer.show(lambda columns: f"{columns} cells")
    rows = ["first", "second", "39 cells"]
    assert rows == settled_rows(terminal, rows)


def test_same_line_is_not_drawn_again(terminal: Terminal, writer: TerminalWriter) -> None:
    """A status that looks as before costs nothing."""
    writer.show(lambda _columns: "same")
    rows = ["same"]
    assert rows == settled_rows(terminal, rows)
    writer.show(lambda _columns: "same")
    writer.show(lambda _columns: "other")
    rows = ["other"]
    assert rows == settled_rows(terminal, rows)
    assert 1 == terminal.raw.count(b"same")


def test_end_removes_status(terminal: Terminal, writer: TerminalWriter) -> None:
    """At the end what waits is written, the status line is gone, and later text goes out immediately."""
    writer.show(lambda _columns: "all is well")
    writer.write("last\n")
    writer.close()
    rows = ["last"]
    assert rows == settled_rows(terminal, rows)
    writer.write("a traceback\n")
    rows = ["last", "a traceback"]
    assert rows == settled_rows(terminal, rows)


def test_what_waits_is_bounded(terminal: Terminal, writer: TerminalWriter) -> None:
    """A terminal that takes nothing costs a bounded number of lines; what is missing is reported when it continues."""
    termios.tcflow(terminal.slave, termios.TCOOFF)
    for number in range(5000):
        writer.write(f"line {number}\n")
    termios.tcflow(terminal.slave, termios.TCOON)
    wait_for("the last line", lambda: "line 4999" in terminal.rows())
    assert b"lines are missing here: the terminal was paused" in terminal.raw
    # As many as may wait, and as many that were on their way when it was paused.
    assert terminal.raw.count(b"line ") <= 2000


def test_gone_terminal_is_survived(writer: TerminalWriter, terminal: Terminal) -> None:
    """A terminal that has gone away ends no process."""
    replaced = os.open(os.devnull, os.O_RDONLY)
    os.dup2(replaced, terminal.slave)
    os.close(replaced)
    writer.write("into nothing\n")
    writer.close()
    writer.write("and again\n")
    with pytest.raises(OSError, match="Input/output error"):
        terminal.rows()

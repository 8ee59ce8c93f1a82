"""Lines for standard error: in order, never in the way of the event loop, and honest about what was dropped."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.emulator.line_writer import LineWriter
from tests.support.tools import PATIENCE

LINE = "x" * 1000


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Yield a pipe's two ends."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def note(dropped: int) -> str:
    """Return the line in place of dropped ones."""
    return f"{dropped} dropped"


def read_until(descriptor: int, end: bytes) -> list[str]:
    """Read lines up to one that ends with `end`."""
    found = b""
    while not found.endswith(end + b"\n"):
        found += os.read(descriptor, 65536)
    return found.decode().splitlines()


def test_lines_are_written_in_order(pipe: tuple[int, int]) -> None:
    """All lines of a reader that reads arrive, also those that waited at the end."""
    lines = [f"line {number} \udcff" for number in range(50)]
    with LineWriter(pipe[1], note) as writer:
        for line in lines:
            writer.write(line)
    assert [f"line {number} \\udcff" for number in range(50)] == read_until(pipe[0], b"49 \\udcff")


def test_unread_lines_are_dropped_and_counted(pipe: tuple[int, int]) -> None:
    """Nobody reads: writing does not block, later lines are dropped, and lines with their number are in their place."""
    with LineWriter(pipe[1], note, most=10) as writer:
        for _ in range(500):
            writer.write(LINE)
        # The writer's thread decides how many lines the pipe takes, and at how many places lines are dropped.
        kept = dropped = 0
        while kept + dropped < 500:
            for line in read_until(pipe[0], b""):
                kept += line == LINE
                dropped += 0 if line == LINE else int(line.removesuffix(" dropped"))
        writer.write("next")
        assert ["next"] == read_until(pipe[0], b"next")
    assert 500 == kept + dropped
    assert dropped > 0


def test_end_does_not_wait_for_a_reader(pipe: tuple[int, int]) -> None:
    """At the end lines that nobody reads are given up after a second."""

    def write() -> None:
        with LineWriter(pipe[1], note) as writer:
            for _ in range(500):
                writer.write(LINE)
            writer.write("end")

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    # The writer goes on: it must not meet the descriptor of another test.
    assert [LINE] * 500 + ["end"] == read_until(pipe[0], b"end")


def test_nonblocking_descriptor_is_waited_for(pipe: tuple[int, int]) -> None:
    """A descriptor that another program made non-blocking loses no line."""
    os.set_blocking(pipe[1], False)
    with LineWriter(pipe[1], note) as writer:
        for _ in range(500):
            writer.write(LINE)
        writer.write("end")
        assert [LINE] * 500 + ["end"] == read_until(pipe[0], b"end")


def test_lost_reader_ends_nothing(tmp_path: Path) -> None:
    """A reader that is gone, or a full disk, costs lines and nothing else."""
    reading = os.open(tmp_path, os.O_RDONLY)
    with LineWriter(reading, note) as writer:
        writer.write("lost")
    os.close(reading)
    assert "line-writer" not in {thread.name for thread in threading.enumerate()}

"""What is logged when descriptors run out, on a loop whose time the test moves."""

import errno
import inspect
import os
import socket
from asyncio import selector_events
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.adapters.descriptors import DescriptorReports


class Loop:
    """As much of an event loop as the reports need."""

    def __init__(self) -> None:
        self.now = 100.0
        self.report: Callable[..., None] = self.default_exception_handler
        self.passed_on: list[dict[str, Any]] = []
        self._later: list[tuple[float, Callable[[], None]]] = []

    def set_exception_handler(self, handler: Callable[..., None]) -> None:
        """Note who is told."""
        self.report = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what goes the usual way."""
        self.passed_on.append(context)

    def time(self) -> float:
        """Return the time that the test has set."""
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> object:
        """Note what is due when."""
        self._later.append((self.now + seconds, call))
        return object()

    def advance(self, seconds: int) -> None:
        """Let seconds pass, one after the other."""
        for _ in range(seconds):
            self.now += 1
            due = [call for at, call in self._later if at <= self.now]
            self._later = [(at, call) for at, call in self._later if at > self.now]
            for call in due:
                call()


@pytest.fixture
def loop() -> Loop:
    """A loop that reports to the code under test."""
    made = Loop()
    DescriptorReports(made).install()  # type: ignore[arg-type]  # as much of a loop as it needs
    return made


def refuse(loop: Loop, listening: socket.socket) -> None:
    """Report as asyncio does: a hundred times for one attempt."""
    for _ in range(100):
        fault = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        loop.report(
            loop,
            {"message": "socket.accept() out of system resource", "exception": fault, "socket": listening},
        )


def test_one_line_then_a_count(loop: Loop) -> None:
    """The first refusal is a line, those of each later minute are one line with their count, the end is one more."""
    with socket.socket() as listening, capture_logs() as lines:
        for _ in range(150):
            refuse(loop, listening)
            loop.advance(1)
        loop.advance(10)
    assert [("descriptors.exhausted", 1), ("descriptors.exhausted", 60), ("descriptors.exhausted", 120)] == [
        (line["event"], line["attempts"]) for line in lines[:-1]
    ]
    assert ("descriptors.recovered", 150) == (lines[-1]["event"], lines[-1]["attempts"])
    assert not loop.passed_on


def test_next_shortage_is_told_anew(loop: Loop) -> None:
    """After the end the next refusal is a line again, counted from one."""
    with socket.socket() as listening, capture_logs() as lines:
        for _ in range(2):
            refuse(loop, listening)
            loop.advance(5)
    assert [("descriptors.exhausted", 1), ("descriptors.recovered", 1)] * 2 == [
        (line["event"], line["attempts"]) for line in lines
    ]


def test_silence_alone_is_no_end(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no descriptor can be had the shortage lasts, even without a connection."""

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, "")

    with socket.socket() as listening, capture_logs() as lines:
        refuse(loop, listening)
        monkeypatch.setattr(os, "open", fail)
        loop.advance(30)
        assert ["descriptors.exhausted"] == [line["event"] for line in lines]
        monkeypatch.undo()
        loop.advance(3)
    assert ["descriptors.exhausted", "descriptors.recovered"] == [line["event"] for line in lines]


@pytest.mark.parametrize("context", [{"message": "Task exception was never retrieved"}, {}])
def test_other_reports_go_on(loop: Loop, context: dict[str, Any]) -> None:
    """Whatever else a loop reports goes where it always went."""
    loop.report(loop, context)
    assert [context] == loop.passed_on


def test_asyncio_still_says_so() -> None:
    """The words by which the report is known are those of the asyncio at hand."""
    assert "'socket.accept() out of system resource'" in inspect.getsource(selector_events)

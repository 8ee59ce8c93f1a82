"""Tables on a terminal: columns where they fit, blocks where they do not, and columns in a pipe."""

import fcntl
import os
import pty
import struct
import sys
import termios
from contextlib import suppress
from io import TextIOWrapper

import pytest

from sidecar.commands.demo.screen import Screen
from sidecar.commands.tables import print_table

TITLES = ("id", "dimension", "hour", "metering_record_id", "reason")
ROWS = [
    ["rec-1", "requests", "2026-11-23T09:00:00Z", "5f4dcc3b-5aa7-65d6-1d83-27deb882cf99", None],
    ["rec-2", "requests", "2026-11-23T10:00:00Z", None, "rejected: the product has no such dimension in AWS's words"],
]


def shown(columns: int, monkeypatch: pytest.MonkeyPatch, act: object = None) -> list[str]:
    """Return what a terminal of so many columns gets."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.setenv("NO_COLOR", "1")
    with TextIOWrapper(os.fdopen(theirs, "wb", buffering=0), write_through=True) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        if callable(act):
            act()
        else:
            print_table(TITLES, ROWS)
    data = b""
    # The terminal passes on what was written in pieces, and fails with EIO after the last one.
    with suppress(OSError):
        while piece := os.read(ours, 65536):
            data += piece
    os.close(ours)
    return data.decode().replace("\r\n", "\n").splitlines()


def test_wide_terminal_has_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a whole row fits, it stands on one line."""
    lines = shown(200, monkeypatch)
    assert 3 == len(lines)
    assert list(TITLES) == lines[0].split()


def test_narrow_terminal_has_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 80 columns each record is a block; no line is wider, no value is broken, and what is not there is left out."""
    lines = shown(80, monkeypatch)
    assert max(map(len, lines)) <= 80
    assert ["id rec-1", "id rec-2"] == [line for line in lines if line.startswith("id")]
    assert "  metering_record_id  5f4dcc3b-5aa7-65d6-1d83-27deb882cf99" in lines
    assert not any(line.endswith(" -") for line in lines)
    assert "rejected: the product has no such dimension in AWS's words" in " ".join(" ".join(lines).split())


def test_pipe_has_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """What a program reads is one line for each row, however long."""
    print_table(TITLES, ROWS)
    assert 3 == len(capsys.readouterr().out.splitlines())


def test_demo_breaks_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demonstration's sentences are broken between words on 80 columns, and nothing of them is lost."""
    text = "requests: 1234567.5 accepted = 0 open + 0 sealed + 1234567.5 submitted + 0 unbilled + 0 remainder, in all"
    lines = shown(80, monkeypatch, lambda: Screen().note(text))
    assert 2 == len(lines)
    assert max(map(len, lines)) < 80
    assert text.split() == " ".join(lines).split()

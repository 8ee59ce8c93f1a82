"""The line below the log of a sidecar that runs in front of a person."""

import os
import re
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.commands.live import LiveTerminal, describe, join
from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.status import Status, Terms
from sidecar.settings import MeteringSettings, Product, Settings
from sidecar.terminal.colors import Color, Paint
from sidecar.terminal.text import width
from tests.commands.statuses import ILL, MILLION, NOW, WELL

METERING = MeteringSettings(dimensions=(Dimension("requests", Aggregation.SUM), Dimension("peak", Aggregation.MAX)))
THIS_HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def line(status: Status, columns: int = 200, rate: float = 2.5) -> str:
    """Return the line without colors."""
    return join(list(describe(status, METERING, rate)), Paint(on=False), columns)


def test_line_says_how_it_goes() -> None:
    """State, metering, what comes next, open usage and pace, in this order."""
    assert "entitled | metering ok | seals 11:02Z | open requests 2 | 2.5 events/s | no faults" == line(WELL)


def test_trouble_comes_first() -> None:
    """Faults stand right behind the state, and an hour that waits has its time left."""
    assert line(ILL).startswith(
        "suspended | 1 fault: in-doubt | metering failing | unsent from 05:00Z (39m 54s left) | seals 11:02Z | "
    )


def test_submission_is_announced() -> None:
    """A sealed hour whose turn has not come shows when it does."""
    now = THIS_HOUR + timedelta(minutes=2, seconds=1)
    shown = line(replace(WELL, now=now, oldest_unsent_hour=THIS_HOUR - timedelta(hours=1)))
    assert re.search(r"unsent from 09:00Z \(4h 57m left\) \| submits 10:(0[2-9]|1\d|2[0-2]):\d\dZ \|", shown)


def test_closed_window_is_told() -> None:
    """An hour that AWS takes no longer is reported as too late."""
    assert "unsent from 04:00Z (too late)" in line(replace(WELL, oldest_unsent_hour=NOW.replace(hour=4, minute=0)))


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "open nothing"), (3, "open d0 1, d1 1, d2 1"), (4, "open usage in 4")]
)
def test_many_dimensions_are_counted(count: int, expected: str) -> None:
    """A few dimensions are named, many are counted."""
    terms = {f"d{number}": Terms(accepted=MILLION, open=MILLION) for number in range(count)}
    assert expected in line(replace(WELL, conservation=terms))


def test_line_is_cut() -> None:
    """A narrow terminal gets the beginning; no width is exceeded, wide characters included."""
    wide = replace(WELL, conservation={"用量用量用量": Terms(accepted=MILLION, open=MILLION)})
    for columns in range(120):
        assert width(line(wide, columns)) <= columns
    assert "entitled | metering ok | seals 11:02Z" == line(WELL, 40)
    assert "entitled | metering ok | seals ..." == line(WELL, 34)


def test_colors_take_no_width() -> None:
    """The line is cut by what is seen of it."""
    colored = join([("entitled", Color.GOOD), ("metering ok", None)], Paint(on=True), 22)
    assert "\033[32mentitled\033[0m | metering ok" == colored


def test_line_is_gone_before_traceback() -> None:
    """When the sidecar falls the line is taken away before anybody prints why."""
    master, slave = os.openpty()
    read = b""
    with open(slave, "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a descriptor has no path
        with suppress(KeyError), LiveTerminal(Settings(product=Product(code="a")), terminal) as attended:
            attended.stream.show(lambda _columns: "how it goes")
            while not read.endswith(b"how it goes\r"):
                read += os.read(master, 1024)
            raise KeyError
        while not read.endswith(b"\r\033[J"):
            read += os.read(master, 1024)
    os.close(master)
    assert read.endswith(b"how it goes\r\r\033[J")

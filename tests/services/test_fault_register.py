"""Each fault is logged at its beginning and its end, and dated by its first sight."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.status import Finding
from sidecar.services.faults import FaultLog, FaultRegister

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ONCE = FaultLog(begins="call.failed", ends="call.recovered", about={"call": "a"}, details={"code": "x"})
MINUTELY = FaultLog(begins="call.failed", ends="call.recovered", again_after=MINUTE)

Lines = list[Any]


def at(seconds: float) -> datetime:
    """Return an instant after the start."""
    return START + timedelta(seconds=seconds)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Capture the log."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def faults(lines: Lines) -> FaultRegister:
    """Make an empty register."""
    return FaultRegister()


def test_first_sight_is_kept(faults: FaultRegister) -> None:
    """A fault keeps the instant of its first sight and shows what was seen last, until it is gone."""
    faults.observe("in-doubt", "2 records", "Settle them.", at(0))
    faults.observe("in-doubt", "3 records", "Settle them.", at(60))
    assert [Finding("in-doubt", "3 records", "Settle them.", at(0))] == faults.findings
    faults.clear("in-doubt", at(120))
    faults.observe("in-doubt", "1 record", "Settle it.", at(180))
    assert [at(180)] == [found.since for found in faults.findings]


def test_known_beginning_is_shown(faults: FaultRegister) -> None:
    """A beginning that the caller knows is shown from the first sight, and does not move."""
    faults.observe("duplicates", "", "", at(60), since=at(0))
    faults.observe("duplicates", "", "", at(120), since=at(30))
    assert [at(0)] == [found.since for found in faults.findings]


def test_clock_set_back_moves_the_beginning(faults: FaultRegister) -> None:
    """A fault never begins after the instant at which it is seen."""
    faults.observe("slow", "", "", at(3600))
    faults.observe("slow", "", "", at(0))
    assert [at(0)] == [found.since for found in faults.findings]


def test_things_have_faults_of_their_own(faults: FaultRegister) -> None:
    """Two things may have the same fault, each with its own beginning and end."""
    faults.observe("refused", "a", "", at(0), about="a")
    faults.observe("refused", "b", "", at(1), about="b")
    faults.clear("a", at(2))
    assert [("b", at(1))] == [(found.detail, found.since) for found in faults.findings]


def test_fault_is_logged_at_both_ends(faults: FaultRegister, lines: Lines) -> None:
    """A fault is one line, however often it is seen, and its end is one with its count and how long it lasted."""
    for second in range(3):
        faults.observe("refused", "no rule", "Add a rule.", at(second), report=ONCE)
    faults.clear("refused", at(10), result="right")
    faults.clear("refused", at(11))
    begun = {"event": "call.failed", "log_level": "warning", "call": "a", "code": "x"}
    ended = {"event": "call.recovered", "log_level": "info", "call": "a", "faults": 3, "lasted": timedelta(seconds=10)}
    assert [begun | {"detail": "no rule", "cure": "Add a rule."}, ended | {"result": "right"}] == lines


@pytest.mark.parametrize(
    ("code", "cure", "report", "since"),
    [
        ("other", "Add a rule.", ONCE, at(5)),
        ("refused", "Add another.", ONCE, at(0)),
        ("refused", "Add a rule.", FaultLog(begins="call.worse"), at(0)),
    ],
    ids=["code", "cure", "event"],
)
def test_other_fault_is_logged_anew(
    faults: FaultRegister, lines: Lines, code: str, cure: str, report: FaultLog, since: datetime
) -> None:
    """Another code, cure or event for the same thing is a line of its own; only another code begins anew."""
    faults.observe("refused", "", "Add a rule.", at(0), about="call", report=ONCE)
    faults.observe(code, "", cure, at(5), about="call", report=report)
    assert ["call.failed", report.begins] == [line["event"] for line in lines]
    assert [since] == [found.since for found in faults.findings]


def test_unreported_fault_is_silent(faults: FaultRegister, lines: Lines) -> None:
    """What others log, or what has no end to log, is not logged here."""
    faults.observe("in-doubt", "", "", at(0))
    faults.clear("in-doubt", at(1))
    faults.observe("identity", "", "", at(0), report=FaultLog(begins="identity.wrong"))
    faults.clear("identity", at(1))
    assert ["identity.wrong"] == [line["event"] for line in lines]


def test_one_line_per_minute(faults: FaultRegister, lines: Lines) -> None:
    """Where it is asked for, a lasting fault is logged again after a minute with the number of lines left out."""
    for second in range(0, 121, 20):
        faults.observe("throttled", "", "", at(second), report=MINUTELY)
    assert [0, 2, 2] == [line["suppressed"] for line in lines]


def test_clock_set_back_is_no_silence(faults: FaultRegister, lines: Lines) -> None:
    """A clock that was stepped backwards does not silence a fault until it catches up, nor make its time negative."""
    faults.observe("throttled", "", "", at(0), report=MINUTELY)
    faults.observe("throttled", "", "", at(-3600), report=MINUTELY)
    faults.clear("throttled", at(-7200))
    assert ["call.failed", "call.failed", "call.recovered"] == [line["event"] for line in lines]
    assert timedelta() == lines[-1]["lasted"]


def test_trouble_lasts_across_codes(faults: FaultRegister, lines: Lines) -> None:
    """The line about the end counts every fault that the thing had meanwhile, from the first one on."""
    for second, code in enumerate(["a", "b", "a"]):
        faults.observe(code, "", "", at(second), about="call", report=MINUTELY)
    faults.clear("call", at(10))
    assert (3, timedelta(seconds=10)) == (lines[-1]["faults"], lines[-1]["lasted"])


@given(st.lists(st.floats(0, 600), min_size=1).map(sorted))
def test_nothing_is_lost(seconds: list[float]) -> None:
    """What was logged and what was left out add up to what was seen."""
    with structlog.testing.capture_logs() as lines:
        faults = FaultRegister()
        for second in [*seconds, 700]:
            faults.observe("c", "", "", at(second), report=MINUTELY)
        faults.clear("c", at(700))
    *begun, ended = lines
    assert len(seconds) + 1 == len(begun) + sum(line["suppressed"] for line in begun) == ended["faults"]

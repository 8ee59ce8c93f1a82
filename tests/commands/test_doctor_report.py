"""Checks that run side by side, and how their diagnoses are printed."""

import json
import threading
from collections.abc import Iterator

import pytest

from sidecar.checks.check_run import CheckRun, run_checks
from sidecar.commands.report import print_document, print_lines, print_table
from sidecar.domain.check_result import Check, CheckResult, CheckStatus, failed
from tests.support.tools import PATIENCE

FIRST, SECOND, THIRD = (Check(name, f"Because of the {name}.") for name in ("first", "second", "third"))
FOUND = [FIRST.ok("well"), SECOND.warn("so \x1b[31mso", "Look."), THIRD.fail("bad", "Mend it."), FIRST.skipped("none")]


def test_hanging_check_is_given_up() -> None:
    """A check that does not end in time fails with what it has not reported; the others are reported in their order."""
    released = threading.Event()

    def hang() -> Iterator[CheckResult]:
        yield FIRST.ok("early")
        released.wait()

    diagnoses = run_checks([CheckRun([FIRST, SECOND], hang), CheckRun([THIRD], lambda: [THIRD.ok("well")])], 0.3)
    released.set()
    assert [("first", CheckStatus.OK), ("second", CheckStatus.FAIL), ("third", CheckStatus.OK)] == [
        (diagnosis.name, diagnosis.status) for diagnosis in diagnoses
    ]
    assert "no answer within 0.3 seconds" in diagnoses[1].found


def test_broken_check_hides_nothing() -> None:
    """A check that breaks is reported as broken, and the others as they are."""

    def fall() -> Iterator[CheckResult]:
        yield FIRST.ok("early")
        raise KeyError("absent")

    diagnoses = run_checks([CheckRun([FIRST, SECOND], fall), CheckRun([THIRD], lambda: [THIRD.ok("well")])])
    assert ["early", "the check itself failed: KeyError: 'absent'", "well"] == [each.found for each in diagnoses]
    assert failed(diagnoses)


def test_checks_run_together() -> None:
    """Checks do not wait for each other."""
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def meet(subject: Check) -> Iterator[CheckResult]:
        meeting.wait()
        yield subject.ok("met")

    diagnoses = run_checks(
        [CheckRun([FIRST], lambda: meet(FIRST)), CheckRun([SECOND], lambda: meet(SECOND))], within=PATIENCE
    )
    assert ["met", "met"] == [each.found for each in diagnoses]


@pytest.mark.parametrize(("count", "expected"), [(2, False), (3, True)])
def test_only_failure_fails(count: int, *, expected: bool) -> None:
    """Doubts do not fail the whole."""
    assert expected is failed(FOUND[:count])


def test_document_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """The document holds every member of every check."""
    print_document(FOUND)
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert {
        "name": "third",
        "status": "fail",
        "found": "bad",
        "why": "Because of the third.",
        "cure": "Mend it.",
    } == document["checks"][2]


def test_line_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Each check is one line with what was found, why it matters and the cure; nothing in it drives a terminal."""
    print_lines(FOUND)
    lines = capsys.readouterr().out.splitlines()
    assert "fail third: bad | why: Because of the third. | cure: Mend it." == lines[2]
    assert lines[1].startswith("warn second: so \\x1b[31mso |")
    assert "4 checks: 1 ok, 1 warn, 1 fail, 1 skipped" == lines[-1]


def test_table_fits_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The table wraps at the terminal's width; what is right takes no second line."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table([FIRST.ok("well"), SECOND.fail("word " * 30, "Mend it.")])
    lines = capsys.readouterr().out.splitlines()
    assert "ok       first   well" == lines[0]
    assert max(map(len, lines)) <= 60
    assert lines[-3:] == [
        f"{' ' * 17}why: Because of the second.",
        f"{' ' * 17}cure: Mend it.",
        "2 checks: 1 ok, 1 fail",
    ]


def test_table_has_colors(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Colors distinguish the statuses, unless NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    print_table(FOUND[:1])
    assert capsys.readouterr().out.startswith("\x1b[32mok")

"""The alert rules, judged by Prometheus's own promtool over series that make them fire and series that nearly do."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.monitoring.cases import CASES, Case
from tests.monitoring.rules import RULES, alerts, judge, promtool
from tests.monitoring.unalerted import COVERED, SILENT
from tests.support.reading import read

NAMES = [alert.name for alert in alerts()]
_CODES = re.compile(r'marketplace_faults\{code=~?"([^"]*)"')


def titles(section: str) -> list[str]:
    """Return the titles in a section of the operator's document, which are code words."""
    text = read("docs/operator.md").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^### `(.*)`$", text, re.MULTILINE)


def test_rules_are_valid() -> None:
    """Promtool takes the file, its own lints included."""
    ran = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert (0, f"SUCCESS: {len(NAMES)} rules found") == (ran.returncode, ran.stdout.strip().splitlines()[-1].strip()), (
        ran.stdout + ran.stderr
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_exactly_these_fire(case: Case, tmp_path: Path) -> None:
    """Over each series exactly the alerts fire that need action."""
    assert "" == judge(tmp_path, case.series, case.at, case.firing)


def test_wrong_expectation_is_found(tmp_path: Path) -> None:
    """The judgment itself tells an alert too many and an alert too few."""
    (denied,) = (case for case in CASES if case.name == "denied")
    assert "MarketplaceEntitlementRefused" in judge(tmp_path, denied.series, denied.at, ())
    assert "MarketplaceThrottled" in judge(tmp_path, denied.series, denied.at, (*denied.firing, "MarketplaceThrottled"))


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_tried(name: str) -> None:
    """Each alert has a series over which it fires, and one over which it nearly does and does not."""
    assert any(name in case.firing for case in CASES)
    assert any(name == case.near and name not in case.firing for case in CASES)


def test_every_alert_says_what_to_do() -> None:
    """Each alert has a severity, words for a person, and the address of its own runbook."""
    for alert in alerts():
        assert alert.severity in {"critical", "warning"}
        assert {"summary", "description", "runbook_url"} == set(alert.annotations)
        url = urlsplit(alert.annotations["runbook_url"])
        assert url.path.endswith("/blob/main/docs/operator.md")
        assert alert.name.lower() == url.fragment


def test_every_alert_has_a_runbook() -> None:
    """The operator's document has a section for each alert, and for no other."""
    assert NAMES == titles("Alerts")


def test_every_fault_is_judged() -> None:
    """Each fault has one place: an alert that names its code, another alert that covers it, or a reason for none."""
    named = [code for alert in alerts() for code in _CODES.findall(alert.expression)]
    patterns = [*set(named), *COVERED, *SILENT]
    codes = titles("Faults in `/v1/status`")
    places = {code: [each for each in patterns if re.fullmatch(each, code)] for code in codes}
    assert {} == {code: found for code, found in places.items() if len(found) != 1}
    assert set(patterns) == {each for found in places.values() for each in found}
    assert set(COVERED.values()) <= set(NAMES)

"""The status on one screen."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.status.screen import Page, compose
from sidecar.domain.metering.failing import Cause, Failure
from sidecar.domain.metering.measuring import SourceState, SourceView
from sidecar.domain.policy import EntitlementCheck
from sidecar.domain.status import Finding, Metering, Terms
from sidecar.terminal.colors import Paint
from sidecar.terminal.text import width
from tests.commands.statuses import ILL, MILLION, NOW, WELL, served

WINDOW = timedelta(hours=6)

SCREEN = """\
marketplace-sidecar 0.1.0, up 3h 20m, at 2026-11-23T10:20:05Z

entitlement   entitled: registered, since 2026-11-23T07:00:05Z (3h 20m)
              AWS Marketplace has registered this pod, and its signature is
              right.
metering      ok
faults        none
last success  2026-11-23T10:03:05Z (17m ago)
oldest unsent none
in doubt      0
AWS's answers 6 accepted, 1 ThrottlingException
events        15852 accepted, 2 duplicates since the start
product       0abc123example, public key version 1
marketplace   live, Region eu-central-1, credentials irsa
api           http://127.0.0.1:8787
pod           5f0a7c1e-62f5-4b7c-9f0b-6a0d1c3e8b11 (downward-api)
ledger        /var/lib/marketplace-sidecar/ledger.db, 1.2 MB

dimension  accepted  open  sealed  submitted  unbilled  remainder  balanced
requests        9.5     2     1.5          6         0          0       yes
gigabytes     0.125     0       0      0.125         0          0       yes"""


def lines(document: Mapping[str, Any], columns: int = 79, *, colors: bool = False) -> list[str]:
    """Return the screen."""
    return compose(document, Page("http://127.0.0.1:8787", WINDOW, columns, Paint(colors)))


def test_screen_is_one() -> None:
    """A product with a few dimensions fits 80x24."""
    assert SCREEN == "\n".join(lines(served()))
    assert len(lines(served())) <= 24


def test_contract_shows_its_product_id() -> None:
    """License Manager knows the product ID and no public key."""
    contract = replace(WELL, check=EntitlementCheck.LICENSE, product_id="prod-abcdefghijklm")
    shown = [line for line in lines(served(contract)) if line.startswith("product")]
    assert ["product       0abc123example, product ID prod-abcdefghijklm"] == shown


@pytest.mark.parametrize(("id_", "expected"), [(None, ""), ("prod-job", ", product ID prod-job")])
def test_custom_price_shows_no_key(id_: str | None, expected: str) -> None:
    """A start probe needs no public key, and with `probe: license` the product ID decides."""
    shown = lines(served(replace(WELL, check=EntitlementCheck.METER, product_id=id_)))
    assert [f"product       0abc123example{expected}"] == [line for line in shown if line.startswith("product")]


def test_missing_usage_is_no_fault() -> None:
    """Without usage the last line says so; a ledger that cannot be read is another thing."""
    unread = Finding("ledger-unavailable", "gone", "Restore it.", NOW)
    empty = replace(WELL, conservation={})
    assert "no usage has been taken yet" == lines(served(empty))[-1]
    assert "the ledger cannot be read" == lines(served(replace(empty, findings=[unread])))[-1]


def test_trouble_comes_first() -> None:
    """What is wrong stands in the first lines, each fault with its cure."""
    shown = lines(served(ILL))
    assert "entitlement   suspended: customer-not-entitled, since 2026-11-23T10:15:05Z (5m)" == shown[2]
    assert [
        "metering      failing: the fault metering-failing names the cause",
        "faults        1",
        "              in-doubt (17s): 2 records may or may not have been taken by AWS",
        "              cure: Compare with CloudTrail's MeterUsage events, then run",
        "              `marketplace-sidecar ledger resolve`.",
        "last success  2026-11-23T10:03:05Z (17m ago)",
    ] == shown[6:12]


@pytest.mark.parametrize("cause", Cause)
def test_failing_names_its_own_cause(cause: Cause) -> None:
    """The line of metering claims no cause of its own: the fault has the one that there is."""
    failure = Failure(cause, None if cause is Cause.NO_ROOM else "requests", NOW)
    failing = replace(
        ILL, metering=Metering.GATED, findings=[Finding("metering-failing", failure.sentence, "Follow the cure.", NOW)]
    )
    shown = " ".join(" ".join(lines(served(failing))).split())
    assert "metering gated: the fault metering-failing names the cause; /readyz answers 503 " in shown
    assert (cause is Cause.DUPLICATES) == ("failing_after" not in shown)


def test_sources_are_shown() -> None:
    """Each dimension that the sidecar measures has a line after the state of metering."""
    sources = [
        SourceView("pod_hours", SourceState.MEASURING, NOW, "counts hours of the pod", 1800, 0),
        SourceView("vcpu_hours", SourceState.FAULTY, NOW, "app.limits.cpu cannot be read", 0, 60),
    ]
    assert [
        "metering      ok",
        "sources       measuring: pod_hours counts hours of the pod",
        "              faulty: vcpu_hours app.limits.cpu cannot be read",
        "faults        none",
    ] == lines(served(replace(WELL, sources=sources)))[5:9]


def test_faults_alike_are_told_once() -> None:
    """Twenty-four dimensions that are refused for one reason take the room of one, and are counted."""
    refused = [Finding("AccessDenied", f"dimension d{number}: no", "Attach the policy.", NOW) for number in range(24)]
    shown = lines(served(replace(WELL, findings=refused)))
    start = shown.index("faults        24")
    assert [
        "              AccessDenied (0s): dimension d0: no; and 23 more of this code",
        "              cure: Attach the policy.",
        "last success  2026-11-23T10:03:05Z (17m ago)",
    ] == shown[start + 1 : start + 4]


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (5, "2026-11-23T05:00:00Z: AWS takes it for 39m 54s more"),
        (4, "2026-11-23T04:00:00Z: its window has closed"),
    ],
)
def test_time_left_is_told(hours: int, expected: str) -> None:
    """The oldest hour that waits shows how long AWS still takes it."""
    oldest = NOW.replace(hour=hours, minute=0, second=0, microsecond=0)
    assert f"oldest unsent {expected}" in lines(served(replace(WELL, oldest_unsent_hour=oldest)))


def test_broken_law_is_seen() -> None:
    """A dimension whose terms do not add up says no, in red."""
    assert ["requests", "2", "1", "0", "0", "0", "0", "no"] == lines(served(ILL))[-1].split()
    assert lines(served(ILL), colors=True)[-1].startswith("\033[31;1mrequests")


def test_words_of_others_are_printable() -> None:
    """Neither AWS's words nor a name drive the terminal."""
    fault = Finding("Odd\x1b[2J", "said \x1b]0;title\x07", "look \x9b31m", NOW)
    document = served(replace(WELL, findings=[fault], conservation={"a\x1b[8m": Terms()}, pod="\r\n\x1b[1A"))
    assert all(line.isprintable() for line in lines(document))


def test_wide_table_becomes_lines() -> None:
    """A table that is wider than the terminal becomes lines: a quantity is never cut."""
    amount = 123_456_789_012_345 * MILLION + 678_901
    document = served(replace(WELL, conservation={"requests": Terms(accepted=amount, submitted=amount)}))
    assert [
        "requests",
        "  accepted 123456789012345.678901, open 0, sealed 0, submitted",
        "  123456789012345.678901, unbilled 0, remainder 0, balanced yes",
    ] == lines(document)[-3:]


@given(st.integers(min_value=2, max_value=200), st.sampled_from([WELL, ILL]))
def test_no_line_is_too_wide(columns: int, status: Any) -> None:
    """Whatever the terminal's width, no line is wider."""
    assert all(width(line) <= columns for line in lines(served(status), columns))


@pytest.mark.parametrize(
    "document",
    [
        {"conservation": {}},
        {"conservation": {"dimensions": {"a": {"accepted": "x"}, "b": None}}, "faults": [None, {"code": 1}, "x"]},
        {
            "conservation": [],
            "entitlement": "x",
            "metering": {"answers": {"a": []}},
            "ledger": {"bytes": "x"},
            "now": 1,
        },
    ],
)
def test_foreign_document_is_shown(document: dict[str, Any]) -> None:
    """A document of another version is shown as far as it goes; what is not there is a dash."""
    assert any(line.startswith("entitlement   -") for line in lines(document))


def test_colors_are_few() -> None:
    """Good is green, bad is red, and without colors nothing is lost."""
    assert "entitlement   \033[32mentitled\033[0m: registered" in "\n".join(lines(served(), colors=True))
    assert "entitlement   \033[31;1msuspended\033[0m: customer" in "\n".join(lines(served(ILL), colors=True))

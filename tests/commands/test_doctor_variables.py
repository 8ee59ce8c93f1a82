"""What doctor reports of variables with white space or quotes, of the proxy, and which checks then rest on another."""

import pytest

from sidecar.checks.environment import check_proxy
from sidecar.checks.reliance import RESTS_ON, skip_repeated
from sidecar.checks.setup import CHECKS
from sidecar.checks.variables import check_variables
from sidecar.domain.check_result import Check, CheckResult, CheckStatus
from sidecar.settings import Mode


def judged(name: str, status: CheckStatus) -> CheckResult:
    """Return a diagnosis of that name and status."""
    return CheckResult(name, status, "found", "why", "cure")


def test_padded_values_are_named() -> None:
    """Each padded variable is named with what is around its value, and no value is shown."""
    diagnosis = check_variables({"HTTPS_PROXY": "http://u:s3cr3t@p:1\n", "AWS_ROLE_ARN": '"arn:aws:x"', "POD_UID": "u"})
    assert CheckStatus.FAIL is diagnosis.status
    assert "AWS_ROLE_ARN has quotes around its value; HTTPS_PROXY has a line end after its value" == diagnosis.found
    assert "s3cr3t" not in str(diagnosis)
    assert CheckStatus.OK is check_variables({"HTTPS_PROXY": "http://p:1", "HOME": " x"}).status


@pytest.mark.parametrize(
    ("environ", "status", "found"),
    [
        ({"HTTPS_PROXY": "http://u:secret@p:3128"}, CheckStatus.OK, "HTTPS_PROXY names p:3128"),
        (
            {"HTTPS_PROXY": "http://p:3128", "https_proxy": ""},
            CheckStatus.WARN,
            "https_proxy is empty and hides",
        ),
        (
            {"HTTPS_PROXY": "http://p:1", "https_proxy": "q:2"},
            CheckStatus.OK,
            "https_proxy names q:2, and hides HT",
        ),
        ({"https_proxy": ""}, CheckStatus.OK, "no proxy is set"),
        ({"HTTPS_PROXY": "http://u:se/secret@p:1"}, CheckStatus.FAIL, "HTTPS_PROXY is not the URL of an HTTP proxy"),
        ({"HTTPS_PROXY": "http://u:1#secret@p:1"}, CheckStatus.FAIL, "HTTPS_PROXY is not the URL of an HTTP proxy"),
        ({"HTTPS_PROXY": "socks5://p:1"}, CheckStatus.FAIL, "HTTPS_PROXY is not the URL of an HTTP proxy"),
    ],
)
def test_proxy_is_judged_as_it_is_used(environ: dict[str, str], status: CheckStatus, found: str) -> None:
    """The spelling that counts is named, the hidden one too, and never a user name or password."""
    diagnosis = check_proxy(Mode.LIVE, environ)
    assert (status, True) == (diagnosis.status, diagnosis.found.startswith(found))
    assert "secret" not in str(diagnosis)


def test_what_rests_on_a_failure_is_skipped() -> None:
    """A check that fails after one that it rests on is skipped and names it; what is right stays right."""
    told = skip_repeated(
        [
            CheckResult("variables", CheckStatus.FAIL, "HTTPS_PROXY has quotes around its value", "why", "cure"),
            judged("proxy", CheckStatus.FAIL),
            judged("dns", CheckStatus.OK),
            judged("endpoint", CheckStatus.WARN),
            judged("ledger", CheckStatus.FAIL),
            judged("shutdown", CheckStatus.FAIL),
        ]
    )
    expected = [
        CheckStatus.FAIL,
        CheckStatus.SKIPPED,
        CheckStatus.OK,
        CheckStatus.SKIPPED,
        CheckStatus.FAIL,
        CheckStatus.FAIL,
    ]
    assert expected == [each.status for each in told]
    assert "rests on the check `variables`, which failed" == told[1].found
    assert "" == told[1].cure


def test_nothing_is_skipped_without_a_failure() -> None:
    """Warnings and skipped checks stop nothing."""
    told = [
        judged("variables", CheckStatus.WARN),
        judged("dns", CheckStatus.SKIPPED),
        judged("endpoint", CheckStatus.FAIL),
    ]
    assert told == skip_repeated(told)


def test_known_checks_rest_on_known_checks() -> None:
    """Each name is that of a check, and none rests on itself."""
    known = {subject.name for subject in CHECKS} | {
        "keys",
        "key rotation",
        "identity",
        "license",
        "kubernetes",
        "kubernetes role",
    }
    named = {name for roots in RESTS_ON.values() for name in roots} | set(RESTS_ON)
    assert set() == named - known
    assert all(name not in roots for name, roots in RESTS_ON.items())
    assert "" == Check("x", "y").skipped("z").cure

"""What doctor says of variables with white space or quotes, of the proxy, and which checks then rest on another."""

import pytest

from sidecar.checks.environment import check_proxy
from sidecar.checks.reliance import RESTS_ON, skip_repeated
from sidecar.checks.setup import SUBJECTS
from sidecar.checks.variables import check_variables
from sidecar.domain.diagnosis import Diagnosis, Result, Subject
from sidecar.settings import Mode


def judged(name: str, status: Result) -> Diagnosis:
    """Return a diagnosis of that name and status."""
    return Diagnosis(name, status, "found", "why", "cure")


def test_padded_values_are_named() -> None:
    """Each padded variable is named with what is around its value, and no value is shown."""
    diagnosis = check_variables({"HTTPS_PROXY": "http://u:s3cr3t@p:1\n", "AWS_ROLE_ARN": '"arn:aws:x"', "POD_UID": "u"})
    assert Result.FAIL is diagnosis.status
    assert "AWS_ROLE_ARN has quotes around its value; HTTPS_PROXY has a line end after its value" == diagnosis.found
    assert "s3cr3t" not in str(diagnosis)
    assert Result.OK is check_variables({"HTTPS_PROXY": "http://p:1", "HOME": " x"}).status


@pytest.mark.parametrize(
    ("environ", "status", "found"),
    [
        ({"HTTPS_PROXY": "http://u:secret@p:3128"}, Result.OK, "HTTPS_PROXY names p:3128"),
        (
            {"HTTPS_PROXY": "http://p:3128", "https_proxy": ""},
            Result.WARN,
            "https_proxy is empty and hides",
        ),
        (
            {"HTTPS_PROXY": "http://p:1", "https_proxy": "q:2"},
            Result.OK,
            "https_proxy names q:2, and hides HT",
        ),
        ({"https_proxy": ""}, Result.OK, "no proxy is set"),
        ({"HTTPS_PROXY": "http://u:se/secret@p:1"}, Result.FAIL, "HTTPS_PROXY is not the URL of an HTTP proxy"),
        ({"HTTPS_PROXY": "http://u:1#secret@p:1"}, Result.FAIL, "HTTPS_PROXY is not the URL of an HTTP proxy"),
        ({"HTTPS_PROXY": "socks5://p:1"}, Result.FAIL, "HTTPS_PROXY is not the URL of an HTTP proxy"),
    ],
)
def test_proxy_is_judged_as_it_is_used(environ: dict[str, str], status: Result, found: str) -> None:
    """The spelling that counts is named, the hidden one too, and never a user name or password."""
    diagnosis = check_proxy(Mode.LIVE, environ)
    assert (status, True) == (diagnosis.status, diagnosis.found.startswith(found))
    assert "secret" not in str(diagnosis)


def test_what_rests_on_a_failure_is_skipped() -> None:
    """A check that fails after one that it rests on is skipped and names it; what is right stays right."""
    told = skip_repeated(
        [
            Diagnosis("variables", Result.FAIL, "HTTPS_PROXY has quotes around its value", "why", "cure"),
            judged("proxy", Result.FAIL),
            judged("dns", Result.OK),
            judged("endpoint", Result.WARN),
            judged("ledger", Result.FAIL),
            judged("shutdown", Result.FAIL),
        ]
    )
    expected = [Result.FAIL, Result.SKIPPED, Result.OK, Result.SKIPPED, Result.FAIL, Result.FAIL]
    assert expected == [each.status for each in told]
    assert "rests on the check `variables`, which failed" == told[1].found
    assert told[1].cure == ""


def test_nothing_is_skipped_without_a_failure() -> None:
    """Warnings and skipped checks stop nothing."""
    told = [judged("variables", Result.WARN), judged("dns", Result.SKIPPED), judged("endpoint", Result.FAIL)]
    assert told == skip_repeated(told)


def test_known_checks_rest_on_known_checks() -> None:
    """Each name is that of a check, and none rests on itself."""
    known = {subject.name for subject in SUBJECTS} | {
        "keys",
        "key rotation",
        "identity",
        "kubernetes",
        "kubernetes role",
    }
    named = {name for roots in RESTS_ON.values() for name in roots} | set(RESTS_ON)
    assert set() == named - known
    assert all(name not in roots for name, roots in RESTS_ON.items())
    assert Subject("x", "y").skipped("z").cure == ""

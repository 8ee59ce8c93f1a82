"""The check of the web-identity token, with good and bad tokens."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.checks.token import check_token
from sidecar.domain.check_result import CheckStatus

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
CLAIMS: dict[str, Any] = {
    "aud": ["sts.amazonaws.com"],
    "exp": int((NOW + timedelta(hours=20)).timestamp()),
    "iss": "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE",
    "sub": "system:serviceaccount:shop:app",
    "kubernetes.io": {"namespace": "shop", "pod": {"name": "app-0", "uid": "uid-1"}},
}


def project(folder: Path, text: str) -> dict[str, str]:
    """Write a token file and return the variables that EKS sets."""
    path = folder / "token"
    path.write_text(text)
    return {"AWS_WEB_IDENTITY_TOKEN_FILE": str(path), "POD_UID": "uid-1"}


def sign(claims: object) -> str:
    """Return a token with these claims."""
    parts = [json.dumps({"alg": "RS256"}).encode(), json.dumps(claims).encode(), b"a signature"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, CheckStatus.OK, "shop/app, until 2026-11-24T06:20:00Z, issued by https://oidc.eks"),
        ({"aud": "sts.amazonaws.com"}, CheckStatus.OK, "shop/app"),
        ({"exp": CLAIMS["exp"] + 0.5}, CheckStatus.OK, "shop/app"),
        ({"aud": ["https://kubernetes.default.svc"]}, CheckStatus.FAIL, "is meant for https://kubernetes.default.svc"),
        ({"aud": None}, CheckStatus.FAIL, "is meant for no audience"),
        ({"aud": ["xsts.amazonaws.com"]}, CheckStatus.FAIL, "not for sts.amazonaws.com"),
        ({"sub": "system:node:ip-10-0-0-1"}, CheckStatus.FAIL, "no service account"),
        ({"sub": None}, CheckStatus.FAIL, "no service account"),
        ({"exp": int(NOW.timestamp())}, CheckStatus.FAIL, "expired at 2026-11-23T10:20:00Z"),
        ({"exp": int(NOW.timestamp()) + 299}, CheckStatus.WARN, "was not renewed yet"),
        ({"exp": int(NOW.timestamp()) + 300}, CheckStatus.OK, "shop/app"),
        ({"exp": "soon"}, CheckStatus.FAIL, "has no expiry"),
        ({"exp": True}, CheckStatus.FAIL, "has no expiry"),
        ({"exp": 1e300}, CheckStatus.FAIL, "has no expiry"),
        ({"kubernetes.io": {"pod": {"uid": "uid-2"}}}, CheckStatus.FAIL, "is of pod uid-2, but POD_UID is uid-1"),
    ],
)
def test_claims_are_judged(tmp_path: Path, changes: dict[str, Any], status: CheckStatus, words: str) -> None:
    """Audience, subject, expiry and pod decide; a token that needs action names a cure."""
    token = sign({**CLAIMS, **changes})
    diagnosis = check_token(project(tmp_path, token), NOW)
    assert (status, True) == (diagnosis.status, words in diagnosis.found)
    assert (status is not CheckStatus.OK) == bool(diagnosis.cure)


@pytest.mark.parametrize("text", ["", "no token", "a.b", "a.!.c", sign([]), sign(CLAIMS).replace(".", "")])
def test_no_token_is_told(tmp_path: Path, text: str) -> None:
    """A file that holds no token is a failure with its path."""
    diagnosis = check_token(project(tmp_path, text), NOW)
    assert (CheckStatus.FAIL, True) == (diagnosis.status, str(tmp_path) in diagnosis.found)


def test_missing_file_is_told(tmp_path: Path) -> None:
    """A token file that is not there is a failure."""
    diagnosis = check_token({"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "absent")}, NOW)
    assert (CheckStatus.FAIL, True) == (diagnosis.status, "absent is missing" in diagnosis.found)


def test_without_variable_is_skipped() -> None:
    """Where no service account's role is used there is nothing to judge."""
    assert check_token({}, NOW).status is CheckStatus.SKIPPED


def test_token_is_never_shown(tmp_path: Path) -> None:
    """Nothing of the token itself is in what is reported of it."""
    token = sign({**CLAIMS, "aud": "x"})
    shown = str(check_token(project(tmp_path, token), NOW))
    assert not [part for part in token.split(".") if part in shown]

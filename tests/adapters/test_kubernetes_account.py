"""The service account that the pod runs as, by its token's own words."""

import base64
import json
from pathlib import Path

import pytest

from sidecar.adapters.kubernetes.account import name_account


def token_of(claims: object) -> str:
    """Return a token with some claims; it is not verified."""
    encoded = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{encoded}.c2lnbmF0dXJl\n"


def test_account_is_named(tmp_path: Path) -> None:
    """The subject of the token is the account, with its namespace."""
    (tmp_path / "token").write_text(token_of({"sub": "system:serviceaccount:acme:shop"}))
    assert "acme/shop" == name_account(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "first-token\n",
        "a.b.c",
        "a.!!!.c",
        "é.é.é",
        token_of([]),
        token_of({}),
        token_of({"sub": 7}),
        token_of({"sub": "system:node:ip-10-0-0-1"}),
        token_of({"sub": "system:serviceaccount:acme"}),
        f"e30.{'W' * 200_000}.x",
    ],
)
def test_other_token_names_none(tmp_path: Path, text: str | None) -> None:
    """No token, or one that says something else, names no account and raises nothing."""
    if text is not None:
        (tmp_path / "token").write_text(text, encoding="utf-8")
    assert None is name_account(tmp_path)

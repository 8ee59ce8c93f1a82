"""Whatever a token holds, it is judged or refused, and nothing else happens."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.entitlement.token import Asked, IssueWindow, Refusal, read_token, verify

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
ASKED = Asked("0abc123example", 3, "the nonce")
WINDOW = IssueWindow.between(NOW, NOW + timedelta(seconds=2))
CLAIMS: dict[str, Any] = {
    "productCode": "0abc123example",
    "publicKeyVersion": 3,
    "nonce": "the nonce",
    "iat": int(NOW.timestamp()),
}


@given(st.text() | st.text("eyJhbGciOiJQUzI1NiJ9.=-_ \r\n") | st.from_regex(r"[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){2}"))
def test_any_text(anything: str) -> None:
    """No text makes the reader fail in another way than by refusing."""
    try:
        token = read_token(anything)
    except Refusal:
        return

    assert anything.rstrip("\r\n") == token.compact


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(CLAIMS)) | st.text(), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_payload(anything: bytes) -> None:
    """No payload, however well signed, makes the judgment fail in another way than by refusing."""
    parts = (b'{"alg":"PS256"}', anything, b"")

    with pytest.raises(Refusal):
        verify(".".join(encode(part) for part in parts), Credulous(), 3, ASKED, WINDOW)


@given(
    st.fixed_dictionaries(
        {
            name: st.just(value) | st.none() | st.booleans() | st.floats() | st.integers() | st.text()
            for name, value in CLAIMS.items()
        }
    )
)
def test_any_claims(members: dict[str, Any]) -> None:
    """Claims of the right names are believed exactly when each has the right type and value."""
    token = ".".join(encode(part) for part in (b'{"alg":"PS256"}', json.dumps(members).encode(), b""))
    iat = members["iat"]
    fresh = type(iat) in {int, float} and CLAIMS["iat"] - 300 <= iat <= CLAIMS["iat"] + 302
    right = fresh and all(
        (type(members[name]), members[name]) == (type(CLAIMS[name]), CLAIMS[name]) for name in CLAIMS if name != "iat"
    )

    try:
        verify(token, Credulous(), 3, ASKED, WINDOW)
    except Refusal:
        assert not right
    else:
        assert right


class Credulous:
    """Believes every signature, so the rules behind it are reached."""

    def verify(self, signing_input: bytes, signature: bytes, version: int) -> bool:
        """Say yes."""
        return True


def encode(data: bytes) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""Which tokens are believed: the one that AWS makes, and no other."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from sidecar.adapters.signature import PublicKeys
from sidecar.domain.entitlement.token import (
    LARGEST_TOKEN,
    Asked,
    IssueWindow,
    Refusal,
    check_signature,
    read_object,
    read_token,
    verify,
)

if TYPE_CHECKING:
    from tests.conftest import Signer

    Forge = Callable[[Signer, Signer], str]

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
NONCE = "b2f1c8e0-nonce-of-this-process"
ASKED = Asked("0abc123example", 3, NONCE)
WINDOW = IssueWindow.between(NOW, NOW + timedelta(seconds=2))
CLAIMS: dict[str, Any] = {
    "productCode": "0abc123example",
    "publicKeyVersion": 3,
    "nonce": NONCE,
    "iat": int(NOW.timestamp()),
}


def believe(token: str, signer: "Signer") -> object:
    """Verify a token as the registrar does."""
    return verify(token, keys_of(signer), 3, ASKED, WINDOW)


def keys_of(signer: "Signer") -> PublicKeys:
    """Return the signer's public key as version 3."""
    return PublicKeys({3: signer.key.public_key()})


def claims(**changes: object) -> dict[str, Any]:
    """Return the right claims with some changed."""
    return CLAIMS | changes


def without(name: str) -> dict[str, Any]:
    """Return the right claims without one."""
    return {key: value for key, value in CLAIMS.items() if key != name}


def payload(text: str) -> "Forge":
    """Return how the seller's key signs a payload that no JSON writer makes."""
    return lambda seller, _: seller.token(text.encode())


def signed(changed: dict[str, Any]) -> "Forge":
    """Return how the seller's key signs other claims."""
    return lambda seller, _: seller.token(changed)


def header(members: dict[str, Any] | bytes) -> "Forge":
    """Return how the seller's key signs the right claims under another header."""
    return lambda seller, _: seller.token(CLAIMS, members)


def text(change: Callable[[str], str]) -> "Forge":
    """Return a right token whose text was tampered with."""
    return lambda seller, _: change(seller.token(CLAIMS))


def resigned(algorithm: str, sign: Callable[["Signer", bytes], bytes]) -> "Forge":
    """Return a token under another algorithm that the header declares truly."""

    def forge(seller: "Signer", _: "Signer") -> str:
        parts = (json.dumps({"alg": algorithm, "typ": "JWT"}).encode(), json.dumps(CLAIMS).encode())
        signing_input = ".".join(seller.base64url(part) for part in parts)
        return f"{signing_input}.{seller.base64url(sign(seller, signing_input.encode()))}"

    return forge


def ps256(sign: Callable[["Signer", bytes], bytes]) -> "Forge":
    """Return a token that declares PS256 and was signed in another way."""
    return resigned("PS256", sign)


def nest(levels: int) -> object:
    """Return a value of that many nested lists."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def embed_key(seller: "Signer", stranger: "Signer") -> str:
    """Return a stranger's token that brings the stranger's key along."""
    numbers = stranger.key.public_key().public_numbers()
    modulus = stranger.base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8))
    jwk = {"kty": "RSA", "n": modulus, "e": "AQAB"}
    return stranger.token(CLAIMS, {"alg": "PS256", "typ": "JWT", "jwk": jwk, "kid": "3"})


def stray_bits(token: str) -> str:
    """Set a bit of the signature's last character that decodes to nothing: 256 bytes leave four of them."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def pad(token: str) -> str:
    """Pad each part as base64 does."""
    return ".".join(part + "=" * (-len(part) % 4) for part in token.split("."))


RIGHT = {
    "as AWS makes it": text(str),
    "with a line feed": text(lambda token: f"{token}\n"),
    "with a carriage return and line feed": text(lambda token: f"{token}\r\n"),
    "capital claims": signed(
        {"ProductCode": "0abc123example", "PublicKeyVersion": 3, "Nonce": NONCE, "Iat": CLAIMS["iat"]}
    ),
    "mixed spellings of different claims": signed(without("nonce") | {"Nonce": NONCE}),
    "a fraction of a second": signed(claims(iat=NOW.timestamp() + 0.25)),
    "five minutes old": signed(claims(iat=int(NOW.timestamp()) - 300)),
    "five minutes ahead of the answer": signed(claims(iat=int(NOW.timestamp()) + 302)),
    "no typ": header({"alg": "PS256"}),
    "typ in lower case": header({"alg": "PS256", "typ": "jwt"}),
    "unknown header members": header({"alg": "PS256", "typ": "JWT", "kid": "another", "x": [1]}),
    "claims of 32 levels": signed(claims(extra=nest(30))),
    "unknown claims": signed(claims(exp=1, extra={"a": [1, {"b": None}]})),
}

HOSTILE: dict[str, tuple["Forge", str]] = {
    "nothing": (lambda *_: "", "empty"),
    "a line end alone": (lambda *_: "\n", "empty"),
    "one part": (lambda *_: "e30", "not-compact"),
    "two parts": (text(lambda token: token.rpartition(".")[0]), "not-compact"),
    "four parts": (text(lambda token: f"{token}."), "not-compact"),
    "five parts, as a JWE has": (text(lambda token: f"{token}.e30.e30"), "not-compact"),
    "JSON serialization": (lambda *_: '{"payload": "e30", "signatures": []}', "not-compact"),
    "an empty header": (text(lambda token: token[token.index(".") :]), "malformed-header"),
    "an empty payload": (
        text(lambda token: token.partition(".")[0] + ".." + token.rpartition(".")[2]),
        "wrong-signature",
    ),
    "an empty signature": (text(lambda token: token.rpartition(".")[0] + "."), "wrong-signature"),
    "padding": (text(pad), "not-base64url"),
    "stray bits": (text(stray_bits), "stray-bits"),
    "a part of impossible length": (text(lambda token: "A" + token), "not-base64url"),
    "plain base64 letters": (text(lambda token: token[:-4] + "+/+/"), "not-base64url"),
    "a leading blank": (text(lambda token: f" {token}"), "not-base64url"),
    "a trailing blank": (text(lambda token: f"{token} "), "not-base64url"),
    "a blank before the line end": (text(lambda token: f"{token} \n"), "not-base64url"),
    "two line ends": (text(lambda token: f"{token}\n\n"), "not-base64url"),
    "a carriage return alone": (text(lambda token: f"{token}\r"), "not-base64url"),
    "a line end inside": (text(lambda token: token.replace(".", ".\n", 1)), "not-base64url"),
    "a NUL": (text(lambda token: f"{token}\0"), "not-base64url"),
    "letters that look like ASCII": (
        text(lambda token: "\N{FULLWIDTH LATIN SMALL LETTER E}" + token[1:]),
        "not-base64url",
    ),
    "a byte order mark before it": (text(lambda token: f"\ufeff{token}"), "not-base64url"),
    "a megabyte": (text(lambda token: token + "A" * 1_000_000), "too-long"),
    "one character too many": (lambda *_: "A" * (LARGEST_TOKEN + 1), "too-long"),
    "one character too many and a line end": (lambda *_: "A" * (LARGEST_TOKEN + 1) + "\n", "too-long"),
    "alg none": (resigned("none", lambda *_: b""), "wrong-algorithm"),
    "alg none in capitals": (resigned("NONE", lambda *_: b""), "wrong-algorithm"),
    "alg HS256 keyed with the public key": (
        resigned("HS256", lambda seller, data: hmac.digest(seller.pem, data, hashlib.sha256)),
        "wrong-algorithm",
    ),
    "alg RS256": (
        resigned("RS256", lambda seller, data: seller.key.sign(data, PKCS1v15(), SHA256())),
        "wrong-algorithm",
    ),
    "alg PS384": (resigned("PS384", lambda seller, data: seller.sign(data)), "wrong-algorithm"),
    "alg in lower case": (resigned("ps256", lambda seller, data: seller.sign(data)), "wrong-algorithm"),
    "alg with a blank": (resigned("PS256 ", lambda seller, data: seller.sign(data)), "wrong-algorithm"),
    "alg missing": (header({"typ": "JWT"}), "wrong-algorithm"),
    "alg null": (header({"alg": None}), "wrong-algorithm"),
    "alg as a list": (header({"alg": ["PS256"]}), "wrong-algorithm"),
    "alg named twice": (header(b'{"alg":"none","alg":"PS256"}'), "duplicate-member"),
    "alg named twice by an escape": (header(b'{"alg":"none","\\u0061lg":"PS256"}'), "duplicate-member"),
    "a header member named twice deep down": (header(b'{"alg":"PS256","x":[{"a":1,"a":1}]}'), "duplicate-member"),
    "crit": (header({"alg": "PS256", "crit": ["exp"], "exp": 1}), "critical-header"),
    "an empty crit": (header({"alg": "PS256", "crit": []}), "critical-header"),
    "b64": (header({"alg": "PS256", "b64": False}), "unencoded-payload"),
    "another typ": (header({"alg": "PS256", "typ": "at+jwt"}), "wrong-type"),
    "a typ that is no string": (header({"alg": "PS256", "typ": 1}), "wrong-type"),
    "a header that is no object": (header(b'["PS256"]'), "malformed-header"),
    "a header in UTF-16": (header('{"alg":"PS256"}'.encode("utf-16-le")), "malformed-header"),
    "a header with a byte order mark": (header(b'\xef\xbb\xbf{"alg":"PS256"}'), "malformed-header"),
    "a header in broken UTF-8": (header(b'{"alg":"PS256","x":"\xff"}'), "malformed-header"),
    "a header with a comment": (header(b'{"alg":"PS256"}//'), "malformed-header"),
    "a deep header": (header(b'{"alg":"PS256","x":' + b"[" * 5000 + b"]" * 5000 + b"}"), "too-deep"),
    "another key": (lambda _, stranger: stranger.token(CLAIMS), "wrong-signature"),
    "another key that it brings along": (embed_key, "wrong-signature"),
    "no salt": (ps256(lambda seller, data: seller.sign(data, salt=0)), "wrong-signature"),
    "a salt of 20 bytes": (ps256(lambda seller, data: seller.sign(data, salt=20)), "wrong-signature"),
    "a salt of all the room": (ps256(lambda seller, data: seller.sign(data, salt=222)), "wrong-signature"),
    "a mask by SHA-1": (ps256(lambda seller, data: seller.sign(data, mask=SHA1())), "wrong-signature"),
    "PKCS #1 under PS256's name": (
        ps256(lambda seller, data: seller.key.sign(data, PKCS1v15(), SHA256())),
        "wrong-signature",
    ),
    "a truncated signature": (ps256(lambda seller, data: seller.sign(data)[:-1]), "wrong-signature"),
    "a signature with a zero before it": (ps256(lambda seller, data: b"\0" + seller.sign(data)), "wrong-signature"),
    "a signature with a zero after it": (ps256(lambda seller, data: seller.sign(data) + b"\0"), "wrong-signature"),
    "all zeros": (ps256(lambda *_: bytes(256)), "wrong-signature"),
    "the modulus itself": (ps256(lambda seller, _: modulus_of(seller)), "wrong-signature"),
    "another payload under a right signature": (
        text(lambda token: token.replace(token.split(".")[1], "e30")),
        "wrong-signature",
    ),
    "no JSON": (payload("foo"), "malformed-payload"),
    "no object": (payload("[]"), "malformed-payload"),
    "two objects": (payload("{}{}"), "malformed-payload"),
    "a payload with a byte order mark": (payload("\ufeff{}"), "malformed-payload"),
    "a payload in broken UTF-8": (lambda seller, _: seller.token(b'{"nonce":"\xc0\x80"}'), "malformed-payload"),
    "a deep payload": (payload('{"a":' * 1500 + "1" + "}" * 1500), "too-deep"),
    "a payload of 33 levels": (payload('{"a":' * 32 + "1" + "}" * 32), "too-deep"),
    "a number of too many digits": (payload('{"iat":' + "9" * 5000 + "}"), "malformed-payload"),
    "NaN": (payload('{"iat": NaN}'), "not-finite"),
    "Infinity": (payload('{"iat": Infinity}'), "not-finite"),
    "minus Infinity": (payload('{"iat": -Infinity}'), "not-finite"),
    "a number beyond all doubles": (payload('{"iat": 1e999}'), "not-finite"),
    "a claim named twice": (payload('{"nonce": "a", "nonce": "b"}'), "duplicate-member"),
    "a claim in both spellings": (signed(claims(ProductCode="0abc123example")), "both-spellings"),
    "a nonce in both spellings": (signed(claims(Nonce=NONCE)), "both-spellings"),
    "another product": (signed(claims(productCode="0other")), "product-code"),
    "another case of the product": (signed(claims(productCode="0ABC123EXAMPLE")), "product-code"),
    "no product": (signed(without("productCode")), "product-code"),
    "a product that is a list": (signed(claims(productCode=["0abc123example"])), "product-code"),
    "another key version": (signed(claims(publicKeyVersion=4)), "public-key-version"),
    "a key version that is true": (signed(claims(publicKeyVersion=True)), "public-key-version"),
    "a key version that is a string": (signed(claims(publicKeyVersion="3")), "public-key-version"),
    "a key version with a fraction": (signed(claims(publicKeyVersion=3.0)), "public-key-version"),
    "no key version": (signed(without("publicKeyVersion")), "public-key-version"),
    "another nonce": (signed(claims(nonce=NONCE[:-1])), "nonce"),
    "an empty nonce": (signed(claims(nonce="")), "nonce"),
    "half a surrogate pair as nonce": (signed(claims(nonce="\ud800")), "nonce"),
    "no nonce": (signed(without("nonce")), "nonce"),
    "a nonce that is null": (signed(claims(nonce=None)), "nonce"),
    "a nonce that is a number": (signed(claims(nonce=1)), "nonce"),
    "too old": (signed(claims(iat=int(NOW.timestamp()) - 301)), "issue-time"),
    "from the future": (signed(claims(iat=int(NOW.timestamp()) + 303)), "issue-time"),
    "milliseconds": (signed(claims(iat=int(NOW.timestamp()) * 1000)), "issue-time"),
    "iat as a string": (signed(claims(iat=str(CLAIMS["iat"]))), "issue-time"),
    "iat as RFC 3339": (signed(claims(iat="2026-11-23T10:20:00Z")), "issue-time"),
    "iat true": (signed(claims(iat=True)), "issue-time"),
    "iat null": (signed(claims(iat=None)), "issue-time"),
    "iat missing": (signed(without("iat")), "issue-time"),
    "a huge iat": (signed(claims(iat=10**400)), "issue-time"),
    "a huge negative iat": (signed(claims(iat=-(10**400))), "issue-time"),
}


def modulus_of(signer: "Signer") -> bytes:
    """Return the key's modulus, which is no valid signature representative."""
    return signer.key.public_key().public_numbers().n.to_bytes(signer.key.key_size // 8)


@pytest.mark.parametrize("forge", RIGHT.values(), ids=RIGHT.keys())
def test_right_token(forge: "Forge", seller: "Signer", stranger: "Signer") -> None:
    """A token that is right in every respect is believed."""
    token = forge(seller, stranger)

    assert read_object(read_token(token)) == believe(token, seller)


@pytest.mark.parametrize(("forge", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_token(forge: "Forge", code: str, seller: "Signer", stranger: "Signer") -> None:
    """Anything else is refused by the rule that it breaks, in words that show nothing of it."""
    token = forge(seller, stranger)

    with pytest.raises(Refusal) as refused:
        believe(token, seller)

    assert code == refused.value.code
    assert [] == [part for part in (*token.strip().split("."), NONCE) if len(part) > 4 and part in repr(refused.value)]


def test_unknown_key_version(seller: "Signer") -> None:
    """Without a key of the version that was asked for no other key is tried."""
    with pytest.raises(Refusal) as refused:
        verify(seller.token(CLAIMS), PublicKeys({4: seller.key.public_key()}), 3, ASKED, WINDOW)

    assert "unknown-key" == refused.value.code


def test_nonce_nobody_asked_for(seller: "Signer") -> None:
    """Without a nonce in the question the answer may have one or none, but not one of another type."""
    asked = Asked("0abc123example", 3)

    for changed in (CLAIMS, without("nonce"), claims(nonce=None)):
        assert changed == verify(seller.token(changed), keys_of(seller), 3, asked, WINDOW)
    with pytest.raises(Refusal, match="nonce is not a string"):
        verify(seller.token(claims(nonce=7)), keys_of(seller), 3, asked, WINDOW)


def test_signature_alone(seller: "Signer") -> None:
    """The signature of a token is judged whatever is signed."""
    for payload in (b"", b"foo", b"\xff", b"[1]", b'{"a":1,"a":2}'):
        token = seller.token(payload, {"alg": "PS256", "typ": "JOSE"})

        assert payload == check_signature(token, keys_of(seller), 3).payload


@pytest.mark.parametrize(
    "window",
    [IssueWindow.between(NOW + timedelta(days=1), NOW), IssueWindow.between(NOW, NOW - timedelta(days=1))],
    ids=["before the answer was signed", "after it"],
)
def test_clock_stepped_back(window: IssueWindow, seller: "Signer") -> None:
    """A clock that was put back during the call does not make the answer wrong."""
    assert CLAIMS == verify(seller.token(CLAIMS), keys_of(seller), 3, ASKED, window)


def test_window_of_local_times() -> None:
    """The window of a call does not depend on the zone of its times, also where that sets its clocks forward."""
    zone = ZoneInfo("America/New_York")
    asked, answered = datetime(2026, 3, 8, 7, 1, tzinfo=UTC), datetime(2026, 3, 8, 7, 2, tzinfo=UTC)

    assert IssueWindow.between(asked, answered) == IssueWindow.between(
        asked.astimezone(zone), answered.astimezone(zone)
    )


@pytest.mark.parametrize("version", [True, 1.0])
def test_version_that_only_equals(version: object, seller: "Signer") -> None:
    """What Python takes for 1 is not the integer 1."""
    keys = PublicKeys({1: seller.key.public_key()})

    with pytest.raises(Refusal, match="publicKeyVersion is not an integer"):
        verify(seller.token(claims(publicKeyVersion=version)), keys, 1, Asked(public_key_version=1), WINDOW)


def test_compact_without_line_end(seller: "Signer") -> None:
    """What is kept and handed out is the token without the line end that it came with."""
    token = seller.token(CLAIMS)

    assert token == read_token(f"{token}\r\n").compact

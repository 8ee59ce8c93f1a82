"""The token that AWS Marketplace signs for a registration: reading it, and judging what it claims.

A token is hostile until its signature is right, and even then its claims must be the ones that were asked for. The
header chooses nothing: the algorithm is PS256 and the key is that of the version that was asked for, so `kid`, `jwk`,
`jku`, `x5u` and `x5c` are never looked at. No cryptography, no clock and no repair happen here: text that is not
exactly a compact JWS (RFC 7515) is refused. A refusal is always a `Refusal`, and never repeats a byte of the token.
"""

import base64
import hmac
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn, Self

from sidecar.domain.entitlement.states import CLOCK_SKEW
from sidecar.domain.ports import SignatureCheck

LARGEST_TOKEN = 16 * 1024
"""Characters of the longest token that is read; one of AWS's, under a 4096-bit key, has about a thousand."""

_DEEPEST = 32
"""Levels of nested JSON values, the innermost included; AWS's tokens have two."""
_TOO_LONG = ("too-long", f"the token is longer than {LARGEST_TOKEN} characters")
_TOO_DEEP = ("too-deep", "the JSON of the token is nested too deeply")
FORGERY_CURE: Final = (
    "Save the key that AWS Marketplace shows for product.public_key_version in the product's listing. Check that the "
    "clock is right, and that no proxy answers in AWS's place."
)
"""What to do about a signature or a claim that is not valid."""
WRONG_SIGNATURE: Final = "wrong-signature"
"""The code of a refusal by the key alone."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


class Refusal(Exception):
    """The token is not valid. `code` is a stable word, `sentence` names the broken rule, without the token."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, slots=True)
class Token:
    """A well-formed token under the right algorithm; nothing is known yet about who signed it."""

    compact: str = field(repr=False)
    """The three parts, without a line end."""
    signing_input: bytes = field(repr=False)
    header: Mapping[str, object] = field(repr=False)
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the registration asked for; None is not compared."""

    product_code: str | None = None
    public_key_version: int | None = None
    nonce: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class IssueWindow:
    """The earliest and the latest instant at which the token may have been issued, both included."""

    earliest: datetime
    latest: datetime

    @classmethod
    def between(cls, requested_at: datetime, answered_at: datetime) -> Self:
        """Return the window of a call, with `CLOCK_SKEW` on both sides; a clock stepped meanwhile widens it."""
        # In UTC: times of one zone are compared and shifted as the local times that they show.
        requested_at, answered_at = requested_at.astimezone(UTC), answered_at.astimezone(UTC)
        return cls(min(requested_at, answered_at) - CLOCK_SKEW, max(requested_at, answered_at) + CLOCK_SKEW)


def read_token(text: str) -> Token:
    """Return the parts of a compact JWS that declares PS256. One line end, LF or CRLF, may follow it.

    Raises:
        Refusal: It is anything else.
    """
    # A longer text is refused before it is copied or searched.
    if len(text) > LARGEST_TOKEN + len("\r\n"):
        raise Refusal(*_TOO_LONG)
    compact = text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
    if len(compact) > LARGEST_TOKEN:
        raise Refusal(*_TOO_LONG)
    if not compact:
        raise Refusal("empty", "there is no token")
    parts = compact.split(".")
    if len(parts) != len(("header", "payload", "signature")):
        raise Refusal("not-compact", "the token does not have exactly three parts")
    header, payload, signature = (_decode(part) for part in parts)
    members = _read_object(header, "header")
    _judge_header(members)
    return Token(compact, compact.rpartition(".")[0].encode("ascii"), members, payload, signature)


def check_signature(text: str, signatures: SignatureCheck, version: int) -> Token:
    """Return the token after its signature was found right under the key of `version`. The payload is not looked at.

    Raises:
        Refusal: The text is no such token, or its signature is not AWS's.
    """
    token = read_token(text)
    try:
        right = signatures.verify(token.signing_input, token.signature, version)
    except KeyError:
        raise Refusal("unknown-key", "there is no public key of the version that was asked for") from None
    if not right:
        raise Refusal(WRONG_SIGNATURE, "the signature is not that of the public key")
    return token


def read_object(token: Token) -> Mapping[str, object]:
    """Return the members of the token's payload.

    Raises:
        Refusal: The payload is not one JSON object in UTF-8, or a member is named twice anywhere in it.
    """
    return _read_object(token.payload, "payload")


def verify(
    text: str, signatures: SignatureCheck, version: int, asked: Asked, issued: IssueWindow
) -> Mapping[str, object]:
    """Return the claims of a token that is right in every respect, as they were signed.

    AWS writes the claims `productCode`, `publicKeyVersion`, `nonce` and `iat`; one of its pages prints them with a
    capital first letter. Either spelling of a claim is valid, but not both together. `nonce` may be missing only when
    none was asked for.

    Raises:
        Refusal: The first rule that the token breaks.
    """
    token = check_signature(text, signatures, version)
    # RFC 7515 makes `typ` a media type, which has no case.
    kind = token.header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise Refusal("wrong-type", "the header's typ is not JWT")
    claims = read_object(token)
    _judge_product_code(_claim(claims, "productCode"), asked)
    _judge_public_key_version(_claim(claims, "publicKeyVersion"), asked)
    _judge_nonce(_claim(claims, "nonce"), asked)
    _judge_issue(_claim(claims, "iat"), issued)
    return claims


def issued_at(claims: Mapping[str, object]) -> datetime:
    """Return when a token was issued that `verify` found right."""
    claim = _claim(claims, "iat")
    if not isinstance(claim, int | float):
        raise Refusal("issue-time", "the claim iat is not a number")
    return datetime.fromtimestamp(claim, UTC)


def _decode(part: str) -> bytes:
    if _BASE64URL.fullmatch(part) is None or len(part) % 4 == 1:
        raise Refusal("not-base64url", "a part of the token is not unpadded base64url")
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    # The last character may carry bits that decode to nothing: two texts would then be the same token.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != part:
        raise Refusal("stray-bits", "a part of the token has stray bits at its end")
    return data


def _judge_header(header: Mapping[str, object]) -> None:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm != "PS256":
        raise Refusal("wrong-algorithm", "the header's alg is not PS256")
    if "crit" in header:
        raise Refusal("critical-header", "the header names critical extensions, and none is understood here")
    # RFC 7797 would make the payload mean something else.
    if "b64" in header:
        raise Refusal("unencoded-payload", "the header has b64, which is not understood here")


def _read_object(data: bytes, part: str) -> Mapping[str, object]:
    try:
        # Decoded here because json.loads would take UTF-16 and UTF-32 too.
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_members,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise Refusal(*_TOO_DEEP) from None
    except ValueError:
        raise Refusal(f"malformed-{part}", f"the {part} is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise Refusal(f"malformed-{part}", f"the {part} is not a JSON object")
    _judge_depth(value)
    return value


def _judge_depth(value: object) -> None:
    # How deep the interpreter itself can go differs from version to version.
    level = [value]
    for _ in range(_DEEPEST):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise Refusal(*_TOO_DEEP)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Refusal("duplicate-member", "a JSON object of the token names a member twice")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse_constant(digits)
    return number


def _refuse_constant(_literal: str) -> NoReturn:
    raise Refusal("not-finite", "a number of the token is not finite")


def _claim(claims: Mapping[str, object], name: str) -> object:
    """Return the claim under either spelling; None when it is missing, which null is as good as."""
    capital = name[0].upper() + name[1:]
    if name in claims and capital in claims:
        raise Refusal("both-spellings", f"the claim {name} is present in both spellings")
    return claims.get(name, claims.get(capital))


def _judge_product_code(claim: object, asked: Asked) -> None:
    if not isinstance(claim, str):
        raise Refusal("product-code", "the claim productCode is not a string")
    if asked.product_code is not None and claim != asked.product_code:
        raise Refusal("product-code", "the claim productCode is not the product that was asked for")


def _judge_public_key_version(claim: object, asked: Asked) -> None:
    # True is an int and 1.0 equals 1 in Python, in the token neither is an integer.
    if type(claim) is not int:
        raise Refusal("public-key-version", "the claim publicKeyVersion is not an integer")
    if asked.public_key_version is not None and claim != asked.public_key_version:
        raise Refusal("public-key-version", "the claim publicKeyVersion is not the version that was asked for")


def _judge_nonce(claim: object, asked: Asked) -> None:
    if claim is None and asked.nonce is None:
        return
    if not isinstance(claim, str):
        raise Refusal("nonce", "the claim nonce is not a string")
    # JSON can escape half a surrogate pair, which plain UTF-8 cannot encode.
    if asked.nonce is not None and not hmac.compare_digest(
        claim.encode("utf-8", "surrogatepass"), asked.nonce.encode("utf-8", "surrogatepass")
    ):
        raise Refusal("nonce", "the claim nonce is not the one that was asked for")


def _judge_issue(claim: object, issued: IssueWindow) -> None:
    if type(claim) is not int and type(claim) is not float:
        raise Refusal("issue-time", "the claim iat is not a number")
    if not issued.earliest.timestamp() <= claim <= issued.latest.timestamp():
        minutes = CLOCK_SKEW // timedelta(minutes=1)
        raise Refusal("issue-time", f"the claim iat is more than {minutes} minutes away from this machine's clock")

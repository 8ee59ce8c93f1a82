"""Who calls: the check of AWS Signature Version 4.

Credentials that the token service handed out are checked in full. Of any other access key the secret cannot be known:
there only the form, the time and the scope are checked. Refuses presigned URLs. Times are judged by the system clock,
by which SDKs sign. Messages never hold a secret.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.state.customers import RUNNING_ACCOUNT
from sidecar.emulator.state.entries import Session

SESSION_KEY_PREFIX = "ASIAEMULATOR"
"""How access keys of the token service begin."""

SKEW = timedelta(minutes=15)
"""How far the signing time may be from the system clock."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_CREDENTIAL = re.compile(r"([!-+\--.0-~]{1,128})/(\d{8})/([a-zA-Z0-9-]{1,64})/([a-z0-9.-]{1,64})/aws4_request")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature covers."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case, values as received, repeated ones joined by a comma."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    identity: str
    """The pod, as far as it is known: its UID, else the token's subject, else the access key id."""
    access_key_id: str
    region: str
    session: Session | None = None
    """The credentials of the token service; None for a key of the caller's own."""

    @property
    def arn(self) -> str:
        """The caller in IAM's words."""
        if self.session is None:
            return f"arn:aws:iam::{RUNNING_ACCOUNT}:user/{self.access_key_id}"
        account, _, role = self.session.role_arn.split(":", 4)[4].partition(":role/")
        return f"arn:aws:sts::{account}:assumed-role/{role.rsplit('/', 1)[-1]}/{self.session.session_name}"

    @property
    def account(self) -> str:
        """The AWS account of the caller."""
        return self.arn.split(":")[4]


@dataclass(frozen=True, slots=True)
class _Authorization:
    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def authenticate(request: SignedRequest, service: str, sessions: Mapping[str, Session], system_now: datetime) -> Caller:
    """Find out who signed a request to `service`.

    Raises:
        ServiceError: The request is not signed, or not well, or by credentials that are unknown or too old.
    """
    authorization = _read_authorization(request.headers.get("authorization"))
    signed_at = _read_signing_time(request, authorization)
    if abs(signed_at - system_now) > SKEW:
        raise ServiceError("InvalidSignatureException", "The signing time is more than 15 minutes off.")
    if authorization.service != service:
        raise ServiceError("InvalidSignatureException", f"Credential should be scoped to correct service: '{service}'.")
    session = sessions.get(authorization.access_key_id)
    if session is None:
        if authorization.access_key_id.startswith(SESSION_KEY_PREFIX):
            raise _unknown_credentials()
        return Caller(authorization.access_key_id, authorization.access_key_id, authorization.region)
    token = request.headers.get("x-amz-security-token", "")
    if not hmac.compare_digest(token.encode(errors="replace"), session.session_token.encode()):
        raise _unknown_credentials()
    expected = _sign(request, authorization, session.secret_access_key)
    if not hmac.compare_digest(expected, authorization.signature):
        raise ServiceError(
            "InvalidSignatureException", "The request signature we calculated does not match the one you provided."
        )
    if system_now >= session.expires_at:
        raise ServiceError(
            "ExpiredTokenException", "The security token included in the request is expired.", rule=Rule.SIGNATURE
        )
    return Caller(session.identity, session.access_key_id, authorization.region, session)


def _unknown_credentials() -> ServiceError:
    return ServiceError("UnrecognizedClientException", "The security token included in the request is invalid.")


def _read_authorization(header: str | None) -> _Authorization:
    if header is None:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token.")
    algorithm, _, rest = header.partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    credential = _CREDENTIAL.fullmatch(fields.get("Credential", ""))
    if algorithm != _ALGORITHM or credential is None or _SIGNATURE.fullmatch(fields.get("Signature", "")) is None:
        raise ServiceError(
            "IncompleteSignatureException",
            f"The Authorization header must be {_ALGORITHM} with Credential, SignedHeaders and Signature.",
        )
    signed_headers = tuple(fields.get("SignedHeaders", "").split(";"))
    if not {"host", "x-amz-date"} <= set(signed_headers):
        raise ServiceError("IncompleteSignatureException", "SignedHeaders must name host and x-amz-date.")
    access_key_id, date, region, service = credential.groups()
    return _Authorization(access_key_id, date, region, service, signed_headers, fields["Signature"])


def _read_signing_time(request: SignedRequest, authorization: _Authorization) -> datetime:
    text = request.headers.get("x-amz-date", "")
    try:
        signed_at = datetime.strptime(text, _DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise ServiceError("IncompleteSignatureException", "X-Amz-Date must be like 20261123T100000Z.") from error
    if not text.startswith(authorization.date):
        raise ServiceError("InvalidSignatureException", "The date of the credential scope is not that of X-Amz-Date.")
    return signed_at


def _sign(request: SignedRequest, authorization: _Authorization, secret: str) -> str:
    names = authorization.signed_headers
    canonical = "\n".join(
        (
            request.method,
            quote(request.path, safe="/-_.~"),
            _canonical_query(request.query),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    hashed = hashlib.sha256(canonical.encode(errors="surrogateescape")).hexdigest()
    to_sign = "\n".join((_ALGORITHM, request.headers["x-amz-date"], authorization.scope, hashed))
    key = f"AWS4{secret}".encode()
    for part in (*authorization.scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _canonical_query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True, errors="replace")
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs))

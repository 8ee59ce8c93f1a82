"""The token service: trades a projected service-account token for credentials of the pod behind it.

The token's signature is not checked: the emulator does not know the cluster. What it says is: who the pod is, whether
the token is meant for AWS and whether it is still good, by the system clock, because clusters issue tokens in real
time. Refuses tokens without a subject.
"""

import base64
import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import format_instant
from sidecar.emulator.protocol.sigv4 import SESSION_KEY_PREFIX, Caller
from sidecar.emulator.state.entries import Session
from sidecar.emulator.state.store import State

AUDIENCE = "sts.amazonaws.com"

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[!-~]{1,512}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_DURATION = re.compile(r"\d{1,5}", re.ASCII)
_LONGEST_TOKEN = 20_000
_KEY_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def assume_role(state: State, system_now: datetime, form: Mapping[str, str]) -> tuple[Session, str]:
    """Hand out credentials; returns them and the subject of the token.

    Raises:
        ServiceError: The form or the token is faulty.
    """
    role_arn, session_name = form.get("RoleArn", ""), form.get("RoleSessionName", "")
    if _ROLE_ARN.fullmatch(role_arn) is None:
        raise ServiceError("ValidationError", "RoleArn must be the ARN of an IAM role.")
    if _SESSION_NAME.fullmatch(session_name) is None:
        raise ServiceError("ValidationError", "RoleSessionName must have 2 to 64 letters, digits or _+=,.@-.")
    seconds = form.get("DurationSeconds", "3600")
    if _DURATION.fullmatch(seconds) is None or not 900 <= int(seconds) <= 43200:
        raise ServiceError("ValidationError", "DurationSeconds must be from 900 to 43200.")
    claims = _read_claims(form.get("WebIdentityToken", ""))
    _check_claims(claims, system_now)
    identity, subject = _read_identity(claims)
    session = Session(
        access_key_id=SESSION_KEY_PREFIX + "".join(secrets.choice(_KEY_ID_LETTERS) for _ in range(8)),
        secret_access_key=secrets.token_urlsafe(30),
        session_token=secrets.token_urlsafe(96),
        identity=identity,
        role_arn=role_arn,
        session_name=session_name,
        expires_at=system_now.replace(microsecond=0) + timedelta(seconds=int(seconds)),
    )
    state.keep(session)
    return session, subject


def credentials_xml(session: Session, subject: str, request_id: str) -> str:
    """Write the answer of AssumeRoleWithWebIdentity."""
    caller = Caller(session.identity, session.access_key_id, "", session)
    return _answer_xml(
        "AssumeRoleWithWebIdentity",
        f"<Credentials><AccessKeyId>{session.access_key_id}</AccessKeyId>"
        f"<SecretAccessKey>{session.secret_access_key}</SecretAccessKey>"
        f"<SessionToken>{session.session_token}</SessionToken>"
        f"<Expiration>{format_instant(session.expires_at)}</Expiration></Credentials>"
        f"<SubjectFromWebIdentityToken>{escape(subject)}</SubjectFromWebIdentityToken>"
        f"<AssumedRoleUser><Arn>{escape(caller.arn)}</Arn>"
        f"<AssumedRoleId>AROAEMULATOR00000000:{escape(session.session_name)}</AssumedRoleId></AssumedRoleUser>"
        f"<Audience>{AUDIENCE}</Audience>",
        request_id,
    )


def caller_xml(caller: Caller, request_id: str) -> str:
    """Write the answer of GetCallerIdentity."""
    return _answer_xml(
        "GetCallerIdentity",
        f"<UserId>{escape(caller.access_key_id)}</UserId><Account>{caller.account}</Account>"
        f"<Arn>{escape(caller.arn)}</Arn>",
        request_id,
    )


def error_xml(error: ServiceError, request_id: str) -> str:
    """Write a refusal."""
    kind = "Receiver" if error.status >= 500 else "Sender"
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )


def _answer_xml(operation: str, result: str, request_id: str) -> str:
    return (
        f'<{operation}Response xmlns="{_NAMESPACE}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )


def _read_claims(token: str) -> dict[str, Any]:
    malformed = ServiceError("InvalidIdentityToken", "The web identity token is not a JWT.")
    parts = token.strip().split(".")
    if len(parts) != 3 or len(token) > _LONGEST_TOKEN:
        raise malformed
    try:
        claims = json.loads(base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise malformed from error
    if not isinstance(claims, dict):
        raise malformed
    return claims


def _check_claims(claims: dict[str, Any], system_now: datetime) -> None:
    expiry = claims.get("exp")
    if isinstance(expiry, int | float) and not expiry > system_now.timestamp():
        raise ServiceError("ExpiredTokenException", "The web identity token has expired.", rule=Rule.WEB_IDENTITY)
    audience = claims.get("aud", AUDIENCE)
    if audience != AUDIENCE and not (isinstance(audience, list) and AUDIENCE in audience):
        raise ServiceError("InvalidIdentityToken", f"Incorrect token audience: it must be {AUDIENCE}.")


def _read_identity(claims: dict[str, Any]) -> tuple[str, str]:
    kubernetes = claims.get("kubernetes.io")
    pod = kubernetes.get("pod") if isinstance(kubernetes, dict) else None
    uid = pod.get("uid") if isinstance(pod, dict) else None
    subject = claims.get("sub")
    names = [name for name in (uid, subject) if isinstance(name, str) and 0 < len(name) <= 255 and name.isprintable()]
    if not names:
        raise ServiceError("InvalidIdentityToken", "The web identity token names neither a pod nor a subject.")
    return names[0], names[-1]

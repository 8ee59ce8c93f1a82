"""The web-identity token that EKS projects into the pod: its subject, its audience and its expiry.

Reads its claims without verifying them, because only AWS has the cluster's key. The token itself is never shown.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sidecar.adapters.pod import POD_UID_CURE
from sidecar.checks.identity import read_file
from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.plaintext import ForeignText, plain
from sidecar.domain.timestamps import render
from sidecar.domain.web_identity import TOKEN_VARIABLE, account_of_claims, pod_of_claims, read_claims

TOKEN = Check("token", "AWS trades this token for the role's credentials, and refuses a stale or foreign one.")

AUDIENCE = "sts.amazonaws.com"
_SOON = timedelta(minutes=5)
"""The kubelet renews a token when a fifth of its life is left, which is never less than this."""
_PROJECT = "Annotate the service account with eks.amazonaws.com/role-arn and restart the pod."


def check_token(environ: Mapping[str, str], now: datetime) -> CheckResult:
    """Judge the token that the environment names."""
    path = environ.get(TOKEN_VARIABLE)
    if not path:
        return TOKEN.skipped(f"{TOKEN_VARIABLE} is not set, so no service account's role is used")
    form = _form(path)
    if form is not None:
        return TOKEN.fail(f"{path} {form}, and AWS refuses it so", _PROJECT)
    text = read_file(path)
    if not text:
        return TOKEN.fail(f"{path} is missing, unreadable or empty", _PROJECT)
    claims = read_claims(text)
    if claims is None:
        return TOKEN.fail(f"{path} does not hold a JSON web token", _PROJECT)
    return judge_token(claims, environ.get("POD_UID", "").strip() or None, now)


def _form(path: str) -> str | None:
    """Return what else than the bare token the file is, as the rest of a sentence; None if it may be one."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError):
        return None
    try:
        text = plain(content)
    except ForeignText as foreign:
        return f"is {foreign}"
    return None if text == content else "begins with a byte order mark"


def judge_token(claims: Mapping[str, Any], pod_uid: str | None, now: datetime) -> CheckResult:
    """Judge the claims of a token."""
    audiences = claims.get("aud")
    named = audiences if isinstance(audiences, list) else [audiences]
    if AUDIENCE not in named:
        shown = ", ".join(str(each) for each in named if each is not None) or "no audience"
        return TOKEN.fail(f"the token is meant for {shown}, not for {AUDIENCE}", f"Project it for {AUDIENCE}.")
    account = account_of_claims(claims)
    if account is None:
        return TOKEN.fail(
            f"the token's subject is {claims.get('sub')!r}, no service account",
            "Use the token that EKS projects for the pod's own service account.",
        )
    expires_at = _instant(claims.get("exp"))
    if expires_at is None:
        return TOKEN.fail("the token has no expiry", _PROJECT)
    if expires_at <= now:
        return TOKEN.fail(
            f"the token expired at {render(expires_at)}",
            "Mount the token as a projected volume, which the kubelet renews, not as a copy; check the clock.",
        )
    if expires_at - now < _SOON:
        return TOKEN.warn(
            f"the token expires at {render(expires_at)} and was not renewed yet",
            "Mount the token as a projected volume, which the kubelet renews.",
        )
    return _judge_pod(claims, account, expires_at, pod_uid)


def _judge_pod(claims: Mapping[str, Any], account: str, expires_at: datetime, pod_uid: str | None) -> CheckResult:
    uid = pod_of_claims(claims)
    if uid is not None and pod_uid is not None and uid != pod_uid:
        return TOKEN.fail(f"the token is of pod {uid}, but POD_UID is {pod_uid}", POD_UID_CURE)
    issuer = claims.get("iss")
    by = f", issued by {issuer}" if isinstance(issuer, str) else ""
    return TOKEN.ok(f"{account}, until {render(expires_at)}{by}")


def _instant(seconds: object) -> datetime | None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)
    except (ValueError, OverflowError, OSError):
        return None

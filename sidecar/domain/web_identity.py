"""The claims of the tokens of the pod's service account that EKS projects into a pod for its access to AWS.

Reads them without verifying them, because only AWS has the cluster's key.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

TOKEN_VARIABLE = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - the name of a variable
"""Names the file of the web-identity token."""
POD_IDENTITY_VARIABLE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
"""Names the file of the token of EKS Pod Identity."""
_ACCOUNT = "system:serviceaccount:"


def read_claims(token: str) -> Mapping[str, Any] | None:
    """Return the claims of a compact JWS, None when it is none. Judges no signature."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def pod_of_claims(claims: Mapping[str, Any]) -> str | None:
    """Return the UID of the pod that a token was issued to, None for a token without pod claims."""
    match claims.get("kubernetes.io"):
        case {"pod": {"uid": str(uid)}} if uid:
            return uid
        case _:
            return None


def account_of_claims(claims: Mapping[str, Any]) -> str | None:
    """Return the service account that a token was issued to, as namespace/name; None where its subject is no such."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.startswith(_ACCOUNT) or subject.count(":") != 3:
        return None
    return subject.removeprefix(_ACCOUNT).replace(":", "/")

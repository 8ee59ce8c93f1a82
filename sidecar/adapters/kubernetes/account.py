"""Which service account the pod runs as, read from the token that the kubelet puts into the container.

The account decides which role AWS sees, and the pod template of a seller's own chart may name another account than the
one that the sidecar's chart makes. Reads one file, verifies no signature, and loads nothing of the kubernetes package.
"""

import base64
import binascii
import json
from pathlib import Path

from sidecar.adapters.kubernetes import address

_SUBJECT = "system:serviceaccount:"


def name_account(account: Path | None = None) -> str | None:
    """Return the pod's service account as namespace/name, None without a token that names it.

    Args:
        account: The folder with the service account's files; None is where the kubelet puts it.
    """
    try:
        token = ((account or address.ACCOUNT) / "token").read_text(encoding="ascii").strip()
        encoded = token.split(".")[1]
        claims = json.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
    except (OSError, IndexError, binascii.Error, ValueError, RecursionError):
        return None
    subject = claims.get("sub") if isinstance(claims, dict) else None
    if not isinstance(subject, str) or not subject.startswith(_SUBJECT) or subject.count(":") != 3:
        return None
    return subject.removeprefix(_SUBJECT).replace(":", "/")

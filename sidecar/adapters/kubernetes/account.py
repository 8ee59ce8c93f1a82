"""Which service account the pod runs as, read from the token that the kubelet puts into the container.

The account decides which role AWS sees, and the pod template of a seller's own chart may name another account than the
one that the sidecar's chart makes. Reads one file, verifies no signature, and loads nothing of the kubernetes package.
"""

from pathlib import Path

from sidecar.adapters.kubernetes import address
from sidecar.domain.web_identity import account_of_claims, read_claims


def name_account(account: Path | None = None) -> str | None:
    """Return the pod's service account as namespace/name, None without a token that names it.

    Args:
        account: The folder with the service account's files; None is where the kubelet puts it.
    """
    try:
        token = ((account or address.ACCOUNT) / "token").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    claims = read_claims(token)
    return None if claims is None else account_of_claims(claims)

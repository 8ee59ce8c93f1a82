"""Identities of AWS that tests give to a sidecar."""

import base64
import json
import time
from pathlib import Path

ROLE = "arn:aws:iam::111122223333:role/metering"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIASOMEBODY", "AWS_SECRET_ACCESS_KEY": "of-somebody"}


def project(folder: Path, uid: str) -> dict[str, str]:
    """Write a service account's token as a cluster does for a pod, and return the variables that it sets."""
    claims = {
        "aud": ["sts.amazonaws.com"],
        "exp": int(time.time()) + 3600,
        "sub": "system:serviceaccount:shop:app",
        "kubernetes.io": {"namespace": "shop", "pod": {"name": "app-0", "uid": uid}},
    }
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims)]
    token = folder / "token"
    token.write_bytes(b".".join([*(part.rstrip(b"=") for part in parts), b"c2lnbmF0dXJl"]))
    return {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "POD_UID": uid}

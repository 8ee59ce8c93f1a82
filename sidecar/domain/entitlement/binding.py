"""The nonce of the sidecar's own registrations: it names the pod, so AWS's signature covers the pod as well.

A kept signature is proof for the pod in its nonce and for no other. An app's own nonce never begins like one of these:
otherwise an attestation could be kept as the proof of another pod.
"""

import hashlib
from typing import Final

PREFIX: Final = "marketplace-sidecar."
"""How the nonces of the sidecar's own registrations begin."""
LEAST_RANDOM: Final = 22
"""Characters of URL-safe base64 that carry 128 random bits."""


def bind(pod: str, random: str) -> str:
    """Return a nonce of this pod, below 255 characters.

    Args:
        pod: The pod's identity, of any length.
        random: Characters of URL-safe base64 that AWS has never signed before, at least `LEAST_RANDOM` and at most 100.
    """
    return f"{PREFIX}{random}.{_digest(pod)}"


def is_bound(nonce: str, pod: str) -> bool:
    """Return whether `bind` made `nonce` for this pod."""
    random, dot, digest = nonce.removeprefix(PREFIX).rpartition(".")
    return is_reserved(nonce) and bool(dot) and len(random) >= LEAST_RANDOM and digest == _digest(pod)


def is_reserved(nonce: str) -> bool:
    """Return whether a nonce begins like those of the sidecar's own registrations."""
    return nonce.startswith(PREFIX)


def _digest(pod: str) -> str:
    return hashlib.sha256(pod.encode("utf-8", "surrogatepass")).hexdigest()

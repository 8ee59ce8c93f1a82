"""The product's key pairs and the tokens signed by them: RSASSA-PSS with SHA-256, as AWS signs RegisterUsage.

Also signs wrongly when asked to, in ways that a careless verifier would accept. Refuses to keep keys
itself: they live in the state. Invariant: a version that exists keeps its key pair.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from sidecar.emulator.state.entries import SigningKey
from sidecar.emulator.state.store import State

KEY_BITS = 3072
_HOUR_S = 3600


class KeyRing:
    """Signs with the key pairs of the state, making each when it is first needed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._loaded: dict[str, RSAPrivateKey] = {}
        self._stranger: RSAPrivateKey | None = None
        self._making = asyncio.Lock()

    async def prepare(self, version: int, *, fault: str | None = None) -> None:
        """Make the key pair of a version, and the wrong one that the fault needs, off the event loop."""
        async with self._making:
            key = self._state.keys.get(version)
            if key is not None and key.private_pem is None:
                made = await asyncio.to_thread(_make_pem)
                # Only now: a rotation may have come in between.
                self._state.keep(replace(self._state.keys.get(version, key), private_pem=made))
            if fault == "wrong-signature" and self._stranger is None:
                self._stranger = await asyncio.to_thread(generate_private_key, 65537, KEY_BITS)

    def public_pem(self, version: int) -> bytes:
        """Return the public key of a prepared version as PEM SubjectPublicKeyInfo."""
        return self._private(version).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, version: int, claims: dict[str, Any], *, fault: str | None = None) -> str:
        """Return the compact token of these claims, by a prepared version's key, spoilt by the fault."""
        if fault == "alg-none":
            return f"{_signing_input('none', claims)}."
        if fault == "hs256":
            signing_input = _signing_input("HS256", claims)
            mac = hmac.new(self.public_pem(version), signing_input.encode(), hashlib.sha256).digest()
            return f"{signing_input}.{_base64url(mac)}"
        key = self._stranger if fault == "wrong-signature" and self._stranger else self._private(version)
        signing_input = _signing_input("PS256", _spoil(claims, fault))
        salted = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return f"{signing_input}.{_base64url(key.sign(signing_input.encode(), salted, hashes.SHA256()))}"

    def rotate(self, now: datetime) -> int:
        """Add a key version and expire the others now; return the new version."""
        new_version = self._state.current_key_version + 1
        for key in list(self._state.keys.values()):
            if key.expired_at is None:
                self._state.keep(replace(key, expired_at=now))
        self._state.keep(SigningKey(new_version))
        return new_version

    def _private(self, version: int) -> RSAPrivateKey:
        pem = self._state.keys[version].private_pem
        if pem is None:
            raise LookupError(f"key version {version} has not been prepared")
        if pem not in self._loaded:
            key = load_pem_private_key(pem.encode(), password=None)
            if not isinstance(key, RSAPrivateKey):
                raise TypeError(f"key version {version} is not an RSA key")
            self._loaded[pem] = key
        return self._loaded[pem]


def _make_pem() -> str:
    key = generate_private_key(65537, KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _spoil(claims: dict[str, Any], fault: str | None) -> dict[str, Any]:
    match fault:
        case "wrong-nonce":
            return {**claims, "nonce": "not-" + claims.get("nonce", "asked-for")}
        case "wrong-product":
            return {**claims, "productCode": claims["productCode"] + "x"}
        case "wrong-version":
            return {**claims, "publicKeyVersion": claims["publicKeyVersion"] + 1}
        case "old-iat":
            return {**claims, "iat": claims["iat"] - _HOUR_S}
        case "future-iat":
            return {**claims, "iat": claims["iat"] + _HOUR_S}
        case _:
            return claims


def _signing_input(algorithm: str, claims: dict[str, Any]) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, claims)
    return ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

"""The seller's public keys and the one accepted signature: RSASSA-PSS with SHA-256 (PS256 of RFC 7518).

The only module that imports the cryptography package. It accepts no other algorithm, no private key and no certificate.
Salt and digest must have the same length, and signature and modulus too, as RFC 7518 and RFC 8017 require; a
verifier that detects the salt's length would accept tokens that AWS never makes.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.domain.plaintext import ForeignText, plain

SMALLEST_KEY = 1024
LARGEST_KEY = 4096
"""Bits of a modulus. AWS's own example key has 1024; beyond 4096 no key of the service has been seen."""

_LARGEST_FILE = 64 * 1024
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_EXPORT = "Save the public key that AWS Marketplace shows for this version, unchanged."
_CURES = {
    "PUBLIC KEY": _EXPORT,
    "RSA PUBLIC KEY": "Convert it: openssl rsa -RSAPublicKey_in -in OLD -pubout -out NEW.",
    "CERTIFICATE": "Extract the key: openssl x509 -in OLD -noout -pubkey > NEW.",
}
_PLAIN = "Save it as plain text: iconv -f UTF-16 -t ASCII OLD > NEW."
_OTHERS = (
    (
        (b"\x30\x81", b"\x30\x82"),
        "the file is binary DER, not PEM",
        "Convert it: openssl rsa -pubin -inform DER -in OLD -out NEW.",
    ),
    ((b"ssh-",), "the file holds an OpenSSH key, not PEM", "Convert it: ssh-keygen -e -m PKCS8 -f OLD > NEW."),
    (
        (b"MII", b"MFw", b"MIG"),
        "the file holds base64 without the PEM lines",
        f"Add the lines BEGIN and END PUBLIC KEY. {_EXPORT}",
    ),
)
"""First bytes of a file that is not PEM, what it is, and the cure."""
_PRIVATE = "Remove it from the image immediately: the sidecar needs only AWS's public key. " + _EXPORT


@dataclass(frozen=True, slots=True)
class KeyFault:
    """Why the key of one version cannot be used, and what to do."""

    version: int
    path: Path
    reason: str
    cure: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} (public key version {self.version}). {self.cure}"


class UnusableKeys(Exception):
    """At least one key file cannot be used; `faults` names each."""

    def __init__(self, faults: tuple[KeyFault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class PublicKeys:
    """The public keys by their version. Implements `sidecar.domain.ports.SellerKeys`; `paths`: the files to reload."""

    def __init__(self, keys: Mapping[int, RSAPublicKey], paths: Mapping[int, Path] | None = None) -> None:
        self._keys = dict(keys)
        self._paths = dict(paths or {})

    @classmethod
    def load(cls, paths: Mapping[int, Path]) -> Self:
        """Read every key file: PEM SubjectPublicKeyInfo, RSA, 1024 to 4096 bits.

        Raises:
            UnusableKeys: With every key file that cannot be used.
        """
        keys: dict[int, RSAPublicKey] = {}
        faults: list[KeyFault] = []
        for version, path in sorted(paths.items()):
            try:
                keys[version] = _read_key(path)
            except _UnusableKey as unusable:
                faults.append(KeyFault(version, path, unusable.reason, unusable.cure))
        if faults:
            raise UnusableKeys(tuple(faults))
        return cls(keys, paths)

    @property
    def sizes(self) -> Mapping[int, int]:
        """The bits of each version's modulus."""
        return {version: key.key_size for version, key in self._keys.items()}

    def verify(self, signing_input: bytes, signature: bytes, version: int) -> bool:
        """Return whether `signature` is the PS256 signature of `signing_input` under the key of `version`.

        Raises:
            KeyError: There is no key of that version.
        """
        key = self._keys[version]
        if len(signature) != (key.key_size + 7) // 8:
            return False
        try:
            key.verify(signature, signing_input, PSS(MGF1(SHA256()), SHA256.digest_size), SHA256())
        except InvalidSignature:
            return False
        return True

    async def reload(self, version: int) -> bool:
        """Read the key of `version` again and return whether it has changed; an unusable file changes nothing."""
        path = self._paths.get(version)
        if path is None:
            return False
        try:
            key = await asyncio.to_thread(_read_key, path)
        except _UnusableKey:
            return False
        before, self._keys[version] = self._keys.get(version), key
        return key != before


class _UnusableKey(Exception):
    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason, cure)
        self.reason = reason
        self.cure = cure


def _read_key(path: Path) -> RSAPublicKey:
    pem = _read_pem(path)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise _UnusableKey("the PEM does not hold a readable public key", _EXPORT) from None
    if not isinstance(key, RSAPublicKey):
        raise _UnusableKey("the key is not an RSA key", _EXPORT)
    if not SMALLEST_KEY <= key.key_size <= LARGEST_KEY:
        raise _UnusableKey(f"the key has {key.key_size} bits, not {SMALLEST_KEY} to {LARGEST_KEY}", _EXPORT)
    # A product of two odd primes; OpenSSL fails, instead of answering, on anything else.
    if key.public_numbers().n % 2 == 0:
        raise _UnusableKey("the key's modulus is even, so it is not an RSA key", _EXPORT)
    return key


def _read_pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            pem = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise _UnusableKey(
            f"the file cannot be read: {error.strerror}", "Mount the file there, readable by the sidecar's user."
        ) from None
    if len(pem) > _LARGEST_FILE:
        raise _UnusableKey("the file is too large for a public key", _EXPORT)
    for marks, reason, cure in _OTHERS:
        if pem.startswith(marks):
            raise _UnusableKey(reason, cure)
    try:
        # A key from JSON or an env file may have its line ends as two characters; base64 has no backslash.
        pem = plain(pem).replace(rb"\r", b"").replace(rb"\n", b"\n")
    except ForeignText as form:
        raise _UnusableKey(f"the file is {form}, not plain text", _PLAIN) from None
    labels = [label.decode("ascii") for label in _LABEL.findall(pem)]
    if any(label.endswith("PRIVATE KEY") for label in labels):
        raise _UnusableKey("the file holds a private key", _PRIVATE)
    if not labels:
        raise _UnusableKey("the file is not PEM", _EXPORT)
    if len(labels) > 1:
        raise _UnusableKey("the file holds more than one PEM block", "Give every key version a file of its own.")
    if labels != ["PUBLIC KEY"]:
        raise _UnusableKey(f"the file holds a PEM {labels[0]}, not a PUBLIC KEY", _CURES.get(labels[0], _EXPORT))
    return pem

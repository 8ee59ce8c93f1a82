"""Which key files are taken, and what is reported about the others."""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.signature import PublicKeys, UnusableKeys

if TYPE_CHECKING:
    from tests.conftest import Signer

KEYS = PublicKeys(
    {
        1: generate_private_key(public_exponent=65537, key_size=2048).public_key(),
        2: generate_private_key(public_exponent=65537, key_size=1024).public_key(),
    }
)
RSA_OID = bytes.fromhex("06092a864886f70d0101010500")


def pem_of(modulus: int, exponent: int = 65537) -> bytes:
    """Return the PEM of a made-up RSA key: a size that is refused needs no primes."""
    numbers = der(0x30, integer(modulus) + integer(exponent))
    info = der(0x30, der(0x30, RSA_OID) + der(0x03, b"\0" + numbers))
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(info) + b"-----END PUBLIC KEY-----\n"


def der(tag: int, body: bytes) -> bytes:
    """Return one DER element."""
    length = len(body)
    if length < 128:
        return bytes([tag, length]) + body
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(size)]) + size + body


def integer(value: int) -> bytes:
    """Return a DER integer."""
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def framed(body: bytes) -> bytes:
    """Return arbitrary bytes as a PEM public key."""
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(body) + b"-----END PUBLIC KEY-----\n"


def fault_of(path: Path) -> str:
    """Return what is reported about a key file that is refused."""
    with pytest.raises(UnusableKeys) as refused:
        PublicKeys.load({1: path})
    return str(refused.value)


@pytest.mark.parametrize("bits", [1024, 1025, 2048, 3072, 4096])
def test_sizes_taken(bits: int, tmp_path: Path) -> None:
    """RSA keys of 1024 to 4096 bits are taken."""
    path = tmp_path / "1.pem"
    path.write_bytes(pem_of((1 << (bits - 1)) + 1))

    assert {1: bits} == PublicKeys.load({1: path}).sizes


@pytest.mark.parametrize("bits", [512, 1023, 4097, 8192])
def test_sizes_refused(bits: int, tmp_path: Path) -> None:
    """RSA keys of other sizes are refused by their size."""
    path = tmp_path / "1.pem"
    path.write_bytes(pem_of((1 << (bits - 1)) + 1))

    assert f"{path}: the key has {bits} bits, not 1024 to 4096" in fault_of(path)


REFUSED_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is not PEM"),
    "DER": (base64.b64decode(b"".join(pem_of((1 << 1023) + 1).splitlines()[1:-1])), "the file is binary DER, not PEM"),
    "bare base64": (b"".join(pem_of((1 << 1023) + 1).splitlines()[1:-1]), "base64 without the PEM lines"),
    "OpenSSH": (b"ssh-rsa AAAAB3NzaC1yc2E me@here", "holds an OpenSSH key"),
    "UTF-16": (pem_of((1 << 1023) + 1).decode().encode("utf-16"), "the file is UTF-16 text, not plain text"),
    "UTF-16 without mark": (pem_of((1 << 1023) + 1).decode().encode("utf-16-le"), "the file is UTF-16 text"),
    "PKCS#1": (
        b"-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n",
        "holds a PEM RSA PUBLIC KEY, not a PUBLIC KEY (public key version 1). Convert it: openssl rsa",
    ),
    "text": (b"TODO: paste the key here", "the file is not PEM"),
    "half a PEM": (pem_of((1 << 1023) + 1)[:100], "does not hold a readable public key"),
    "garbage in PEM": (
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "does not hold a readable public key",
    ),
    "no base64 in PEM": (
        b"-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n",
        "does not hold a readable public key",
    ),
    "exponent 1": (pem_of((1 << 1023) + 1, 1), "does not hold a readable public key"),
    "even modulus": (pem_of(1 << 1023), "the key's modulus is even"),
    "two keys": (pem_of((1 << 1023) + 1) * 2, "more than one PEM block"),
    "certificate": (
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "holds a PEM CERTIFICATE, not a PUBLIC KEY (public key version 1). Extract the key: openssl x509",
    ),
    "too large": (pem_of((1 << 1023) + 1) + b"\n" * 65536, "too large for a public key"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED_FILES.values(), ids=REFUSED_FILES.keys())
def test_refused_file(content: bytes, reason: str, tmp_path: Path) -> None:
    """A file that holds anything but one public RSA key is named, with the reason."""
    path = tmp_path / "1.pem"
    path.write_bytes(content)

    said = fault_of(path)

    assert said.startswith(f"{path}: ")
    assert reason in said


def test_other_algorithm(tmp_path: Path) -> None:
    """A key of another algorithm is refused."""
    path = tmp_path / "1.pem"
    key = generate_ec_key(SECP256R1()).public_key()
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    assert "the key is not an RSA key" in fault_of(path)


def test_private_key(seller: "Signer", tmp_path: Path) -> None:
    """A private key is refused in any form, even next to the public one, and its removal is asked for."""
    path = tmp_path / "1.pem"
    for form, protection in (
        (PrivateFormat.PKCS8, NoEncryption()),
        (PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        (PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    ):
        path.write_bytes(seller.pem + seller.key.private_bytes(Encoding.PEM, form, protection))

        assert "the file holds a private key (public key version 1). Remove it from the image" in fault_of(path)


def test_older_form(seller: "Signer", tmp_path: Path) -> None:
    """A public key in PKCS #1 is refused with the command that converts it."""
    path = tmp_path / "1.pem"
    path.write_bytes(seller.key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1))

    assert "openssl rsa -RSAPublicKey_in" in fault_of(path)


def test_every_fault_at_once(seller: "Signer", tmp_path: Path) -> None:
    """All key files that cannot be used are named together, missing ones and folders too."""
    good = seller.write(tmp_path)
    missing = tmp_path / "missing.pem"

    with pytest.raises(UnusableKeys) as refused:
        PublicKeys.load({3: tmp_path, 2: missing, 1: good})

    assert [(2, missing), (3, tmp_path)] == [(fault.version, fault.path) for fault in refused.value.faults]
    reasons = [f"the file cannot be read: {os.strerror(number)}" for number in (2, 21)]
    assert reasons == [fault.reason for fault in refused.value.faults]


def test_line_ends_and_comments(seller: "Signer", tmp_path: Path) -> None:
    """A PEM with a comment before it and the line ends of another system is the same key."""
    path = tmp_path / "1.pem"
    path.write_bytes(b"# the key of version 1\r\n" + seller.pem.replace(b"\n", b"\r\n"))

    assert PublicKeys.load({1: path}).verify(b"data", seller.sign(b"data"), 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda pem: b"\xef\xbb\xbf" + pem,
        lambda pem: pem.replace(b"\n", rb"\n"),
        lambda pem: pem.replace(b"\n", rb"\r\n"),
        lambda pem: b"\xef\xbb\xbf" + pem.replace(b"\n", b"\r\n"),
    ],
    ids=["byte order mark", "two characters", "four characters", "both"],
)
def test_damaged_line_ends_are_taken(damage: Callable[[bytes], bytes], seller: "Signer", tmp_path: Path) -> None:
    """A byte order mark, and line ends that JSON or an env file wrote as two characters, leave the key the same."""
    path = tmp_path / "1.pem"
    path.write_bytes(damage(seller.pem))

    assert PublicKeys.load({1: path}).verify(b"data", seller.sign(b"data"), 1)


def test_key_by_version(seller: "Signer", stranger: "Signer", tmp_path: Path) -> None:
    """A signature is judged by the key of the version that was asked for, and by no other."""
    keys = PublicKeys.load({1: seller.write(tmp_path), 2: stranger.write(tmp_path)})
    signature = seller.sign(b"data")

    assert [True, False] == [keys.verify(b"data", signature, version) for version in (1, 2)]
    with pytest.raises(KeyError):
        keys.verify(b"data", signature, 3)


def test_modulus_of_odd_length() -> None:
    """A signature under a key whose size is no multiple of 8 has the length of the modulus, rounded up to bytes."""
    key = generate_private_key(public_exponent=65537, key_size=1025)
    signature = key.sign(b"data", PSS(MGF1(SHA256()), 32), SHA256())

    assert PublicKeys({1: key.public_key()}).verify(b"data", signature, 1)


def test_chopped_signature(seller: "Signer") -> None:
    """A signature that begins with a zero is refused without it: two texts would be the same token."""
    keys = PublicKeys({1: seller.key.public_key()})
    signature = next(made for made in iter(lambda: seller.sign(b"data"), b"") if made[0] == 0)

    assert [True, False] == [keys.verify(b"data", made, 1) for made in (signature, signature[1:])]


@given(signature=st.binary(max_size=600) | st.binary(min_size=256, max_size=256), data=st.binary(max_size=100))
def test_any_signature(signature: bytes, data: bytes) -> None:
    """No bytes make the check fail in another way than by saying no, whatever the key's numbers."""
    assert not KEYS.verify(data, signature, 1)
    assert not KEYS.verify(data, signature, 2)


@given(content=st.binary(max_size=300) | st.binary(max_size=200).map(framed))
def test_any_file(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No file makes the reader fail in another way than by naming it."""
    path = tmp_path_factory.getbasetemp() / "any.pem"
    path.write_bytes(content)

    assert fault_of(path).startswith(f"{path}: ")


async def test_replaced_key_is_read_again(seller: "Signer", stranger: "Signer", tmp_path: Path) -> None:
    """A key whose file has been replaced counts after a reload; a file that cannot be used changes nothing."""
    path = tmp_path / "1.pem"
    path.write_bytes(stranger.pem)
    keys = PublicKeys.load({1: path})
    signature = seller.sign(b"data")

    async def reload(content: bytes) -> tuple[bool, bool]:
        path.write_bytes(content)
        return await keys.reload(1), keys.verify(b"data", signature, 1)

    assert [(False, False), (True, True), (False, True), (True, False)] == [
        await reload(content) for content in (stranger.pem, seller.pem, b"damaged", stranger.pem)
    ]
    assert (False, False) == (await keys.reload(2), await PublicKeys({1: seller.key.public_key()}).reload(1))

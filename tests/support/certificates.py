"""Certificates of servers that tests start, as OpenSSL's strict check wants them.

Python 3.13 checks strictly by default: a certificate needs the key identifiers of itself and of its authority, and an
authority needs the key usage of one.
"""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


def self_signed(key: ec.EllipticCurvePrivateKey, *names: str) -> bytes:
    """Return a certificate in PEM form that is its own authority, for host names and IP addresses."""
    own = _name(names[0])
    builder = _authority(_built(own, own, key, key)).add_extension(_alternatives(names), critical=False)
    return _pem(builder.sign(key, hashes.SHA256()))


def with_key(key: ec.EllipticCurvePrivateKey, certificate: bytes) -> bytes:
    """Return what a server loads: the private key and its certificate."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _authority(_built(self._name, self._name, self._key, self._key))
        self.bundle = folder / f"{name}.pem"
        """The file that a client must trust."""
        self.bundle.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def context(self, *names: str) -> ssl.SSLContext:
        """Return what a server of these names needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _built(self._name, _name(names[0]), key, self._key)
        builder = builder.add_extension(_alternatives(names), critical=False)
        file = self._folder / f"{self.bundle.stem}-{names[0]}.pem"
        file.write_bytes(with_key(key, _pem(builder.sign(self._key, hashes.SHA256()))))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _built(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), now - _DAY, now + _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _authority(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(
        usage, critical=True
    )


def _alternatives(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general(name) for name in names])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)

"""
Certificates and signing keys for tests: real ones, made once per process.
"""

from __future__ import annotations

import datetime
from functools import cache

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vinom.net.dtls.context import ServerCertificates

_DAY = datetime.timedelta(days=1)


@attrs.frozen
class Leaf:
    """
    A server's certificate.

    :ivar certificate: leaf, then authority, PEM.
    :ivar key: the leaf's private key, PEM.
    """

    certificate: bytes
    key: bytes

    def served(self) -> ServerCertificates:
        """Make what a server over DTLS needs of it."""
        return ServerCertificates(self.certificate, self.key)


@attrs.frozen
class TestAuthority:
    """A private certificate authority that lives as long as the test process."""

    #: Tells trial and pytest that this is not a test case.
    __test__ = False

    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    @property
    def anchor(self) -> bytes:
        """The certificate that players verify with, PEM."""
        return self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        *names: str,
        begins: datetime.timedelta = -_DAY,
        ends: datetime.timedelta = _DAY,
    ) -> Leaf:
        """
        Sign a new certificate for DNS *names* (wildcards are welcome).

        :param begins: start of validity, from now.
        :param ends: end of validity, from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("vinom test server"))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Leaf(
            certificate.public_bytes(Encoding.PEM) + self.anchor, _private_pem(key)
        )


def new_authority() -> TestAuthority:
    """Make an authority that nobody else has."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = _name("vinom test authority")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return TestAuthority(key, certificate)


@cache
def authority() -> TestAuthority:
    """The authority that most tests share."""
    return new_authority()


@cache
def leaf(domain: str = "s1.game.vinom") -> Leaf:
    """The shared authority's certificate for ``*.<domain>``."""
    return authority().issue(f"*.{domain}")


@cache
def signing_key(key_id: str = "k1") -> tuple[bytes, bytes]:
    """An Ed25519 key by name: (private PEM, public PEM)."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    return _private_pem(key), public


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

"""What the private authority signs: its own certificate, the next one's, leaves."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vinom.errors import Misconfigured

DAY = datetime.timedelta(days=1)
#: Certificates start in the past, so that a client's clock may be behind.
_SKEW = DAY
_AUTHORITY_LIFE = 3650 * DAY


def pem_of(certificate: x509.Certificate) -> bytes:
    """Write a certificate down."""
    return certificate.public_bytes(Encoding.PEM)


def made_at(certificate: x509.Certificate) -> float:
    """When we made a certificate, seconds since the Unix epoch."""
    return (certificate.not_valid_before_utc + _SKEW).timestamp()


def moment(seconds: float) -> datetime.datetime:
    """Read seconds since the Unix epoch as certificates have them."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=0)


def authority_name(realm: str) -> x509.Name:
    """Name the private authority of a realm."""
    return _name(f"vinom private authority of {realm}"[:64])


def self_signed(
    key: ec.EllipticCurvePrivateKey, name: x509.Name, now: datetime.datetime
) -> x509.Certificate:
    """Make the certificate of a new authority."""
    return _authority(key, key.public_key(), name, now, now + _AUTHORITY_LIFE)


def cross_signed(
    older: x509.Certificate,
    older_key: ec.EllipticCurvePrivateKey,
    newer: x509.Certificate,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.Certificate:
    """
    Let who trusts an older authority trust the newer one.

    Both have one name, which makes this a "self-issued" certificate: no limit on
    the length of paths counts it (source: RFC 5280, 6.1.4, and RFC 4210, 4.4).

    :raises Misconfigured: their names differ.
    """
    if older.subject != newer.subject:
        raise Misconfigured("an authority follows one of its own name only")
    key = newer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Misconfigured("the newer authority's key is not an elliptic curve key")
    ends = min(until, older.not_valid_after_utc)
    return _authority(older_key, key, older.subject, now, ends)


def leaf(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    purpose: str,
    names: Sequence[str],
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.Certificate:
    """
    Sign for a server with these host names and addresses.

    :param purpose: what it is, for people who look at the certificate.
    """
    return (
        x509.CertificateBuilder()
        .subject_name(_name(purpose))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - _SKEW, authority.not_valid_before_utc))
        .not_valid_after(min(now + life, authority.not_valid_after_utc))
        .add_extension(alternative_names(names), critical=False)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        # Strict verifiers (Python 3.13's default) ask for it; and it tells
        # authorities of one name apart.
        .add_extension(_signed_by(authority_key), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def check_usable(certificate: x509.Certificate, now: datetime.datetime) -> None:
    """
    Check that a certificate is one that can sign today.

    :raises Misconfigured: it cannot; says why.
    """
    try:
        constraints = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(False, None)
    if not constraints.ca:
        raise Misconfigured("the authority's certificate is not one of an authority")
    ends = certificate.not_valid_after_utc
    if ends <= now:
        raise Misconfigured(
            f"the authority's certificate ended on {ends:%Y-%m-%d}; put a new one "
            "in its place, or move the private authority's files away"
        )


def alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """Write host names and addresses as certificates have them."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _authority(
    signer: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    name: x509.Name,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(ends)
        # No limit to the path: GnuTLS counts self-issued certificates too.
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if signer.public_key() != key:
        builder = builder.add_extension(_signed_by(signer), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _signed_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

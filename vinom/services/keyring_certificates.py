"""Certificates as ``vinom doctor`` looks at them: read, and changed by nobody."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vinom.errors import Misconfigured
from vinom.rules.doctor_trust import Certificate
from vinom.services.keyring import read_certificates, read_private


def look_at(
    certificate_file: Path,
    key_file: Path,
    settings: tuple[str, str] | tuple[None, None] = (None, None),
) -> Certificate:
    """
    Read the first certificate of a file, and the key that should be its own.

    :param settings: what names the two files; nothing if they are ours.
    :raises Misconfigured: a file cannot be read, or holds something else.
    """
    found = read_certificates(certificate_file, settings[0])[0]
    key = read_private(key_file, settings[1])
    try:
        names, is_authority = _names(found), _is_authority(found)
    except ValueError as error:
        # An extension that is no extension, or there twice.
        raise Misconfigured(
            f"{certificate_file} holds a certificate that cannot be read: {error}"
        ) from error
    return Certificate(
        names,
        found.not_valid_before_utc.timestamp(),
        found.not_valid_after_utc.timestamp(),
        is_authority,
        _public(key.public_key()) == _public(found.public_key()),  # type: ignore[attr-defined]  # every private key has one
    )


def _public(key: object) -> bytes:
    told: bytes = key.public_bytes(  # type: ignore[attr-defined]  # as above
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return told


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        # Whoever verifies today looks nowhere else (RFC 6125, 6.4.4).
        return ()
    found = extension.value
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*found.get_values_for_type(x509.DNSName), *map(str, addresses))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        )
    except x509.ExtensionNotFound:
        return False
    return extension.value.ca

"""
What is wrong with certificates and with files that hold secrets.

Certificates as ``vinom doctor`` looks at them: read, and changed by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vinom.doctor.findings import Finding, failure, ok, warning
from vinom.errors import Misconfigured
from vinom.keys.files import read_certificates, read_private

#: Less than this left is worth a warning, as in ``deploy/prometheus/alerts.yml``.
SOON_SECONDS = 14 * 86400.0


@attrs.frozen
class Certificate:
    """
    One certificate. Times: Unix seconds.

    :ivar names: host names and addresses that it is for.
    :ivar fits: does its key belong to it?
    """

    names: tuple[str, ...]
    begins_at: float
    ends_at: float
    is_authority: bool
    fits: bool


def covers(names: Sequence[str], host: str) -> bool:
    """Is a certificate with these names good for *host*? (source: RFC 6125, 6.4)"""
    try:
        wanted = ip_address(host)
    except ValueError:
        host = host.lower().rstrip(".")
        _, _, parent = host.partition(".")
        lowered = {name.lower() for name in names}
        return host in lowered or (bool(parent) and f"*.{parent}" in lowered)
    return any(_is_address(name, wanted) for name in names)


def _is_address(name: str, wanted: object) -> bool:
    try:
        return ip_address(name) == wanted
    except ValueError:
        return False


def lobby_certificate(found: Certificate, host: str, now: float) -> list[Finding]:
    """Judge a configured certificate of the lobby."""
    name, how = (
        "lobby certificate",
        "put a new one in tls_certificate_file, then SIGHUP",
    )
    if not found.fits:
        return [
            failure(
                name,
                "the key does not belong to the certificate",
                "set tls_key_file to the key that the certificate was made for",
            )
        ]
    findings = [_in_time(name, found, now, how)]
    if not covers(found.names, host):
        names = ", ".join(found.names) or "nothing"
        findings.append(
            failure(
                name,
                f"it is for {names}, and players are told {host}",
                "have one made for that name, or set advertise to one of its names",
            )
        )
    return findings


def authority(found: Certificate, is_configured: bool, now: float) -> Finding:
    """Judge what signs for game servers."""
    name = "authority"
    if is_configured:
        how = (
            "put a new certificate and key in authority_certificate_file and "
            "authority_key_file, then SIGHUP"
        )
    elif found.ends_at <= now:
        how = "move the folder authority/ of the state directory away and start again"
    else:
        how = "vinom keys rotate ca"
    if not found.fits:
        return failure(name, "the key does not belong to the certificate", how)
    if not found.is_authority:
        return failure(
            name,
            "the certificate is not one of an authority",
            "set authority_certificate_file to one with basicConstraints CA:TRUE",
        )
    return _in_time(name, found, now, how)


def _in_time(name: str, found: Certificate, now: float, how: str) -> Finding:
    if now < found.begins_at:
        return failure(
            name,
            f"it is good only from {_day(found.begins_at)}",
            f"set the clock right, or {how}",
        )
    if now >= found.ends_at:
        return failure(name, f"it ended on {_day(found.ends_at)}", how)
    told = f"good until {_day(found.ends_at)}"
    if found.ends_at - now < SOON_SECONDS:
        return warning(name, f"{told}, {(found.ends_at - now) / 86400:.1f} days", how)
    return ok(name, told)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


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

"""
What ``vinom doctor`` checks of certificates and TLS, of what strangers can read, and of
proxies; it changes no file.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from vinom.base.limits.buckets import is_loopback
from vinom.errors import Misconfigured
from vinom.net.keys.authority import is_authority
from vinom.net.keys.files import read_certificates, read_private
from vinom.node.build import has_tls
from vinom.node.settings import Settings
from vinom.tools.doctor.findings import Finding, Subject
from vinom.tools.doctor.ports import tcp_place

#: Less than this left is worth a warning, as in ``deploy/prometheus/alerts.yml``.
SOON_SECONDS = 14 * 86400.0


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Is a certificate valid for the host that players connect to?"""
    verify: Callable[[x509.Certificate, str], None] = verify_certificate_ip_address
    try:
        ip_address(host)
    except ValueError:
        verify, host = verify_certificate_hostname, host.rstrip(".")
    try:
        verify(certificate, host)
    except (VerificationError, CertificateError):
        return False
    return True


def judge_certificate(
    name: str,
    found: x509.Certificate,
    now: float,
    how: str,
    *,
    host: str | None = None,
    signs: bool = False,
) -> Iterator[Finding]:
    """
    Judge a certificate.

    :param now: Unix time, seconds.
    :param how: how to replace it.
    :param host: what players connect to, if it must be for that.
    :param signs: must it be an authority's?
    """
    about = Subject(name)
    if signs and not is_authority(found):
        problem = "the certificate is not an authority's"
        yield about.failure(problem, f"{how}: one with basicConstraints CA:TRUE")
        return
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    left = ends.timestamp() - now
    if now < begins.timestamp():
        message = f"it is valid only from {begins:%Y-%m-%d}"
        yield about.failure(message, f"set the clock right, or {how}")
    elif left <= 0:
        yield about.failure(f"it expired on {ends:%Y-%m-%d}", how)
    elif left < SOON_SECONDS:
        message = f"valid until {ends:%Y-%m-%d}, {left / 86400:.1f} days"
        yield about.warning(message, how)
    else:
        yield about.ok(f"valid until {ends:%Y-%m-%d}")
    if host is not None and not covers(found, host):
        yield about.failure(
            f"it is for {', '.join(_names(found)) or 'nothing'}, but players connect "
            f"to {host}",
            f"get a certificate for {host}, or set advertise to one of its names",
        )


def _names(certificate: x509.Certificate) -> list[str]:
    """List the hosts of a certificate (clients look nowhere else: RFC 6125, 6.4.4)."""
    kind = x509.SubjectAlternativeName
    try:
        found = certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return []
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def examine_pair(
    name: str,
    files: tuple[Path, Path],
    settings: tuple[str, str] | tuple[None, None] = (None, None),
    *,
    host: str | None = None,
    signs: bool = False,
) -> Iterator[Finding]:
    """
    Read a certificate and its key, and judge them as `judge_certificate` does.

    :param files: of the certificate and of the key.
    :param settings: their names; ``None`` for the node's own authority.
    """
    certificate, key = files
    how = f"put a new certificate and key in {certificate} and {key}, then SIGHUP"
    if settings[0] is None:
        how = (
            f"vinom keys rotate ca; after it has expired, move {certificate.parent} "
            "away and start again"
        )
    try:
        found = read_certificates(certificate, settings[0])[0]
        private: Any = read_private(key, settings[1])
        if private.public_key() != found.public_key():
            raise Misconfigured(f"{key} does not belong to {certificate}")
        now = time.time()
        yield from judge_certificate(name, found, now, how, host=host, signs=signs)
    except Misconfigured as error:
        yield Subject(name).refused(error, how)
    except ValueError as error:
        # An extension is malformed, or present twice.
        message = f"{certificate} holds a certificate that cannot be read: {error}"
        yield Subject(name).failure(message, how)


#: What browsers offer (ALPN), in their order.
_OFFERED = ("h2", "http/1.1")
#: How long a handshake may take, seconds.
_TIMEOUT = 5.0
#: A proxy's header for a connection of its own.
_HEADER = b"PROXY UNKNOWN\r\n"
#: Interfaces that stand for all addresses, and one of those.
_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def examine_tls(settings: Settings, node: int | None) -> Iterator[Finding]:
    """
    Shake hands with the running node wherever players use TLS.

    :param node: process of the node that runs on this state directory.
    """
    places = {"lobby tls": (settings.interface, settings.port)}
    if has_tls(settings):
        # Another finding reports an endpoint that is none.
        with suppress(ValueError):
            place = tcp_place(str(settings.http), settings.interface)
            if place is not None:
                places["http tls"] = place
    for name, (host, port) in places.items():
        # Only the node knows which free port it took.
        if port:
            yield _try(Subject(name), _ALL.get(host, host), port, settings, node)


def _try(
    about: Subject, host: str, port: int, settings: Settings, node: int | None
) -> Finding:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if node is None:
        return about.not_checked(
            f"no node runs here, so TLS at {where} is not tried",
            "start the node, then run vinom doctor again",
        )
    try:
        connection = socket.create_connection((host, port), _TIMEOUT)
    except OSError as error:
        return about.not_checked(
            f"{where} cannot be reached: {error.strerror or error}",
            f"see to the finding named {about.name.removesuffix(' tls')}",
        )
    context = ssl.create_default_context()
    # Another finding judges the certificate.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(_OFFERED)
    client = f"a client that offers {' and '.join(_OFFERED)}, as browsers do"
    with connection:
        # The proxy's header precedes our own TLS, but not an endpoint's.
        if about.name == "http tls" and settings.http_tls:
            source = ip_address(connection.getsockname()[0])
            if any(source in proxies for proxies in settings.proxy):
                connection.sendall(_HEADER)
        try:
            context.wrap_socket(connection).close()
        except OSError as error:
            why = error.strerror or str(error)
            if isinstance(error, ssl.SSLError):
                why = (error.reason or str(error)).lower().replace("_", " ")
            return about.failure(
                f"{where} does not serve {client}: {why}",
                'look for "TLS with" in the node\'s log, and install the newest vinom',
            )
    return about.ok(f"{where} serves {client}")


def examine_strangers(settings: Settings, seen: Mapping[str, int]) -> Iterator[Finding]:
    """
    Look at what strangers can read, and for a proxy that nobody configured.

    :param settings: the node's.
    :param seen: what the running node saw of proxies; see `proxies`.
    """
    yield from plain_ports(settings)
    if settings.http is not None:
        yield proxies(settings, seen)


def proxies(settings: Settings, seen: Mapping[str, int]) -> Finding:
    """
    Judge whether the node sees the address of each player behind a proxy.

    :param settings: the node's, with ``http``.
    :param seen: how many connections of the running node had headers of a proxy that
        is not configured (``not_believed``), or came from one that is, and named
        nobody (``unnamed``).
    """
    about = Subject("proxy")
    many = settings.connections_per_address
    consequence = (
        f"all who come by way of it count as one address, with {many} connections, and "
        "none as a guest from this machine"
    )
    if seen.get("not_believed"):
        return about.warning(
            f"{seen['not_believed']} connections had a header of a proxy (Forwarded, "
            "X-Forwarded-For, X-Real-IP or Via), but did not come from a proxy of the "
            f"settings: {consequence}",
            "set proxy to the proxy's address, such as 127.0.0.1, if it is yours",
        )
    if settings.proxy:
        if seen.get("unnamed"):
            return about.warning(
                f"{seen['unnamed']} connections of a proxy named nobody: {consequence}",
                "have the proxy send the PROXY protocol, or X-Forwarded-For",
            )
        where = ", ".join(map(str, settings.proxy))
        return about.ok(f"{where} may name whom they speak for")
    # A node that ends TLS itself needs no proxy in front of it.
    is_local = _is_local(settings, str(settings.http)) and not has_tls(settings)
    if is_local and not is_loopback(settings.public_host):
        guests = (
            " A proxy that adds no header makes all of them guests."
            if settings.guests == "loopback"
            else ""
        )
        return about.warning(
            "http listens on this machine only, as behind a proxy, but proxy is not "
            f"set: {consequence}.{guests}",
            "set proxy to the proxy's address, such as 127.0.0.1",
        )
    return about.ok("none: connections count by their own addresses")


def plain_ports(settings: Settings) -> Iterator[Finding]:
    """Look for ports at which secrets pass the network unencrypted."""
    s = settings
    if s.http is not None:
        is_safe = has_tls(s) or bool(s.proxy) or s.allow_plaintext
        if is_safe or _is_local(s, s.http):
            yield Subject("http encryption").ok("nobody on the route can read http")
        else:
            yield Subject("http encryption").warning(
                f"http = {s.http} takes connections of other machines without TLS: "
                "passwords and player keys can be read on the route",
                "set http_tls, or proxy if a proxy terminates TLS",
            )
    if s.admin is not None:
        if s.admin.startswith("ssl:") or _is_local(s, s.admin):
            message = "nobody on the route can read the admin token"
            yield Subject("admin encryption").ok(message)
        else:
            port = s.admin if s.admin.isdecimal() else "8481"
            yield Subject("admin encryption").warning(
                f"admin = {s.admin} takes connections of other machines without "
                "TLS: the bearer token can be read on the route",
                f"set admin to tcp:{port}:interface=127.0.0.1, or to an ssl: endpoint",
            )


def _is_local(settings: Settings, where: str) -> bool:
    """Does a port or endpoint take connections of this machine alone?"""
    if where.isdecimal():
        return is_loopback(settings.interface)
    if where.startswith("unix:"):
        return True
    _, found, rest = where.partition("interface=")
    return bool(found) and is_loopback(rest.partition(":")[0].replace("\\", ""))

"""
What ``vinom doctor`` checks of certificates and TLS, of what strangers can read, and of
proxies; it changes no file.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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


@attrs.frozen
class Certificate:
    """
    One certificate. Times: Unix seconds.

    :ivar names: host names and addresses that it is for.
    :ivar is_authority: may it sign other certificates?
    """

    names: tuple[str, ...]
    begins_at: float
    ends_at: float
    is_authority: bool


def covers(names: Sequence[str], host: str) -> bool:
    """Is a certificate with these names valid for *host*? (source: RFC 6125, 6.4)"""
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


def judge_certificate(
    name: str,
    found: Certificate,
    now: float,
    how: str,
    *,
    host: str | None = None,
    signs: bool = False,
) -> Iterator[Finding]:
    """
    Judge a certificate.

    :param how: how to replace it.
    :param host: what players connect to, if it must be for that.
    :param signs: must it be an authority's?
    """
    about = Subject(name)
    if signs and not found.is_authority:
        problem = "the certificate is not an authority's"
        yield about.failure(problem, f"{how}: one with basicConstraints CA:TRUE")
        return
    yield _in_time(name, found, now, how)
    if host is not None and not covers(found.names, host):
        names = ", ".join(found.names) or "nothing"
        yield about.failure(
            f"it is for {names}, but players connect to {host}",
            f"get a certificate for {host}, or set advertise to one of its names",
        )


def examine_pair(
    name: str,
    files: tuple[Path, Path],
    settings: tuple[str, str] | None = None,
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
    if settings is None:
        how = (
            f"vinom keys rotate ca; after it has expired, move {certificate.parent} "
            "away and start again"
        )
    try:
        found = look_at(certificate, key, settings or (None, None))
    except Misconfigured as error:
        yield Subject(name).refused(error, how)
        return
    yield from judge_certificate(name, found, time.time(), how, host=host, signs=signs)


def handshake(
    name: str, where: str, offered: Sequence[str], problem: str | None
) -> Finding:
    """
    Judge a handshake of TLS.

    :param offered: the protocols that the client named (ALPN).
    :param problem: why it failed; ``None`` if it did not.
    """
    about = Subject(name)
    client = f"a client that offers {' and '.join(offered)}, as browsers do"
    if problem is None:
        return about.ok(f"{where} serves {client}")
    return about.failure(
        f"{where} does not serve {client}: {problem}",
        'look for "TLS with" in the node\'s log, and install the newest vinom',
    )


def _in_time(name: str, found: Certificate, now: float, how: str) -> Finding:
    """Judge the time in which a certificate is valid."""
    about = Subject(name)
    if now < found.begins_at:
        return about.failure(
            f"it is valid only from {_day(found.begins_at)}",
            f"set the clock right, or {how}",
        )
    if now >= found.ends_at:
        return about.failure(f"it expired on {_day(found.ends_at)}", how)
    message = f"valid until {_day(found.ends_at)}"
    if found.ends_at - now < SOON_SECONDS:
        return about.warning(
            f"{message}, {(found.ends_at - now) / 86400:.1f} days", how
        )
    return about.ok(message)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def look_at(
    certificate_file: Path,
    key_file: Path,
    settings: tuple[str, str] | tuple[None, None] = (None, None),
) -> Certificate:
    """
    Read the first certificate of a file, and the key that should be its own.

    :param settings: the settings that name the two files; none for the node's own.
    :raises Misconfigured: a file cannot be read or contains something else, or the key
        is not the certificate's.
    """
    found = read_certificates(certificate_file, settings[0])[0]
    key = read_private(key_file, settings[1])
    try:
        names, signs = _names(found), is_authority(found)
        fits = _public(key.public_key()) == _public(found.public_key())  # type: ignore[attr-defined]  # every private key has one
    except ValueError as error:
        # An extension is malformed, or present twice.
        raise Misconfigured(
            f"{certificate_file} holds a certificate that cannot be read: {error}"
        ) from error
    if not fits:
        raise Misconfigured(f"{key_file} does not belong to {certificate_file}")
    return Certificate(
        names,
        found.not_valid_before_utc.timestamp(),
        found.not_valid_after_utc.timestamp(),
        signs,
    )


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]  # as above
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        # Clients of today look nowhere else (RFC 6125, 6.4.4).
        return ()
    found = extension.value
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*found.get_values_for_type(x509.DNSName), *map(str, addresses))


#: What browsers offer (ALPN), in their order.
_OFFERED = ("h2", "http/1.1")
#: How long a handshake may take, seconds.
_TIMEOUT = 5.0
#: A proxy's header for a connection of its own.
_HEADER = b"PROXY UNKNOWN\r\n"
#: Interfaces that stand for all addresses, and one of those.
_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def examine_tls(settings: Settings, node: int | None) -> list[Finding]:
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
    return [
        _try(name, _ALL.get(host, host), port, settings, node)
        for name, (host, port) in places.items()
        # Only the node knows which free port it took.
        if port
    ]


def _try(
    name: str, host: str, port: int, settings: Settings, node: int | None
) -> Finding:
    about = Subject(name)
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
            f"see to the finding named {name.removesuffix(' tls')}",
        )
    with connection:
        # The proxy's header precedes our own TLS, but not an endpoint's.
        if name == "http tls" and settings.http_tls:
            source = ip_address(connection.getsockname()[0])
            if any(source in proxies for proxies in settings.proxy):
                connection.sendall(_HEADER)
        return handshake(name, where, _OFFERED, _handshake_problem(connection))


def _handshake_problem(connection: socket.socket) -> str | None:
    """Shake hands; return why that failed, or ``None``."""
    context = ssl.create_default_context()
    # Another finding judges the certificate.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(_OFFERED)
    try:
        context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        return (error.reason or str(error)).lower().replace("_", " ")
    except OSError as error:
        return error.strerror or str(error)
    return None


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

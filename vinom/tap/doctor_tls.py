"""``vinom doctor`` shakes hands with a running node as browsers do."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_address

from vinom.rules.doctor import Finding, not_checked
from vinom.rules.doctor_trust import handshake
from vinom.tap.doctor_ports import tcp_place
from vinom.tap.public import has_tls
from vinom.tap.settings import Settings

#: What browsers offer (ALPN), in their order.
_OFFERED = ("h2", "http/1.1")
#: How long a handshake may take, seconds.
_PATIENCE = 5.0
#: A proxy's header for a connection of its own.
_HEADER = b"PROXY UNKNOWN\r\n"
#: Interfaces that stand for all addresses, and one of those.
_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def examine_tls(settings: Settings, node: int | None) -> list[Finding]:
    """
    Try TLS where players come with it.

    :param node: process of the node that runs on this state directory.
    """
    places = {"lobby tls": (settings.interface, settings.port)}
    if has_tls(settings):
        place = tcp_place(str(settings.http), settings.interface)
        if place is not None:
            places["http tls"] = place
    return [
        _try(name, _ALL.get(host, host), port, settings, node)
        for name, (host, port) in places.items()
        # Nobody but the node knows which free port it took.
        if port
    ]


def _try(
    name: str, host: str, port: int, settings: Settings, node: int | None
) -> Finding:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if node is None:
        return not_checked(
            name,
            f"{where} has no node that could be tried",
            "run this again beside the node",
        )
    try:
        connection = socket.create_connection((host, port), _PATIENCE)
    except OSError as error:
        return not_checked(
            name,
            f"{where} cannot be reached: {error.strerror or error}",
            f"see to the finding named {name.removesuffix(' tls')}",
        )
    with connection:
        # A header comes before TLS that is our own, and not before an endpoint's.
        if name == "http tls" and settings.http_tls:
            source = ip_address(connection.getsockname()[0])
            if any(source in proxies for proxies in settings.proxy):
                connection.sendall(_HEADER)
        return handshake(name, where, _OFFERED, _handshake_problem(connection))


def _handshake_problem(connection: socket.socket) -> str | None:
    """Shake hands; why that failed, ``None`` if it did not."""
    context = ssl.create_default_context()
    # Whether the certificate is the right one, another finding says.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(_OFFERED)
    try:
        context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        return (error.reason or str(error)).lower().replace("_", " ")
    except OSError as error:
        return error.strerror or str(error)
    return None

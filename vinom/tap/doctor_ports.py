"""``vinom doctor`` tries ports: each is bound for a moment."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

from vinom.rules.doctor import Finding, failure, not_checked, ok
from vinom.rules.doctor_network import public_host
from vinom.rules.doctor_ports import Tried, control_socket, game_ports, listening
from vinom.rules.limits import is_loopback
from vinom.tap.doctor_owners import listener_of, owners
from vinom.tap.listening import LONGEST_SOCKET_PATH
from vinom.tap.settings import Settings

_IPV4 = Path("/proc/sys/net/ipv4")


class EndpointPlace:
    """
    Stands where an endpoint expects a reactor, and notes where it would listen.

    :ivar at: interface and port; ``None`` for what is not TCP.
    """

    def __init__(self) -> None:
        self.at: tuple[str, int] | None = None

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        self.at = (interface, port)
        return succeed(None)

    def listenSSL(
        self,
        port: int,
        factory: Any,
        context: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> Any:
        return self.listenTCP(port, factory, backlog, interface)


def examine_ports(settings: Settings, node: int | None) -> list[Finding]:
    """
    Look at everything that the node listens on.

    :param node: process of the node that runs on this state directory.
    """
    findings = [_tcp("lobby", settings.interface, settings.port, "port", node)]
    for name, where in (("http", settings.http), ("admin", settings.admin)):
        if where is not None:
            findings.append(_endpoint(name, where, settings.interface, node))
    path = settings.control_socket
    listener = listener_of(path)
    findings.append(
        control_socket(
            str(path), LONGEST_SOCKET_PATH, listener is not None, listener == node
        )
    )
    return [*findings, *_game_ports(settings, node)]


def examine_host(settings: Settings) -> tuple[Finding, list[str]]:
    """Look at what players are told; gives its addresses too."""
    host, problem = settings.told_host, None
    addresses: list[str] = []
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    except (OSError, UnicodeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    return public_host(host, addresses, problem, settings.interface), addresses


def tcp_place(where: str, interface: str) -> tuple[str, int] | None:
    """
    Find where a port or an endpoint listens: interface and port.

    :returns: ``None`` for an endpoint that is not TCP, or is none at all.
    """
    if where.isdecimal():
        return interface, int(where)
    try:
        return _endpoint_place(where)
    except (TypeError, ValueError, LookupError, OSError):
        return None


def _endpoint_place(where: str) -> tuple[str, int] | None:
    place: Any = EndpointPlace()
    try:
        opening = serverFromString(place, where).listen(Factory())
    except AttributeError:
        # It asks more of a reactor than there is: it is no TCP port.
        return None
    # Others fail so.
    opening.addErrback(lambda _: None)
    if place.at is None:
        return None
    host, port = place.at
    return host or "0.0.0.0", port


def _endpoint(name: str, where: str, interface: str, node: int | None) -> Finding:
    if where.isdecimal():
        return _tcp(name, interface, int(where), name, node)
    try:
        place = _endpoint_place(where)
    except (TypeError, ValueError, LookupError, OSError) as error:
        return failure(
            name,
            f"{where!r} is no endpoint: {error}",
            f"set {name} to a port, or to an endpoint such as tcp:8080",
        )
    if place is None:
        return not_checked(
            name,
            f"{where} is not a TCP port, and nothing else is tried",
            f"start the node: it says what is wrong with {name}",
        )
    return _tcp(name, *place, name, node)


def _tcp(
    name: str, interface: str, port: int, setting: str, node: int | None
) -> Finding:
    where = f"[{interface}]:{port}" if ":" in interface else f"{interface}:{port}"
    if port == 0:
        return ok(name, f"{where}: any free port, a new one at each start")
    problem = bind_problem(socket.SOCK_STREAM, interface, port)
    owner = None
    if problem == "EADDRINUSE":
        owner = owners("tcp", [port], node).get(port)
    return listening(name, where, setting, Tried(problem, owner))


def _game_ports(settings: Settings, node: int | None) -> list[Finding]:
    first, last = settings.ports
    problems = {
        port: bind_problem(socket.SOCK_DGRAM, settings.interface, port)
        for port in range(first, last + 1)
    }
    taken = [port for port, problem in problems.items() if problem == "EADDRINUSE"]
    known = owners("udp", taken, node)
    tried = {
        port: Tried(problem, known.get(port)) for port, problem in problems.items()
    }
    return game_ports(
        first,
        last,
        tried,
        _ephemeral(),
        _reserved(),
        not is_loopback(settings.interface),
    )


def bind_problem(kind: socket.SocketKind, interface: str, port: int) -> str | None:
    """
    Bind a port as the node would, and close it.

    :returns: the name of the error; ``None`` if it can be had.
    """
    try:
        with open_socket(kind, interface) as tried:
            if kind == socket.SOCK_STREAM:
                # As Twisted does: a port that closed just now is free.
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address_of(interface, port))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return None


def open_socket(kind: socket.SocketKind, host: str) -> socket.socket:
    """Open a socket of the family of an address."""
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)


def address_of(host: str, port: int) -> Any:
    """Write an address as `socket` wants it, with the interface of a link-local one."""
    kind = socket.SOCK_DGRAM
    flags = socket.AI_NUMERICHOST
    return socket.getaddrinfo(host, port, type=kind, flags=flags)[0][4]


def _ephemeral() -> tuple[int, int] | None:
    with suppress(OSError, ValueError):
        first, last = (_IPV4 / "ip_local_port_range").read_text().split()
        return int(first), int(last)
    return None


def _reserved() -> frozenset[int]:
    found: set[int] = set()
    with suppress(OSError, ValueError):
        told = (_IPV4 / "ip_local_reserved_ports").read_text().strip()
        for part in filter(None, told.split(",")):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)

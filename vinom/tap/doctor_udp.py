"""``vinom doctor`` asks by UDP: a game port of this machine, or another machine."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs

from vinom.errors import Misconfigured
from vinom.rules.doctor import Finding, not_checked
from vinom.rules.doctor_network import (
    LONGEST_DATAGRAM,
    Reach,
    path_mtu,
    probed_sizes,
    reachability,
)
from vinom.rules.limits import is_loopback
from vinom.tap.doctor_ports import address_of, open_socket
from vinom.tap.settings import Settings
from vinom.wire.doctor import NONCE_LENGTH, SHORTEST, answer_to, is_answer, question

Entropy = Callable[[int], bytes]

#: How often is asked; how long an answer may take, seconds.
_TIMES, _PATIENCE = 5, 2.0
#: Who did not answer so often is not there.
_ENOUGH = 3
#: Payloads that are tried, bytes: less than ours, ours, what Ethernet carries with
#: IPv6 and with IPv4, and what needs jumbo frames.
_SIZES = (512, 1024, LONGEST_DATAGRAM, 1452, 1472, 8952)
_LONGEST = 65535
#: Addresses that nobody has: the way to them is the way out (RFC 5737, RFC 3849).
_ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}
# Linux's, which Python does not name (source: linux/in.h and linux/in6.h).
_LEVEL = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
_MTU_DISCOVER = {4: 10, 6: 23}
_MTU = {4: 14, 6: 24}
_NEVER_FRAGMENT = 2


def examine_udp(
    settings: Settings, addresses: list[str], source: str | None, entropy: Entropy
) -> list[Finding]:
    """
    Look at the way to a game port.

    :param addresses: of the public host.
    :param source: a second address of this machine, to ask from.
    :raises Misconfigured: it is none.
    """
    if source is None or not addresses:
        found = [reachability(None)]
        if addresses:
            host = addresses[0]
            way = "on the way out"
            far = _ELSEWHERE[_version(host)]
            if is_loopback(host):
                far, way = host, "within this machine"
            found.append(path_mtu(way, _mtu_between(host, far), _version(host)))
        return found
    host = _of_family(addresses, source)
    is_here = _is_ours(host)
    with open_socket(socket.SOCK_DGRAM, source) as asking:
        _bind_source(asking, source)
        answering = open_game_port(settings, host if is_here else settings.interface)
        if answering is None:
            reach = not_checked(
                "udp",
                "no game port is free to be asked",
                "ask again when fewer matches are played, or set ports to more",
            )
        else:
            with answering:
                port = answering.getsockname()[1]
                asker = Asker(asking, address_of(host, port), entropy, answering)
                way = "inside" if is_here else "around"
                reach = reachability(asker.reach(source, way))
    mtu = _mtu_between(source, host)
    where = f"from {source} to {host}"
    return [reach, path_mtu(where, mtu, _version(host))]


def probe(target: str, entropy: Entropy) -> list[Finding]:
    """
    Ask a machine where ``vinom doctor --answer`` runs.

    :param target: ``HOST:PORT``.
    :raises Misconfigured: it is no such thing, or has no address.
    """
    host, _, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Misconfigured(
            f"--probe must be HOST:PORT, as --answer prints it, not {target!r}"
        )
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise Misconfigured(
            f"--probe {target}: {host} has no address ({why}); give one that has"
        ) from error
    family, kind, _, _, address = found[0]
    version = 6 if family == socket.AF_INET6 else 4
    with socket.socket(family, kind) as asking:
        asker = Asker(asking, address, entropy)
        try:
            # From here on the system tells us when nobody listens there.
            asking.connect(address)
        except OSError as error:
            reach = Reach("here", target, 0, 0, None, error.strerror, "outside")
            return [reachability(reach)]
        source = str(asking.getsockname()[0])
        never_fragment(asking, version)
        reach = asker.reach(source, "outside", target)
        findings = [reachability(reach)]
        if reach.answered:
            sizes = {SHORTEST: True}
            sizes |= {size: asker.passes(size) for size in _SIZES}
            findings.append(probed_sizes(target, sizes))
    return findings


@attrs.define
class Asker:
    """
    Ask, and wait for the answer.

    :ivar answering: a socket that is answered on meanwhile, if it is our own.
    :ivar problem: the last error, in words.
    """

    asking: socket.socket
    address: Any
    entropy: Entropy
    answering: socket.socket | None = None
    problem: str | None = None

    def reach(self, source: str, way: Any, target: str | None = None) -> Reach:
        """Ask some times; *source*, *way* and *target* are as in `Reach`."""
        asked = 0
        took: list[float] = []
        while asked < _TIMES and (took or asked < _ENOUGH):
            asked += 1
            seconds = self.ask(SHORTEST)
            if seconds is not None:
                took.append(seconds)
        host, port = self.address[:2]
        told = target or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        fastest = min(took, default=None)
        return Reach(source, told, asked, len(took), fastest, self.problem, way)

    def passes(self, size: int) -> bool:
        """Does a datagram of this size come back whole? One may get lost."""
        return any(self.ask(size) is not None for _ in range(2))

    def ask(self, size: int) -> float | None:
        """Ask once; how many seconds did the answer take?"""
        nonce = self.entropy(NONCE_LENGTH)
        began = time.monotonic()
        try:
            self.asking.sendto(question(nonce, size), self.address)
            while (left := began + _PATIENCE - time.monotonic()) > 0:
                watched = [one for one in (self.asking, self.answering) if one]
                ready = select.select(watched, [], [], left)[0]
                if self.answering in ready and self.answering is not None:
                    _answer_one(self.answering)
                if self.asking in ready:
                    datagram, sender = self.asking.recvfrom(_LONGEST)
                    is_expected = sender[:2] == self.address[:2]
                    if is_expected and is_answer(datagram, nonce, size):
                        return time.monotonic() - began
        except OSError as error:
            # Refused by ICMP, no route, or too long for the way.
            self.problem = error.strerror
        return None


def _answer_one(answering: socket.socket) -> None:
    datagram, asker = answering.recvfrom(_LONGEST)
    answer = answer_to(datagram)
    if answer is not None:
        answering.sendto(answer, asker)


def open_game_port(settings: Settings, host: str) -> socket.socket | None:
    """Bind the last game port that is free; the node takes the first ones first."""
    first, last = settings.ports
    for port in range(last, first - 1, -1):
        bound = open_socket(socket.SOCK_DGRAM, host)
        try:
            bound.bind(address_of(host, port))
        except OSError:
            bound.close()
        else:
            return bound
    return None


def never_fragment(bound: socket.socket, version: int) -> None:
    """Have datagrams leave whole or not at all."""
    with suppress(OSError):
        bound.setsockopt(_LEVEL[version], _MTU_DISCOVER[version], _NEVER_FRAGMENT)


def _mtu_between(source: str, far: str) -> int | None:
    """Ask the kernel for the MTU of a way; nothing is sent."""
    version = _version(far)
    with open_socket(socket.SOCK_DGRAM, far) as tried, suppress(OSError):
        never_fragment(tried, version)
        if _is_ours(source):
            tried.bind(address_of(source, 0))
        tried.connect(address_of(far, 9))
        return tried.getsockopt(_LEVEL[version], _MTU[version])
    return None


def _is_ours(host: str) -> bool:
    """Is it an address of this machine?"""
    with open_socket(socket.SOCK_DGRAM, host) as tried, suppress(OSError):
        tried.bind(address_of(host, 0))
        return True
    return False


def _version(host: str) -> int:
    return 6 if ":" in host else 4


def _of_family(addresses: list[str], source: str) -> str:
    for host in addresses:
        if _version(host) == _version(source):
            return host
    raise Misconfigured(
        f"--from {source} is of another family than {', '.join(addresses)}: give an "
        "address of that family"
    )


def _bind_source(asking: socket.socket, source: str) -> None:
    try:
        asking.bind(address_of(source, 0))
    except OSError as error:
        raise Misconfigured(
            f"--from {source} is no address to ask from ({error.strerror}): give one "
            "of this machine, or use --answer here and --probe on another one"
        ) from error

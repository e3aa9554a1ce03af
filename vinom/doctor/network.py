"""
What ``vinom doctor`` checks of addresses, and of the routes to game ports.

It sends questions over UDP: to a game port of this machine (``--from``), or to
another machine (``--probe``) where ``--answer`` runs.

A question is `_ASKS`, a nonce of 16 bytes, and zeros; the answer is `_ANSWERS`, the
same nonce, and as many zeros. It is exactly as long, so that a forged sender address
gains nothing. An answer isn't a question, so two that answer never start a loop.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import attrs

from vinom.doctor.findings import Finding, failure, not_checked, ok, warning
from vinom.errors import Misconfigured
from vinom.limits.buckets import TokenBucket, is_loopback
from vinom.node.settings import Settings

#: Longest UDP payload that a game server or a player sends, bytes
#: (source: docs/protocol/packets.rst).
LONGEST_DATAGRAM = 1200
#: Headers in front of it: of UDP and of IPv4 or IPv6, bytes.
HEADERS = {4: 28, 6: 48}
#: How the whole route to a server is tested: see `vinom.doctor.command`.
_FROM_OUTSIDE = (
    "run vinom doctor --answer here, and vinom doctor --probe HOST:PORT on a machine "
    "in the players' network"
)


def public_host(
    host: str, addresses: Sequence[str], problem: str | None, interface: str
) -> Finding:
    """
    Judge the host that players connect to.

    :param host: name or address.
    :param addresses: what *host* resolves to.
    :param problem: why it does not resolve, in words.
    :param interface: where the node listens.
    """
    name = "public host"
    if not addresses:
        return failure(
            name,
            f"{host} has no address ({problem})",
            "set advertise to a name that resolves, or to an address",
        )
    told = host if list(addresses) == [host] else f"{host} is {', '.join(addresses)}"
    if all(map(is_loopback, addresses)):
        if not is_loopback(interface):
            return warning(
                name,
                f"{told}: on other machines that is their own address",
                "set advertise to the name or address that players should use",
            )
        return ok(name, f"{told}, for players on this machine only")
    if is_loopback(interface):
        return failure(
            name,
            f"{told}, but the node listens on {interface} only",
            "set interface to an address that other machines reach, or to 0.0.0.0",
        )
    return ok(name, f"{told}")


@attrs.frozen
class Reach:
    """
    The result of sending questions over UDP.

    :ivar source: address that they were sent from.
    :ivar target: ``HOST:PORT`` that they were sent to.
    :ivar asked: number of questions.
    :ivar answered: number of answers.
    :ivar fastest: shortest time until an answer, seconds; ``None`` without one.
    :ivar problem: the last error, in words.
    :ivar way: "inside" this machine, "around" it (the target is not one of its
        addresses, but leads here) or "outside" (it is another machine).
    """

    source: str
    target: str
    asked: int
    answered: int
    fastest: float | None = None
    problem: str | None = None
    way: Literal["inside", "around", "outside"] = "inside"


def reachability(reach: Reach | None) -> Finding:
    """Judge the route to a game port; ``None`` if it was not tested."""
    name = "udp"
    if reach is None:
        return not_checked(
            name,
            "no game port was tested from another address",
            "give --from ADDRESS, a second address of this machine; or "
            f"{_FROM_OUTSIDE}",
        )
    way = f"{reach.target} from {reach.source}"
    if reach.answered == 0 and reach.way == "around":
        return not_checked(
            name,
            f"{way} gets no answer; it isn't an address of this machine, and many "
            "routers don't send such datagrams back",
            _FROM_OUTSIDE,
        )
    if reach.answered == 0:
        why = f" ({reach.problem})" if reach.problem else ""
        is_outside = reach.way == "outside"
        first = (
            "make sure that vinom doctor --answer runs there; " if is_outside else ""
        )
        return failure(
            name,
            f"{way} gets no answer{why}",
            f"{first}let UDP to the game ports pass every firewall, and forward it at "
            "every router that translates addresses (NAT)",
        )
    took = f"in {1000 * (reach.fastest or 0.0):.2f} ms"
    if reach.answered < reach.asked:
        return warning(
            name,
            f"{way}: {reach.answered} of {reach.asked} questions are answered, one "
            f"{took}",
            "find out what loses datagrams on the route: games work, but with delays",
        )
    if reach.way == "inside" and not is_loopback(reach.source):
        took += "; firewalls in front of this machine were not tested"
    return ok(name, f"{way} gets an answer {took}")


def path_mtu(where: str, mtu: int | None, version: int) -> Finding:
    """
    Judge the largest IP packet that fits a route.

    :param where: names the route, at the end of a sentence.
    :param mtu: bytes; ``None`` if the system has no such route.
    :param version: of IP.
    """
    name, needed = "mtu", LONGEST_DATAGRAM + HEADERS[version]
    if mtu is None:
        return not_checked(
            name,
            f"the system has no route {where}",
            "give --from ADDRESS, or run vinom doctor --probe on another machine",
        )
    if mtu < needed:
        return failure(
            name,
            f"{mtu} bytes {where}; a packet of vinom may have {needed}",
            f"raise the MTU of that interface, or of the tunnel behind it, to {needed}",
        )
    return ok(name, f"{mtu} bytes {where}; a packet of vinom has at most {needed}")


def probed_sizes(target: str, sizes: Mapping[int, bool]) -> Finding:
    """
    Judge which UDP payloads reach a machine and come back, unfragmented.

    :param target: ``HOST:PORT`` of the machine.
    :param sizes: bytes to whether an answer of that size came.
    """
    name = "mtu"
    passed = [size for size, is_answered in sizes.items() if is_answered]
    if not passed:
        return not_checked(
            name,
            f"nothing came back from {target}",
            "solve the problem named udp first",
        )
    if max(passed) < LONGEST_DATAGRAM:
        return failure(
            name,
            f"datagrams of {max(passed)} bytes pass to {target} and back, those of "
            f"{LONGEST_DATAGRAM}, which play needs, do not",
            "raise the MTU on the route; the cause is most often a tunnel or a VPN",
        )
    return ok(
        name,
        f"datagrams of {max(passed)} bytes pass to {target} and back; play needs "
        f"{LONGEST_DATAGRAM}",
    )


_ASKS = b"vinom doctor asks:"
_ANSWERS = b"vinom doctor says:"
NONCE_LENGTH = 16
#: Shortest question, bytes.
SHORTEST = len(_ASKS) + NONCE_LENGTH


def question(nonce: bytes, size: int = SHORTEST) -> bytes:
    """
    Write a question.

    :param nonce: identifies the answer; random, so that nobody can forge one.
    :param size: length of the datagram, bytes.
    :raises ValueError: the nonce or the size is wrong.
    """
    if len(nonce) != NONCE_LENGTH or size < SHORTEST:
        raise ValueError(
            f"a nonce of {len(nonce)} bytes must have {NONCE_LENGTH}, and a question "
            f"of {size} bytes at least {SHORTEST}"
        )
    return (_ASKS + nonce).ljust(size, b"\0")


def answer_to(datagram: bytes) -> bytes | None:
    """Write the answer to a question; ``None`` if *datagram* is not one."""
    if len(datagram) < SHORTEST or not datagram.startswith(_ASKS):
        return None
    nonce = datagram[len(_ASKS) : SHORTEST]
    return (_ANSWERS + nonce).ljust(len(datagram), b"\0")


def is_answer(datagram: bytes, nonce: bytes, size: int = SHORTEST) -> bool:
    """Is it the whole answer to the question of this nonce and size?"""
    return len(datagram) == size and datagram.startswith(_ANSWERS + nonce)


Entropy = Callable[[int], bytes]

#: Number of questions; how long an answer may take, seconds.
_TIMES, _TIMEOUT = 5, 2.0
#: Without an answer to this many questions, no more are sent.
_ENOUGH = 3
#: Payloads to try, bytes: smaller ones, our longest, the longest on Ethernet with
#: IPv6 and with IPv4, and one that needs jumbo frames.
_SIZES = (512, 1024, LONGEST_DATAGRAM, 1452, 1472, 8952)
#: Addresses that nobody has: the route to them leads out (RFC 5737, RFC 3849).
_ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}
# Linux's constants, which Python lacks (source: linux/in.h and linux/in6.h).
_LEVEL = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
_MTU_DISCOVER = {4: 10, 6: 23}
_MTU = {4: 14, 6: 24}
_NEVER_FRAGMENT = 2


def examine_udp(
    settings: Settings, addresses: list[str], source: str | None, entropy: Entropy
) -> list[Finding]:
    """
    Test the route to a game port.

    :param addresses: of the public host.
    :param source: a second address of this machine, to send questions from.
    :param entropy: gives random bytes.
    :raises Misconfigured: *source* is not an address of this machine.
    """
    if source is None or not addresses:
        found = [reachability(None)]
        if addresses:
            host = addresses[0]
            way = "on the route out"
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
                "no game port is free for this test",
                "run this again while fewer matches are played, or set ports to more",
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
    Send questions to a machine where ``vinom doctor --answer`` runs.

    :param target: ``HOST:PORT``.
    :param entropy: gives random bytes.
    :raises Misconfigured: *target* has another form, or its host has no address.
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
            f"--probe {target}: {host} has no address ({why}); give a host that has one"
        ) from error
    family, kind, _, _, address = found[0]
    version = 6 if family == socket.AF_INET6 else 4
    with socket.socket(family, kind) as asking:
        asker = Asker(asking, address, entropy)
        try:
            # From here on the system reports that nobody listens there.
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
    Send questions, and wait for their answers.

    :ivar asking: the socket to send from.
    :ivar address: where to send, as `socket` takes it.
    :ivar entropy: gives random bytes.
    :ivar answering: the socket that answers, if this process has that one too.
    :ivar problem: the last error, in words.
    """

    asking: socket.socket
    address: Any
    entropy: Entropy
    answering: socket.socket | None = None
    problem: str | None = None

    def reach(self, source: str, way: Any, target: str | None = None) -> Reach:
        """Send several; *source*, *way* and *target* are as in `Reach`."""
        asked = 0
        took: list[float] = []
        while asked < _TIMES and (took or asked < _ENOUGH):
            asked += 1
            seconds = self.ask(SHORTEST)
            if seconds is not None:
                took.append(seconds)
        host, port = self.address[:2]
        name = target or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        fastest = min(took, default=None)
        return Reach(source, name, asked, len(took), fastest, self.problem, way)

    def passes(self, size: int) -> bool:
        """Does a datagram of this size come back? One of two may be lost."""
        return any(self.ask(size) is not None for _ in range(2))

    def ask(self, size: int) -> float | None:
        """Send one; returns how long the answer took, seconds; ``None``: none came."""
        nonce = self.entropy(NONCE_LENGTH)
        began = time.monotonic()
        try:
            self.asking.sendto(question(nonce, size), self.address)
            while (left := began + _TIMEOUT - time.monotonic()) > 0:
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
            # Refused by ICMP, no route, or too long for it.
            self.problem = error.strerror
        return None


def _answer_one(answering: socket.socket) -> None:
    datagram, asker = answering.recvfrom(_LONGEST)
    answer = answer_to(datagram)
    if answer is not None:
        answering.sendto(answer, asker)


def open_game_port(settings: Settings, host: str) -> socket.socket | None:
    """Bind the last free game port: the node takes the first ones first."""
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
    """Forbid the fragmentation of datagrams."""
    with suppress(OSError):
        bound.setsockopt(_LEVEL[version], _MTU_DISCOVER[version], _NEVER_FRAGMENT)


def _mtu_between(source: str, far: str) -> int | None:
    """Get the MTU of a route from the kernel; nothing is sent."""
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
        "address of the same family"
    )


def _bind_source(asking: socket.socket, source: str) -> None:
    try:
        asking.bind(address_of(source, 0))
    except OSError as error:
        raise Misconfigured(
            f"--from {source} cannot be used ({error.strerror}): give an address of "
            "this machine, or use --answer here and --probe on another one"
        ) from error


#: Answers per second, and at once: the victim of a forged sender address gets no
#: more than these, and never more bytes than the forger sent.
_RATE, _BURST = 50.0, 25.0


def open_socket(kind: socket.SocketKind, host: str) -> socket.socket:
    """Open a socket of the family of an address."""
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)


def address_of(host: str, port: int) -> Any:
    """Write an address as `socket` takes it, with a link-local one's interface."""
    kind = socket.SOCK_DGRAM
    flags = socket.AI_NUMERICHOST
    return socket.getaddrinfo(host, port, type=kind, flags=flags)[0][4]


_LONGEST = 65535
#: Most addresses of askers to print, each once.
_MOST_ASKERS = 256


def answer(
    settings: Settings, seconds: float | None, say: Callable[[str], None]
) -> None:
    """
    Answer questions at a game port for some time, or until Ctrl-C.

    :param settings: the node's; which ports, at which interface.
    :param seconds: for how long; ``None``: until Ctrl-C.
    :param say: gets the lines to print.
    :raises Misconfigured: no game port is free.
    """
    bound = open_game_port(settings, settings.interface)
    if bound is None:
        first, last = settings.ports
        raise Misconfigured(
            f"no UDP port of {first}-{last} is free at {settings.interface}: stop the "
            "processes that have them, or set ports or interface to others"
        )
    bucket = TokenBucket(_RATE, _BURST)
    askers: set[str] = set()
    answered = refused = 0
    with bound, suppress(KeyboardInterrupt):
        never_fragment(bound, 6 if ":" in settings.interface else 4)
        host, port = settings.public_host, bound.getsockname()[1]
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        say(
            f"answering at {settings.interface} UDP {port}; on another machine: "
            f"vinom doctor --probe {target}"
        )
        ends = None if seconds is None else time.monotonic() + seconds
        while (left := None if ends is None else ends - time.monotonic()) is None or (
            left > 0
        ):
            if not select.select([bound], [], [], left)[0]:
                continue
            datagram, asker = bound.recvfrom(_LONGEST)
            reply = answer_to(datagram)
            if reply is None:
                continue
            if not bucket.take(time.monotonic()):
                refused += 1
                continue
            # The buffer is full, or the MTU of the route back is too small.
            with suppress(OSError):
                bound.sendto(reply, asker)
                answered += 1
            if asker[0] not in askers and len(askers) < _MOST_ASKERS:
                askers.add(asker[0])
                say(f"asked by {asker[0]}")
    say(f"{answered} questions answered, {refused} beyond the limit")

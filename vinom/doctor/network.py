"""
``vinom doctor`` asks by UDP: a game port of this machine, or another machine.

What is wrong with addresses, and with the ways to them.

Questions that ``vinom doctor`` asks a UDP port, and their answers.

A question is `_ASKS`, a nonce of 16 bytes, and zeros; the answer is `_ANSWERS`, the
same nonce, and as many zeros: exactly as long, so that nobody gains by asking in
another's name. An answer is no question, so that two who answer never begin to talk.

``vinom doctor --answer``: be asked by another machine.
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
#: What goes in front of it: the headers of UDP and of IPv4 or IPv6, bytes.
HEADERS = {4: 28, 6: 48}
#: How the whole way to a server is tried: `vinom.doctor.command`.
_FROM_OUTSIDE = (
    "run vinom doctor --answer here, and vinom doctor --probe HOST:PORT on a machine "
    "where players are"
)


def public_host(
    host: str, addresses: Sequence[str], problem: str | None, interface: str
) -> Finding:
    """Judge what players are told: can they find it?"""
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
                f"{told}: players on other machines are told an address of their own",
                "set advertise to what they reach this machine by",
            )
        return ok(name, f"{told}: for players on this machine only")
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
    What came of asking by UDP.

    :ivar source: address that was asked from.
    :ivar target: ``HOST:PORT`` that was asked.
    :ivar fastest: seconds until an answer; ``None`` without one.
    :ivar problem: why not more could be asked, in words.
    :ivar way: "inside" this machine, "around" it (the target is none of its
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
    """Judge the way to a game port; ``None`` if it was not tried."""
    name = "udp"
    if reach is None:
        return not_checked(
            name,
            "nobody asked a game port from another address",
            "give --from ADDRESS, a second address of this machine; or "
            f"{_FROM_OUTSIDE}",
        )
    way = f"{reach.target} from {reach.source}"
    if reach.answered == 0 and reach.way == "around":
        return not_checked(
            name,
            f"{way} is not answered; it is no address of this machine, and not every "
            "router sends such datagrams back",
            _FROM_OUTSIDE,
        )
    if reach.answered == 0:
        why = f" ({reach.problem})" if reach.problem else ""
        is_outside = reach.way == "outside"
        first = "see that vinom doctor --answer runs there; " if is_outside else ""
        return failure(
            name,
            f"{way} is not answered{why}",
            f"{first}let UDP to the game ports through every firewall, and forward it "
            "where addresses are translated",
        )
    took = f"in {1000 * (reach.fastest or 0.0):.2f} ms"
    if reach.answered < reach.asked:
        return warning(
            name,
            f"{way}: {reach.answered} of {reach.asked} are answered, one {took}",
            "look for what loses datagrams on the way: play goes on, but later",
        )
    if reach.way == "inside" and not is_loopback(reach.source):
        took += "; what stands in front of this machine was not passed"
    return ok(name, f"{way} is answered {took}")


def path_mtu(where: str, mtu: int | None, version: int) -> Finding:
    """
    Judge the largest IP packet that fits a way.

    :param where: the way, ends a sentence.
    :param mtu: bytes; ``None`` if the system does not tell.
    :param version: of IP.
    """
    name, needed = "mtu", LONGEST_DATAGRAM + HEADERS[version]
    if mtu is None:
        return not_checked(
            name,
            f"the system knows no way {where}",
            "give --from ADDRESS, or run vinom doctor --probe on another machine",
        )
    if mtu < needed:
        return failure(
            name,
            f"{mtu} bytes {where}; a packet of ours may have {needed}",
            f"raise the MTU of that interface, or of the tunnel behind it, to {needed}",
        )
    return ok(name, f"{mtu} bytes {where}; a packet of ours has {needed} at most")


def probed_sizes(target: str, sizes: Mapping[int, bool]) -> Finding:
    """
    Judge which UDP payloads pass to a machine and back, unfragmented.

    :param sizes: bytes to whether it was answered.
    """
    name = "mtu"
    passed = [size for size, is_answered in sizes.items() if is_answered]
    if not passed:
        return not_checked(
            name, f"nothing came back from {target}", "see to the finding named udp"
        )
    if max(passed) < LONGEST_DATAGRAM:
        return failure(
            name,
            f"datagrams of {max(passed)} bytes pass to {target} and back, those of "
            f"{LONGEST_DATAGRAM}, which play needs, do not",
            "raise the MTU on the way, of tunnels and VPNs above all",
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

    :param nonce: by which the answer will be known; nobody else can guess it.
    :param size: how long it is to be, bytes.
    :raises ValueError: it cannot be.
    """
    if len(nonce) != NONCE_LENGTH or size < SHORTEST:
        raise ValueError(
            f"a nonce has {NONCE_LENGTH} bytes, and a question {SHORTEST} or more"
        )
    return (_ASKS + nonce).ljust(size, b"\0")


def answer_to(datagram: bytes) -> bytes | None:
    """Write the answer to a question; ``None`` if it is something else."""
    if len(datagram) < SHORTEST or not datagram.startswith(_ASKS):
        return None
    nonce = datagram[len(_ASKS) : SHORTEST]
    return (_ANSWERS + nonce).ljust(len(datagram), b"\0")


def is_answer(datagram: bytes, nonce: bytes, size: int = SHORTEST) -> bool:
    """Is it the whole answer to the question of this nonce and size?"""
    return len(datagram) == size and datagram.startswith(_ANSWERS + nonce)


Entropy = Callable[[int], bytes]

#: How often is asked; how long an answer may take, seconds.
_TIMES, _PATIENCE = 5, 2.0
#: Who did not answer so often is not there.
_ENOUGH = 3
#: Payloads that are tried, bytes: less than ours, ours, what Ethernet carries with
#: IPv6 and with IPv4, and what needs jumbo frames.
_SIZES = (512, 1024, LONGEST_DATAGRAM, 1452, 1472, 8952)
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


#: Answers a second, and at once: whoever is answered in another's name gets no
#: more than this, and never more bytes than were asked with.
_RATE, _BURST = 50.0, 25.0


def open_socket(kind: socket.SocketKind, host: str) -> socket.socket:
    """Open a socket of the family of an address."""
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)


def address_of(host: str, port: int) -> Any:
    """Write an address as `socket` wants it, with the interface of a link-local one."""
    kind = socket.SOCK_DGRAM
    flags = socket.AI_NUMERICHOST
    return socket.getaddrinfo(host, port, type=kind, flags=flags)[0][4]


_LONGEST = 65535
#: As many askers are remembered, to be told of once each.
_MOST_ASKERS = 256


def answer(
    settings: Settings, seconds: float | None, say: Callable[[str], None]
) -> None:
    """
    Answer questions at a game port until time is over, or Ctrl-C.

    :param seconds: for how long; ``None`` is until Ctrl-C.
    :param say: gets what is to be printed.
    :raises Misconfigured: no game port is free.
    """
    bound = open_game_port(settings, settings.interface)
    if bound is None:
        first, last = settings.ports
        raise Misconfigured(
            f"no UDP port of {first}-{last} can be had at {settings.interface}: stop "
            "what has them, or set ports or interface to others"
        )
    bucket = TokenBucket(_RATE, _BURST)
    askers: set[str] = set()
    answered = refused = 0
    with bound, suppress(KeyboardInterrupt):
        never_fragment(bound, 6 if ":" in settings.interface else 4)
        host, port = settings.told_host, bound.getsockname()[1]
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
            told = answer_to(datagram)
            if told is None:
                continue
            if not bucket.take(time.monotonic()):
                refused += 1
                continue
            # A full buffer, or too long for the way back: the asker will notice.
            with suppress(OSError):
                bound.sendto(told, asker)
                answered += 1
            if asker[0] not in askers and len(askers) < _MOST_ASKERS:
                askers.add(asker[0])
                say(f"asked by {asker[0]}")
    say(f"{answered} questions answered, {refused} beyond the limit")

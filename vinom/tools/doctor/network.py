"""
What ``vinom doctor`` checks of addresses, and of the routes to game ports.

It sends questions over UDP to another machine (``--probe``) where ``--answer`` runs.

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

import attrs

from vinom.base.limits.buckets import TokenBucket, is_loopback
from vinom.errors import Misconfigured
from vinom.node.listening import address_of, open_socket
from vinom.node.settings import Settings
from vinom.tools.doctor.findings import Finding, Subject

#: Longest UDP payload that a game server or a player sends, bytes
#: (source: docs/protocol/packets.rst).
LONGEST_DATAGRAM = 1200
#: The whole route to a server is tested from outside; see `vinom.tools.doctor.command`.
NOT_TESTED = Subject("udp").not_checked(
    "a machine cannot test its own firewalls",
    "run vinom doctor --answer here, and vinom doctor --probe HOST:PORT on a machine "
    "in the players' network",
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
    about = Subject("public host")
    if not addresses:
        return about.failure(
            f"{host} has no address ({problem})",
            "set advertise to a name that resolves, or to an address",
        )
    message = host if list(addresses) == [host] else f"{host} is {', '.join(addresses)}"
    if all(map(is_loopback, addresses)):
        if not is_loopback(interface):
            return about.warning(
                f"{message}: on other machines that is their own address",
                "set advertise to the name or address that players should use",
            )
        return about.ok(f"{message}, for players on this machine only")
    if is_loopback(interface):
        return about.failure(
            f"{message}, but the node listens on {interface} only",
            "set interface to an address that other machines reach, or to 0.0.0.0",
        )
    return about.ok(f"{message}")


def reachability(reach: Reach) -> Finding:
    """Judge the route to a game port of another machine."""
    about, way = Subject("udp"), f"{reach.target} from {reach.source}"
    if not reach.took:
        why = f" ({reach.problem})" if reach.problem else ""
        return about.failure(
            f"{way} gets no answer{why}",
            "make sure that vinom doctor --answer runs there; let UDP to the game "
            "ports pass every firewall, and forward it at every router that translates "
            "addresses (NAT)",
        )
    took = f"in {1000 * min(reach.took):.2f} ms"
    if len(reach.took) < reach.asked:
        return about.warning(
            f"{way}: {len(reach.took)} of {reach.asked} questions are answered, one "
            f"{took}",
            "find out what loses datagrams on the route: games work, but with delays",
        )
    return about.ok(f"{way} gets an answer {took}")


@attrs.frozen
class Reach:
    """
    The result of sending questions over UDP.

    :ivar source: address that they were sent from.
    :ivar target: ``HOST:PORT`` that they were sent to.
    :ivar asked: number of questions.
    :ivar took: time until each answer that came, seconds.
    :ivar problem: the last error, in words.
    """

    source: str
    target: str
    asked: int
    took: Sequence[float] = ()
    problem: str | None = None


def probed_sizes(target: str, sizes: Mapping[int, bool]) -> Finding:
    """
    Judge which UDP payloads reach a machine and come back, unfragmented.

    :param target: ``HOST:PORT`` of the machine.
    :param sizes: bytes to whether an answer of that size came.
    """
    about = Subject("mtu")
    passed = [size for size, is_answered in sizes.items() if is_answered]
    if not passed:
        return about.not_checked(
            f"nothing came back from {target}", "solve the problem named udp first"
        )
    if max(passed) < LONGEST_DATAGRAM:
        return about.failure(
            f"datagrams of {max(passed)} bytes pass to {target} and back, those of "
            f"{LONGEST_DATAGRAM}, which play needs, do not",
            "raise the MTU on the route; the cause is most often a tunnel or a VPN",
        )
    return about.ok(
        f"datagrams of {max(passed)} bytes pass to {target} and back; play needs "
        f"{LONGEST_DATAGRAM}"
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
    with socket.socket(family, kind) as asking:
        try:
            # From here on the system reports that nobody listens there.
            asking.connect(address)
        except OSError as error:
            return [reachability(Reach("here", target, 0, (), error.strerror))]
        never_fragment(asking)
        took: list[float] = []
        asked, problem = 0, None
        while asked < _TIMES and (took or asked < _ENOUGH):
            asked += 1
            seconds, problem = _ask(asking, SHORTEST, entropy(NONCE_LENGTH))
            if seconds is not None:
                took.append(seconds)
        source = str(asking.getsockname()[0])
        findings = [reachability(Reach(source, target, asked, took, problem))]
        if took:
            sizes = {SHORTEST: True}
            for size in _SIZES:
                # One of two may be lost.
                answers = (
                    _ask(asking, size, entropy(NONCE_LENGTH))[0] for _ in range(2)
                )
                sizes[size] = any(answer is not None for answer in answers)
            findings.append(probed_sizes(target, sizes))
    return findings


def _ask(
    asking: socket.socket, size: int, nonce: bytes
) -> tuple[float | None, str | None]:
    """Ask once; returns how long the answer took, seconds, or what went wrong."""
    began = time.monotonic()
    try:
        asking.send(question(nonce, size))
        while (left := began + _TIMEOUT - time.monotonic()) > 0:
            if select.select([asking], [], [], left)[0] and is_answer(
                asking.recv(_LONGEST), nonce, size
            ):
                return time.monotonic() - began, None
    except OSError as error:
        # Refused by ICMP, no route, or too long for it.
        return None, error.strerror
    return None, None


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


def never_fragment(bound: socket.socket) -> None:
    """Forbid the fragmentation of datagrams."""
    # Linux's constants, which Python lacks (source: linux/in.h and linux/in6.h).
    level, option = (
        (socket.IPPROTO_IP, 10)
        if bound.family == socket.AF_INET
        else (socket.IPPROTO_IPV6, 23)
    )
    with suppress(OSError):
        bound.setsockopt(level, option, 2)


#: Answers per second, and at once: the victim of a forged sender address gets no
#: more than these, and never more bytes than the forger sent.
_RATE, _BURST = 50.0, 25.0


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
        never_fragment(bound)
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

"""What is wrong with addresses, and with the ways to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from vinom.rules.doctor import Finding, failure, not_checked, ok, warning
from vinom.rules.limits import is_loopback

#: Longest UDP payload that a game server or a player sends, bytes
#: (source: docs/protocol/packets.rst).
LONGEST_DATAGRAM = 1200
#: What goes in front of it: the headers of UDP and of IPv4 or IPv6, bytes.
HEADERS = {4: 28, 6: 48}
#: How the whole way to a server is tried: `vinom.tap.commands.doctor`.
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

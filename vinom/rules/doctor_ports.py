"""What is wrong with the ports and sockets that a node is to listen on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import attrs

from vinom.rules.doctor import Finding, failure, ok, warning


@attrs.frozen
class Owner:
    """
    Who has a port.

    :ivar is_ours: is it the running node, or a process that it started?
    """

    pid: int
    program: str
    is_ours: bool = False

    def __str__(self) -> str:
        return f"{self.program} (process {self.pid})"


@attrs.frozen
class Tried:
    """
    What came of binding a port; it was closed at once.

    :ivar problem: name of the error, such as ``"EADDRINUSE"``; ``None``: it is free.
    :ivar owner: ``None`` if it is free, or nobody can be named.
    """

    problem: str | None = None
    owner: Owner | None = None

    @property
    def is_ours(self) -> bool:
        """Has the running node got it?"""
        return self.owner is not None and self.owner.is_ours


def listening(name: str, where: str, setting: str, tried: Tried) -> Finding:
    """Judge a TCP port that the node listens on."""
    if tried.problem is None:
        return ok(name, f"{where} is free")
    if tried.is_ours:
        return ok(name, f"{where} is used by the running node, {tried.owner}")
    if tried.problem == "EADDRINUSE":
        who = tried.owner or "a process that only its own user, or root, can see"
        return failure(
            name,
            f"{where} is used by {who}",
            f"stop that, or set {setting} to another port",
        )
    return _not_bindable(name, where, setting, tried.problem)


def _not_bindable(name: str, where: str, setting: str, problem: str) -> Finding:
    if problem == "EADDRNOTAVAIL":
        return failure(
            name,
            f"{where} is not at an address of this machine",
            f"set interface, or the address in {setting}, to one that the machine has "
            "(ip address lists them)",
        )
    if problem == "EACCES":
        return failure(
            name,
            f"{where} may not be used by this user",
            f"set {setting} to ports from 1024, or give the node CAP_NET_BIND_SERVICE",
        )
    return failure(
        name,
        f"{where} cannot be used ({problem})",
        f"set interface and {setting} to an address and a port that can be",
    )


def game_ports(
    first: int,
    last: int,
    tried: Mapping[int, Tried],
    ephemeral: tuple[int, int] | None,
    reserved: frozenset[int],
    is_public: bool,
) -> list[Finding]:
    """
    Judge the UDP ports of game servers.

    :param tried: one for each port of the range.
    :param ephemeral: the range from which the kernel takes ports for anybody.
    :param reserved: what it leaves out of it.
    :param is_public: do players come from other machines?
    """
    name, total = "game ports", last - first + 1
    free = sum(one.problem is None for one in tried.values())
    ours = sum(one.is_ours for one in tried.values())
    lost = {port: one for port, one in tried.items() if one.problem and not one.is_ours}
    where = f"UDP {first}-{last}"
    used = f", {ours} used by the running node" if ours else ""
    if not lost:
        findings = [ok(name, f"{where}: {free} of {total} are free{used}")]
    elif free + ours == 0:
        first_problem, *others = {str(one.problem) for one in lost.values()}
        if first_problem != "EADDRINUSE" and not others:
            findings = [_not_bindable(name, where, "ports", first_problem)]
        else:
            findings = [
                failure(
                    name,
                    f"{where}: none of them can be had: {_told_taken(lost)}",
                    "stop what has them, or set ports to another range",
                )
            ]
    else:
        findings = [
            warning(
                name,
                f"{where}: {free} of {total} are free{used}, {len(lost)} not: "
                f"{_told_taken(lost)}",
                "stop what has them, or set ports to another range; until then fewer "
                "matches fit",
            )
        ]
    if is_public and ephemeral is not None:
        open_to_all = [
            port
            for port in range(first, last + 1)
            if ephemeral[0] <= port <= ephemeral[1] and port not in reserved
        ]
        if open_to_all:
            findings.append(
                warning(
                    "reserved ports",
                    f"{len(open_to_all)} of {where} are in the range "
                    f"{ephemeral[0]}-{ephemeral[1]}, from which the kernel gives ports "
                    "to any program",
                    f"sysctl -w net.ipv4.ip_local_reserved_ports={first}-{last} (add "
                    "what is reserved already), or set ports outside of that range",
                )
            )
    return findings


def _told_taken(lost: Mapping[int, Tried]) -> str:
    """Name ports and who has them, neighbours of one owner together."""

    def who(port: int) -> str:
        one = lost[port]
        if one.problem != "EADDRINUSE":
            return f"not usable ({one.problem})"
        return f"by {one.owner}" if one.owner else "by a process that is not to be seen"

    told = []
    for owner, ports in groupby(sorted(lost), key=who):
        listed = list(ports)
        span = f"{listed[0]}-{listed[-1]}" if len(listed) > 1 else str(listed[0])
        if len(listed) > 1 and listed[-1] - listed[0] >= len(listed):
            span = f"{len(listed)} of {span}"
        told.append(f"{span} {owner}")
    shown, more = told[:4], len(told) - 4
    return ", ".join(shown) + (f", and {more} more" if more > 0 else "")


def control_socket(path: str, longest: int, is_answered: bool, ours: bool) -> Finding:
    """
    Judge the socket where game servers dial in.

    :param longest: what the address of a UNIX socket can hold, bytes.
    :param is_answered: does somebody listen there?
    """
    name = "control socket"
    if len(path.encode()) > longest:
        return failure(
            name,
            f"{path} is longer than the {longest} bytes of a socket's path",
            "set a shorter state_dir",
        )
    if is_answered and ours:
        return ok(name, f"{path} is used by the running node")
    if is_answered:
        return failure(
            name,
            f"{path} is used by a process that does not answer as a node",
            "stop it, or set another state_dir",
        )
    return ok(name, f"{path} is free")

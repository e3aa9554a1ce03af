"""
What ``vinom doctor`` checks of ports and sockets: each is bound for a moment.

The owner of a port that is taken is found in ``/proc`` (source: proc(5)).
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from glob import iglob
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from vinom.base.limits.buckets import is_loopback
from vinom.base.settings.values import LONGEST_SOCKET_PATH
from vinom.node.listening import bind_problem
from vinom.node.settings import Settings
from vinom.tools.doctor.findings import Finding, Subject
from vinom.tools.doctor.network import public_host


@attrs.frozen
class Owner:
    """
    The process that has a port.

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
    The result of binding a port, which was closed at once.

    :ivar problem: name of the error, such as ``"EADDRINUSE"``; ``None``: it is free.
    :ivar owner: ``None`` if it is free, or if this user cannot see who has it.
    """

    problem: str | None = None
    owner: Owner | None = None

    @property
    def is_ours(self) -> bool:
        """Does the running node have it?"""
        return self.owner is not None and self.owner.is_ours

    @property
    def who(self) -> str:
        """Its owner, in words."""
        return str(self.owner or "a process that this user cannot see")


def try_ports(
    kind: socket.SocketKind, interface: str, ports: Iterable[int], node: int | None
) -> dict[int, Tried]:
    """Bind each port for a moment; find the owners of those that are taken."""
    problems = {port: bind_problem(kind, interface, port) for port in ports}
    taken = [port for port, problem in problems.items() if problem == "EADDRINUSE"]
    known = owners("tcp" if kind == socket.SOCK_STREAM else "udp", taken, node)
    return {port: Tried(why, known.get(port)) for port, why in problems.items()}


def listening(name: str, where: str, setting: str, tried: Tried) -> Finding:
    """Judge a TCP port that the node listens on."""
    about = Subject(name)
    if tried.problem is None:
        return about.ok(f"{where} is free")
    if tried.is_ours:
        return about.ok(f"{where} is used by the running node, {tried.owner}")
    if tried.problem == "EADDRINUSE":
        how = f"stop it, or set {setting} to another port"
        if tried.owner is None:
            how += "; to see which process it is, run this as root"
        return about.failure(f"{where} is used by {tried.who}", how)
    return _not_bindable(about, where, setting, tried.problem)


def _not_bindable(about: Subject, where: str, setting: str, problem: str) -> Finding:
    found, how = {
        "EADDRNOTAVAIL": (
            f"{where} is not at an address of this machine",
            f"set interface, or the address in {setting}, to one that the machine has "
            "(ip address lists them)",
        ),
        "EACCES": (
            f"this user may not listen on {where}",
            f"set {setting} to ports from 1024, or give the node CAP_NET_BIND_SERVICE",
        ),
    }.get(
        problem,
        (
            f"{where} cannot be used ({problem})",
            f"set interface or {setting} to an address and a port that this machine "
            "has",
        ),
    )
    return about.failure(found, how)


def game_ports(
    tried: Mapping[int, Tried],
    ephemeral: Sequence[int],
    reserved: Container[int],
    is_public: bool,
) -> Iterator[Finding]:
    """
    Judge the UDP ports of game servers.

    :param tried: one for each port of the range.
    :param ephemeral: the ports that the kernel assigns to any program.
    :param reserved: ports that the kernel excludes from these.
    :param is_public: do players connect from other machines?
    """
    about, total = Subject("game ports"), len(tried)
    first, last = min(tried), max(tried)
    free = sum(one.problem is None for one in tried.values())
    ours = sum(one.is_ours for one in tried.values())
    lost = {port: one for port, one in tried.items() if one.problem and not one.is_ours}
    where = f"UDP {first}-{last}"
    used = f", {ours} used by the running node" if ours else ""
    if not lost:
        yield about.ok(f"{where}: {free} of {total} are free{used}")
    elif free + ours == 0:
        first_problem, *others = {str(one.problem) for one in lost.values()}
        if first_problem != "EADDRINUSE" and not others:
            yield _not_bindable(about, where, "ports", first_problem)
        else:
            yield about.failure(
                f"{where}: none of them is usable: {_list_taken(lost)}",
                "stop the processes that have them, or set ports to another range",
            )
    else:
        yield about.warning(
            f"{where}: {free} of {total} are free{used}, {len(lost)} not: "
            f"{_list_taken(lost)}",
            "stop the processes that have them, or set ports to another range; "
            "until then fewer matches fit",
        )
    shared = [one for one in tried if one in ephemeral and one not in reserved]
    if is_public and shared:
        yield Subject("reserved ports").warning(
            f"{len(shared)} of {where} are in the range "
            f"{ephemeral[0]}-{ephemeral[-1]}, from which the kernel assigns ports to "
            "any program",
            f"sysctl -w net.ipv4.ip_local_reserved_ports={first}-{last} (add the ports "
            "that are reserved already), or set ports outside of that range",
        )


def _list_taken(lost: Mapping[int, Tried]) -> str:
    """List ports with their owners; neighbours of one owner are one item."""

    def who(port: int) -> str:
        one = lost[port]
        if one.problem != "EADDRINUSE":
            return f"not usable ({one.problem})"
        return f"by {one.who}"

    items = []
    for owner, ports in groupby(sorted(lost), key=who):
        listed = list(ports)
        span = f"{listed[0]}-{listed[-1]}" if len(listed) > 1 else str(listed[0])
        if len(listed) > 1 and listed[-1] - listed[0] >= len(listed):
            span = f"{len(listed)} of {span}"
        items.append(f"{span} {owner}")
    shown, more = items[:4], len(items) - 4
    return ", ".join(shown) + (f", and {more} more" if more > 0 else "")


def control_socket(path: str, longest: int, is_answered: bool, ours: bool) -> Finding:
    """
    Judge the socket where game servers connect.

    :param longest: longest path that the address of a UNIX socket can hold, bytes.
    :param is_answered: does a process listen there?
    :param ours: is that the running node?
    """
    about = Subject("control socket")
    if len(path.encode()) > longest:
        return about.failure(
            f"{path} has {len(path.encode())} bytes; a socket's path may have "
            f"{longest}",
            "set a shorter state_dir",
        )
    if is_answered and ours:
        return about.ok(f"{path} is used by the running node")
    if is_answered:
        return about.failure(
            f"{path} is used by a process that isn't a running node",
            "stop it, or set another state_dir",
        )
    return about.ok(f"{path} is free")


PROC = Path("/proc")
#: State of a TCP socket that listens.
_LISTENS = "0A"


def owners(
    kind: str, ports: Iterable[int], node: int | None, proc: Path = PROC
) -> dict[int, Owner]:
    """
    Find the processes that have ports; of other users' processes only as root.

    :param kind: ``"tcp"`` (listeners only) or ``"udp"``.
    :param ports: the ports to look for.
    :param node: process of the running node; its children count as ours.
    :param proc: where the kernel's files about processes are.
    """
    wanted = frozenset(ports)
    table = "".join(_text(proc / "net" / name) for name in (kind, f"{kind}6"))
    inodes = sockets_at(table, wanted, kind)
    found: dict[int, Owner] = {}
    for link in iglob(f"{proc}/[0-9]*/fd/*") if inodes else ():
        # The process may have ended, or belong to another user.
        with suppress(OSError):
            port = inodes.get(os.readlink(link))
            if port is not None and port not in found:
                pid = int(Path(link).parts[-3])
                is_ours = bool(node) and _descends(pid, node or 0, proc)
                found[port] = Owner(pid, _program(pid, proc), is_ours)
    if inodes and node and not os.access(proc / str(node) / "fd", os.R_OK):
        # A node hides itself, and its game servers, from its own user, to whom all
        # other processes of that user are open: what is hidden and has this user is
        # the node's.
        its = Owner(node, _program(node, proc), True)
        for port in sockets_at(table, wanted, kind, os.geteuid()).values():
            found.setdefault(port, its)
    return found


def sockets_at(
    table: str, ports: frozenset[int], kind: str, uid: int | None = None
) -> dict[str, int]:
    """
    Read tables of sockets.

    :param table: those of ``/proc/net``.
    :param ports: the ports to look for.
    :param kind: ``"tcp"`` (listeners only) or ``"udp"``.
    :param uid: of this user only.
    :returns: what a descriptor of the socket links to, and its port.
    """
    found = {}
    for line in table.splitlines():
        words = line.split()
        # Not the line of titles.
        if len(words) < 10 or words[0] == "sl":
            continue
        if kind == "tcp" and words[3] != _LISTENS:
            continue
        port = int(words[1].rpartition(":")[2], 16)
        if port in ports and uid in (None, int(words[7])):
            found[f"socket:[{words[9]}]"] = port
    return found


def _text(path: Path) -> str:
    """Read a file of the kernel's; empty if it is hidden, or its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _program(pid: int, proc: Path) -> str:
    return _text(proc / str(pid) / "comm").strip() or "a program"


def _descends(pid: int, ancestor: int, proc: Path) -> bool:
    while pid > 1 and pid != ancestor:
        # The program's name before it may contain blanks and brackets.
        stat = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
        pid = int(stat[1]) if stat else 0
    return pid == ancestor


def listener_of(path: Path) -> int | None:
    """
    Find the process that listens on a UNIX socket.

    :returns: ``None`` without one; 0 if it is in another namespace.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            credentials = probe.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
            )
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except OSError:
            # A process listens, but is too busy, or does not let us connect.
            return 0 if os.path.exists(path) else None
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def open_files_limit(pid: int, proc: Path = PROC) -> tuple[int, int] | None:
    """Read a process's limit of open files: soft and hard; ``None`` if hidden."""
    text = _text(proc / str(pid) / "limits")
    found = re.search(r"^Max open files +(\d+) +(\d+)", text, re.MULTILINE)
    return None if found is None else (int(found[1]), int(found[2]))


_IPV4 = Path("/proc/sys/net/ipv4")


def examine_ports(settings: Settings, node: int | None) -> Iterator[Finding]:
    """
    Look at everything that the node listens on.

    :param node: process of the node that runs on this state directory.
    """
    yield _tcp("lobby", settings.interface, settings.port, "port", node)
    for name, where in (("http", settings.http), ("admin", settings.admin)):
        if where is not None:
            yield _endpoint(name, where, settings.interface, node)
    path = settings.control_socket
    listener = listener_of(path)
    yield control_socket(
        str(path), LONGEST_SOCKET_PATH, listener is not None, listener == node
    )
    yield from _game_ports(settings, node)


def examine_host(settings: Settings) -> Finding:
    """Resolve the host that players connect to."""
    host, problem = settings.public_host, None
    addresses: list[str] = []
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    except (OSError, UnicodeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    return public_host(host, addresses, problem, settings.interface)


def tcp_place(where: str, interface: str) -> tuple[str, int] | None:
    """
    Find where a port or an endpoint listens: interface and port.

    :returns: ``None`` for an endpoint that is not TCP.
    :raises ValueError: it is not an endpoint.
    """
    if where.isdecimal():
        return interface, int(where)
    reactor: Any = MemoryReactor()
    try:
        opening = serverFromString(reactor, where).listen(Factory())
    except AttributeError:
        # It calls another method of the reactor: it is not a TCP port.
        return None
    except (TypeError, LookupError, OSError) as error:
        raise ValueError(str(error)) from error
    # Others fail like this.
    opening.addErrback(lambda _: None)
    for port, *_, host in (*reactor.tcpServers, *reactor.sslServers):
        return host or "0.0.0.0", port
    return None


def _endpoint(name: str, where: str, interface: str, node: int | None) -> Finding:
    about = Subject(name)
    try:
        place = tcp_place(where, interface)
    except ValueError as error:
        return about.failure(
            f"{where!r} isn't an endpoint: {error}",
            f"set {name} to a port, or to an endpoint such as tcp:8080",
        )
    if place is None:
        return about.not_checked(
            f"{where} is not a TCP port; vinom doctor tries no other kind",
            f"start the node; it reports what is wrong with {name}",
        )
    return _tcp(name, *place, name, node)


def _tcp(
    name: str, interface: str, port: int, setting: str, node: int | None
) -> Finding:
    where = f"[{interface}]:{port}" if ":" in interface else f"{interface}:{port}"
    if port == 0:
        return Subject(name).ok(f"{where}: any free port, another one at each start")
    tried = try_ports(socket.SOCK_STREAM, interface, [port], node)[port]
    return listening(name, where, setting, tried)


def _game_ports(settings: Settings, node: int | None) -> Iterator[Finding]:
    first, last = settings.ports
    span, interface = range(first, last + 1), settings.interface
    (ephemeral,) = _ranges("ip_local_port_range") or [range(0)]
    reserved = _ranges("ip_local_reserved_ports")
    return game_ports(
        try_ports(socket.SOCK_DGRAM, interface, span, node),
        ephemeral,
        {port for ports in reserved for port in ports},
        not is_loopback(interface),
    )


def _ranges(name: str) -> list[range]:
    """Read a setting of the kernel that lists ports: "1 3", or "1-3,5"."""
    found = re.findall(r"(\d+)(?:[-\s]+(\d+))?", _text(_IPV4 / name))
    return [range(int(first), int(last or first) + 1) for first, last in found]

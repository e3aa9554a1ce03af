"""
What ``vinom doctor`` checks of ports and sockets: each is bound for a moment.

The owner of a port that is taken is found in ``/proc`` (source: proc(5)).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

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
        who = tried.owner or "a process that this user cannot see"
        return about.failure(f"{where} is used by {who}", how)
    return _not_bindable(name, where, setting, tried.problem)


def _not_bindable(name: str, where: str, setting: str, problem: str) -> Finding:
    about = Subject(name)
    if problem == "EADDRNOTAVAIL":
        return about.failure(
            f"{where} is not at an address of this machine",
            f"set interface, or the address in {setting}, to one that the machine has "
            "(ip address lists them)",
        )
    if problem == "EACCES":
        return about.failure(
            f"this user may not listen on {where}",
            f"set {setting} to ports from 1024, or give the node CAP_NET_BIND_SERVICE",
        )
    return about.failure(
        f"{where} cannot be used ({problem})",
        f"set interface or {setting} to an address and a port that this machine has",
    )


def game_ports(
    first: int,
    last: int,
    tried: Mapping[int, Tried],
    ephemeral: tuple[int, int] | None,
    reserved: frozenset[int],
    is_public: bool,
) -> Iterator[Finding]:
    """
    Judge the UDP ports of game servers.

    :param tried: one for each port of the range.
    :param first: of the range.
    :param last: of the range.
    :param ephemeral: the range from which the kernel assigns ports to any program.
    :param reserved: ports that the kernel excludes from it.
    :param is_public: do players connect from other machines?
    """
    about, total = Subject("game ports"), last - first + 1
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
            yield _not_bindable(about.name, where, "ports", first_problem)
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
    if is_public and ephemeral is not None:
        open_to_all = [
            port
            for port in range(first, last + 1)
            if ephemeral[0] <= port <= ephemeral[1] and port not in reserved
        ]
        if open_to_all:
            yield Subject("reserved ports").warning(
                f"{len(open_to_all)} of {where} are in the range "
                f"{ephemeral[0]}-{ephemeral[1]}, from which the kernel assigns "
                "ports to any program",
                f"sysctl -w net.ipv4.ip_local_reserved_ports={first}-{last} (add "
                "the ports that are reserved already), or set ports outside of "
                "that range",
            )


def _list_taken(lost: Mapping[int, Tried]) -> str:
    """List ports with their owners; neighbours of one owner are one item."""

    def who(port: int) -> str:
        one = lost[port]
        if one.problem != "EADDRINUSE":
            return f"not usable ({one.problem})"
        return f"by {one.owner or 'a process that this user cannot see'}"

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
    inodes: dict[str, int] = {}
    for table in (kind, f"{kind}6"):
        with suppress(OSError):
            inodes |= sockets_at((proc / "net" / table).read_text(), wanted, kind)
    if not inodes:
        return {}
    found: dict[int, Owner] = {}
    for pid, inode in _open_sockets(proc):
        port = inodes.get(inode)
        if port is not None and port not in found:
            is_ours = bool(node) and _descends(pid, node or 0, proc)
            found[port] = Owner(pid, _program(pid, proc), is_ours)
    if node and not os.access(proc / str(node) / "fd", os.R_OK):
        # A node hides itself, and its game servers, from its own user, to whom all
        # other processes of that user are open: what is hidden and has this user is
        # the node's.
        its = Owner(node, _program(node, proc), True)
        for table in (kind, f"{kind}6"):
            with suppress(OSError):
                text = (proc / "net" / table).read_text()
                for port in sockets_at(text, wanted, kind, os.geteuid()).values():
                    found.setdefault(port, its)
    return found


def sockets_at(
    table: str, ports: frozenset[int], kind: str, uid: int | None = None
) -> dict[str, int]:
    """
    Read a table of sockets.

    :param table: one of ``/proc/net``.
    :param ports: the ports to look for.
    :param kind: ``"tcp"`` (listeners only) or ``"udp"``.
    :param uid: of this user only.
    :returns: inode to port.
    """
    found = {}
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or (kind == "tcp" and words[3] != _LISTENS):
            continue
        port = int(words[1].rpartition(":")[2], 16)
        if port in ports and uid in (None, int(words[7])):
            found[words[9]] = port
    return found


def _open_sockets(proc: Path) -> Iterator[tuple[int, str]]:
    """List process and inode of every socket that this user may see."""
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        # The process may have ended, or belong to another user.
        with suppress(OSError):
            for entry in (folder / "fd").iterdir():
                with suppress(OSError):
                    target = os.readlink(entry)
                    if target.startswith("socket:["):
                        yield int(folder.name), target[8:-1]


def _program(pid: int, proc: Path) -> str:
    with suppress(OSError):
        return (proc / str(pid) / "comm").read_text().strip()
    return "a program"


def _descends(pid: int, ancestor: int, proc: Path) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            stat = (proc / str(pid) / "stat").read_text()
        except OSError:
            return False
        # The program's name before it may contain blanks and brackets.
        pid = int(stat.rpartition(")")[2].split()[1])
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
    with suppress(OSError, ValueError):
        for line in (proc / str(pid) / "limits").read_text().splitlines():
            if line.startswith("Max open files"):
                soft, hard = line.removeprefix("Max open files").split()[:2]
                return int(soft), int(hard)
    return None


_IPV4 = Path("/proc/sys/net/ipv4")


class EndpointProbe:
    """
    Stands in for the reactor, and records where an endpoint would listen.

    :ivar at: interface and port; ``None`` for an endpoint that isn't TCP.
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
    probe: Any = EndpointProbe()
    try:
        opening = serverFromString(probe, where).listen(Factory())
    except AttributeError:
        # It calls another method of the reactor: it is not a TCP port.
        return None
    except (TypeError, LookupError, OSError) as error:
        raise ValueError(str(error)) from error
    # Others fail like this.
    opening.addErrback(lambda _: None)
    if probe.at is None:
        return None
    host, port = probe.at
    return host or "0.0.0.0", port


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
    problem = bind_problem(socket.SOCK_STREAM, interface, port)
    owner = None
    if problem == "EADDRINUSE":
        owner = owners("tcp", [port], node).get(port)
    return listening(name, where, setting, Tried(problem, owner))


def _game_ports(settings: Settings, node: int | None) -> Iterator[Finding]:
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


def _ephemeral() -> tuple[int, int] | None:
    with suppress(OSError, ValueError):
        first, last = (_IPV4 / "ip_local_port_range").read_text().split()
        return int(first), int(last)
    return None


def _reserved() -> frozenset[int]:
    found: set[int] = set()
    with suppress(OSError, ValueError):
        listed = (_IPV4 / "ip_local_reserved_ports").read_text().strip()
        for part in filter(None, listed.split(",")):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)

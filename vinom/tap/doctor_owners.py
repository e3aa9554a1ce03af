"""Who has a port, as far as ``/proc`` tells this user (source: proc(5))."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from vinom.rules.doctor_ports import Owner

PROC = Path("/proc")
#: State of a TCP socket that listens.
_LISTENS = "0A"


def owners(
    kind: str, ports: Iterable[int], node: int | None, proc: Path = PROC
) -> dict[int, Owner]:
    """
    Find who has ports; those of other users' processes only if we are root.

    :param kind: ``"tcp"`` (only who listens) or ``"udp"``.
    :param node: process of the running node, whose children are ours too.
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
    return found


def sockets_at(table: str, ports: frozenset[int], kind: str) -> dict[str, int]:
    """Read a table of sockets: the inode of each at one of *ports*, and its port."""
    found = {}
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or (kind == "tcp" and words[3] != _LISTENS):
            continue
        port = int(words[1].rpartition(":")[2], 16)
        if port in ports:
            found[words[9]] = port
    return found


def _open_sockets(proc: Path) -> Iterator[tuple[int, str]]:
    """Go through the sockets of every process that we may look into."""
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        # Processes end, and those of others are closed to us.
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
        # The name before it may hold anything, blanks and brackets too.
        pid = int(stat.rpartition(")")[2].split()[1])
    return pid == ancestor


def listener_of(path: Path) -> int | None:
    """
    Find the process that listens on a UNIX socket.

    :returns: ``None`` if nobody does; 0 if somebody of another namespace does.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            told = probe.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
            )
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except OSError:
            # Somebody is there, however busy, or not for us.
            return 0 if os.path.exists(path) else None
    pid: int = struct.unpack("3i", told)[0]
    return pid


def open_files_limit(pid: int, proc: Path = PROC) -> tuple[int, int] | None:
    """Read a process's limit of open files: soft and hard; ``None`` if we may not."""
    with suppress(OSError, ValueError):
        for line in (proc / str(pid) / "limits").read_text().splitlines():
            if line.startswith("Max open files"):
                soft, hard = line.removeprefix("Max open files").split()[:2]
                return int(soft), int(hard)
    return None

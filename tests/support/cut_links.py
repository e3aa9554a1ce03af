"""Cut the control links of a node's game servers, while both ends live on."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vinom.tools.chaos.run import children_of

#: Of pidfd_getfd(2), on every architecture.
_PIDFD_GETFD = 438
_PEER = struct.Struct("3i")


def descendants_of(pid: int) -> list[int]:
    """List the children of a process, and theirs."""
    found = []
    for child in children_of(pid):
        found += [child, *descendants_of(child)]
    return found


@contextmanager
def no_links(state_dir: Path) -> Iterator[None]:
    """
    Keep game servers from having new links with their node.

    They cannot dial, and the node cannot call them: their mailboxes have no names.
    """
    names = [state_dir / "control.sock", *(state_dir / "servers").glob("*.mail")]
    hidden = [one.with_name(f"{one.name}.hidden") for one in names]
    for one, away in zip(names, hidden, strict=True):
        one.rename(away)
    try:
        yield
    finally:
        for one, away in zip(names, hidden, strict=True):
            # What has ended meanwhile has no mailbox any more.
            if away.exists():
                away.rename(one)


def cut_links(node: int) -> int:
    """
    Shut down every link between a node and a game server of its own.

    We take a copy of the node's end (pidfd_getfd(2)) and shut it down, as a network
    would that breaks: both processes read the end of the stream.

    :param node: process id of a node that this process has started.
    :returns: how many links that were.
    """
    servers = set(descendants_of(node))
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(node)
    cut = 0
    try:
        for entry in Path(f"/proc/{node}/fd").iterdir():
            with suppress(OSError):
                if not os.readlink(entry).startswith("socket:"):
                    continue
                copy = libc.syscall(_PIDFD_GETFD, pidfd, int(entry.name), 0)
                if copy < 0:
                    raise OSError(ctypes.get_errno(), "pidfd_getfd")
                with socket.socket(fileno=copy) as link:
                    if _peer_of(link) in servers and _is_named(link):
                        link.shutdown(socket.SHUT_RDWR)
                        cut += 1
    finally:
        os.close(pidfd)
    return cut


def _peer_of(link: socket.socket) -> int:
    """Find the process at the other end of a UNIX connection; 0 for other sockets."""
    if link.family != socket.AF_UNIX or link.type != socket.SOCK_STREAM:
        return 0
    found = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(found)[0])


def _is_named(link: socket.socket) -> bool:
    """Was it dialled at a path? The node's own pipes to a process were not."""
    return bool(link.getsockname())

"""UNIX sockets that only this user can reach, and the addresses of ports."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from vinom.errors import Misconfigured

#: Longest path of a UNIX socket on Linux, bytes (source: unix(7)).
LONGEST_SOCKET_PATH = 107


def listen_privately(
    reactor: Any, path: Path, factory: IProtocolFactory
) -> IListeningPort:
    """
    Listen on a UNIX socket that only our user can reach.

    A socket that a dead node left behind is replaced.

    :param path: of the socket.
    :raises Misconfigured: another node has it, or the path is too long.
    """
    if len(bytes(path)) > LONGEST_SOCKET_PATH:
        raise Misconfigured(
            f"the path {path} is longer than a socket's may be "
            f"({LONGEST_SOCKET_PATH} bytes): set a shorter state_dir"
        )
    try:
        return _listen(reactor, path, factory)
    except CannotListenError:
        # The lock names a process that is alive. It may be another program: process
        # ids are reused after a restart, and in a container every node is process 1.
        _remove_if_abandoned(path)
    try:
        return _listen(reactor, path, factory)
    except CannotListenError as error:
        raise Misconfigured(
            f"cannot listen on {path}: another node seems to use this state directory; "
            "stop that node, or set another state_dir"
        ) from error


def _listen(reactor: Any, path: Path, factory: IProtocolFactory) -> IListeningPort:
    port: IListeningPort = reactor.listenUNIX(
        str(path), factory, mode=0o600, wantPID=True
    )
    return port


def _remove_if_abandoned(path: Path) -> None:
    """Remove a socket and its lock if no process listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        except OSError:
            # A process listens, but is too busy to answer.
            return


def bound_at(port: IListeningPort) -> str:
    """Write where a port listens as ``HOST:PORT``."""
    address: Any = port.getHost()
    host = getattr(address, "host", None)
    if host is None:
        return str(getattr(address, "name", address))
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"

"""UNIX sockets that only this user can reach; ports, and which can be bound."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory

from vinom.base.limits.buckets import TokenBucket
from vinom.base.settings.values import LONGEST_SOCKET_PATH
from vinom.base.wall.kernel import Peer, peer_of
from vinom.errors import Misconfigured

#: In the state directory: points to the folder of `meeting_place`.
_MEETING_PLACE = "meeting"


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


class NoChildren(WrappingFactory):
    """Refuse the connections of some processes at once; serve the others."""

    noisy = False
    _log = Logger()

    def __init__(
        self, served: IProtocolFactory, is_refused: Callable[[Peer], bool]
    ) -> None:
        """
        :param served: makes the protocols of the others.
        :param is_refused: decides by the process that connected.
        """
        super().__init__(served)  # type: ignore[no-untyped-call]  # Twisted's
        self._is_refused = is_refused
        self._logged = TokenBucket(0.2, 10)

    def buildProtocol(self, addr: Any) -> Any:
        made = self.wrappedFactory.buildProtocol(addr)
        return None if made is None else _Asked(made, self._refuses)

    def _refuses(self, peer: Peer | None) -> bool:
        if peer is None or not self._is_refused(peer):
            return False
        if self._logged.take(time.monotonic()):
            self._log.error(
                "process {pid}, which is a game server or comes from one, connected to "
                "the admin socket and was refused: check the games that it plays",
                pid=peer.pid,
            )
        return True


class _Asked(Protocol):
    """Ask who connected, then leave everything to the protocol that serves it."""

    def __init__(
        self, served: IProtocol, refuses: Callable[[Peer | None], bool]
    ) -> None:
        self._served, self._refuses = served, refuses

    def makeConnection(self, transport: Any) -> None:
        if self._refuses(peer_of(transport.getHandle())):
            super().makeConnection(transport)  # type: ignore[no-untyped-call]
            transport.abortConnection()
        else:
            transport.protocol = self._served
            self._served.makeConnection(transport)


def page_over_tls(at: str, public: str) -> str:
    """
    Write the address of the page for the log, so that it can be clicked.

    :param at: where its port listens, as of `bound_at`.
    :param public: the host that players connect to, which the certificate names.
    """
    host, colon, number = at.rpartition(":")
    is_everywhere = host in ("0.0.0.0", "[::]")
    if is_everywhere or public == "localhost":
        host = f"[{public}]" if ":" in public else public
    return f"https://{host}:{number}/" if colon else at


def bound_at(port: IListeningPort) -> str:
    """Write where a port listens as ``HOST:PORT``."""
    address: Any = port.getHost()
    host = getattr(address, "host", None)
    if host is None:
        return os.fsdecode(getattr(address, "name", str(address)))
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def open_socket(kind: socket.SocketKind, host: str) -> socket.socket:
    """Open a socket of the family of an address."""
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)


def address_of(host: str, port: int) -> Any:
    """Write an address as `socket` takes it, with a link-local one's interface."""
    kind = socket.SOCK_DGRAM
    flags = socket.AI_NUMERICHOST
    return socket.getaddrinfo(host, port, type=kind, flags=flags)[0][4]


def address_towards(hosts: Iterable[tuple[str, int]]) -> str:
    """
    Find the address of this machine that one of these hosts sees; nothing is sent.

    :param hosts: names or addresses, and ports.
    :returns: empty if no way leads to any of them.
    """
    for host, port in hosts:
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            with socket.socket(found[0][0], socket.SOCK_DGRAM) as probe:
                probe.connect(found[0][4])
                return str(probe.getsockname()[0])
    return ""


def bind_problem(kind: socket.SocketKind, interface: str, port: int) -> str | None:
    """
    Bind a port as the node would, and close it.

    :returns: the name of the error; ``None`` if that works.
    """
    try:
        with open_socket(kind, interface) as tried:
            if kind == socket.SOCK_STREAM:
                # As Twisted does: a port that was just closed is free.
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address_of(interface, port))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return None


def meeting_place(state_dir: Path) -> Path:
    """
    Make a folder that game servers with a user of their own can enter.

    That of an earlier run that was killed is removed.

    :param state_dir: which that user cannot enter.
    """
    remove_meeting_place(state_dir)
    made = Path(tempfile.mkdtemp(prefix="vinom-"))
    made.chmod(0o711)
    (state_dir / _MEETING_PLACE).symlink_to(made)
    return made


def remove_meeting_place(state_dir: Path) -> None:
    """Remove that folder, if there is one."""
    link = state_dir / _MEETING_PLACE
    if link.is_symlink():
        rmtree(link.readlink(), ignore_errors=True)
        link.unlink()

"""
Connections of TCP that wait for the reactor only where there is something to wait for.

Twisted's own wait for a turn of the reactor before they close what has nothing more to
send, watch for room to write that there is already, and describe themselves for a log
that nobody reads. Where many connections are short, that is most of what one costs.

All that this uses of Twisted's private parts is here. If a version of Twisted lacks one
of them (`IS_KNOWN`), its own connections do the work.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EALREADY,
    EINPROGRESS,
    EISCONN,
)
from functools import lru_cache
from os import strerror
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    CannotListenError,
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    TimeoutError,
    getConnectError,
)
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IReadWriteDescriptor,
)
from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Connection, Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.reactor.direct import FEW
from vinom.base.reactor.waits import Waits

_log = Logger()

#: Linux makes a socket that does not block in one call.
_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)
_DONE = Failure(ConnectionDone())
#: Private parts that are used here, and where they must be.
_PARTS = {
    FileDescriptor: (
        "_writeDisconnecting",
        "_writeDisconnected",
        "dataBuffer",
        "offset",
    ),
    Connection: ("_closeWriteConnection", "_shouldShutdown"),
    Port: ("transport",),
}
#: Are all private parts there that `QuickConnection` uses?
IS_KNOWN = all(hasattr(kind, name) for kind, names in _PARTS.items() for name in names)


class Made(ServerFactory):
    """
    Make the protocol of each connection; nobody needs to read of its starts and stops.

    :param make: makes one.
    """

    noisy = False

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def buildProtocol(self, addr: object) -> Any:
        return self._make()


class QuickConnection(Connection):
    """
    A connection, of either side, that closes as soon as it can.

    :ivar peer: its address, as sockets have it.
    :ivar is_ended: the peer sends no more.
    :ivar is_watched: the socket has the options of `watch`.
    """

    # Closing is enough: no other process has this descriptor.
    _shouldShutdown = False
    _tlsClientDefault = False
    logstr = "connection"
    is_ended = is_watched = False

    def __init__(
        self,
        connected: socket.socket,
        protocol: IProtocol,
        reactor: Any,
        peer: tuple[Any, ...],
    ) -> None:
        """
        Read from now on, by way of the reactor; ``makeConnection`` must follow.

        :param connected: does not block.
        :param peer: its address.
        """
        super().__init__(connected, protocol, reactor)
        self.peer = peer
        self.connected = 1
        self.startReading()  # type: ignore[no-untyped-call]

    def getPeer(self) -> IPv4Address | IPv6Address:
        """Give the address of the other side."""
        return _address(self.peer)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Give the address of this side."""
        return _address(self.socket.getsockname())

    def take_at_once(self) -> bytes:
        """Take what has come already, if something has; nothing was read before."""
        try:
            # The reactor finds the end again.
            return self.socket.recv(FEW)
        except OSError:
            return b""

    def ended(self) -> None:
        """The peer sends no more, as was found without the reactor."""
        self.stopReading()  # type: ignore[no-untyped-call]
        self.readConnectionLost(_DONE)

    def readConnectionLost(self, reason: Failure) -> None:
        self.is_ended = True
        if not _is_half_closeable(type(self.protocol)):
            super().readConnectionLost(reason)
            return
        protocol: Any = self.protocol
        try:
            protocol.readConnectionLost()
        except Exception:
            _log.failure("a connection failed")
            self.connectionLost(Failure())

    def loseWriteConnection(self) -> None:
        """Close our half: at once if everything was sent."""
        if self.TLS or self.is_holding or not self.connected:
            super().loseWriteConnection()  # type: ignore[no-untyped-call]
        elif not self._writeDisconnected:
            self._writeDisconnecting = self._writeDisconnected = True
            self._closeWriteConnection()

    def loseConnection(self) -> None:
        """Close: at once if both sides sent everything, so that nothing is left."""
        if self.is_ended and not (
            self.TLS or self.is_holding or self.disconnecting or not self.connected
        ):
            self.connectionLost(_DONE)
        else:
            super().loseConnection()  # type: ignore[no-untyped-call]

    @property
    def is_holding(self) -> bool:
        """Is there something that the socket did not take yet, or who writes more?"""
        return bool(
            self._tempDataLen
            or len(self.dataBuffer) > self.offset
            or self.producer is not None
        )


def watch(watched: socket.socket) -> None:
    """
    Have the kernel find out within half a minute that a quiet peer is gone.

    :param watched: a socket of TCP.
    """
    watched.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    watched.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    bound_silence(watched)


def bound_silence(watched: socket.socket, seconds: int = 30) -> None:
    """
    Have the kernel ask a quiet peer whether it is there: silence itself means nothing.

    :param watched: a socket of TCP that has SO_KEEPALIVE.
    :param seconds: in which it finds out that the peer is gone.
    """
    # Seconds, a count, and milliseconds, as far as the kernel has them (tcp(7)).
    for name, value in (
        ("TCP_KEEPIDLE", seconds // 2),
        ("TCP_KEEPINTVL", seconds // 6),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 1000 * seconds * 2 // 3),
    ):
        if (option := getattr(socket, name, None)) is not None:
            watched.setsockopt(socket.IPPROTO_TCP, option, value)


def accept_quickly(port: Port) -> None:
    """Have a port make its connections `QuickConnection`, if that can be done."""
    if not IS_KNOWN:
        return
    # What is accepted has the options of the socket that listens.
    is_watched = sys.platform == "linux"
    if is_watched:
        watch(port.socket)

    def accepted(
        connected: socket.socket,
        protocol: IProtocol,
        peer: tuple[Any, ...],
        port: Port,
        number: int,
        reactor: Any,
    ) -> QuickConnection:
        made = QuickConnection(connected, protocol, reactor, peer)
        made.is_watched = is_watched
        return made

    port.transport = accepted  # type: ignore[assignment]


@implementer(IReadWriteDescriptor)
class Connecting:
    """
    One attempt to connect to an address of IP: `begin`, and `wait` if need be.

    Nothing here is private of Twisted. Errors are those of its endpoints.
    """

    def __init__(
        self, reactor: Any, family: int, address: tuple[Any, ...], protocol: IProtocol
    ) -> None:
        """
        :param reactor: waits for the connection.
        :param family: of *address*.
        :param address: as a socket takes it.
        :param protocol: for the connection.
        """
        self._reactor, self._protocol = reactor, protocol
        self._family, self._address = family, address
        self._socket: socket.socket | None = None
        self._waits: Waits | None = None
        self._done: Deferred[None] | None = None

    def begin(self) -> bool:
        """
        Connect: ``True`` if that is done, else `wait` for it.

        :raises Exception: it cannot be done.
        """
        try:
            made = socket.socket(self._family, socket.SOCK_STREAM | _NONBLOCK)
        except OSError as error:
            raise ConnectBindError(error.errno, error.strerror) from error
        if not _NONBLOCK:
            made.setblocking(False)
        self._socket = made
        # Twice: from this machine to itself it takes no time.
        return self._is_connected() or self._is_connected()

    def wait(self, waits: Waits, deadline: float) -> Deferred[None]:
        """
        Have the reactor wait until it is connected.

        :param waits: rings at *deadline*.
        """
        self._waits = waits
        waits.add(self, deadline)
        done: Deferred[None] = Deferred(
            lambda _: self._fail(ConnectingCancelledError(None))
        )
        self._done = done
        self._reactor.addWriter(self)
        return done

    def overdue(self) -> None:
        """It took too long."""
        self._waits = None
        self._fail(TimeoutError())

    # What the reactor calls.

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def doWrite(self) -> None:
        """It is connected, or never will be."""
        try:
            is_connected = self._is_connected()
        except Exception as error:
            self._fail(error)
            return
        if is_connected and self._done is not None:
            self._done.callback(None)

    def doRead(self) -> None:
        """Nobody reads."""

    def connectionLost(self, reason: Failure) -> None:
        """The socket has an error, or the reactor ends."""
        if self._socket is not None:
            self.doWrite()
        if self._socket is not None:
            self._fail(ConnectError(string=reason.getErrorMessage()))

    def logPrefix(self) -> str:
        return "connecting"

    def _is_connected(self) -> bool:
        """
        Ask whether it is connected; its protocol has the connection then.

        :raises ConnectError: it never will be.
        :raises Exception: the protocol failed; its connection is aborted.
        """
        made = self._socket
        assert made is not None
        try:
            found = made.connect_ex(self._address)
        except OSError as error:
            found = error.errno or 0
        if found in (EINPROGRESS, EALREADY):
            return False
        self._rest()
        if found not in (0, EISCONN):
            made.close()
            raise getConnectError((found, strerror(found)))
        quick = QuickConnection(made, self._protocol, self._reactor, self._address)
        try:
            self._protocol.makeConnection(quick)
        except Exception:
            quick.abortConnection()  # type: ignore[no-untyped-call]
            raise
        return True

    def _fail(self, error: Exception) -> None:
        made = self._socket
        self._rest()
        if made is not None:
            made.close()
        if self._done is not None:
            self._done.errback(error)

    def _rest(self) -> None:
        """Wait no more."""
        if self._done is not None:
            self._reactor.removeWriter(self)
        if self._waits is not None:
            self._waits.remove(self)
            self._waits = None
        self._socket = None


@lru_cache(256)
def _is_half_closeable(kind: type) -> bool:
    return bool(IHalfCloseableProtocol.implementedBy(kind))


def _address(found: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    if len(found) == 2:
        return IPv4Address("TCP", *found)
    return IPv6Address("TCP", *found)


#: How to solve the errors of listening.
_REMEDIES = {
    EADDRINUSE: "; another program has it: choose another port, or stop it",
    EADDRNOTAVAIL: "; choose an address of this machine",
    EACCES: "; choose a port above 1023, or give the program CAP_NET_BIND_SERVICE",
}


def why_not_open(error: Exception) -> str:
    """Explain why a port cannot be opened, and what helps, in one line."""
    if not isinstance(error, CannotListenError):
        return str(error)
    where = f"{error.interface or 'any address'} port {error.port}"
    why = getattr(error.socketError, "strerror", None) or error.socketError
    remedy = _REMEDIES.get(getattr(error.socketError, "errno", 0), "")
    return f"cannot listen on {where}: {why}{remedy}"

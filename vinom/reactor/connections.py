"""
Connections of TCP that lose no time with the reactor where nothing has to be waited for.

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
from errno import EALREADY, EINPROGRESS, EISCONN
from functools import lru_cache
from os import strerror
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionDone,
    TimeoutError,
    getConnectError,
)
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IReadWriteDescriptor,
)
from twisted.internet.tcp import Connection, Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.reactor.waits import Waits

_log = Logger()

#: Bytes of one read, as many as Twisted reads.
_MOST = 65536
#: What the kernel may have, and how it is set for `watch`: seconds, a count, and
#: milliseconds. Players who wait send nothing, so silence means nothing (source: tcp(7)).
_WATCHED = [
    (getattr(socket, name), value)
    for name, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 20_000),
    )
    if hasattr(socket, name)
]
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
        self.startReading()

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
            return self.socket.recv(_MOST)
        except OSError:
            return b""

    def ended(self) -> None:
        """The peer sends no more, as was found without the reactor."""
        self.stopReading()
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
            super().loseWriteConnection()
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
            super().loseConnection()

    @property
    def is_holding(self) -> bool:
        """Is there something that the socket did not take yet, or who writes more?"""
        return bool(
            self._tempDataLen
            or len(self.dataBuffer) > self.offset
            or self.producer is not None
        )


def watch(watched: Any) -> None:
    """
    Have the kernel find out within half a minute that a quiet peer is gone.

    :param watched: a socket of TCP.
    """
    watched.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    watched.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _WATCHED:
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

    port.transport = accepted


@implementer(IReadWriteDescriptor)
class Connecting:
    """
    One attempt to connect to an address: `begin`, and then one of the two calls.

    Nothing here is private of Twisted.
    """

    def __init__(
        self,
        reactor: Any,
        connected: Callable[[QuickConnection], None],
        failed: Callable[[Exception], None],
        protocol: IProtocol,
    ) -> None:
        """
        :param reactor: waits for the connection.
        :param connected: gets it; *protocol* has it then.
        :param failed: gets the reason, as Twisted's endpoints give it.
        :param protocol: for the connection.
        """
        self._reactor, self._protocol = reactor, protocol
        self._connected, self._failed = connected, failed
        self._socket: socket.socket | None = None
        self._address: tuple[Any, ...] = ()
        self._waits: Waits | None = None

    def begin(
        self, family: int, address: tuple[Any, ...], waits: Waits, deadline: float
    ) -> None:
        """
        Connect; either call may be made before this returns.

        :param family: of *address*.
        :param address: as a socket takes it, with an address of IP.
        :param waits: rings at *deadline*.
        """
        try:
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._failed(ConnectBindError(error.errno, error.strerror))
            return
        self._socket, self._address = made, address
        if not self._try() or not self._try():
            # Twice: from this machine to itself it takes no time.
            return
        self._waits = waits
        waits.add(self, deadline)
        self._reactor.addWriter(self)

    def stop(self, error: Exception) -> None:
        """Give up."""
        made = self._rest()
        if made is not None:
            made.close()
            self._failed(error)

    def overdue(self) -> None:
        """It took too long."""
        self.stop(TimeoutError())

    # What the reactor calls.

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def doWrite(self) -> None:
        """It is connected, or never will be."""
        self._try()

    def doRead(self) -> None:
        """Nobody reads."""

    def connectionLost(self, reason: Failure) -> None:
        """The socket has an error, or the reactor ends."""
        if self._socket is not None and self._try():
            self.stop(ConnectError(string=reason.getErrorMessage()))

    def logPrefix(self) -> str:
        return "connecting"

    def _try(self) -> bool:
        """Is there still no answer?"""
        made = self._socket
        assert made is not None
        try:
            found = made.connect_ex(self._address)
        except OSError as error:
            found = error.errno or 0
        if found in (EINPROGRESS, EALREADY):
            return True
        if found not in (0, EISCONN):
            self.stop(getConnectError((found, strerror(found))))
            return False
        self._rest()
        quick = QuickConnection(made, self._protocol, self._reactor, self._address)
        self._protocol.makeConnection(quick)
        self._connected(quick)
        return False

    def _rest(self) -> socket.socket | None:
        """Wait no more."""
        made = self._socket
        if self._waits is not None:
            self._waits.remove(self)
            self._waits = None
            self._reactor.removeWriter(self)
        self._socket = None
        return made


@lru_cache(256)
def _is_half_closeable(kind: type) -> bool:
    return bool(IHalfCloseableProtocol.implementedBy(kind))


def _address(found: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    if len(found) == 2:
        return IPv4Address("TCP", *found)
    return IPv6Address("TCP", *found)

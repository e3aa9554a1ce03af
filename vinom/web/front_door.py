"""
Where connections to the public port come in: WebSockets by a short way.

A handshake that comes whole and plain is answered without making a channel and a
request of HTTP for it, which would take longer than the hello and the room that
follow. Whatever else comes is given to the site as it is.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from vinom.net.direct import socket_under
from vinom.net.liveness import Rounds
from vinom.web.websocket import WebSocketPage, put_protocol
from vinom.wire.websocket_handshake import read_plain_handshake

#: A connection that says nothing for so long is closed, seconds.
PATIENCE = 60.0


class FrontDoor(ServerFactory):
    """
    Serve *site*, and the WebSockets of *page*.

    :param path: of the page.
    """

    noisy = False

    def __init__(
        self,
        site: IProtocolFactory,
        page: WebSocketPage,
        clock: IReactorTime,
        path: bytes = b"/ws",
    ) -> None:
        self.site, self.page, self.path = site, page, path
        self.rounds = Rounds(clock, PATIENCE)

    def doStart(self) -> None:
        self.site.doStart()

    def doStop(self) -> None:
        self.site.doStop()

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Visitor(self, addr)


class _Visitor(Protocol):
    """A connection that has not said anything yet."""

    transport: Any

    def __init__(self, door: FrontDoor, address: Any) -> None:
        self._door, self._address = door, address
        self._descriptor = -1

    def connectionMade(self) -> None:
        transport = self.transport
        if isinstance(transport, Connection):
            # Nothing reads the bytes before us, and what comes first is short.
            found = socket_under(transport)
            if found is not None:
                self._descriptor = found.fileno()
                self._door.page.direct.add(self._descriptor, found.recv, self)
        self._door.rounds.join(self)

    def dataReceived(self, data: bytes) -> None:
        door, transport = self._door, self.transport
        self._leave()
        handshake = read_plain_handshake(door.path, data)
        if handshake is not None and door.page.let_in(transport, handshake):
            return
        channel: Any = door.site.buildProtocol(self._address)
        put_protocol(transport, channel)
        channel.makeConnection(transport)
        channel.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave()

    def visit(self) -> None:
        """It had its time."""
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    def _leave(self) -> None:
        self._door.page.direct.remove(self._descriptor)
        self._door.rounds.leave(self)

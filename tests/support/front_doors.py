"""A front door, with connections in memory and over sockets."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf
from tests.support.websocket_net import KEY, Echo
from vinom.base.limits.origins import Origins
from vinom.base.reactor.turns import TurnEnd
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.secure import over_tls
from vinom.net.lines.tls import HttpTls, ReloadableTls
from vinom.net.lines.websocket import WebSockets
from vinom.net.web.answers import Folder, QuietSite
from vinom.net.web.front_door import FrontDoor
from vinom.net.web.websocket import WebSocketPage

HEADERS = {
    "Host": "game.example",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def get(path: str = "/ws", **more: str) -> bytes:
    """Write a handshake, with more headers."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"{name}: {value}" for name, value in {**HEADERS, **named}.items()]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


class Accepted(Connection):
    """A connection that a port accepted."""

    connected = 1

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 4711)

    getHost = getPeer


class FrontDoorCase(SynchronousTestCase):
    """
    A front door that lets in two of each address.

    :ivar host: where those come from who connect.
    """

    host = "192.168.1.1"

    def setUp(self) -> None:
        self.clock = Clock()
        self.echoes: list[Echo] = []
        self.websockets = WebSockets(
            self.open,
            self.clock,  # type: ignore[arg-type]  # a clock is enough
            TurnEnd(self.clock),
            LineBounds(per_network=2),
        )
        page = WebSocketPage(self.websockets, Origins())
        clock: Any = self.clock
        self.door = FrontDoor(QuietSite(Folder(ws=page), clock), page, clock)
        self.wrapped: Any = self.door

    def serve_tls(self, is_direct: bool = True) -> None:
        """Serve over TLS, of ours or Twisted's own."""
        issued = leaf("game.example")
        tls = HttpTls(ReloadableTls(issued.certificate, issued.key))
        self.wrapped = over_tls(tls, self.door, self.clock, is_direct)

    def open(self, line: Any) -> Echo:
        self.echoes.append(Echo(line))
        return self.echoes[-1]

    def connect(self, *pieces: bytes) -> StringTransport:
        """Send these, one read each; gives what is said back."""
        transport: Any = StringTransport(
            peerAddress=IPv4Address("TCP", self.host, 54321)
        )
        protocol = self.wrapped.buildProtocol(transport.getPeer())
        transport.protocol = protocol
        protocol.makeConnection(transport)
        for piece in pieces:
            transport.protocol.dataReceived(piece)
        self.clock.advance(0)
        return transport

    def hang_up(self, visitor: Any) -> None:
        """A connection ends."""
        visitor.protocol.connectionLost(Failure(ConnectionDone()))

    def accept(self) -> tuple[socket.socket, Any]:
        """Somebody comes, over a socket: its end, and our transport."""
        port = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(port.close)
        theirs = socket.create_connection(port.getsockname(), timeout=10)
        self.addCleanup(theirs.close)
        ours, _ = port.accept()
        ours.setblocking(False)
        transport: Any = Accepted(ours, None, MemoryReactorClock())
        protocol = self.wrapped.buildProtocol(transport.getPeer())
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return theirs, transport

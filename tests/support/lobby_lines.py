"""TCP in memory: endpoints whose connections reach a real lobby."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.lobbies import LobbyWorld
from vinom.net.lines.tcp import LineFactory, Lines

_PLAYER = IPv4Address("TCP", "127.0.0.1", 40000)


class _Pipe(StringTransport):
    """One direction's sending end; whole writes arrive at once."""

    def __init__(self, line: MemoryTcp, peer: Any) -> None:
        super().__init__(peerAddress=_PLAYER)
        self.line, self.peer = line, peer

    def write(self, data: bytes) -> None:
        if not self.line.is_closed:
            self.line.carry(self.peer, data)

    def loseConnection(self) -> None:
        self.line.end()

    abortConnection = loseConnection

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It is as fast as it gets."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """It never dies unseen."""


class MemoryTcp:
    """One connection; nothing arrives inside of the write that sends it."""

    def __init__(self, clock: Any, client: Any, server: Any) -> None:
        self.clock, self.client, self.server = clock, client, server
        self.is_closed = self.is_ending = False
        self._held: list[tuple[Any, bytes]] = []
        server.makeConnection(_Pipe(self, client))
        client.makeConnection(_Pipe(self, server))

    def carry(self, peer: Any, data: bytes) -> None:
        if not self._held:
            self.clock.callLater(0, self._arrive)
        self._held.append((peer, data))

    def _arrive(self) -> None:
        while self._held:
            held, self._held = self._held, []
            for peer, data in held:
                peer.dataReceived(data)

    def end(self) -> None:
        """Either end closes; what was written before still arrives."""
        if not self.is_ending:
            self.is_ending = True
            self.clock.callLater(0, self._cut)

    def _cut(self) -> None:
        self._arrive()
        self.is_closed = True
        for end in (self.client, self.server):
            end.connectionLost(Failure(ConnectionDone()))


@implementer(IStreamClientEndpoint)
class LobbyEndpoint:
    """
    Dials the lobby of a `LobbyWorld`.

    :ivar is_up: is anybody listening?
    :ivar lines: every connection made.
    """

    def __init__(self, world: LobbyWorld) -> None:
        self._listening = LineFactory(Lines(world.requests.open, world.clock))
        self._clock = world.clock
        self.is_up = True
        self.lines: list[MemoryTcp] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        if not self.is_up:
            return fail(ConnectionRefusedError())
        client = factory.buildProtocol(None)
        server = self._listening.buildProtocol(_PLAYER)
        self.lines.append(MemoryTcp(self._clock, client, server))
        return succeed(client)

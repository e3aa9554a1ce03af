"""Lines with many sessions, on real sockets of the loopback."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock

from tests.net.streams.test_byte_stream import MUCH, MemoryLeg, SocketCase
from tests.support.gateways import packets
from vinom.base.reactor.waits import Rounds
from vinom.net.streams.channels import Channel, Reason
from vinom.net.streams.multiplex import PacketConnection, PeerTerms
from vinom.net.streams.packets import Kind, Packet, encode


class Nobody:
    """It takes nothing (`vinom.net.streams.multiplex.Taker`)."""

    def opened(self, line: PacketConnection, packet: Packet) -> None:
        pass

    def emptied(self, line: PacketConnection) -> None:
        pass

    def closing(self, line: PacketConnection, why: str) -> None:
        pass

    def lost(self, line: PacketConnection, why: str) -> None:
        pass


class EndTests(SocketCase):
    async def test_gently(self) -> None:
        """
        A peer that still sends gets all that it was sent, and why its connection ends:
        the connection is not reset. One that does not close is cut off. Sessions do not
        wait for that.
        """
        for closes in (True, False):
            clock = Clock()
            peer = await self.connect(partial(self.make, clock))
            line, body = self.line, MUCH[: 1 << 20]
            line.add(channel := Channel(line, 2))
            channel.leg = leg = MemoryLeg()
            line.transmit(encode(Packet(Kind.DATA, body, session_id=1)))
            line.end(Reason.DRAINING)
            self.assertEqual(leg.calls, ["lost client_lost"])
            peer.sendall(bytes(1000))
            for _ in range(10):
                await self.turn()
            data, close = packets(await self.read(peer, len(MUCH)))
            self.assertEqual((data.body, close.body), (body, b"draining"))
            if closes:
                peer.close()
            while line.transport.connected:
                await self.turn()
                if not closes:
                    clock.advance(10)
            self.assertEqual(clock.getDelayedCalls(), [])

    def make(self, clock: Clock) -> PacketConnection:
        """Make a line."""
        self.line = PacketConnection(
            Nobody(), clock, Rounds(clock, 5), PeerTerms(lost=Reason.CLIENT_LOST)
        )
        return self.line

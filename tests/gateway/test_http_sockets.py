"""Clients of HTTP on real sockets of the loopback."""

from __future__ import annotations

from tests.gateway.test_http_clients import SITE
from tests.net.streams.test_byte_stream import MUCH, SocketCase
from tests.support.gateways import MemoryGateway, limits, settings
from vinom.gateway.arrivals import Arrival
from vinom.gateway.http_clients import HttpAcceptor, HttpClient

_GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class HttpSocketTests(SocketCase):
    async def test_slow_reader(self) -> None:
        """
        A long answer that ends its connection arrives whole at a client that reads it
        slowly.
        """
        gateway = MemoryGateway({"site": SITE})
        allowed = limits(9, 9, 99)
        acceptor = HttpAcceptor(gateway.backends, gateway.clock, settings())
        made: list[HttpClient] = []

        def accepted() -> HttpClient:
            allowed.connections.enter("127.0.0.1")
            made.append(acceptor(Arrival("127.0.0.1", 5, allowed)))
            return made[-1]

        peer = await self.connect(accepted)
        peer.sendall(_GET)
        await self.until(lambda: gateway.servers.opened)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(MUCH)
        gateway.servers.last.leg.received(head + MUCH)
        got = b""
        while not got.endswith(MUCH):
            more = await self.read(peer, 1 << 20)
            self.assertTrue(more, "it ended before all of it came")
            got += more
            await self.turn()
            gateway.clock.advance(5)
        self.assertEqual(await self.read(peer, 1), b"")
        peer.close()
        await self.until(lambda: not made[0].transport.connected)
        self.assertEqual(gateway.clock.getDelayedCalls(), [])
        self.assertEqual(allowed.connections.total, 0)

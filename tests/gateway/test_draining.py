"""The end of a gateway, in memory."""

from __future__ import annotations

import os
import socket

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.gateway.test_http_clients import GET, OK, POST, SHAKE, SHAKEN, HttpCase
from tests.support.gateways import MemoryTransport, packets, settings
from vinom.gateway.arrivals import Arrival
from vinom.gateway.handover import CUT_SECONDS, Draining
from vinom.gateway.packet_clients import PacketClients
from vinom.gateway.ports import Ports
from vinom.gateway.routing.rules import check_rules
from vinom.net.streams.channels import Reason
from vinom.net.streams.packets import Kind, Packet, encode


class MemoryEnding:
    """What a drain ends: it remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has_clients = True

    def close_ports(self) -> None:
        self.asked.append("close")

    def ask_to_leave(self, seconds: float) -> None:
        self.asked.append(f"leave {seconds}")

    def cut(self) -> int:
        self.asked.append("cut")
        return 1

    def is_empty(self) -> bool:
        return not self.has_clients

    def finish(self) -> None:
        self.asked.append("finish")


class DrainingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.ending = Clock(), MemoryEnding()
        self.draining = Draining(self.ending, self.clock, 5, 60)

    def test_until_empty(self) -> None:
        """
        Newcomers are taken for the lag, clients may stay, and the process exits when
        the last one is gone.
        """
        self.draining.begin()
        self.draining.begin()
        self.assertTrue(self.draining.is_begun)
        self.clock.advance(4.9)
        self.assertEqual(self.ending.asked, [])
        self.clock.advance(0.1)
        self.assertEqual(self.ending.asked, ["close", "leave 30.0"])
        self.clock.pump([0.1] * 500)
        self.assertEqual(self.ending.asked[2:], [])
        self.ending.has_clients = False
        self.clock.advance(0.1)
        self.assertEqual(self.ending.asked[2:], ["finish"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_until_the_deadline(self) -> None:
        """
        Clients that stay too long are cut off, and have a moment to read why.
        """
        self.draining.begin(is_handed_over=True)
        self.clock.advance(0)
        self.clock.pump([0.1] * 599)
        self.assertNotIn("cut", self.ending.asked)
        self.clock.pump([0.1] * 2)
        self.assertEqual(self.ending.asked[-1], "cut")
        self.clock.pump([CUT_SECONDS / 4] * 5)
        self.assertEqual(self.ending.asked[-2:], ["cut", "finish"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """
        A second signal ends it at once.
        """
        for seconds in (1, 6):
            self.draining = Draining(self.ending, self.clock, 5, 60)
            self.draining.begin()
            self.clock.advance(seconds)
            self.draining.stop()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_handed_over_late(self) -> None:
        """
        A gateway that drains already may still be replaced: it leaves all ports to the
        next one at once, those of operators, too.
        """
        self.draining.begin()
        self.draining.begin(is_handed_over=True)
        self.assertTrue(self.draining.is_handed_over)
        self.assertEqual(self.ending.asked, ["close"])
        self.draining.begin(is_handed_over=True)
        self.clock.advance(5)
        self.assertEqual(self.ending.asked, ["close", "close", "leave 30.0"])


class PortsTests(TestCase):
    """Ports of the loopback, on real sockets."""

    async def test_given_away(self) -> None:
        """
        A port that another process was given stays open when this one closes it, for
        whatever reason it does.
        """
        ports = Ports(reactor, "g1")
        ports.listen("listen", "tcp:0:interface=127.0.0.1", Factory())
        (given,) = map(os.dup, ports.descriptors().values())
        with socket.socket(fileno=given) as other:
            await ports.close()
            other.settimeout(5)
            with socket.create_connection(other.getsockname(), 5) as client:
                taken, _ = other.accept()
                taken.sendall(b"served")
                taken.close()
                self.assertEqual(client.recv(9), b"served")

    async def test_taken_over(self) -> None:
        """
        A port that is taken over never holds the process up, whatever was done to its
        socket before.
        """
        held = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(held.close)
        given = os.dup(held.fileno())
        os.set_blocking(given, True)
        ports = Ports(reactor, "g1")
        ports.listen("listen", "tcp:0", Factory(), given)
        self.addCleanup(ports.close)
        (taken,) = ports.descriptors().values()
        self.assertFalse(os.get_blocking(taken))


class HttpDrainTests(HttpCase):
    def test_requests(self) -> None:
        """
        A request in flight is answered, and so is the next one on a connection that was
        kept; then it is closed, and told so. An idle connection is closed soon.
        """
        busy, kept, idle = self.client(POST[:-1]), self.client(GET), self.client(GET)
        for one in (1, 2):
            self.gateway.servers.opened[one][2].leg.received(OK)
        self.acceptor.drain(30)
        kept.take()
        kept.give(GET)
        self.gateway.servers.opened[1][2].leg.received(OK)
        self.assertIn(b"\r\nConnection: close\r\n", kept.take())
        self.assertTrue(kept.is_half_closed)
        busy.give(POST[-1:])
        self.gateway.servers.opened[0][2].leg.received(OK)
        self.assertIn(b"\r\nConnection: close\r\n", busy.take())
        self.assertFalse(idle.is_half_closed)
        self.gateway.clock.advance(2)
        self.assertTrue(idle.is_half_closed)

    def test_websockets(self) -> None:
        """
        WebSockets are closed with 1012, one after the other, between two messages; what
        a client sends until it closes too arrives.
        """
        clients = []
        for _ in range(3):
            client = self.client(SHAKE)
            self.answer(SHAKEN)
            client.take()
            self.asked()
            clients.append(client)
        self.acceptor.drain(30)
        told = []
        for _ in range(3):
            self.gateway.clock.advance(0.5)
            told.append([bool(client.sent) for client in clients].count(True))
            self.gateway.clock.advance(9.5)
        self.assertEqual(told, [1, 2, 3])
        for client in clients:
            self.assertEqual(client.take()[:4], b"\x88\x23\x03\xf4")
            self.assertFalse(client.is_half_closed)
        streams = [stream for _, _, stream in self.gateway.servers.opened]
        for client, stream in zip(clients, streams, strict=True):
            client.give(b"\x81\x80mask")
            self.assertTrue(stream.got.endswith(b"\x81\x80mask"))
            stream.leg.received(b"\x81\x02hi")
            self.assertEqual(client.take(), b"")
            client.lose(is_clean=True)
        self.assert_clean()

    def test_just_opening(self) -> None:
        """
        A WebSocket that was about to open when the others were told is told as soon as
        it is open, after what the back end sent with its answer.
        """
        client = self.client(SHAKE)
        self.acceptor.drain(30)
        self.answer(SHAKEN + b"\x81\x02h")
        self.assertTrue(client.take().endswith(b"\r\n\r\n\x81\x02h"))
        self.answer(b"i\x81\x02hi")
        self.assertEqual(client.take()[:5], b"i\x88\x23\x03\xf4")
        client.lose(is_clean=True)
        self.assert_clean()

    def test_in_the_middle(self) -> None:
        """
        A message that has begun is finished, however it is cut, before the close.
        """
        message = b"\x82\x7e\x00\xc8" + bytes(200)
        for cut in (1, 2, 3, 4, 5, 203):
            client = self.client(SHAKE)
            self.answer(SHAKEN)
            client.take()
            self.answer(message[:cut])
            client.protocol.session.close_websocket()
            self.answer(message[cut:] + message)
            got = client.take()
            self.assertTrue(got.startswith(message), cut)
            self.assertEqual(got[len(message) :][:4], b"\x88\x23\x03\xf4")
            self.answer(message)
            client.protocol.session.close_websocket()
            self.assertEqual(client.take(), b"")
            self.gateway.backends.open.popitem()[1].end(Reason.DRAINING)
            self.assertEqual(client.take(), b"")
            self.assertTrue(client.is_half_closed)

    def test_packets(self) -> None:
        """
        Clients of packets are told on their connection: sessions that last go on, new
        ones are refused, and the connection ends with the last of them.
        """
        simple = {"strategy": "round_robin", "endpoints": ["a:1"]}
        self.gateway.router.use(check_rules({"7": simple}))
        clients = PacketClients(self.gateway.backends, self.gateway.clock, settings())
        used, unused = (
            MemoryTransport(clients.acceptor(Arrival("h", 1, self.limits)))
            for _ in range(2)
        )
        opening = encode(Packet(Kind.OPEN, service_type=7, session_id=5))
        used.give(opening)
        used.take()
        clients.drain()
        self.assertTrue(unused.is_closed)
        self.assertTrue(packets(unused.take())[-1].body.startswith(b"draining"))
        (told,) = packets(used.take())
        self.assertEqual((told.kind, told.session_id), (Kind.CLOSE, 0))
        self.assertTrue(told.body.startswith(b"draining"))
        used.give(encode(Packet(Kind.OPEN, service_type=7, session_id=6)))
        (refused,) = packets(used.take())
        self.assertEqual((refused.kind, refused.session_id), (Kind.CLOSE, 6))
        used.give(encode(Packet(Kind.DATA, b"hi", session_id=5)))
        self.assertEqual(self.server.got, b"hi")
        used.give(encode(Packet(Kind.CLOSE, b"done", session_id=5)))
        self.assertTrue(used.is_closed)

    def test_last_session_of_packets(self) -> None:
        """
        The last session that the gateway ends on a connection that drains is closed
        with its own reason, before the connection is.
        """
        simple = {"strategy": "round_robin", "endpoints": ["a:1"]}
        self.gateway.router.use(check_rules({"7": simple}))
        clients = PacketClients(self.gateway.backends, self.gateway.clock, settings())
        client = MemoryTransport(clients.acceptor(Arrival("h", 1, self.limits)))
        client.give(encode(Packet(Kind.OPEN, service_type=7, session_id=5)))
        clients.drain()
        client.take()
        self.server.leg.lost(Reason.BACKEND_LOST)
        closes = [(one.session_id, one.body) for one in packets(client.take())]
        self.assertEqual(closes[0], (5, b"backend_lost"))
        self.assertEqual([session_id for session_id, _ in closes], [5, 0])
        self.assertTrue(client.is_closed)

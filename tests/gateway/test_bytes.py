"""Clients and back ends whose bytes are the session's, as they are."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.gateways import MemoryGateway, MemoryTransport, limits, settings
from vinom.gateway.arrivals import Arrival
from vinom.gateway.listener import Acceptors, bytes_acceptor
from vinom.net.lines.sniff import Spoken, write_proxy_header
from vinom.net.streams.channels import Reason
from vinom.net.streams.sockets import FINISHED_SECONDS


class BytesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = MemoryGateway()
        self.limits = limits(2, 1, 3)
        acceptor = bytes_acceptor(
            "lines",
            self.gateway.backends,
            self.gateway.clock,
            settings(bytes_per_second=1000.0),
        )
        self.acceptors = Acceptors(
            {Spoken.LINES: acceptor}, self.limits, self.gateway.clock
        )

    def connect(self, host: str = "192.0.2.1") -> MemoryTransport:
        """Make a connection."""
        return MemoryTransport(self.acceptors.buildProtocol(None), host)

    def client(self) -> MemoryTransport:
        """Make a connection that speaks lobby lines."""
        transport = self.connect()
        transport.give(b"{}\n")
        return transport

    @property
    def server(self) -> Any:
        """The back end's end of the newest session."""
        return self.gateway.servers.last


class ClientTests(BytesCase):
    def test_bytes(self) -> None:
        """
        Everything that a client sends reaches the back end, from the first byte, and
        back.
        """
        transport = self.connect()
        transport.give(b'{"type": "hello"}\n', 1)
        self.assertEqual(self.server.got, b'{"type": "hello"}\n')
        self.server.leg.received(b"hi")
        self.assertEqual(transport.take(), b"hi")
        _, session, _ = self.gateway.servers.opened[0]
        self.assertEqual((session.service, session.request.kind), ("lobby", "lines"))
        self.assertEqual((session.request.host, session.request.port), ("192.0.2.1", 5))

    def test_half_closed(self) -> None:
        """
        A client that has nothing more to send still gets its answer, as long as there
        is some of it, but does not wait for ever.
        """
        transport = self.client()
        transport.protocol.readConnectionLost()
        self.assertTrue(self.server.is_finished)
        for _ in range(3):
            self.gateway.clock.advance(FINISHED_SECONDS - 1)
            self.server.leg.received(b"answer")
            self.assertEqual(transport.take(), b"answer")
        transport.fill()
        transport.drain()
        self.gateway.clock.advance(FINISHED_SECONDS)
        self.assertFalse(transport.is_closed)
        self.gateway.clock.advance(FINISHED_SECONDS)
        self.assertTrue(transport.is_closed)
        self.assertEqual(self.gateway.outcomes(), ["timeout"])

    def test_back_end_ends(self) -> None:
        """
        When the back end is done the client's connection is closed, gently: what was
        sent before arrives; a client that does not close is cut off.
        """
        transport = self.client()
        self.server.leg.received(b"bye")
        self.server.leg.finished()
        self.assertEqual(transport.take(), b"bye")
        self.assertTrue(transport.is_half_closed)
        self.assertFalse(transport.is_closed)
        transport.give(b"late")
        self.gateway.clock.advance(10)
        self.assertTrue(transport.is_closed)
        self.assertEqual(self.gateway.outcomes(), ["done"])
        self.assertEqual(self.limits.connections.total, 0)

    def test_in_the_middle_of_a_line(self) -> None:
        """
        What a back end that breaks had sent of a line is not made a wrong one by why
        the session ended: the connection ends there.
        """
        transport = self.client()
        self.server.leg.received(b'{"type": "welcome"}\n{"type": "game_')
        self.server.leg.lost(Reason.BACKEND_LOST)
        self.assertEqual(transport.take(), b'{"type": "welcome"}\n{"type": "game_')
        self.assertTrue(transport.is_half_closed)

    def test_back_end_breaks(self) -> None:
        """
        A client of lobby lines reads why its session ended, in its own protocol.
        """
        transport = self.client()
        self.server.leg.lost(Reason.BACKEND_LOST)
        answer = json.loads(transport.take())
        self.assertEqual(answer["error"]["code"], "unavailable")

    def test_no_back_end(self) -> None:
        """
        So it does if there is no back end.
        """
        self.gateway.servers.broken = {"a:1", "b:1", "c:1"}
        transport = self.client()
        self.gateway.clock.advance(0)
        answer = json.loads(transport.take())
        self.assertEqual(answer["error"]["code"], "unavailable")
        self.assertIn("no back end of lobby", answer["error"]["message"])

    def test_slow_reader(self) -> None:
        """
        A client that does not read pauses its back end, and is cut off after 30 s.
        """
        transport = self.client()
        transport.fill()
        self.assertTrue(self.server.is_paused)
        transport.drain()
        self.assertFalse(self.server.is_paused)
        self.gateway.clock.advance(60)
        transport.fill()
        self.gateway.clock.advance(30)
        self.assertTrue(transport.is_aborted)
        self.assertEqual(self.gateway.outcomes(), ["too_slow"])
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])

    def test_back_end_is_slow(self) -> None:
        """
        While the back end does not take what comes, the client is not read.
        """
        transport = self.client()
        self.server.leg.filled()
        self.assertTrue(transport.is_paused)
        self.server.leg.drained()
        self.assertFalse(transport.is_paused)

    def test_too_fast(self) -> None:
        """
        A client that sends faster than the limit is not read for a while, and loses
        nothing.
        """
        transport = self.client()
        transport.give(b"x" * 500)
        self.assertFalse(transport.is_paused)
        transport.give(b"x" * 1500)
        self.assertTrue(transport.is_paused)
        self.server.leg.filled()
        self.server.leg.drained()
        self.assertTrue(transport.is_paused)
        self.gateway.clock.advance(1.1)
        self.assertFalse(transport.is_paused)
        transport.give(b"x" * 3000)
        self.server.leg.filled()
        self.gateway.clock.advance(10)
        self.assertTrue(transport.is_paused)
        self.server.leg.drained()
        self.assertFalse(transport.is_paused)
        transport.give(b"x" * 3000)
        transport.lose()
        self.assertEqual(len(self.server.got), 3 + 8000)
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])

    def test_lost(self) -> None:
        """
        A connection that breaks ends its session, and is no longer counted.
        """
        transport = self.client()
        transport.lose()
        self.assertEqual(self.server.closed[0], Reason.CLIENT_LOST)
        self.assertEqual(self.gateway.outcomes(), ["client_lost"])
        self.assertEqual(self.limits.connections.total, 0)


class LimitTests(BytesCase):
    def test_too_many(self) -> None:
        """
        More connections of one address than the limit are refused; others get in.
        """
        kept = [self.connect() for _ in range(2)]
        self.assertTrue(self.connect().is_aborted)
        self.assertFalse(self.connect("198.51.100.1").is_aborted)
        kept[0].lose()
        self.gateway.clock.advance(3)
        self.assertFalse(self.connect().is_aborted)
        self.assertEqual(self.limits.refused, {"too_many": 1})

    def test_too_fast(self) -> None:
        """
        An address that connects again and again waits.
        """
        for _ in range(3):
            self.connect().lose()
        self.assertTrue(self.connect().is_aborted)
        self.gateway.clock.advance(1)
        self.assertFalse(self.connect().is_aborted)
        self.assertEqual(self.limits.refused, {"too_fast": 1})

    def test_silent(self) -> None:
        """
        A connection that sends nothing is closed after 5 s, and no longer counted.
        """
        transport = self.connect()
        self.gateway.clock.advance(5)
        self.assertTrue(transport.is_aborted)
        self.assertEqual(self.limits.connections.total, 0)
        self.assertEqual(self.acceptors.arrived["silent"], 1)

    def test_unknown(self) -> None:
        """
        What nothing here speaks is closed at once.
        """
        for first in (b"SSH-2.0-x\r\n", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"):
            self.setUp()
            transport = self.connect()
            transport.give(first)
            self.assertTrue(transport.is_aborted)
            self.assertEqual(self.limits.connections.total, 0)

    def test_counted_once(self) -> None:
        """
        An arrival that ends twice counts once.
        """
        self.assertTrue(self.limits.admit("h", 0.0))
        arrival = Arrival("h", 1, self.limits)
        arrival.end()
        arrival.end()
        self.assertEqual(self.limits.connections.total, 0)


class ProxyHeaderTests(SynchronousTestCase):
    def test_layout(self) -> None:
        """
        A back end behind ``tcp+proxy`` reads who the client is, as the specification
        of the PROXY protocol has it.
        """
        signature = "0d0a0d0a000d0a515549540a"
        for given, wanted in (
            (
                ("192.0.2.1", 1, "10.0.0.1", 2),
                "2111000cc00002010a00000100010002",
            ),
            (
                ("2001:db8::1", 1, "::1", 2),
                "21210024" + "20010db8" + "0" * 23 + "1" + "0" * 31 + "1" + "00010002",
            ),
            (
                ("192.0.2.1", 1, "::1", 2),
                "21210024" + "0" * 20 + "ffffc0000201" + "0" * 31 + "1" + "00010002",
            ),
            (
                ("127.0.0.1%proxied", 1, "10.0.0.1", 2),
                "2111000c7f0000010a00000100010002",
            ),
            (("", 0, "10.0.0.1", 2), "20000000"),
        ):
            self.assertEqual(write_proxy_header(*given).hex(), signature + wanted)

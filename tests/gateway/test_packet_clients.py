"""Clients of packets: many sessions on one connection, each with its credit."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Frame, Opcode

from tests.gateway.test_http_clients import SHAKE
from tests.support.gateways import (
    MemoryGateway,
    MemoryTransport,
    every_size,
    limits,
    packets,
    settings,
    written,
)
from vinom.base.limits.addresses import AddressBuckets
from vinom.base.limits.buckets import NetworkCounts
from vinom.gateway.arrivals import Arrival
from vinom.gateway.http_clients import HttpAcceptor
from vinom.gateway.packet_clients import MOST_OWED, PacketClients
from vinom.net.lines.forwarded import Proxies
from vinom.net.streams.channels import WINDOW, Reason
from vinom.net.streams.multiplex import VISIT_SECONDS
from vinom.net.streams.packets import MAGIC, OWN_SESSION, Kind, Packet, encode

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def opening(session_id: int = 0, code: int = 7, **given: Any) -> Packet:
    """Ask for a session."""
    return Packet(
        Kind.OPEN, service_type=code, session_id=session_id, user_id=42, **given
    )


def data(session_id: int, body: bytes) -> Packet:
    """Send bytes."""
    return Packet(Kind.DATA, body, session_id=session_id)


class ClientCase(SynchronousTestCase):
    idle_seconds = 300.0

    def setUp(self) -> None:
        self.gateway = MemoryGateway()
        self.clients = PacketClients(
            self.gateway.backends,
            self.gateway.clock,
            settings(max_connections_per_address=3),
            idle_seconds=self.idle_seconds,
        )
        self.limits = limits(10, 100, 100)
        self.servers = self.gateway.servers
        self.transport = self.connect()

    def connect(self) -> MemoryTransport:
        """Make a connection."""
        assert self.limits.admit("192.0.2.1", 0.0)
        arrival = Arrival("192.0.2.1", 5, self.limits)
        return MemoryTransport(self.clients.acceptor(arrival))

    def connect_browser(self) -> MemoryTransport:
        """Make a connection that is a WebSocket."""
        assert self.limits.admit("192.0.2.1", 0.0)
        acceptor = HttpAcceptor(self.gateway.backends, self.gateway.clock, settings())
        acceptor.packets_at = lambda host, path: self.clients.acceptor
        transport = MemoryTransport(acceptor(Arrival("192.0.2.1", 5, self.limits)))
        transport.give(SHAKE)
        self.assertIn(b" 101 ", transport.take())
        return transport

    def answers(self) -> list[Packet]:
        """Read what the gateway sent."""
        return packets(self.transport.take())

    def reasons(self) -> list[str]:
        """Read why sessions were closed."""
        return [
            one.body.decode().partition(":")[0]
            for one in self.answers()
            if one.kind is Kind.CLOSE
        ]

    def open(self, session_id: int = 5) -> None:
        """Open a session, and forget the answer."""
        self.transport.give(written(opening(session_id)))
        self.transport.take()


class EndTests(ClientCase):
    def test_reasons_of_strangers(self) -> None:
        """
        No client can have a back end left out by closing its sessions with reasons that
        are not its own, nor put them into the access log.
        """
        for number in range(1, 50):
            why = ("backend_lost", "internal", "no_backend")[number % 3].encode()
            wire = written(opening(number), Packet(Kind.CLOSE, why, session_id=number))
            self.transport.give(wire)
        self.assertEqual(set(self.gateway.outcomes()), {"done"})
        self.assertEqual(len(self.gateway.ended), 49)
        self.assertEqual(self.gateway.health.ejected, 0)

    def test_reasons_of_clients(self) -> None:
        """
        What a client can know is believed.
        """
        for why in ("done", "client_lost", "too_slow", "timeout"):
            self.setUp()
            self.open()
            self.transport.give(written(Packet(Kind.CLOSE, why.encode(), session_id=5)))
            self.assertEqual(self.gateway.outcomes(), [why])

    def test_drip(self) -> None:
        """
        A packet that comes byte by byte has no more time than one that stands still;
        whole packets may come slowly for ever.
        """
        self.open()
        for _ in range(20):
            self.transport.give(written(data(5, b"x")))
            self.gateway.clock.pump([VISIT_SECONDS / 100] * 100)
        self.assertFalse(self.transport.is_closed)
        for byte in written(data(5, bytes(100))):
            if self.transport.is_closed:
                break
            self.transport.give(bytes((byte,)))
            self.gateway.clock.pump([VISIT_SECONDS / 100] * 100)
        self.assertTrue(self.transport.is_closed)
        self.assertIn("timeout", self.reasons())

    def test_questions_without_end(self) -> None:
        """
        A client that asks and asks, and reads no answer, is cut off: the gateway does
        not hold them all. One that reads may ask for ever.
        """
        for asked in (
            written(Packet(Kind.PING, b"12345678")),
            written(opening(0, 9)),
            written(opening(6), Packet(Kind.CLOSE, b"done", session_id=6), opening(6)),
        ):
            self.setUp()
            for _ in range(5000):
                self.transport.give(asked)
                self.transport.take()
            self.assertFalse(self.transport.is_closed)
            self.transport.fill()
            for _ in range(5000):
                self.transport.give(asked)
            self.assertTrue(self.transport.is_aborted)
            self.assertLess(len(self.transport.take()), MOST_OWED + 1000)
            self.assertEqual(self.gateway.backends.open, {})

    def test_pings_of_a_browser_without_end(self) -> None:
        """
        A WebSocket that pings and reads no pong is cut off, like one that asks in
        packets; nor is more than that held while it closes. One that reads may ping.
        """
        pings = Frame(Opcode.PING, bytes(100)).serialize(mask=True) * 100
        for is_ended in (False, True):
            browser = self.connect_browser()
            for _ in range(50):
                browser.give(pings)
                self.gateway.clock.advance(1)
                self.assertEqual(len(browser.take()), 100 * 102)
            browser.fill()
            browser.loseConnection = lambda: None  # type: ignore[method-assign]  # later
            if is_ended:
                self.clients.close()
            for _ in range(50):
                browser.give(pings)
                self.gateway.clock.advance(0.01)
            self.assertLess(len(browser.take()), MOST_OWED + 1000)
            self.assertEqual(browser.is_aborted, not is_ended)
            browser.lose()


class SessionTests(ClientCase):
    def test_ids(self) -> None:
        """
        Who asks for an id gets one, in the order of the requests; who brings one keeps
        it.
        """
        self.transport.give(written(opening(), opening(5), opening()))
        first, second, third = self.answers()
        self.assertEqual({one.kind for one in (first, second, third)}, {Kind.OPEN})
        self.assertEqual(second.session_id, 5)
        self.assertTrue(first.session_id & OWN_SESSION)
        self.assertEqual(third.session_id, first.session_id + 1)
        _, session, _ = self.servers.opened[1]
        self.assertEqual(session.request.user, 42)

    def test_every_size(self) -> None:
        """
        Whatever the pieces, bytes reach the right session, in order, and so do answers.
        """
        wire = written(
            opening(5),
            opening(6),
            data(5, b"one "),
            data(6, b"uno "),
            data(5, b"two"),
            data(6, b"due"),
            data(6, b""),
        )
        for size in every_size(wire):
            self.setUp()
            self.transport.give(wire, size)
            ends = [end for _, _, end in self.servers.opened]
            self.assertEqual([end.got for end in ends], [b"one two", b"uno due"])
            self.assertEqual([end.is_finished for end in ends], [False, True])
            self.transport.take()
            ends[1].leg.received(b"grazie")
            self.assertEqual(self.answers(), [data(6, b"grazie")])

    def test_trace(self) -> None:
        """
        A trace that a client brings goes with its session; what is none is left out.
        """
        for body, trace in (
            (b'{"traceparent": "%b"}' % TRACE.encode(), TRACE),
            (b'{"traceparent": "x", "later": 1}', ""),
            (b'{"traceparent": 1}', ""),
            (b"\xff", ""),
        ):
            self.setUp()
            self.transport.give(written(opening(5, body=body)))
            _, session, _ = self.servers.opened[0]
            self.assertEqual(session.request.traceparent, trace)

    def test_refusals(self) -> None:
        """
        What cannot be opened is answered with the reason, and the connection stays.
        """
        self.transport.give(written(opening(5), opening(5)))
        self.assertEqual(self.reasons(), ["session_in_use"])
        self.transport.give(written(opening(OWN_SESSION | 1)))
        self.assertEqual(self.reasons(), ["session_in_use"])
        self.transport.give(written(opening(6, code=9)))
        self.gateway.clock.advance(0)
        self.assertEqual(self.reasons(), ["unknown_service"])
        self.transport.give(written(opening(7), opening(8), opening(9)))
        self.assertEqual(self.reasons(), ["too_many"])
        other = self.connect()
        other.give(written(opening(5)))
        (refusal,) = packets(other.take())
        self.assertTrue(refusal.body.startswith(b"session_in_use"))
        self.assertFalse(self.transport.is_closed)

    def test_too_fast(self) -> None:
        """
        Sessions count as new connections of their address, whichever connection they
        come over: one too many is refused, and the connection and its sessions stay.
        """
        self.limits.rate = AddressBuckets(1, 3)
        other = self.connect()
        self.transport.give(written(opening(5), opening(6)))
        other.give(written(opening(15), opening(16), opening(17)))
        self.assertEqual(self.reasons(), [])
        refused = [one for one in packets(other.take()) if one.kind is Kind.CLOSE]
        self.assertEqual([one.session_id for one in refused], [17])
        self.assertTrue(refused[0].body.startswith(b"too_many: "))
        self.assertEqual(self.limits.refused, {"session_too_fast": 1})
        self.assertFalse(other.is_closed)
        other.give(written(data(16, b"still here")))
        self.assertEqual(self.servers.last.got, b"still here")
        self.gateway.clock.advance(1)
        self.transport.give(written(opening(7)))
        self.assertEqual(self.reasons(), [])
        self.assertEqual(len(self.servers.opened), 5)

    def test_too_many_of_an_address(self) -> None:
        """
        Sessions count like connections of their address, whichever connections they
        come over: one too many is refused, and one that ends makes room for another.
        """
        self.transport.lose()
        self.limits.connections = NetworkCounts(4)
        self.transport, other = self.connect(), self.connect()
        self.transport.give(written(opening(5), opening(6), opening(7)))
        self.assertEqual(self.reasons(), [])
        other.give(written(opening(15), opening(16)))
        refused = [one for one in packets(other.take()) if one.kind is Kind.CLOSE]
        self.assertEqual([one.session_id for one in refused], [16])
        self.assertTrue(refused[0].body.startswith(b"too_many: "))
        self.assertFalse(self.limits.admit("192.0.2.1", 0.0))
        self.assertTrue(self.limits.admit("192.0.2.2", 0.0))
        self.limits.leave("192.0.2.2")
        self.servers.last.leg.lost(Reason.DONE)
        self.transport.give(written(Packet(Kind.CLOSE, b"done", session_id=5)))
        other.give(written(opening(17), opening(18)))
        self.assertEqual(len(self.servers.opened), 6)
        for transport in (self.transport, other):
            transport.lose()
        self.assertEqual(self.limits.connections.total, 0)

    def test_packets_without_end(self) -> None:
        """
        An address that sends packets faster than the gateway reads for one address has
        to wait, on all its connections, whatever the packets are; others do not.
        """
        self.limits.packets = AddressBuckets(100, 100)
        pings = written(*[Packet(Kind.PING, b"12345678")] * 200)
        other = self.connect()
        self.transport.give(pings)
        self.assertTrue(self.transport.is_paused)
        other.give(written(opening(15), data(15, b"x")))
        self.assertTrue(other.is_paused)
        self.gateway.clock.advance(0.9)
        self.assertTrue(self.transport.is_paused)
        self.gateway.clock.advance(0.2)
        self.assertFalse(self.transport.is_paused or other.is_paused)
        self.assertEqual(len(self.answers()), 200)
        for _ in range(50):
            self.gateway.clock.advance(1)
            self.transport.give(written(*[Packet(Kind.PING)] * 99))
            self.assertFalse(self.transport.is_paused)

    def test_frames_without_end(self) -> None:
        """
        A browser that sends frames faster than packets may come has to wait, even if
        they bring none.
        """
        for opcode in (Opcode.PING, Opcode.PONG, Opcode.BINARY):
            self.limits.packets = AddressBuckets(100, 100)
            browser = self.connect_browser()
            browser.give(Frame(opcode, b"").serialize(mask=True) * 99)
            self.assertFalse(browser.is_paused, opcode)
            browser.give(Frame(opcode, b"").serialize(mask=True) * 101)
            self.assertTrue(browser.is_paused, opcode)
            self.gateway.clock.advance(1.1)
            self.assertFalse(browser.is_paused, opcode)
            browser.lose()

    def test_of_a_proxy(self) -> None:
        """
        A proxy's own sessions are not limited: it may open many, for many clients.
        """
        self.limits.rate = AddressBuckets(1, 1)
        self.limits.proxies = Proxies((ip_network("192.0.2.1/32"),))
        self.transport.give(written(opening(5), opening(6), opening(7)))
        self.assertEqual(self.reasons(), [])

    def test_ends(self) -> None:
        """
        The end of a session leaves the others alone; a late packet of it is nothing.
        """
        self.transport.give(written(opening(5), opening(6)))
        self.transport.give(written(Packet(Kind.CLOSE, b"done", session_id=5)))
        self.assertEqual(self.gateway.outcomes(), ["done"])
        self.transport.give(written(data(5, b"late"), data(6, b"x")))
        self.assertEqual([end.got for _, _, end in self.servers.opened], [b"", b"x"])
        self.transport.take()
        self.servers.last.leg.lost(Reason.BACKEND_LOST)
        self.assertEqual(self.reasons(), ["backend_lost"])

    def test_connection_lost(self) -> None:
        """
        With the connection all its sessions end, and it is no longer counted.
        """
        self.transport.give(written(opening(5), opening(6)))
        self.transport.lose()
        self.assertEqual(self.gateway.outcomes(), ["client_lost"] * 2)
        self.assertEqual(self.limits.connections.total, 0)
        self.assertEqual(self.clients.lines, [])
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])

    def test_ping(self) -> None:
        """
        A client finds out how far the gateway is.
        """
        self.transport.give(written(Packet(Kind.PING, b"12345678")))
        self.assertEqual(self.answers(), [Packet(Kind.PONG, b"12345678")])


class IdleTests(ClientCase):
    idle_seconds = 20.0

    def test_without_a_session(self) -> None:
        """
        A connection that has had no session for some time is closed, with the reason;
        one that has a session stays, however silent it is.
        """
        other, self.transport = self.transport, self.connect()
        self.transport.give(encode(opening(5)))
        self.gateway.clock.pump([1.0] * 19)
        self.assertFalse(other.is_closed)
        self.gateway.clock.pump([1.0] * 2)
        (last,) = packets(other.take())
        self.assertEqual(last.body.partition(b":")[0], b"timeout")
        self.assertTrue(other.is_closed)
        self.gateway.clock.pump([1.0] * 100)
        self.assertFalse(self.transport.is_closed)
        self.transport.give(encode(Packet(Kind.CLOSE, b"done", session_id=5)))
        self.gateway.clock.pump([1.0] * 19)
        self.assertFalse(self.transport.is_closed)
        self.gateway.clock.pump([1.0] * 2)
        self.assertTrue(self.transport.is_closed)


class CreditTests(ClientCase):
    def test_gateway_keeps_to_it(self) -> None:
        """
        A session whose client gives no credit gets no more than the window, and its
        back end is paused; the others on the connection go on.
        """
        self.transport.give(written(opening(5), opening(6)))
        self.transport.take()
        slow, quick = (end for _, _, end in self.servers.opened)
        slow.leg.received(b"x" * (WINDOW - 1))
        self.assertFalse(slow.is_paused)
        slow.leg.received(b"abc")
        self.assertTrue(slow.is_paused)
        quick.leg.received(b"hello")
        got = self.answers()
        self.assertEqual(sum(len(one.body) for one in got), WINDOW + 5)
        self.assertEqual(got[-1], data(6, b"hello"))
        self.assertFalse(quick.is_paused)
        credit = Packet(Kind.WINDOW, (1).to_bytes(4), session_id=5)
        self.transport.give(written(credit))
        self.assertEqual(self.answers(), [data(5, b"b")])
        self.assertTrue(slow.is_paused)
        self.transport.give(written(credit, credit))
        self.assertEqual(self.answers(), [data(5, b"c")])
        self.assertFalse(slow.is_paused)

    def test_end_waits(self) -> None:
        """
        What a back end sent before it closed reaches a client that is slow.
        """
        self.open()
        server = self.servers.last
        server.leg.received(b"x" * (WINDOW + 3))
        server.leg.finished()
        self.assertEqual(len(self.reasons()), 0)
        self.transport.give(written(Packet(Kind.WINDOW, (9).to_bytes(4), session_id=5)))
        self.assertEqual([one.kind for one in self.answers()], [Kind.DATA, Kind.CLOSE])

    def test_no_credit_ever(self) -> None:
        """
        A client that never gives credit, or none to speak of, loses the session after
        30 s, no earlier; one that reads slowly keeps it.
        """
        self.transport.give(written(opening(5), opening(6), opening(7)))
        for _, _, end in self.servers.opened:
            end.leg.received(b"x" * 3 * WINDOW)
        self.transport.take()
        for number in range(1, 19):
            self.assertEqual(self.reasons(), ["too_slow"] * 2 * (number == 8))
            self.gateway.clock.pump([VISIT_SECONDS / 100] * 100)
            for session_id, credit in (5, number % 2), (6, 3000):
                body = credit.to_bytes(4)
                self.transport.give(
                    written(Packet(Kind.WINDOW, body, session_id=session_id))
                )
        self.assertEqual(self.gateway.outcomes(), ["too_slow"] * 2)
        self.assertEqual(len(self.gateway.backends.open), 1)

    def test_credit_comes_back(self) -> None:
        """
        A client may send for ever, as long as the back end takes it.
        """
        self.open()
        sent, credit = 0, WINDOW
        while sent < 5 * WINDOW:
            size = min(credit, 10_000)
            self.assertGreater(size, 0)
            self.transport.give(written(data(5, b"x" * size)))
            sent, credit = sent + size, credit - size
            for one in self.answers():
                self.assertIs(one.kind, Kind.WINDOW)
                credit += int.from_bytes(one.body)
        self.assertEqual(len(self.servers.last.got), sent)

    def test_back_end_is_slow(self) -> None:
        """
        While the back end does not take what comes, the client gets no credit; a client
        that sends more all the same loses the session, and nobody else does.
        """
        self.transport.give(written(opening(5), opening(6)))
        self.transport.take()
        slow = self.servers.opened[0][2]
        slow.leg.filled()
        self.transport.give(written(data(5, b"x" * WINDOW)))
        self.assertEqual(self.answers(), [])
        slow.leg.drained()
        (credit,) = self.answers()
        self.assertEqual(int.from_bytes(credit.body), WINDOW)
        slow.leg.filled()
        self.transport.give(written(data(5, b"x" * WINDOW), data(5, b"x")))
        self.assertEqual(self.reasons(), ["bad_packet"])
        self.transport.give(written(data(6, b"y")))
        self.assertEqual(self.servers.last.got, b"y")

    def test_connection_is_full(self) -> None:
        """
        If a client does not read at all, back ends that send to it wait; after 30 s the
        connection is closed.
        """
        self.transport.give(written(opening(5), opening(6)))
        self.transport.fill()
        first, second = (end for _, _, end in self.servers.opened)
        first.leg.received(b"x")
        self.assertTrue(first.is_paused)
        self.assertFalse(second.is_paused)
        self.transport.drain()
        self.assertFalse(first.is_paused)
        self.transport.fill()
        self.gateway.clock.advance(29)
        self.assertFalse(self.transport.is_closed)
        self.gateway.clock.advance(1)
        self.assertTrue(self.transport.is_aborted)

    @given(st.lists(st.integers(1, WINDOW // 3), max_size=30), st.randoms())
    def test_any_order(self, sizes: list[int], chance: Any) -> None:
        """
        However bytes and credit come, the client gets all bytes, in order, and never
        more than it gave credit for.
        """
        self.setUp()
        self.open()
        server = self.servers.last
        wanted, got, credit = b"", b"", WINDOW
        while sizes or len(got) < len(wanted):
            if sizes and not server.is_paused and chance.random() < 0.5:
                piece = bytes([len(sizes)]) * sizes.pop()
                wanted += piece
                server.leg.received(piece)
            else:
                more = chance.randrange(1, WINDOW)
                credit += more
                packet = Packet(Kind.WINDOW, more.to_bytes(4), session_id=5)
                self.transport.give(encode(packet))
            for one in self.answers():
                got += one.body
            self.assertLessEqual(len(got), credit)
        self.assertEqual(got, wanted)


class MistakeTests(ClientCase):
    def test_no_packets(self) -> None:
        """
        A client that sends anything else gets the reason, and is closed.
        """
        for wrong in (
            b"GET / HTTP/1.1\r\n",
            MAGIC + b"\x09",
            written(Packet(Kind.WINDOW, b"1")),
            written(Packet(Kind.PING, b"123456789")),
        ):
            self.setUp()
            self.open()
            self.transport.give(wrong)
            self.assertEqual(self.reasons(), ["bad_packet"])
            self.assertTrue(self.transport.is_closed)
            self.assertEqual(self.gateway.outcomes(), ["client_lost"])

    @given(st.binary(max_size=300), st.integers(1, 40))
    def test_anything(self, wire: bytes, size: int) -> None:
        """
        Whatever a stranger sends, the gateway ends its connection at worst.
        """
        self.setUp()
        self.transport.give(written(opening(5)) + wire, size)
        self.transport.lose()
        self.gateway.clock.advance(0)
        self.assertEqual(self.gateway.backends.open, {})
        self.assertEqual(self.limits.connections.total, 0)

    def test_half_a_packet(self) -> None:
        """
        A packet that does not end is closed after half a minute; a connection that
        sends nothing at all stays.
        """
        quiet = self.connect()
        self.transport.give(written(opening(5))[:20])
        self.gateway.clock.pump([VISIT_SECONDS / 100] * 1000)
        self.assertTrue(self.transport.is_closed)
        self.assertFalse(quiet.is_closed)

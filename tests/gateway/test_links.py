"""Links to back ends: dialed when needed, shared by many sessions."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.support.gateways import (
    MemoryGateway,
    MemoryStream,
    MemoryTransport,
    packets,
    written,
)
from vinom.errors import PeerError
from vinom.gateway.dialing import DIAL_SECONDS
from vinom.gateway.link_backend import IDLE_SECONDS, LinkBackend
from vinom.gateway.routing.rules import Endpoint
from vinom.gateway.sessions import MOST_KEPT, Session, SessionRequest
from vinom.net.streams.channels import WINDOW, Reason
from vinom.net.streams.multiplex import VISIT_SECONDS
from vinom.net.streams.packets import Kind, Packet

GREETING = written(Packet(Kind.OPEN, b'{"node_id": "n1"}'))


class MemoryDialer:
    """Connects to tests."""

    def __init__(self) -> None:
        self.transports: list[MemoryTransport] = []
        self.broken: BaseException | None = None
        self.dialed: list[tuple[str, bool]] = []
        self.stranger = ""

    def check(self, transport: Any) -> None:
        """Is the peer a node?"""
        if self.stranger:
            raise PeerError(self.stranger)

    def dial(
        self, endpoint: Endpoint, protocol: Any, over_tls: bool = False
    ) -> Deferred[Any]:
        """Connect *protocol*."""
        self.dialed.append((str(endpoint), over_tls))
        if self.broken is not None:
            raise self.broken
        self.transports.append(MemoryTransport(protocol))
        return succeed(protocol)


class LinkCase(SynchronousTestCase):
    def setUp(self) -> None:
        rule = {"strategy": "round_robin", "endpoints": ["n:1"]}
        self.gateway = MemoryGateway(
            {
                "7": {**rule, "transport": "packets"},
                "8": {**rule, "transport": "packets+tls"},
            }
        )
        self.dialer = MemoryDialer()
        self.links = LinkBackend(
            self.dialer,  # type: ignore[arg-type]
            self.gateway.clock,
            "g1",
            sessions_per_link=2,
        )
        self.gateway.backends._transports = dict.fromkeys(
            ("packets", "packets+tls"), self.links
        )

    def begin(
        self, code: int = 7, host: str = "192.0.2.1", **given: Any
    ) -> tuple[Session, MemoryStream]:
        """Begin a session."""
        client = MemoryStream()
        asked = SessionRequest("packets", host, 5, True, code=code, **given)
        session = self.gateway.backends.begin(asked, client)
        assert session is not None
        return session, client

    def greet(self, number: int = 0) -> None:
        """Have a back end greet, and forget what it got."""
        self.dialer.transports[number].give(GREETING)
        self.dialer.transports[number].take()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.gateway.clock.pump([VISIT_SECONDS / 100] * round(seconds * 100 / 5))


class OpenTests(LinkCase):
    def test_first_packets(self) -> None:
        """
        The gateway's id goes first; the session comes after the greeting, with who the
        client is, and then its bytes.
        """
        host = "192.0.2.1%unclear"
        session, _ = self.begin(host=host, realm_id=3, user=42, traceparent="t")
        session.client.received(b"hello")
        (transport,) = self.dialer.transports
        (first,) = packets(transport.take())
        self.assertEqual((first.kind, first.session_id), (Kind.OPEN, 0))
        self.assertEqual(json.loads(first.body), {"gateway_id": "g1"})
        transport.give(GREETING)
        opened, data = packets(transport.take())
        self.assertEqual(
            json.loads(opened.body),
            {
                "client": "192.0.2.1",
                "port": 5,
                "kind": "packets",
                "tls": True,
                "service": "7",
                "traceparent": "t",
            },
        )
        self.assertEqual(
            (opened.service_type, opened.realm_id, opened.user_id, opened.session_id),
            (7, 3, 42, session.session_id),
        )
        self.assertEqual((data.body, data.session_id), (b"hello", session.session_id))

    def test_shared(self) -> None:
        """
        Sessions share a link; what comes back finds its client by the id alone.
        """
        sessions = [self.begin() for _ in range(2)]
        self.assertEqual(len(self.dialer.transports), 1)
        self.greet()
        for (session, _), body in zip(sessions, (b"one", b"two"), strict=True):
            self.dialer.transports[0].give(
                written(Packet(Kind.DATA, body, session_id=session.session_id))
            )
        self.assertEqual([client.got for _, client in sessions], [b"one", b"two"])
        self.assertEqual(self.links.links, {"n:1": 1})

    def test_no_credit(self) -> None:
        """
        A session whose node gives no credit for 30 s ends: its client can connect
        again, and the node's health does not suffer. The node is told why.
        """
        session, client = self.begin()
        self.greet()
        session.client.received(b"x" * (WINDOW + 1))
        self.assertTrue(client.is_paused)
        (transport,) = self.dialer.transports
        transport.take()
        for _ in range(8):
            self.gateway.clock.pump([VISIT_SECONDS / 100] * 100)
            transport.give(written(Packet(Kind.PING)))
        self.assertEqual(self.gateway.outcomes(), ["aborted"])
        self.assertEqual(client.closed, (Reason.ABORTED, "no credit came in time"))
        closed = [one for one in packets(transport.take()) if one.kind is Kind.CLOSE]
        self.assertEqual(
            [(one.session_id, one.body) for one in closed],
            [(session.session_id, b"too_slow: no credit came in time")],
        )

    def test_another_link(self) -> None:
        """
        When a link has many sessions a second one is dialed; there are no more.
        """
        for _ in range(2):
            self.begin()
        self.greet()
        for _ in range(5):
            self.begin()
        self.greet(1)
        for _ in range(3):
            self.begin()
        self.assertEqual(len(self.dialer.transports), 2)

    def test_no_second_link(self) -> None:
        """
        Where the second link cannot be dialed the first one carries more, and its back
        end counts as one that can be reached.
        """
        for _ in range(2):
            self.begin()
        self.greet()
        self.dialer.broken = ConnectionError("no more")
        for _ in range(5):
            session, client = self.begin()
            self.assertIsNone(client.closed)
            session.client.received(b"hello")
        found = packets(self.dialer.transports[0].take())
        self.assertEqual([one.body for one in found].count(b"hello"), 5)
        self.assertEqual(self.gateway.health.opened, 0)

    def test_over_tls(self) -> None:
        """
        The rule says whether a link is over TLS, and both kinds are kept apart.
        """
        self.begin(7)
        self.begin(8)
        self.assertEqual(self.dialer.dialed, [("n:1", False), ("n:1", True)])

    def test_slow_client(self) -> None:
        """
        A client that does not take what comes gets no more than its window, and its
        neighbours on the link go on.
        """
        (slow, _), (quick, client) = self.begin(), self.begin()
        self.greet()
        transport = self.dialer.transports[0]
        slow.client.filled()
        for _ in range(4):
            transport.give(
                written(Packet(Kind.DATA, b"x" * 16384, session_id=slow.session_id))
            )
        self.assertEqual(packets(transport.take()), [])
        transport.give(written(Packet(Kind.DATA, b"y", session_id=quick.session_id)))
        self.assertEqual(client.got, b"y")
        slow.client.drained()
        (credit,) = packets(transport.take())
        self.assertEqual(int.from_bytes(credit.body), 65536)


class LostTests(LinkCase):
    def test_stranger(self) -> None:
        """
        Over TLS a peer that is no node gets no session, even if it greets as one.
        """
        self.dialer.stranger = "a game server"
        _, client = self.begin(8)
        transport = self.dialer.transports[0]
        transport.take()
        transport.give(GREETING)
        self.gateway.clock.advance(0)
        self.assertEqual(transport.take(), b"")
        self.assertTrue(transport.is_aborted)
        assert client.closed is not None
        self.assertEqual(client.closed[0], Reason.NO_BACKEND)

    def test_draining(self) -> None:
        """
        A node that drains gets no more sessions on its links; those that last go on,
        and the last one takes the link along.
        """
        session, client = self.begin()
        self.greet()
        transport = self.dialer.transports[0]
        ending = written(Packet(Kind.CLOSE, b"draining: the node stops"))
        transport.give(ending)
        _, other = self.begin()
        self.assertEqual(len(self.dialer.transports), 2)
        # Nor does it greet who comes now.
        self.dialer.transports[1].give(ending)
        self.dialer.transports[1].lose(is_clean=True)
        self.gateway.clock.advance(0)
        assert other.closed is not None
        self.assertEqual(other.closed[0], Reason.NO_BACKEND)
        transport.give(written(Packet(Kind.DATA, b"on", session_id=session.session_id)))
        self.assertEqual(client.got, b"on")
        session.end(Reason.DONE)
        self.assertTrue(transport.is_closed)
        self.assertEqual(self.links.links, {})

    def test_idle_link_drains(self) -> None:
        """
        A link without sessions is closed at once when its node drains.
        """
        session, _ = self.begin()
        self.greet()
        session.end(Reason.DONE)
        transport = self.dialer.transports[0]
        transport.give(written(Packet(Kind.CLOSE, b"draining")))
        self.assertTrue(transport.is_closed)

    def test_cannot_dial(self) -> None:
        """
        If a back end cannot be reached, or sends no greeting, all who wait learn it.
        """
        self.dialer.broken = ConnectionError("refused")
        _, client = self.begin()
        self.gateway.clock.advance(0)
        assert client.closed is not None
        self.assertEqual(client.closed[0], Reason.NO_BACKEND)
        self.dialer.broken = None
        clients = [self.begin()[1] for _ in range(2)]
        self.gateway.clock.advance(DIAL_SECONDS)
        self.gateway.clock.advance(0)
        for client in clients:
            assert client.closed is not None
            self.assertEqual(client.closed[0], Reason.NO_BACKEND)
        self.assertTrue(self.dialer.transports[0].is_aborted)

    def test_refused(self) -> None:
        """
        A back end that closes the link instead of a greeting cannot be reached.
        """
        _, client = self.begin()
        self.dialer.transports[0].lose()
        self.gateway.clock.advance(0)
        assert client.closed is not None
        self.assertEqual(client.closed[0], Reason.NO_BACKEND)

    def test_link_breaks(self) -> None:
        """
        The clients of a link that breaks learn it at once; the next session dials.
        """
        sessions = [self.begin() for _ in range(2)]
        self.greet()
        self.dialer.transports[0].lose()
        for _, client in sessions:
            assert client.closed is not None
            self.assertEqual(client.closed[0], Reason.BACKEND_LOST)
        self.begin()
        self.assertEqual(len(self.dialer.transports), 2)
        self.assertEqual(self.links.lost_links, 1)

    def test_aborted(self) -> None:
        """
        Sessions that a node breaks off, as those of strangers who send rubbish, end
        without that the node is left out.
        """
        for number in range(30):
            session, client = self.begin()
            if not number:
                self.greet()
            close = Packet(Kind.CLOSE, b"aborted: x", session_id=session.session_id)
            self.dialer.transports[0].give(written(close))
            self.assertEqual(client.closed, (Reason.ABORTED, "x"))
        self.assertEqual(self.gateway.health.ejected, 0)

    def test_odd_users(self) -> None:
        """
        A verified user whose number does not fit a packet goes as text; the link is not
        harmed.
        """
        self.begin()
        self.greet()
        for user in (-1, 1 << 64):
            session, client = self.begin(user=user)
            self.gateway.clock.advance(0)
            self.assertIsNone(client.closed)
            (opened,) = packets(self.dialer.transports[0].take())
            self.assertEqual(opened.user_id, 0)
            self.assertEqual(json.loads(opened.body)["user"], str(user))
            session.client.lost(Reason.DONE)
            self.dialer.transports[0].take()

    def test_black_hole(self) -> None:
        """
        A back end that answers no ping any more is given up within 25 s; one that
        answers stays.
        """
        _, client = self.begin()
        self.greet()
        transport = self.dialer.transports[0]
        for _ in range(10):
            self.wait(5.0)
            for one in packets(transport.take()):
                self.assertIs(one.kind, Kind.PING)
                transport.give(written(Packet(Kind.PONG)))
        self.assertIsNone(client.closed)
        self.wait(25.0)
        assert client.closed is not None
        self.assertEqual(client.closed[0], Reason.BACKEND_LOST)

    def test_idle(self) -> None:
        """
        A link without sessions is closed after a while, unless one comes.
        """
        session, _ = self.begin()
        self.greet()
        transport = self.dialer.transports[0]

        def pass_time(seconds: int) -> None:
            for _ in range(seconds):
                self.gateway.clock.advance(1)
                if not transport.is_closed:
                    transport.give(written(Packet(Kind.PONG)))

        session.client.lost(Reason.DONE)
        pass_time(int(IDLE_SECONDS) - 1)
        session, _ = self.begin()
        pass_time(int(IDLE_SECONDS))
        self.assertFalse(transport.is_closed)
        session.client.lost(Reason.DONE)
        pass_time(int(IDLE_SECONDS))
        self.assertTrue(transport.is_closed)
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])

    def test_back_end_opens(self) -> None:
        """
        A back end cannot open sessions, nor reach those of another link.
        """
        _, client = self.begin()
        self.greet()
        transport = self.dialer.transports[0]
        transport.give(written(Packet(Kind.OPEN, session_id=9)))
        (refusal,) = packets(transport.take())
        self.assertTrue(refusal.body.startswith(b"bad_packet"))
        transport.give(written(Packet(Kind.DATA, b"x", session_id=9)))
        self.assertEqual(client.got, b"")


class RefusedTests(SynchronousTestCase):
    """Two nodes, reached over links."""

    def setUp(self) -> None:
        rule = {"strategy": "round_robin", "endpoints": ["n:1", "n:2"]}
        self.gateway = MemoryGateway({"7": {**rule, "transport": "packets"}})
        self.nodes = self.gateway.servers
        self.client = MemoryStream()

    def begin(self) -> Session:
        """Begin a session."""
        asked = SessionRequest("packets", "192.0.2.1", 5, code=7)
        session = self.gateway.backends.begin(asked, self.client)
        assert session is not None
        return session

    def refuse(self) -> None:
        """Have the newest node refuse the session."""
        self.nodes.last.leg.lost(Reason.TOO_MANY, "the node has 1 sessions")

    def test_tried_again(self) -> None:
        """
        A client whose node is full gets the other one, with all that it sent so far,
        and what it sends from then on.
        """
        session = self.begin()
        session.client.received(b"hello ")
        session.client.filled()
        session.backend.filled()
        session.client.received(b"world")
        session.client.finished()
        self.refuse()
        self.assertEqual([str(one) for one, _, _ in self.nodes.opened], ["n:1", "n:2"])
        self.assertEqual(self.nodes.last.got, b"hello world")
        self.assertTrue(self.nodes.last.is_finished)
        self.assertTrue(self.nodes.last.is_paused)
        self.assertFalse(self.client.is_paused)
        self.assertIsNone(self.client.closed)
        self.assertEqual(dict(self.gateway.router.open), {session.endpoint: 1})
        session.client.drained()
        self.nodes.last.leg.received(b"welcome")
        self.assertEqual(self.client.got, b"welcome")
        session.backend.finished()
        self.assertEqual(self.gateway.outcomes(), ["done"])
        self.assertEqual(self.gateway.router.open, {})

    def test_all_are_full(self) -> None:
        """
        If all nodes refuse a client, it is sent so, once, and nobody counts as broken.
        """
        self.begin()
        self.refuse()
        self.refuse()
        self.gateway.clock.advance(0)
        self.assertEqual(
            self.client.closed, (Reason.TOO_MANY, "the node has 1 sessions")
        )
        self.assertEqual(self.gateway.outcomes(), ["too_many"])
        self.assertEqual(self.gateway.router.open, {})
        self.assertEqual(self.nodes.tried, ["n:1", "n:2"])
        self.assertEqual(self.gateway.health.opened, 0)

    def test_not_after_an_answer(self) -> None:
        """
        A node that has answered cannot refuse any more: no bytes are sent twice.
        """
        session = self.begin()
        session.client.received(b"hello")
        session.backend.received(b"welcome")
        session.client.received(b"more")
        self.refuse()
        self.assertEqual(self.nodes.tried, ["n:1"])
        self.assertEqual(self.nodes.last.got, b"hellomore")
        self.assertEqual(self.gateway.outcomes(), ["too_many"])

    def test_not_without_all_bytes(self) -> None:
        """
        A client that has sent much gets no other node, which would miss the beginning.
        """
        session = self.begin()
        session.client.received(b"a" * MOST_KEPT)
        session.client.received(b"b")
        self.assertEqual(self.nodes.last.got, b"a" * MOST_KEPT + b"b")
        self.refuse()
        self.assertEqual(self.nodes.tried, ["n:1"])
        self.assertEqual(self.gateway.outcomes(), ["too_many"])

    def test_client_is_gone(self) -> None:
        """
        A client that left meanwhile is not served by anybody.
        """
        session = self.begin()
        session.client.lost(Reason.CLIENT_LOST)
        session.backend.lost(Reason.TOO_MANY)
        self.assertEqual(self.nodes.tried, ["n:1"])
        self.assertEqual(self.gateway.outcomes(), ["client_lost"])

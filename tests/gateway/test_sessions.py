"""Sessions: from what a client asks to the line in the access log."""

from __future__ import annotations

import json
import os
import sys
from errno import EADDRNOTAVAIL, EMFILE, ENOBUFS, ENOMEM, ENOSPC
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import getConnectError
from twisted.trial.unittest import SynchronousTestCase

from tests.support.gateways import MemoryGateway, MemoryStream, every_size
from tests.support.logged import watch_events
from vinom.gateway.access_log import AccessFile, AccessLog
from vinom.gateway.routing.health import LEAST_ANSWERS
from vinom.gateway.routing.rules import check_rules
from vinom.gateway.sessions import (
    MOST_EARLY,
    REST_SECONDS,
    Session,
    SessionIds,
    SessionInUse,
    SessionRequest,
)
from vinom.net.streams.channels import Reason
from vinom.net.streams.packets import OWN_SESSION

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class LostBySending(MemoryStream):
    """A back end whose connection breaks as soon as it is sent something."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def send(self, data: bytes) -> None:
        super().send(data)
        self._session.backend.lost(Reason.BACKEND_LOST)


class LostTests(SynchronousTestCase):
    def test_lost_by_what_was_held(self) -> None:
        """
        A back end that is lost by a client's first bytes is not sent the next ones.
        """
        for asked in (None, lambda: None):
            ended: list[Session] = []
            asks = SessionRequest("packets", "192.0.2.1")
            session = Session(1, asks, MemoryStream(), 0.0, ended.append)
            session.client.received(b"one")
            session.client.received(b"two")
            backend = LostBySending(session)
            session.serve(backend, None, asked)
            self.assertEqual((backend.got, ended), (b"one", [session]))


class SessionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = MemoryGateway()
        self.client = MemoryStream()

    def begin(self, **given: Any) -> Session:
        """Begin a session."""
        known = {"kind": "packets", "host": "192.0.2.1", "port": 5, "code": 7}
        asked = SessionRequest(**{**known, **given})
        session = self.gateway.backends.begin(asked, self.client)
        assert session is not None
        return session


class BeginTests(SessionCase):
    def test_both_ways(self) -> None:
        """
        What one end sends reaches the other, and the end of one ends the other.
        """
        session = self.begin()
        session.client.received(b"ping")
        server = self.gateway.servers.last
        self.assertEqual(server.got, b"ping")
        session.backend.received(b"pong")
        self.assertEqual(self.client.got, b"pong")
        session.client.finished()
        self.assertTrue(server.is_finished)
        session.backend.finished()
        self.assertEqual(self.client.closed, (Reason.DONE, ""))
        self.assertEqual(server.closed, (Reason.DONE, ""))
        self.assertEqual(self.gateway.outcomes(), ["done"])
        self.assertEqual(self.gateway.backends.open, {})
        self.assertEqual(self.gateway.router.open, {})

    def test_slow_ends(self) -> None:
        """
        If one end does not take what comes, the other one is paused.
        """
        session = self.begin()
        server = self.gateway.servers.last
        session.client.filled()
        self.assertTrue(server.is_paused)
        session.client.drained()
        self.assertFalse(server.is_paused)
        session.backend.filled()
        self.assertTrue(self.client.is_paused)
        session.backend.drained()
        self.assertFalse(self.client.is_paused)

    def test_early(self) -> None:
        """
        What a client sends before a back end is there is held, up to a bound, and
        passed on in order.
        """
        self.gateway.servers.waiting = waiting = Deferred[None]()
        session = self.begin()
        session.client.received(b"a" * (MOST_EARLY - 1))
        self.assertFalse(self.client.is_paused)
        session.client.received(b"b")
        self.assertTrue(self.client.is_paused)
        session.client.finished()
        session.client.filled()
        waiting.callback(None)
        server = self.gateway.servers.last
        self.assertEqual(server.got, b"a" * (MOST_EARLY - 1) + b"b")
        self.assertTrue(server.is_finished)
        self.assertTrue(server.is_paused)
        self.assertFalse(self.client.is_paused)

    def test_early_and_slow(self) -> None:
        """
        A client that sent much before its back end was there is not read on while the
        back end does not take it.
        """

        class Slow(MemoryStream):
            def send(self, data: bytes) -> None:
                super().send(data)
                self.leg.filled()

        servers = self.gateway.servers
        servers.waiting = waiting = Deferred[None]()
        servers.made = Slow
        session = self.begin()
        session.client.received(b"a" * MOST_EARLY)
        waiting.callback(None)
        self.assertEqual(len(servers.last.got), MOST_EARLY)
        self.assertTrue(self.client.is_paused)
        session.backend.drained()
        self.assertFalse(self.client.is_paused)

    def test_early_leavers_prove_nothing(self) -> None:
        """
        Clients that leave before their back end is reached say nothing of it: one whose
        other sessions all break is left out, and nobody's next session sticks to it.
        """
        rule = {"strategy": "round_robin", "endpoints": ["a:1"], "sticky": 60}
        self.gateway.router.use(check_rules({"7": rule}))

        def break_off(count: int) -> None:
            for _ in range(count):
                self.client = MemoryStream()
                self.begin().backend.lost(Reason.BACKEND_LOST)

        break_off(1)
        self.gateway.servers.waiting = Deferred[None]()
        for _ in range(2 * LEAST_ANSWERS):
            self.client = MemoryStream()
            self.begin(user=42).client.lost(Reason.CLIENT_LOST)
        self.gateway.servers.waiting = None
        break_off(LEAST_ANSWERS - 1)
        self.assertEqual(self.gateway.health.ejected, 1)
        self.assertEqual(len(self.gateway.router._sticky), 0)

    def test_client_leaves_early(self) -> None:
        """
        A client that leaves before a back end is there leaves nothing behind.
        """
        self.gateway.servers.waiting = waiting = Deferred[None]()
        session = self.begin()
        session.client.received(b"a")
        session.client.lost(Reason.CLIENT_LOST)
        self.assertEqual(self.gateway.outcomes(), ["client_lost"])
        waiting.callback(None)
        server = self.gateway.servers.last
        self.assertEqual(server.closed, (Reason.CLIENT_LOST, ""))
        self.assertEqual(self.gateway.router.open, {})
        self.assertEqual(self.gateway.backends.counts.open, {})

    def test_another_back_end(self) -> None:
        """
        If a back end cannot be reached, another one gets the session, and the client
        sees nothing of it.
        """
        self.gateway.servers.broken = {"a:1", "b:1"}
        session = self.begin()
        session.client.received(b"x")
        self.assertEqual(self.gateway.servers.tried, ["a:1", "b:1", "c:1"])
        self.assertEqual(self.gateway.servers.last.got, b"x")
        self.assertEqual(str(session.endpoint), "c:1")

    def test_no_back_end(self) -> None:
        """
        If none can be reached the client learns it, once whoever serves it knows the
        session.
        """
        self.gateway.servers.broken = {"a:1", "b:1", "c:1"}
        self.begin()
        self.assertIsNone(self.client.closed)
        self.gateway.clock.advance(0)
        assert self.client.closed is not None
        self.assertEqual(self.client.closed[0], Reason.NO_BACKEND)
        self.assertEqual(self.gateway.router.open, {})

    def test_no_descriptors(self) -> None:
        """
        That this process or machine has no descriptor, local port or memory left for
        a socket says nothing of any back end: all get sessions again as soon as it has.
        """
        lacks = EMFILE, EADDRNOTAVAIL, ENOBUFS, ENOMEM

        async def fail(*given: Any) -> MemoryStream:
            error = lacks[self.gateway.backends.counts.begun["packets"] % 4]
            raise getConnectError((error, "none left"))

        servers, opens = self.gateway.servers, self.gateway.servers.open
        servers.open = fail  # type: ignore[method-assign]
        for _ in range(20):
            self.client = MemoryStream()
            self.begin()
            self.gateway.clock.advance(0)
            assert self.client.closed is not None
            self.assertEqual(self.client.closed[0], Reason.NO_BACKEND)
        servers.open = opens  # type: ignore[method-assign]
        self.begin()
        self.assertEqual(len(servers.opened), 1)

    def test_forged_proxy_header(self) -> None:
        """
        A client that begins with a header of the PROXY protocol, to name an address of
        its own to a back end that trusts the gateway, never completes it there.
        """
        second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)
        first = b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n"
        for header in (first, second):
            for kind in ("lines", "tcp", "packets"):
                for size in every_size(header):
                    self.client = MemoryStream()
                    session = self.begin(kind=kind)
                    for start in range(0, len(header), size):
                        if not session.is_over:
                            session.client.received(header[start : start + size])
                    self.assertEqual(session.outcome, Reason.BAD_PACKET)
                    self.assertLess(len(self.gateway.servers.last.got), 12)
        for honest in (b"\r\n\r\n{}\n", b"PROX", b"PROXIES", b"\r", b"x" + first):
            self.client = MemoryStream()
            session = self.begin()
            session.client.received(honest[:3])
            session.client.received(honest[3:] + first)
            self.assertEqual(self.gateway.servers.last.got, honest + first)

    def test_services_of_http(self) -> None:
        """
        A service of HTTP cannot be had by packets, in which a client could write
        headers that the gateway leaves out of requests; over a link it can, where the
        gateway names the client.
        """
        rule = {"strategy": "round_robin", "endpoints": ["a:1"], "code": 7}
        site = {**rule, "match": {"path": "/"}}
        for service, outcome in (
            (site, Reason.UNKNOWN_SERVICE),
            ({**site, "transport": "packets"}, None),
            (rule, None),
        ):
            self.gateway.router.use(check_rules({"site": service}))
            session = self.begin()
            self.gateway.clock.advance(0)
            self.assertEqual(session.outcome, outcome)

    def test_unknown_service(self) -> None:
        """
        A service that no rule names is refused.
        """
        self.begin(code=8)
        self.gateway.clock.advance(0)
        assert self.client.closed is not None
        self.assertEqual(self.client.closed[0], Reason.UNKNOWN_SERVICE)

    def test_idle(self) -> None:
        """
        A session in which nobody sends anything ends, if its rule limits that; bytes of
        either side keep it.
        """
        rule = {"strategy": "round_robin", "endpoints": ["a:1"], "idle_seconds": 30}
        self.gateway.router.use(check_rules({"7": rule}))
        session = self.begin()
        for leg in (session.client, session.backend, session.client):
            self.gateway.clock.pump([1.0] * 25)
            leg.received(b"x")
        self.assertFalse(session.is_over)
        self.gateway.clock.pump([1.0] * 61)
        self.assertEqual(session.outcome, Reason.TIMEOUT)
        self.assertIn("30 s", session.why)
        self.begin().client.lost(Reason.DONE)
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])

    def test_rules_change(self) -> None:
        """
        A session that lasts keeps its back end when the rules change, and ends well.
        """
        session = self.begin()
        self.gateway.router.use(type(self.gateway.router.rules)())
        session.client.received(b"x")
        self.assertEqual(self.gateway.servers.last.got, b"x")
        session.backend.lost(Reason.BACKEND_LOST)
        self.assertEqual(self.client.closed, (Reason.BACKEND_LOST, ""))
        self.assertEqual(self.gateway.router.open, {})


class FirstAnswerTests(SessionCase):
    """A rule whose back ends answer what clients send first."""

    def setUp(self) -> None:
        super().setUp()
        rule = {"strategy": "round_robin", "endpoints": ["a:1", "b:1"]}
        self.gateway.router.use(check_rules({"7": {**rule, "first_answer_seconds": 2}}))

    def begin(self, **given: Any) -> Session:
        self.client = MemoryStream()
        return super().begin(**given)

    def test_no_answer(self) -> None:
        """
        A client that was sent nothing 2 s after its first bytes is sent away, and a
        back end that does so often gets nobody for a while.
        """
        for _ in range(12):
            hung, answered = self.begin(), self.begin()
            client = self.client
            for one in (hung, answered):
                one.client.received(b"hello")
            answered.backend.received(b"welcome")
        self.assertEqual(str(hung.endpoint), "a:1")
        self.gateway.clock.advance(1)
        hung.client.received(b" world")
        answered.client.received(b" world")
        self.gateway.clock.advance(0.9)
        self.assertFalse(hung.is_over)
        self.gateway.clock.advance(0.1)
        self.assertEqual(hung.outcome, Reason.BACKEND_LOST)
        self.assertIsNone(client.closed)
        self.assertEqual(len(self.gateway.backends.open), 12)
        self.assertEqual({str(self.begin().endpoint) for _ in range(4)}, {"b:1"})

    def test_nobody_asked(self) -> None:
        """
        A client that sends nothing waits for no answer, and one that leaves before the
        time is over, and whoever speaks HTTP, counts for nothing.
        """
        quiet = self.begin()
        self.gateway.clock.advance(100)
        self.assertFalse(quiet.is_over)
        quiet.client.received(b"late")
        self.gateway.clock.advance(1)
        quiet.client.lost(Reason.CLIENT_LOST)
        request = self.begin(kind="http")
        request.client.received(b"GET")
        self.gateway.clock.advance(100)
        self.assertFalse(request.is_over)
        for _ in range(30):
            left = self.begin()
            left.client.received(b"hello")
            left.client.lost(Reason.CLIENT_LOST)
        self.assertEqual(self.gateway.health.ejected, 0)
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])

    def test_early(self) -> None:
        """
        The time begins when the back end has what the client sent before it was there.
        """
        self.gateway.servers.waiting = waiting = Deferred[None]()
        session = self.begin()
        session.client.received(b"hello")
        self.gateway.clock.advance(10)
        waiting.callback(None)
        self.assertEqual(self.gateway.servers.last.got, b"hello")
        self.gateway.clock.advance(1)
        self.assertFalse(session.is_over)
        self.gateway.clock.advance(1)
        self.assertEqual(self.gateway.outcomes(), ["backend_lost"])
        assert self.client.closed is not None
        self.assertEqual(self.client.closed[0], Reason.BACKEND_LOST)

    def test_refused(self) -> None:
        """
        A node that takes over from one that refused has the whole time.
        """
        rule = {"strategy": "round_robin", "endpoints": ["a:1", "b:1"]}
        more = {"transport": "packets", "first_answer_seconds": 2}
        self.gateway.router.use(check_rules({"7": {**rule, **more}}))
        session = self.begin()
        session.client.received(b"hello")
        self.gateway.clock.advance(1.5)
        session.backend.lost(Reason.TOO_MANY)
        self.assertEqual(self.gateway.servers.last.got, b"hello")
        self.gateway.clock.advance(1.5)
        self.assertFalse(session.is_over)
        self.gateway.clock.advance(0.5)
        self.assertEqual(self.gateway.outcomes(), ["backend_lost"])


class IdTests(SessionCase):
    def test_ours(self) -> None:
        """
        Our ids fit into a signed number, and none comes twice.
        """
        ids = SessionIds(first=(1 << 62) - 1)
        found = [ids.take(0, 0.0) for _ in range(1000)]
        self.assertEqual(len(set(found)), 1000)
        self.assertTrue(all(OWN_SESSION <= one < 1 << 63 for one in found))

    def test_brought(self) -> None:
        """
        An id that a client brings is its own until 60 s after the session's end.
        """
        first = self.begin(session_id=9)
        self.assertEqual(first.session_id, 9)
        asked = SessionRequest("packets", "h", code=7, session_id=9)
        begin = self.gateway.backends.begin
        self.assertIsNone(begin(asked, MemoryStream()))
        first.client.lost(Reason.DONE)
        self.gateway.clock.advance(REST_SECONDS - 1)
        self.assertIsNone(begin(asked, MemoryStream()))
        self.gateway.clock.advance(1)
        self.assertIsNotNone(begin(asked, MemoryStream()))
        self.assertEqual(self.gateway.backends.counts.ended["session_in_use"], 2)

    def test_reserved(self) -> None:
        """
        Nobody brings an id that could be ours.
        """
        with self.assertRaises(SessionInUse):
            SessionIds().take(OWN_SESSION | 5, 0.0)
        with self.assertRaises(SessionInUse):
            SessionIds().take(1 << 63, 0.0)


class AccessLogTests(SessionCase):
    def test_line(self) -> None:
        """
        The line has what an operator asks for: who, where, how much, how long, why;
        how long is by a clock that nobody sets.
        """
        lines: list[bytes] = []
        session = self.begin(realm_id=3, user=42, traceparent=TRACE)
        session.client.received(b"12345")
        session.backend.received(b"123")
        self.gateway.clock.advance(2.5)
        session.client.lost(Reason.DONE)
        log = AccessLog("g1", lines.append, lambda: 86400.5, self.gateway.clock.seconds)
        log.ended(session)
        self.assertEqual(
            json.loads(lines[0]),
            {
                "time": "1970-01-02T00:00:00.500+00:00",
                "session": f"g1:{session.session_id}",
                "kind": "packets",
                "tls": False,
                "client": "192.0.2.1",
                "client_port": 5,
                "service": "7",
                "backend": "a:1",
                "received": 5,
                "sent": 3,
                "seconds": 2.5,
                "outcome": "done",
                "realm_id": 3,
                "user": 42,
                "traceparent": TRACE,
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            },
        )

    def test_disk_full(self) -> None:
        """
        Sessions end as ever while the access log cannot be written; what is wrong is
        logged once.
        """

        def write(line: bytes) -> None:
            raise OSError(ENOSPC, "no space left on device")

        log = AccessLog("g1", write, *[self.gateway.clock.seconds] * 2)
        self.gateway.backends._note_end = log.ended
        observed = watch_events(self)
        for _ in range(2):
            self.client = MemoryStream()
            session = self.begin()
            session.client.lost(Reason.CLIENT_LOST)
            self.assertTrue(session.is_over)
        self.assertEqual(self.gateway.backends.open, {})
        self.assertEqual(len(observed), 1, observed)

    def test_standard_output(self) -> None:
        """
        Each line is there as soon as its session is over, also in a pipe.
        """
        end, begin = os.pipe()
        self.addCleanup(os.close, end)
        os.set_blocking(end, False)
        with os.fdopen(begin, "w") as stdout:
            self.patch(sys, "stdout", stdout)
            AccessFile(Path("-")).write(b"{}\n")
            self.assertEqual(os.read(end, 9), b"{}\n")

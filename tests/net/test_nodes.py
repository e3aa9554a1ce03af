"""What nodes ask each other, byte by byte."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.limits.buckets import NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.base.model import Player
from vinom.errors import NoCapacity, PeerError
from vinom.net.frames import FRAME_LIMIT, FrameReader
from vinom.net.lines.limits import CountedFactory, has_proven
from vinom.net.nodes import (
    ANSWER_SECONDS,
    BEAT_SECONDS,
    GREETING_SECONDS,
    MOST_BEATS,
    MOST_QUESTIONS,
    MOST_UNSENT,
    NODE_PROTOCOL,
    Alive,
    AskWayIn,
    Departed,
    EndVisit,
    Greeting,
    NodeAnswersFactory,
    NodeQuestions,
    NoWayIn,
    OpenVisit,
    Passed,
    Say,
    Slow,
    VisitorWire,
    VisitOver,
    WayIn,
    frame,
    read_answer,
)


class Wire(StringTransport):
    """Remembers that it was aborted."""

    def abortConnection(self) -> None:
        self.disconnecting = True


class FakeVisitor:
    """
    Notes what a visiting player does.

    :ivar notes: what happened.
    """

    def __init__(self, asked: OpenVisit, wire: VisitorWire) -> None:
        self.asked, self.wire = asked, wire
        self.notes: list[Any] = []

    def received(self, message: bytes) -> None:
        self.notes.append(message)

    def slowed(self, is_behind: bool) -> None:
        self.notes.append(is_behind)

    def lost(self) -> None:
        self.notes.append("lost")


class FakeGuest:
    """
    Notes what a visiting player is sent.

    :ivar notes: what happened.
    """

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def passed(self, message: bytes) -> None:
        self.notes.append(message)

    def departed(self, room_id: str) -> None:
        self.notes.append(room_id)

    def over(self, code: str, reason: str) -> None:
        self.notes.append((code, reason))


def opened(visit: int, name: str = "Ann") -> OpenVisit:
    """Begin a visit."""
    return OpenVisit(visit, "ann", name, b"{}", False, "192.0.2.1")


class AnswersTests(SynchronousTestCase):
    """The node that was dialed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, int]] = []
        self.results: list[Any] = []
        self.strangers = False
        self.visitors: list[FakeVisitor] = []

    async def admit(self, match_id: str, seat: int) -> bytes:
        self.asked.append((match_id, seat))
        result = self.results.pop(0) if self.results else b"FOUND"
        if isinstance(result, Deferred):
            return await result
        if isinstance(result, Exception):
            raise result
        return bytes(result)

    def receive(self, asked: OpenVisit, wire: VisitorWire) -> FakeVisitor:
        if asked.name == "nobody":
            raise ValueError("no name")
        self.visitors.append(FakeVisitor(asked, wire))
        return self.visitors[-1]

    def check(self, transport: object) -> None:
        if self.strangers:
            raise PeerError("a stranger")

    def open(self) -> tuple[Any, Wire]:
        """Accept a link."""
        factory = NodeAnswersFactory(self.clock, self.check, self.admit, self.receive)
        protocol, wire = factory.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        return protocol, wire

    def answers(self, wire: Wire) -> list[Any]:
        """Read what was answered."""
        reader = FrameReader()
        reader.receive(wire.value())
        wire.clear()
        found = []
        while (payload := reader.next_frame()) is not None:
            found.append(read_answer(payload))
        return found

    def test_every_split(self) -> None:
        """
        Questions are answered however the network cuts them.
        """
        data = frame(Greeting(NODE_PROTOCOL, "n2")) + frame(AskWayIn(7, "m1", 1))
        for cut in range(len(data) + 1):
            protocol, wire = self.open()
            protocol.dataReceived(data[:cut])
            protocol.dataReceived(data[cut:])
            self.assertEqual(self.answers(wire), [WayIn(7, b"FOUND")])
            self.assertFalse(wire.disconnecting)
        self.assertEqual(set(self.asked), {("m1", 1)})

    def test_refusals(self) -> None:
        """
        The asker learns why a player cannot come; a fault of ours too, with a log line.
        """
        protocol, wire = self.open()
        protocol.dataReceived(frame(Greeting(NODE_PROTOCOL, "n2")))
        self.results = [NoCapacity("over"), KeyError("oops")]
        for number in (1, 2):
            protocol.dataReceived(frame(AskWayIn(number, "m1", 0)))
        self.assertEqual(self.answers(wire), [NoWayIn(1, "over"), NoWayIn(2, "'oops'")])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_visits(self) -> None:
        """
        Players of another node are told apart; each visit ends once, at either end or
        with the link, and what comes later for it is skipped.
        """
        protocol, wire = self.open()
        protocol.dataReceived(frame(Greeting(NODE_PROTOCOL, "n2")))
        for question in (
            opened(1),
            opened(2, "Bob"),
            opened(3, "Cat"),
            Say(2, b"join"),
            Slow(1, True),
            EndVisit(1),
            Say(1, b"late"),
        ):
            protocol.dataReceived(frame(question))
        ann, bob, cat = self.visitors
        self.assertEqual((ann.notes, bob.notes), ([True, "lost"], [b"join"]))
        ann.wire.passed(b"late")
        bob.wire.passed(b"joined")
        bob.wire.departed("r1")
        bob.wire.over("kicked", "why")
        bob.wire.passed(b"late")
        cat.wire.passed(b"x" * FRAME_LIMIT)
        found = self.answers(wire)
        self.assertEqual(
            found[:3],
            [Passed(2, b"joined"), Departed(2, "r1"), VisitOver(2, "kicked", "why")],
        )
        self.assertEqual((found[3].visit, found[3].code), (3, "internal"))
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((cat.notes, bob.notes), (["lost"], [b"join"]))

    def test_node_that_does_not_read(self) -> None:
        """
        Visitors of a node that takes nothing are behind, whatever it says; if too much
        waits for it, its link is closed.
        """
        protocol, wire = self.open()
        protocol.dataReceived(frame(Greeting(NODE_PROTOCOL, "n2")))
        protocol.dataReceived(frame(opened(1)))
        (ann,) = self.visitors
        wire.producer.pauseProducing()
        protocol.dataReceived(frame(Slow(1, False)))
        wire.producer.resumeProducing()
        wire.producer.pauseProducing()
        self.assertEqual(ann.notes, [True, True, False, True])
        for _ in range(MOST_UNSENT // 500_000):
            ann.wire.passed(b"x" * 500_000)
        self.assertFalse(wire.disconnecting)
        ann.wire.passed(b"x" * 500_000)
        self.assertTrue(wire.disconnecting)

    def test_visits_that_cannot_be(self) -> None:
        """
        A visit with a number that is taken, or of nobody, closes the link.
        """
        for question in (opened(1), opened(2, "nobody")):
            protocol, wire = self.open()
            protocol.dataReceived(frame(Greeting(NODE_PROTOCOL, "n2")))
            protocol.dataReceived(frame(opened(1)))
            protocol.dataReceived(frame(question))
            self.assertTrue(wire.disconnecting)

    def test_strangers(self) -> None:
        """
        Nothing is done for a peer that is no node, does not greet, speaks another
        version, or sends anything else.
        """
        greeting = frame(Greeting(NODE_PROTOCOL, "n2"))
        ask = frame(AskWayIn(1, "m1", 0))
        for data in (
            ask,
            frame(Greeting(NODE_PROTOCOL + 1, "n2")) + ask,
            greeting + b"\0\0\0\1\xc1" + ask,
            greeting + (FRAME_LIMIT + 1).to_bytes(4),
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            protocol, wire = self.open()
            protocol.dataReceived(data)
            protocol.dataReceived(ask)
            self.assertTrue(wire.disconnecting, data)
        self.strangers = True
        protocol, wire = self.open()
        protocol.dataReceived(greeting + ask)
        self.assertTrue(wire.disconnecting)
        self.assertEqual(self.asked, [])

    def test_silence(self) -> None:
        """
        A peer that does not greet in time is disconnected.
        """
        _, wire = self.open()
        self.clock.advance(GREETING_SECONDS - 0.1)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(wire.disconnecting)

    def test_silence_of_many(self) -> None:
        """
        Strangers who take all places in silence, from however many networks, keep no
        node out, and end no link of one.
        """
        counted = CountedFactory(
            NodeAnswersFactory(self.clock, has_proven, self.admit, self.receive),
            NetworkCounts(64, 128, 512),
            BoundedLog(Logger(), self.clock),
            is_proven=True,
        )

        def come(host: str) -> Any:
            link = counted.buildProtocol(IPv4Address("TCP", host, 5))
            if link is not None:
                link.makeConnection(Wire())
            return link

        def strangers() -> None:
            for number in range(1000):
                come(f"203.0.{number % 20}.{number % 8}")

        strangers()
        node = come("192.0.2.1")
        node.dataReceived(frame(Greeting(NODE_PROTOCOL, "n2")))
        strangers()
        self.assertEqual(counted.counts.total, 512)
        self.assertFalse(node.transport.disconnecting)
        self.assertIsNone([come("203.0.200.1") for _ in range(65)][-1])
        node.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(counted.counts.total, 511)

    def test_log_of_silence(self) -> None:
        """
        Strangers who open many links and say nothing fill no log.
        """
        factory = NodeAnswersFactory(self.clock, self.check, self.admit, self.receive)
        with capturedLogs() as lines:
            for _ in range(300):
                link = factory.buildProtocol(None)
                link.makeConnection(StringTransport())
            self.clock.advance(GREETING_SECONDS + 1)
        self.assertLess(len(lines), 30)

    def test_bounded(self) -> None:
        """
        A node that asks too much at once is refused; late answers go nowhere.
        """
        protocol, wire = self.open()
        protocol.dataReceived(frame(Greeting(NODE_PROTOCOL, "n2")))
        late: list[Deferred[bytes]] = [Deferred() for _ in range(MOST_QUESTIONS)]
        self.results = list(late)
        for number in range(MOST_QUESTIONS):
            protocol.dataReceived(frame(AskWayIn(number, "m1", 0)))
        self.assertFalse(wire.disconnecting)
        protocol.dataReceived(frame(AskWayIn(7, "m1", 0)))
        (refused,) = self.answers(wire)
        self.assertEqual((type(refused), refused.number), (NoWayIn, 7))
        self.assertFalse(wire.disconnecting)
        protocol.connectionLost()
        late[0].callback(b"FOUND")
        self.assertEqual(wire.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class QuestionsTests(SynchronousTestCase):
    """The node that dialed."""

    def test_silent_node(self) -> None:
        """
        A node that does not answer while somebody visits it is given up, and its
        visitors learn it; one that answers, or has no visitors, is not.
        """
        guest = FakeGuest()
        self.clock.pump([BEAT_SECONDS] * 10)
        wire = self.link.open_visit(Player("ann", "Ann"), "192.0.2.1", guest)
        for _ in range(10):
            self.clock.advance(BEAT_SECONDS)
            self.link.dataReceived(frame(Alive()))
        self.assertFalse(self.wire.disconnecting)
        self.clock.pump([BEAT_SECONDS] * (MOST_BEATS + 1))
        self.assertTrue(self.wire.disconnecting)
        self.link.connectionLost()
        self.assertEqual(guest.notes[0][0], "store_unavailable")
        wire.say(b"late")

    def test_node_that_does_not_read(self) -> None:
        """
        What waits for a node that takes nothing is bounded.
        """
        visit = self.link.open_visit(Player("ann", "Ann"), "192.0.2.1", FakeGuest())
        self.wire.producer.pauseProducing()
        for _ in range(MOST_UNSENT // 500_000):
            visit.say(b"x" * 500_000)
        self.assertFalse(self.wire.disconnecting)
        visit.say(b"x" * 500_000)
        self.assertTrue(self.wire.disconnecting)

    def setUp(self) -> None:
        self.clock, self.wire, self.lost = Clock(), Wire(), 0
        self.link = NodeQuestions(self.clock, "n1", self.note_lost)
        self.link.makeConnection(self.wire)

    def note_lost(self) -> None:
        self.lost += 1

    def ask(self) -> Deferred[bytes]:
        """Ask for a way in."""
        return Deferred.fromCoroutine(self.link.ask_way_in("m1", 0))

    def test_answers_in_any_order(self) -> None:
        """
        Each question gets its own answer, however the network cuts it.
        """
        first, second = self.ask(), self.ask()
        data = frame(WayIn(2, b"B")) + frame(NoWayIn(1, "over"))
        for one in range(len(data)):
            self.link.dataReceived(data[one : one + 1])
        self.assertEqual(self.successResultOf(second), b"B")
        error = self.failureResultOf(first, NoCapacity)
        self.assertEqual(str(error.value), "over")

    def test_no_answer(self) -> None:
        """
        An answer that does not come in time is given up; if it comes later, nothing
        happens.
        """
        asked = self.ask()
        self.clock.advance(ANSWER_SECONDS)
        self.failureResultOf(asked, NoCapacity)
        self.link.dataReceived(frame(WayIn(1, b"A")))
        self.assertFalse(self.wire.disconnecting)

    def test_lost(self) -> None:
        """
        Who waits when the link is cut learns it at once, and so do those who ask later.
        """
        asked = self.ask()
        self.link.connectionLost()
        self.failureResultOf(asked, NoCapacity)
        self.failureResultOf(self.ask(), NoCapacity)
        self.assertEqual((self.lost, self.clock.getDelayedCalls()), (1, []))

    def test_nonsense(self) -> None:
        """
        A peer that sends anything else is disconnected.
        """
        self.link.dataReceived(b"\0\0\0\1\xc1")
        self.assertTrue(self.wire.disconnecting)

"""What nodes ask each other, byte by byte."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from vinom.control.messages import FRAME_LIMIT, FrameReader
from vinom.control.nodes import (
    ANSWER_SECONDS,
    GREETING_SECONDS,
    MOST_QUESTIONS,
    NODE_PROTOCOL,
    AskWayIn,
    Greeting,
    NodeAnswersFactory,
    NodeQuestions,
    NoWayIn,
    WayIn,
    frame,
    read_answer,
)
from vinom.errors import NoCapacity, PeerError


class Wire(StringTransport):
    """Remembers that it was aborted."""

    def abortConnection(self) -> None:
        self.disconnecting = True


class AnswersTests(SynchronousTestCase):
    """The node that was dialed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, int]] = []
        self.results: list[Any] = []
        self.strangers = False

    async def admit(self, match_id: str, seat: int) -> bytes:
        self.asked.append((match_id, seat))
        result = self.results.pop(0) if self.results else b"FOUND"
        if isinstance(result, Deferred):
            return await result
        if isinstance(result, Exception):
            raise result
        return bytes(result)

    def check(self, transport: object) -> None:
        if self.strangers:
            raise PeerError("a stranger")

    def open(self) -> tuple[Any, Wire]:
        """Accept a link."""
        factory = NodeAnswersFactory(self.clock, self.check, self.admit)
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

    def test_bounded(self) -> None:
        """
        A node that asks without end is disconnected; late answers go nowhere.
        """
        protocol, wire = self.open()
        protocol.dataReceived(frame(Greeting(NODE_PROTOCOL, "n2")))
        late: list[Deferred[bytes]] = [Deferred() for _ in range(MOST_QUESTIONS)]
        self.results = list(late)
        for number in range(MOST_QUESTIONS):
            protocol.dataReceived(frame(AskWayIn(number, "m1", 0)))
        self.assertFalse(wire.disconnecting)
        protocol.dataReceived(frame(AskWayIn(0, "m1", 0)))
        self.assertTrue(wire.disconnecting)
        protocol.connectionLost()
        late[0].callback(b"FOUND")
        self.assertEqual(wire.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class QuestionsTests(SynchronousTestCase):
    """The node that dialed."""

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

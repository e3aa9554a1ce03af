"""What nodes ask each other, byte by byte, on links in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.gateways import MemoryTransport, packets, written
from tests.support.live_rooms import RoomsWorld
from tests.support.node_channels import MemoryLinks, channels
from vinom.base.limits.buckets import NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.base.model import Player
from vinom.errors import NoCapacity, PeerError
from vinom.net.frames import FRAME_LIMIT
from vinom.net.lines.limits import CountedFactory, LineBounds, has_proven
from vinom.net.nodes import CAUGHT_UP, MOST_UNSENT, NODE_PROTOCOL, SLOW
from vinom.net.streams.packets import Kind, Packet
from vinom.node.gateways import GREETING_SECONDS
from vinom.node.links import ANSWER_SECONDS, BEAT_SECONDS, MOST_QUESTIONS


def greeting(protocol: int = NODE_PROTOCOL) -> bytes:
    """Greet as node n2."""
    body = json.dumps({"node_id": "n2", "protocol": protocol})
    return written(Packet(Kind.OPEN, body.encode()))


def line(number: int, **message: Any) -> bytes:
    """Send a message on a channel."""
    body = json.dumps(message).encode() + b"\n"
    return written(Packet(Kind.DATA, body, session_id=number))


def opened(number: int, **first: Any) -> bytes:
    """Open a channel, with its first line."""
    asked = Packet(Kind.OPEN, b'{"client": "192.0.2.1"}', session_id=number)
    return written(asked) + line(number, **first)


def way_in(number: int) -> bytes:
    """Ask for a way in."""
    return opened(number, type="ask_way_in", match_id="m1", seat=1)


def visitor(number: int, name: str = "Ann") -> bytes:
    """Begin a visit."""
    player = {"player_id": "ann", "name": name, "claims": "e30=", "is_guest": False}
    return opened(number, type="visitor", **player)


class ServedTests(SynchronousTestCase):
    """The node that was dialed."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.clock: Clock = self.world.clock
        self.asked: list[tuple[str, int]] = []
        self.results: list[Any] = []
        self.strangers = False
        world = self.world
        self.served = channels(
            "n1", self.clock, world.requests, world.rooms, self.admit
        )

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

    def open(self, data: bytes = b"") -> MemoryTransport:
        """Accept a link."""
        link = MemoryTransport(self.served.factory(self.check).buildProtocol(None))
        link.give(data)
        return link

    def got(self, link: MemoryTransport) -> list[tuple[int, bytes]]:
        """What was sent on each channel, and how it ended."""
        self.clock.advance(0)
        return [
            (one.session_id, one.body.rstrip(b"\n"))
            for one in packets(link.take())
            if one.session_id and one.kind is not Kind.WINDOW
        ]

    def joined(self, link: MemoryTransport, number: int) -> Any:
        """Have a player of the other node join a room; returns its conversation."""
        room = {"game": "few", "room_id": f"r{number}"}
        link.give(visitor(number) + line(number, type="join_room", data=room))
        self.assertIn(b"join_room_result", self.got(link)[0][1])
        (member,) = self.world.rooms.directory.get(room["room_id"]).members
        return member.conversation

    def test_answers(self) -> None:
        """
        The asker learns why a player cannot come; a fault of ours too, with a log line.
        """
        self.results = [b"FOUND", NoCapacity("over"), KeyError("oops")]
        link = self.open(greeting() + way_in(7) + way_in(1) + way_in(2))
        why = [(1, b"done: unavailable: over"), (2, b"done: unavailable: 'oops'")]
        self.assertEqual(self.got(link), [(7, b"FOUND"), (7, b"done"), *why])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_list(self) -> None:
        """
        A node is sent the list of rooms, and cannot watch it.
        """
        self.world.joined("cat", "r1")
        asked = opened(1, type="list_rooms", watch=True)
        (answer, end) = self.got(self.open(greeting() + asked))
        rooms = json.loads(answer[1])["data"]["rooms"]
        self.assertEqual([room["room_id"] for room in rooms], ["r1"])
        self.assertEqual(end, (1, b"done"))

    def test_visits(self) -> None:
        """
        Players of another node are told apart; each visit ends once, at either end or
        with the link, and what comes later for it is skipped.
        """
        link = self.open(greeting())
        ann, bob, cat = (self.joined(link, number) for number in (1, 2, 3))
        link.give(written(Packet(Kind.CLOSE, b"done", session_id=1)))
        link.give(line(1, type="list_rooms", data={}))
        self.assertEqual((ann.is_open, bob.is_open), (False, True))
        bob.departed("r2")
        (departed,) = self.got(link)
        self.assertEqual(json.loads(departed[1])["type"], "departed")
        ann.pass_on(b"late")
        bob.line.close()
        bob.pass_on(b"late")
        self.assertEqual(self.got(link), [(2, b"done")])
        link.lose()
        self.assertFalse(cat.is_open)

    def test_only_rooms(self) -> None:
        """
        The queue and the party of a player are at the player's own node.
        """
        link = self.open(greeting() + visitor(1))
        for asked in ({"type": "queue", "data": {"game": "few"}}, {"type": "cancel"}):
            link.give(line(1, **asked))
            ((_, refused),) = self.got(link)
            self.assertEqual(json.loads(refused)["error"]["code"], "unknown_type")

    def test_node_that_does_not_read(self) -> None:
        """
        Visitors of a node that takes nothing are behind, whatever it says; of one for
        whom too much waits, the visit ends.
        """
        link = self.open(greeting())
        ann = self.joined(link, 1)
        link.give(written(Packet(Kind.DATA, SLOW + b"\n", session_id=1)))
        self.assertTrue(ann.line.is_behind)
        link.fill()
        ann.line.send(b"x")
        link.give(written(Packet(Kind.DATA, CAUGHT_UP + b"\n", session_id=1)))
        self.assertTrue(ann.line.is_behind)
        link.drain()
        self.clock.advance(0)
        self.assertFalse(ann.line.is_behind)
        link.fill()
        most = LineBounds().most_unsent_bytes
        for _ in range(4):
            ann.line.send(b"x" * (most // 2))
        self.clock.pump([LineBounds().close_seconds, 0])
        self.assertFalse(ann.is_open)
        self.assertFalse(link.is_closed)

    def test_slow_player(self) -> None:
        """
        A player who catches up is sent what it missed, however often it was behind.
        """
        link = self.open(greeting())
        ann = self.joined(link, 1)
        calls: list[int] = []
        for number in range(2 * LineBounds().most_unsent):
            link.give(written(Packet(Kind.DATA, SLOW + b"\n", session_id=1)))
            ann.when_caught_up(lambda number=number: calls.append(number))
            ann.line.send(b"x")
            link.give(written(Packet(Kind.DATA, CAUGHT_UP + b"\n", session_id=1)))
            self.assertEqual(len(calls), number + 1)
        self.assertTrue(ann.is_open)

    def test_channels_that_cannot_be(self) -> None:
        """
        A visit of nobody, or a first line of another kind, ends that channel; one
        whose number is taken is refused.
        """
        link = self.open(greeting() + visitor(1))
        link.give(visitor(2, "") + opened(3, type="hello") + visitor(1))
        found = [(number, body.split(b": ")[:2]) for number, body in self.got(link)]
        self.assertEqual(
            found[:2], [(2, [b"done", b"bad_message"]), (3, [b"done", b"bad_message"])]
        )
        self.assertEqual(found[2], (1, [b"session_in_use", b"it is open on this link"]))
        self.assertFalse(link.is_closed)

    def test_strangers(self) -> None:
        """
        Nothing is done for a peer that is no node, does not greet, speaks another
        version, or sends anything else.
        """
        for data in (
            way_in(1),
            written(Packet(Kind.OPEN, b'{"gateway_id": "g1"}')),
            greeting(NODE_PROTOCOL + 1) + way_in(1),
            greeting() + b"\0\0\0\1\xc1" + way_in(1),
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            link = self.open(data)
            link.give(way_in(1))
            self.assertTrue(link.is_closed, data)
        self.strangers = True
        link = self.open(greeting() + way_in(1))
        self.assertTrue(link.is_closed)
        self.assertEqual(self.asked, [])

    def test_silence_of_many(self) -> None:
        """
        Strangers who take all places in silence, from however many networks, keep no
        node out, and end no link of one.
        """
        counted = CountedFactory(
            self.served.factory(has_proven),
            NetworkCounts(64, 128, 512),
            BoundedLog(Logger(), self.clock),
            is_proven=True,
        )

        def come(host: str) -> Any:
            link = counted.buildProtocol(IPv4Address("TCP", host, 5))
            return None if link is None else MemoryTransport(link)

        def strangers() -> None:
            for number in range(1000):
                come(f"203.0.{number % 20}.{number % 8}")

        strangers()
        node = come("192.0.2.1")
        node.give(greeting())
        strangers()
        self.assertEqual(counted.counts.total, 512)
        self.assertFalse(node.is_closed)
        self.assertIsNone([come("203.0.200.1") for _ in range(65)][-1])
        node.lose()
        self.assertEqual(counted.counts.total, 511)

    def test_log_of_silence(self) -> None:
        """
        Strangers who open many links and say nothing fill no log.
        """
        with capturedLogs() as lines:
            for _ in range(300):
                self.open()
            self.clock.advance(GREETING_SECONDS + 1)
        self.assertLess(len(lines), 30)

    def test_bounded(self) -> None:
        """
        A node that asks too much at once is refused; late answers go nowhere.
        """
        late: list[Deferred[bytes]] = [Deferred() for _ in range(MOST_QUESTIONS)]
        self.results = list(late)
        link = self.open(greeting())
        for number in range(MOST_QUESTIONS):
            link.give(way_in(number + 1))
        self.assertEqual(self.got(link), [])
        link.give(way_in(MOST_QUESTIONS + 1))
        ((number, refused),) = self.got(link)
        self.assertEqual(number, MOST_QUESTIONS + 1)
        self.assertTrue(refused.startswith(b"done: unavailable: more than"), refused)
        link.lose()
        late[0].callback(b"FOUND")
        self.assertEqual(link.take(), b"")


class AskingTests(SynchronousTestCase):
    """The node that dialed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.links = MemoryLinks(self.clock)
        world = RoomsWorld()
        self.links.connect(
            channels("n1", self.clock, world.requests, world.rooms, self.admit)
        )
        self.links.asking.take()
        # From here on the test is the other node.
        self.link = self.links.asking

    async def admit(self, match_id: str, seat: int) -> bytes:
        raise NoCapacity("over")

    def ask(self) -> Deferred[bytes]:
        """Ask for a way in."""
        return Deferred.fromCoroutine(self.links.ask_way_in("n1", "m1", 0))

    def visit(self) -> tuple[Any, list[Any]]:
        """Begin a visit; returns the channel, and what is noted of it."""
        notes: list[Any] = []
        channel: Any = self.successResultOf(
            Deferred.fromCoroutine(
                self.links.visit("n1", Player("ann", "Ann"), "192.0.2.1")
            )
        )
        channel.heard = notes.append
        channel.over = lambda *why: notes.append(why)
        return channel, notes

    def answer(self, number: int, body: bytes, kind: Kind = Kind.DATA) -> bytes:
        return written(Packet(kind, body, session_id=number))

    def test_silent_node(self) -> None:
        """
        A node that does not answer is given up, and its visitors learn it; one that
        answers is not.
        """
        channel, notes = self.visit()
        for _ in range(10):
            self.clock.advance(BEAT_SECONDS)
            self.link.give(written(Packet(Kind.PONG)))
        self.assertFalse(self.link.is_closed)
        self.clock.pump([BEAT_SECONDS] * 4)
        self.assertTrue(self.link.is_closed)
        self.assertEqual(notes[0][0], "store_unavailable")
        channel.send(b"late")

    def test_node_that_does_not_read(self) -> None:
        """
        What waits for a node that takes nothing is bounded.
        """
        channel, notes = self.visit()
        self.link.fill()
        channel.send(b"x")
        for _ in range(MOST_UNSENT // 500_000):
            channel.send(b"x" * 500_000)
        self.assertEqual(notes, [])
        channel.send(b"x" * 500_000)
        self.assertEqual(notes[0][0], "store_unavailable")

    def test_lines(self) -> None:
        """
        What a player sends is one line, however its client wrote it.
        """
        channel, _ = self.visit()
        self.link.take()
        channel.send(b'{"type":\n"action"}')
        (packet,) = packets(self.link.take())
        self.assertEqual(packet.body, b'{"type": "action"}\n')

    def test_line_without_end(self) -> None:
        """
        A message that is too long ends the visit.
        """
        _, notes = self.visit()
        piece = self.answer(1, b"x" * 16384)
        for _ in range(FRAME_LIMIT // 16384 + 1):
            self.link.give(piece)
        self.assertEqual(notes[0][0], "store_unavailable")
        self.assertFalse(self.link.is_closed)

    def test_answers_in_any_order(self) -> None:
        """
        Each question gets its own answer, however the network cuts it.
        """
        first, second = self.ask(), self.ask()
        data = self.answer(2, b"B\n") + self.answer(
            1, b"done: unavailable: over", Kind.CLOSE
        )
        self.link.give(data, 1)
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
        self.link.give(self.answer(1, b"A\n"))
        self.assertFalse(self.link.is_closed)

    def test_lost(self) -> None:
        """
        Who waits when the link is cut learns it at once; who asks later has a new one.
        """
        asked = self.ask()
        self.link.lose()
        self.failureResultOf(asked, NoCapacity)
        again = self.ask()
        self.links.carry()
        error = self.failureResultOf(again, NoCapacity)
        self.assertEqual(str(error.value), "over")

    def test_nonsense(self) -> None:
        """
        A peer that sends anything else is disconnected.
        """
        self.link.give(b"\0\0\0\1\xc1")
        self.assertTrue(self.link.is_closed)

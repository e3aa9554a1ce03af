"""What waited in a line when that was lost was not received: it comes again."""

from __future__ import annotations

from typing import Any

from msgspec import json
from twisted.internet.tcp import Connection
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import PlayerLine, RoomsWorld
from tests.support.websockets import frame
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.websocket import WebSocketLine, WebSockets
from vinom.net.lines.ws_stream import text_frame

#: More than anybody is ever sent here, bytes.
ALL = 1 << 20


class Jam(Connection):
    """
    A connection whose other end takes a limited number of bytes.

    :ivar space: how many bytes it still takes.
    :ivar taken: what it took.
    """

    TLS = False

    def __init__(self) -> None:
        self.space, self.taken = ALL, bytearray()
        self.is_aborted = False

    def getHandle(self) -> Any:
        return self

    def fileno(self) -> int:
        return 1000

    def recv(self, most: int) -> bytes:
        raise BlockingIOError

    def send(self, data: bytes) -> int:
        count = min(self.space, len(data))
        if data and not count:
            raise BlockingIOError
        self.space -= count
        self.taken += data[:count]
        return count

    def write(self, data: bytes) -> None:
        """It waits, and nobody asks for it."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing that waits is taken."""

    def unregisterProducer(self) -> None:
        """The same."""

    def loseWriteConnection(self) -> None:
        """It does not read that either."""

    def abortConnection(self) -> None:
        self.is_aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It is as fast as it gets."""

    def heard(self) -> list[Any]:
        """Read the whole messages that were taken."""
        said, data = [], bytes(self.taken)
        while len(data) >= 2:
            size = data[1] & 0x7F
            start = {126: 4, 127: 10}.get(size, 2)
            if size >= 126:
                size = int.from_bytes(data[2:start], "big")
            if len(data) < start + size:
                break
            if data[0] & 0x0F == 1:
                said += json.decode(data[start : start + size])
            data = data[start + size :]
        return said


def numbers(said: list[Any]) -> tuple[list[int], list[int]]:
    """Take the numbers of announcements, and those of events, as they came."""
    announced, events = [], []
    for message in said:
        data = message.get("data", {})
        if message["type"] == "game_state":
            events += [event["number"] for event in data["events"]]
        elif message["type"] in ("client_joined", "client_left", "round_over"):
            announced.append(data["number"])
    return announced, events


def in_order(first: list[int], then: list[int]) -> list[int]:
    """Put together what came, without what came again."""
    return first + [number for number in then if number not in first]


class UnsentTests(SynchronousTestCase):
    """Bob, who has no more than his ``resume``, and ann, who receives everything."""

    def open(self, **bounds: Any) -> None:
        self.world = world = RoomsWorld()
        self.sockets = WebSockets(
            world.requests.open, world.clock, world.turns, LineBounds(**bounds)
        )
        self.acted = 0
        self.ann, _ = world.joined("ann", "r1", "pair")
        self.dial()
        self.say("join_room", game="pair", room_id="r1")
        (joined,) = [m for m in self.jam.heard() if m["type"] == "join_room_result"]
        self.resume = joined["data"]["resume"]
        self.jam.taken.clear()
        self.ann.heard()
        self.watcher, _ = world.hello("wes")

    def dial(self) -> None:
        """Let bob say hello over a new connection."""
        self.jam, host = Jam(), "127.0.0.1"
        self.sockets.connections.enter(host)
        self.bob = WebSocketLine(self.sockets, host, self.sockets.new_stream())
        self.bob.begin(self.jam, text_frame(b"[]"), is_first=True)
        self.say("hello", protocol=1, name="bob")

    def say(self, kind: str, **data: Any) -> None:
        self.bob.dataReceived(frame(1, json.encode({"type": kind, "data": data})))
        self.world.turn()

    def act(self, word: str) -> None:
        self.acted += 1
        self.ann.do(self.acted, word=word)

    def come_and_go(self) -> None:
        """Two announcements."""
        self.watcher.ask("join_room", game="pair", room_id="r1", spectate=True)
        self.watcher.ask("leave_room")

    def tell_much(self) -> None:
        """Announcements and events, several of them in one turn."""
        for words in (("event",), (), ("x", "event"), ("event", "end"), ("x",)):
            for word in words:
                self.act(word)
            self.come_and_go()
            self.world.turn()

    def back(self) -> tuple[PlayerLine, dict[str, Any]]:
        """
        Come back with nothing but the secret; what was received waits in the line.
        """
        line, _ = self.world.hello("bob")
        assert isinstance(line, PlayerLine)
        line.say("reconnect", resume=self.resume)
        self.world.turn()
        result = line.sent.pop(0)
        self.assertEqual(result["type"], "reconnect_result")
        self.resume = result["data"]["resume"]
        return line, result["data"]

    def told_to_ann(self) -> tuple[list[int], list[int]]:
        """What bob is to know, too: nothing of his own coming and going."""
        said = [m for m in self.ann.heard() if m["data"].get("name") != "bob"]
        return numbers(said)

    def test_lost_while_behind(self) -> None:
        """
        Wherever the bytes stop that a player still takes, it is sent everything in the
        end: announcements in order, and events.
        """
        for space in (*range(0, 4000, 67), ALL):
            self.open()
            self.jam.space = space
            self.tell_much()
            self.bob.connectionLost()
            before = numbers(self.jam.heard())
            line, result = self.back()
            after = numbers(line.heard())
            for had, came, all in zip(before, after, self.told_to_ann(), strict=True):
                self.assertEqual(in_order(had, came), all, space)
                self.assertEqual(came, sorted(came))
            self.assertEqual(result["lost"], 0)
            if space == ALL:
                self.assertEqual(after, ([], []), "it was sent all of this")

    def test_too_slow(self) -> None:
        """
        A player who is disconnected because too much waits for it is sent, when it is
        back, what was thrown away.
        """
        self.open(most_unsent=6)
        self.come_and_go()
        self.world.turn()
        self.jam.space = 100
        self.tell_much()
        self.assertEqual(self.sockets.errors["too_slow"], 1)
        before = numbers(self.jam.heard())
        self.assertEqual(len(before[0]), 2)
        line, result = self.back()
        after = numbers(line.heard())
        for had, came, all in zip(before, after, self.told_to_ann(), strict=True):
            self.assertEqual(in_order(had, came), all)
        self.assertEqual(result["lost"], 0)

    def test_lost_within_the_turn(self) -> None:
        """
        What was sent in the very turn in which a connection ends comes again.
        """
        self.open()
        self.tell_much()
        self.jam.taken.clear()
        self.ann.heard()
        self.come_and_go()
        self.bob.connectionLost()
        line, _ = self.back()
        self.assertEqual(numbers(line.heard())[0], self.told_to_ann()[0])

    def test_taken_over(self) -> None:
        """
        The same where a newer connection takes the place from one that is behind.
        """
        self.open()
        self.jam.space = 0
        self.tell_much()
        line, _ = self.back()
        self.assertEqual(numbers(line.heard()), self.told_to_ann())

    def test_behind_again(self) -> None:
        """
        A second loss, before the first one's news were taken, loses nothing.
        """
        self.open()
        self.jam.space = 0
        self.tell_much()
        self.bob.connectionLost()
        self.dial()
        # It takes the answer with the new secret, and hardly more.
        self.jam.space = 700
        self.jam.taken.clear()
        self.say("reconnect", resume=self.resume)
        self.assertTrue(self.bob.is_behind)
        text = bytes(self.jam.taken).partition(b'"resume":"')[2]
        self.resume = text.partition(b'"')[0].decode()
        self.assertEqual(self.jam.heard(), [])
        self.bob.connectionLost()
        line, _ = self.back()
        self.assertEqual(numbers(line.heard()), self.told_to_ann())

    def test_behind_again_with_less(self) -> None:
        """
        The same for one who reported less received than was sent.
        """
        self.open()
        self.tell_much()
        self.bob.connectionLost()
        self.dial()
        self.jam.space = 700
        self.say("reconnect", resume=self.resume, heard=0)
        self.assertTrue(self.bob.is_behind)
        text = bytes(self.jam.taken).rpartition(b'"resume":"')[2]
        self.resume = text.partition(b'"')[0].decode()
        self.bob.connectionLost()
        line, _ = self.back()
        self.assertEqual(numbers(line.heard()), self.told_to_ann())

    def test_old_events_stay_old(self) -> None:
        """
        A player who is behind at the end is not sent again what it was sent long
        before.
        """
        self.open()
        for _ in range(3):
            self.act("event")
            self.world.turn()
        self.ann.heard()
        self.jam.space = 0
        self.act("event")
        self.world.turn()
        self.assertTrue(self.bob.is_behind)
        self.bob.connectionLost()
        line, _ = self.back()
        self.assertEqual(numbers(line.heard()), self.told_to_ann())

    def test_not_of_itself(self) -> None:
        """
        A player who reports what it has received is not sent that it was away itself,
        nor what was before it came.
        """
        self.open()
        self.tell_much()
        self.bob.connectionLost()
        line, _ = self.world.hello("bob")
        line.say("reconnect", resume=self.resume, heard=0)
        self.world.turn()
        told = line.heard()
        self.assertEqual(numbers(told), self.told_to_ann())
        names = {m["data"].get("name") for m in told}
        self.assertNotIn("bob", names)
        self.assertNotIn("ann", names)

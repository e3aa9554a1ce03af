"""
Every control message, of either direction, with each of its fields spoilt.

Both ends are ours; a message that is none ends the link, with one line in the log, and
nothing of it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import msgpack
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.control.test_messages import TO_NODE, TO_SERVER
from tests.support.game_net import GameNet
from tests.support.malformed import is_at, nonsense, spoilt
from tests.support.supply import FleetWorld, MemoryTransport
from vinom.errors import PeerError, field_of
from vinom.fleet.control.link import ControlClient, ControlServer
from vinom.fleet.control.messages import (
    Adopted,
    Alive,
    AnyToNode,
    AnyToServer,
    Bind,
    CloseRoom,
    Heartbeat,
    Kick,
    OpenRoom,
    Ready,
    RelayAction,
    RelayNewcomer,
    RelaySeat,
    RelayWatch,
    RoomEnded,
    Stop,
    decode_to_node,
    decode_to_server,
    encode,
)

_HEADER = 4
READY = Ready("abc", 123, 1)


def data_of(message: Any) -> dict[str, Any]:
    """Write a message as data, with each of its fields."""
    data: dict[str, Any] = msgpack.decode(encode(message)[_HEADER:])
    return data


def frame_of(data: Any) -> bytes:
    """Frame a message that may be none."""
    payload = msgpack.encode(data)
    return len(payload).to_bytes(_HEADER) + payload


def all_spoilt(kind: Any, messages: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Spoil each of these."""
    for message in messages:
        yield from spoilt(kind, data_of(message), "msgpack")


class NamingTests(SynchronousTestCase):
    """Reports about them."""

    def check(
        self, kind: Any, messages: tuple[Any, ...], decode: Callable[[bytes], Any]
    ) -> None:
        count = 0
        for place, wrong in all_spoilt(kind, messages):
            error = self.assertRaises(PeerError, decode, msgpack.encode(wrong))
            told = field_of(str(error)) or ""
            self.assertTrue(is_at(told, place), (place, wrong, str(error)))
            count += 1
        self.assertGreater(count, 1000)

    def test_to_server(self) -> None:
        """
        A game server reports which field of a message is missing or wrong.
        """
        self.check(AnyToServer, TO_SERVER, decode_to_server)

    def test_to_node(self) -> None:
        """
        A node does, too.
        """
        self.check(AnyToNode, TO_NODE, decode_to_node)

    def test_bounds(self) -> None:
        """
        A value that the house does not have is named, too, though its type is right.
        """
        ticket = data_of(TO_SERVER[3])["ticket"]
        plan = data_of(TO_SERVER[1])["plan"]
        end = data_of(next(m for m in TO_NODE if isinstance(m, RoomEnded)))["end"]
        for decode, data, name in (
            (decode_to_server, {"ticket": ticket | {"label": "a" * 25}}, "label"),
            (decode_to_server, {"ticket": ticket | {"label": "a" * 27}}, "label"),
            (decode_to_server, {"ticket": ticket | {"seat": -1}}, "seat"),
            (decode_to_server, {"plan": plan | {"seats": []}, "tickets": []}, "seats"),
            (
                decode_to_server,
                {"plan": plan | {"seed": b"7"}, "tickets": []},
                "seed",
            ),
            (decode_to_server, {"match_id": "m1", "reason": "because"}, "reason"),
            (decode_to_server, {"match_id": "m1", "reason": "ended\n"}, "reason"),
            (decode_to_node, {"end": end | {"reason": "because"}}, "reason"),
        ):
            tag = {"ticket": "add_ticket", "plan": "open_room", "end": "room_ended"}
            data["t"] = tag.get(next(iter(data)), "close_room")
            error = self.assertRaises(PeerError, decode, msgpack.encode(data))
            self.assertIn(name, str(error))


class LinkTests(SynchronousTestCase):
    """What becomes of the link."""

    def check(
        self,
        frames: Iterator[bytes],
        open_link: Callable[[], tuple[Any, list[Any], list[Any]]],
        good: bytes,
        heard: list[Any],
    ) -> None:
        """
        One that is none ends it: what came before it counts, and nothing after it.
        """
        count = 0
        for frame in frames:
            link, received, losses = open_link()
            with capturedLogs() as logs:
                link.dataReceived(good + frame + good)
                self.clock.advance(0)
            self.assertTrue(link.transport.is_lost)
            self.assertEqual(received, heard)
            self.assertEqual(len(losses), 1)
            (told,) = logs
            self.assertEqual(told["log_level"], LogLevel.error)
            self.assertNotIn("log_failure", told)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            count += 1
        self.assertGreater(count, 1000)

    def setUp(self) -> None:
        self.clock = Clock()

    def connect(self, link: Any) -> None:
        transport = MemoryTransport(self.clock)
        transport.protocol = link
        link.makeConnection(transport)

    def test_game_server(self) -> None:
        """
        A game server whose node makes no sense lets go of it, once.
        """

        def open_link() -> tuple[Any, list[Any], list[Any]]:
            received: list[Any] = []
            losses: list[Any] = []
            link = ControlClient(
                self.clock, READY, received.append, lambda: losses.append(1)
            )
            self.connect(link)
            return link, received, losses

        frames = (frame_of(wrong) for _, wrong in all_spoilt(AnyToServer, TO_SERVER))
        self.check(frames, open_link, encode(Heartbeat(1)), [Heartbeat(1)])

    def test_node(self) -> None:
        """
        A node lets go of a game server that makes no sense, once.
        """

        class Owner:
            def __init__(self) -> None:
                self.heard: list[Any] = []
                self.losses: list[Any] = []

            def received(self, message: Any) -> None:
                self.heard.append(message)

            def lost(self) -> None:
                self.losses.append(1)

        def open_link() -> tuple[Any, list[Any], list[Any]]:
            owner = Owner()
            link = ControlServer(self.clock, lambda *_: owner).buildProtocol(None)
            self.connect(link)
            link.dataReceived(encode(READY))
            return link, owner.heard, owner.losses

        frames = (frame_of(wrong) for _, wrong in all_spoilt(AnyToNode, TO_NODE))
        self.check(frames, open_link, encode(Alive(1, {})), [Alive(1, {})])

    def test_no_name(self) -> None:
        """
        A game server that does not even name itself well has never been there.
        """
        arrivals: list[Any] = []
        for _, wrong in spoilt(AnyToNode, data_of(READY), "msgpack"):
            link = ControlServer(
                self.clock, lambda *all: arrivals.append(all)
            ).buildProtocol(None)
            self.connect(link)
            link.dataReceived(frame_of(wrong))
            self.clock.advance(0)
            self.assertTrue(link.transport.is_lost)
        self.assertEqual(arrivals, [])


class NonsenseTests(SynchronousTestCase):
    """What is well-formed, and makes no sense."""

    def test_game_server(self) -> None:
        """
        A game server ignores seats and matches that it does not have, and what it
        cannot do; the match that it hosts goes on.
        """
        net = GameNet(rooms_limit=1000)
        ann, _ = net.begin()
        net.server.received(RelaySeat("m1", 1, "join", 1))
        count = 0
        for message in TO_SERVER:
            good = data_of(message)
            if isinstance(message, OpenRoom):
                good["plan"] |= {"match_id": "m2", "game": "teller"}
            for data in nonsense(AnyToServer, good, "msgpack"):
                told = decode_to_server(msgpack.encode(data))
                if not self.makes_sense(told):
                    net.server.received(told)
                    net.run(0.02)
                    count += 1
        self.assertGreater(count, 50)
        self.assertEqual([end for end in net.ends if end.match_id == "m1"], [])
        ann.say("still")
        net.run(0.3)
        net.server.received(RelayAction("m1", 1, 9, b'{"type":"say","word":"too"}'))
        net.run(0.3)
        self.assertEqual(
            [line.split()[-1] for line in ann.lines[-2:]], ["still", "too"]
        )

    def makes_sense(self, told: Any) -> bool:
        """Would a game server do it, and be right?"""
        match told:
            case Adopted() | Bind() | Stop() | RelayNewcomer():
                return True
            case Kick("m1", 0 | 1) | CloseRoom("m1"):
                return True
            case RelaySeat("m1", 0 | 1) | RelayWatch("m1"):
                return True
        return False

    def test_node(self) -> None:
        """
        A node ignores matches, seats and answers that there are not; of what only
        this game server can know it believes it, and the match goes on.
        """
        for message in TO_NODE:
            good = data_of(message)
            for data in nonsense(AnyToNode, good, "msgpack"):
                told = decode_to_node(msgpack.encode(data))
                world = FleetWorld(warm=1)
                self.successResultOf(world.place("m1"))
                server = world.supply.hosting("m1")
                with capturedLogs() as logs:
                    server.say(told)
                    world.settle()
                failures = [event for event in logs if "log_failure" in event]
                self.assertEqual(failures, [], data)
                # Its sender is dropped, and the next match is played.
                self.successResultOf(world.place("m2"))

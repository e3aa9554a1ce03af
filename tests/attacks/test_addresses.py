"""What one address, or one network, can take from everybody else."""

from __future__ import annotations

from typing import Any

from msgspec import json
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.support.ledger import IS_FULL
from tests.support.lobbies import LobbyWorld, MemoryLine
from vinom.base.limits.addresses import AddressBuckets
from vinom.base.messages.lobby import Hello
from vinom.base.model import Player
from vinom.errors import Code, Refused
from vinom.net.lines.limits import LineBounds, Reserve, ReservingFactory
from vinom.net.lines.tcp import LineFactory, Lines
from vinom.rooms.round import RoomBounds

#: Guest hellos of a /24 and a /48 together; a fiftieth unless everything is tried.
HELLOS = 1_000_000 if IS_FULL else 20_000
#: Of guests who are all admitted, those who really say hello.
SAID = 20_000
#: Players that the store keeps, in the same proportion to the flood as in a node.
MOST_PLAYERS = HELLOS // 5


def flooding(number: int) -> str:
    """Choose an address of the attacker: half are of a /24, half of a /48."""
    if number % 2:
        return f"203.0.113.{number // 2 % 256}"
    return f"2001:db8:7:{number // 2 % 65536:x}::1"


class PlayerMemoryTests(SynchronousTestCase):
    """Guests without end."""

    def say(self, world: LobbyWorld, host: str, **data: Any) -> dict[str, Any]:
        """Say hello on a line of its own, and hang up."""
        line = world.line(host)
        if not data:
            data = {"name": "x"}
        (said,) = line.ask("hello", protocol=1, **data)[:1]
        line.hang_up()
        return said

    def flood(self, world: LobbyWorld, a_second: int) -> int:
        """Send the flood; returns how many were welcome."""
        return self.flood_some(world, a_second, HELLOS)

    def flood_some(self, world: LobbyWorld, a_second: int, count: int) -> int:
        """Send *count* hellos of the flood; returns how many were welcome."""
        welcome = 0
        for number in range(count):
            if number % a_second == 0:
                world.clock.advance(1.0)
            # Without a line: the clock of tests is slow with as many timers.
            asked = world.identity.identify(Hello(1, name="x"), flooding(number))
            try:
                asked.send(None)
            except StopIteration:
                welcome += 1
            except Refused as refusal:
                self.assertEqual(refusal.code, Code.RATE_LIMITED)
        return welcome

    def assert_back(self, world: LobbyWorld, welcome: dict[str, Any]) -> None:
        said = self.say(world, "192.0.2.1", player_key=welcome["player_key"])
        self.assertEqual(said["type"], "welcome", said)
        self.assertEqual(said["data"]["player_id"], welcome["player_id"])

    def test_flood(self) -> None:
        """
        A flood of guests of one /24 and one /48 is refused for its rate, and
        somebody who only said hello before comes back with its key.
        """
        world = LobbyWorld(
            guests="yes",
            most_players=MOST_PLAYERS,
            new_guests=AddressBuckets(rate=10, burst=500),
        )
        ann = self.say(world, "192.0.2.1", name="ann")["data"]
        welcome = self.flood(world, 4000)
        # Both have bursts of 2000, and 40 a second.
        self.assertGreaterEqual(welcome, 2 * 2000)
        self.assertLessEqual(welcome, 2 * (2000 + 40 * (HELLOS // 4000 + 1)))
        self.assert_back(world, ann)

    def test_patient_flood(self) -> None:
        """
        Even guests who are all admitted push out each other, not those who did
        something before they hung up, or were there first.
        """
        world = LobbyWorld(
            guests="yes",
            most_players=MOST_PLAYERS,
            new_guests=AddressBuckets(1e6, 10**6),
        )
        victims = {
            name: self.say(world, "192.0.2.1", name=name)["data"]
            for name in ("idle", "again")
        }
        self.assert_back(world, victims["again"])
        lines: list[MemoryLine] = []
        for name, request in (
            ("room", {"kind": "join_room", "game": "party"}),
            ("queue", {"kind": "queue", "game": "duel"}),
        ):
            line, victims[name] = world.hello(name, host="192.0.2.1")
            (said,) = line.ask(**request)[:1]
            self.assertIn(said["type"], ("join_room_result", "queue_status"))
            lines.append(line)
        for line in lines:
            line.hang_up()
        self.assertEqual(self.flood_some(world, 20_000, SAID), SAID)
        # The others are guests that were admitted: their hellos would take a minute.
        hosts = [flooding(number) for number in range(4000)]
        for first in range(SAID, HELLOS, 4000):
            world.clock.advance(0.2)
            until = world.clock.seconds() + 6 * 3600.0
            for number, host in enumerate(hosts, first):
                guest = Player(f"guest-{number}", "x")
                added = world.players.put(f"key-{number}", guest, until, host, "guest")
                assert added.result
        self.assertEqual(len(world.players._players), MOST_PLAYERS)
        for welcome in victims.values():
            self.assert_back(world, welcome)

    def test_flood_of_the_same_network(self) -> None:
        """
        A neighbour of the attacker keeps its key while it has a line, a place in a
        queue or a seat, and longer than those who only said hello.
        """
        world = LobbyWorld(
            guests="yes", most_players=100, new_guests=AddressBuckets(1e6, 10**6)
        )
        connected, here = world.hello("here", host="203.0.113.9")
        line, seated = world.hello("seat", host="203.0.113.9")
        line.ask("join_room", game="party")
        line.hang_up()
        line, left = world.hello("left", host="203.0.113.9")
        line.ask("join_room", game="party", room_id="gone")
        line.ask("leave_room", room_id="gone")
        line.hang_up()
        for number in range(1000):
            self.say(world, f"203.0.113.{number % 256}")
        connected.hang_up()
        for welcome in (here, seated, left):
            said = self.say(world, "203.0.113.9", player_key=welcome["player_key"])
            self.assertEqual(said["type"], "welcome", said)

    def test_full_of_players(self) -> None:
        """
        When everybody who is remembered is needed, new guests are told to wait, and
        nobody is forgotten for them.
        """
        world = LobbyWorld(guests="yes", most_players=3)
        lines = [world.hello(f"p{number}", host="192.0.2.1") for number in range(3)]
        refused = self.say(world, "198.51.100.1", name="late")
        self.assertEqual(refused["error"]["code"], "busy")
        self.assertIn("retry_after", refused["error"]["details"])
        line, _ = lines[0]
        line.hang_up()
        self.assertEqual(self.say(world, "198.51.100.1")["type"], "welcome")
        for line, welcome in lines[1:]:
            line.hang_up()
            self.assert_back(world, welcome)

    def test_a_school(self) -> None:
        """
        Five hundred guests of one address come at once, and ten more each second.
        """
        world = LobbyWorld(guests="yes", new_guests=AddressBuckets(rate=10, burst=500))
        said = [self.say(world, "192.0.2.1") for _ in range(501)]
        self.assertEqual({one["type"] for one in said[:500]}, {"welcome"})
        error = said[500]["error"]
        self.assertEqual(error["code"], "rate_limited")
        self.assertLessEqual(error["details"]["retry_after"], 0.1)
        self.assertEqual(self.say(world, "198.51.100.1")["type"], "welcome")
        world.clock.advance(1.0)
        said = [self.say(world, "192.0.2.1") for _ in range(11)]
        self.assertEqual([one["type"] for one in said].count("welcome"), 10)


class RoomTests(SynchronousTestCase):
    """Rooms without end."""

    def world(self, **bounds: Any) -> LobbyWorld:
        return LobbyWorld(
            guests="yes",
            new_guests=AddressBuckets(1e6, 10**6),
            room_bounds=RoomBounds(**bounds),
        )

    def open_rooms(self, world: LobbyWorld, host: str, rooms: int = 8) -> list[Any]:
        """Say hello, open rooms and hang up; returns the answers."""
        line, _ = world.hello("x", host=host)
        said = [
            line.ask("join_room", game="party", options={"size": size})[0]
            for size in range(rooms)
        ]
        world.clock.advance(0)
        line.hang_up()
        return said

    def codes(self, said: list[Any]) -> list[str | None]:
        return [one.get("error", {}).get("code") for one in said]

    def test_rooms_of_one_address(self) -> None:
        """
        An address opens 64 rooms, its network 256; others still open theirs.
        """
        world = self.world(close_seconds=1000.0)
        # Each player joins rooms of its own: those of others have its address too.
        line, _ = world.hello("other", host="198.51.100.1")
        opened = 0
        for number in range(40):
            line, _ = world.hello("x", host=f"203.0.113.{number // 20}")
            for room in range(8):
                (said,) = line.ask(
                    "join_room", game="party", room_id=f"r{number}-{room}"
                )
                opened += said["type"] == "join_room_result"
            line.hang_up()
        self.assertEqual(opened, 128)
        self.assertEqual(said["error"]["code"], "too_many_rooms")
        self.assertEqual(said["error"]["details"], {"limit": 64})
        answers = self.open_rooms(world, "192.0.2.1")
        self.assertEqual(self.codes(answers), [None] * 8)
        # What closed is given back.
        for listed in world.rooms.directory.listed():
            world.rooms.directory.get(listed["room_id"]).close("ended")
        answers = self.open_rooms(world, "203.0.113.1")
        self.assertEqual(self.codes(answers), [None] * 8)

    def test_places_of_one_address(self) -> None:
        """
        Players of one address have so many places in all rooms, and a place that was
        given up is free again.
        """
        world = self.world(places=3)
        lines = [world.hello("x", host="203.0.113.1")[0] for _ in range(4)]
        said = [line.ask("join_room", game="party", room_id="r")[0] for line in lines]
        self.assertEqual(self.codes(said), [None, None, None, "too_many_rooms"])
        self.assertEqual(said[3]["error"]["details"], {"limit": 3})
        lines[0].ask("leave_room")
        (again, *_) = lines[3].ask("join_room", game="party", room_id="r")
        self.assertEqual(again["type"], "join_room_result")
        other, _ = world.hello("ann", host="192.0.2.1")
        (said_other, *_) = other.ask("join_room", game="party", room_id="r")
        self.assertEqual(said_other["type"], "join_room_result")

    def test_nobody_connected(self) -> None:
        """
        A room that waits for players closes half a minute after the last one hung up;
        who comes back in time, or has a friend there, keeps it.
        """
        world = self.world()
        line, ann = world.hello("ann", host="192.0.2.1")
        line.ask("join_room", game="party", room_id="r")
        line.hang_up()
        world.clock.advance(29)
        line = world.line("192.0.2.1")
        line.ask("hello", protocol=1, player_key=ann["player_key"])
        (said, *_) = line.ask("join_room", game="party", room_id="r")
        self.assertEqual(said["type"], "join_room_result")
        world.clock.advance(100)
        self.assertEqual(len(world.rooms.directory.listed()), 1)
        line.hang_up()
        world.clock.advance(29)
        self.assertEqual(len(world.rooms.directory.listed()), 1)
        world.clock.advance(2)
        self.assertEqual(world.rooms.directory.listed(), [])

    def test_full_of_deserted_rooms(self) -> None:
        """
        On a full node the room that nobody was connected to for longest gives way,
        and never one with a player in it.
        """
        world = self.world(most=3, close_seconds=1000.0)
        line, _ = world.hello("ann", host="192.0.2.1")
        line.ask("join_room", game="party", room_id="held")
        for number in range(2):
            gone, _ = world.hello("x", host="203.0.113.1")
            gone.ask("join_room", game="party", room_id=f"left{number}")
            gone.hang_up()
        late = [world.hello("bob", host="198.51.100.1")[0] for _ in range(3)]
        said = [
            line.ask("join_room", game="party", room_id=f"new{number}")[0]
            for number, line in enumerate(late)
        ]
        self.assertEqual(self.codes(said), [None, None, "too_many_rooms"])
        left = {room["room_id"] for room in world.rooms.directory.listed()}
        self.assertEqual(left, {"held", "new0", "new1"})

    def test_named_rooms_are_not_listed(self) -> None:
        """
        Who makes a room by name invites others itself: strangers see it in no list,
        unless it was made public.
        """
        world = self.world()
        watcher, _ = world.hello("eve", host="198.51.100.1")
        watcher.ask("list_rooms", watch=True)
        line, _ = world.hello("ann", host="192.0.2.1")
        line.ask("join_room", game="party", room_id="our-secret-4711")
        line.ask("join_room", game="party", room_id="come-all", public=True)
        line.ask("join_room", game="party")
        world.clock.advance(1.0)
        news = str(watcher.heard())
        self.assertNotIn("our-secret", news)
        self.assertIn("come-all", news)
        (said,) = watcher.ask("list_rooms")
        self.assertNotIn("our-secret", str(said))
        self.assertEqual(said["data"]["total"], 2)
        self.assertEqual(sum(world.rooms.directory.figures()["by_game"].values()), 3)
        (said, *_) = watcher.ask("join_room", game="party", room_id="our-secret-4711")
        self.assertEqual(said["type"], "join_room_result")


class MatchTests(SynchronousTestCase):
    """Matches without end."""

    def queue(
        self, world: LobbyWorld, host: str, **wish: Any
    ) -> tuple[MemoryLine, list[dict[str, Any]]]:
        """Say hello and queue; gives the line and the answer."""
        line, _ = world.hello("x", host=host, ends_at_match=False)
        said = line.ask("queue", game="duel", **wish)
        world.clock.advance(0)
        return line, said

    def test_matches_of_one_address(self) -> None:
        """
        An address has 32 matches that are not over; one who was paired with a player
        of it keeps its place in the queue, and when a match is over another begins.
        """
        world = LobbyWorld(
            guests="yes",
            new_guests=AddressBuckets(1e6, 10**6),
            matches_per_address=32,
        )
        for _ in range(64):
            self.queue(world, "203.0.113.1")
        self.assertEqual(len(world.fleet.hosted), 32)
        _, (refused,) = self.queue(world, "203.0.113.1")
        self.assertEqual(refused["error"]["code"], "busy")
        self.assertEqual(refused["error"]["details"]["limit"], 32)
        ann, bob = (self.queue(world, f"192.0.2.{n}")[0] for n in (1, 2))
        self.assertIn("matched", str(ann.heard()))
        self.assertIn("matched", str(bob.heard()))
        self.assertEqual(len(world.fleet.hosted), 33)
        world.fleet.end(0)
        _, (said,) = self.queue(world, "203.0.113.1")
        self.assertEqual(said["type"], "queue_status")

    def test_last_of_a_site(self) -> None:
        """
        Two addresses of a /24 that may have only one more match play it together; the
        fleet, which serves addresses in turn, gets both.
        """
        world = LobbyWorld(guests="yes", matches_per_address=1)
        for number in range(3):
            self.queue(world, f"203.0.113.1{number}")
            self.queue(world, f"198.51.{number}.1")
        for host in ("203.0.113.1", "203.0.113.2"):
            self.queue(world, host)
        self.assertEqual(len(world.fleet.hosted), 4)
        self.assertEqual(
            set(world.fleet.hosted[3].hosts), {"203.0.113.1", "203.0.113.2"}
        )
        for index in range(4):
            world.fleet.end(index)
        self.assertEqual(len(world.matches._counts), 0)

    def test_all_at_once(self) -> None:
        """
        Players who queued before the limit was reached are sent away when their match
        would be too many, and whoever was to play with them still waits.
        """
        world = LobbyWorld(guests="yes", matches_per_address=1)
        lines = []
        for host in ("203.0.113.1", "203.0.113.1", "203.0.113.1", "192.0.2.1"):
            line, _ = world.hello("x", host=host, ends_at_match=False)
            line.ask("queue", game="duel")
            lines.append(line)
        world.clock.advance(0)
        world.clock.advance(1)
        self.assertEqual(len(world.fleet.hosted), 1)
        self.assertIn("'busy'", str(lines[2].heard()))
        self.assertNotIn("busy", str(lines[3].heard()))
        friend, _ = self.queue(world, "198.51.100.1")
        world.clock.advance(1)
        self.assertIn("matched", str(friend.heard() + lines[3].heard()))


class QueuedLinesTests(SynchronousTestCase):
    """Lines that wait in queues, until no descriptor is left."""

    def setUp(self) -> None:
        self.world = LobbyWorld(guests="yes", new_guests=AddressBuckets(1e6, 10**6))
        self.opened: list[Any] = []
        reserve = Reserve(8, self.left)
        clock: Any = self.world.clock
        bounds = LineBounds(per_network=1000)
        lines = Lines(
            self.world.requests.open, clock, None, True, bounds, reserve=reserve
        )
        self.factory = ReservingFactory(LineFactory(lines), reserve)

    def left(self) -> int:
        """A hundred are enough for everybody but this attacker."""
        return 100 - sum(not transport.disconnected for transport in self.opened)

    def come(self, host: str, **request: Any) -> bytes:
        """Connect, say hello, and ask for something; gives what is answered."""
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", host, 1))
        if protocol is None:
            return b""
        transport = StringTransport()
        self.opened.append(transport)
        protocol.makeConnection(transport)
        hello = {"type": "hello", "data": {"protocol": 1, "name": "x"}}
        for asked in (hello, request):
            protocol.dataReceived(json.encode(asked) + b"\n")
        return transport.value()

    def test_players_come(self) -> None:
        """
        Somebody whose lines all wait in queues keeps nobody out, and who is in a room
        stays.
        """
        room = {"type": "join_room", "data": {"game": "party"}}
        self.assertIn(b"join_room_result", self.come("192.0.2.1", **room))
        for number in range(300):
            wish = {"game": "duel", "options": {"size": number}}
            answer = self.come("203.0.113.1", type="queue", data=wish)
            self.assertIn(b"waiting", answer, number)
        self.assertIn(b"join_room_result", self.come("192.0.2.2", **room))
        self.assertIn(b"welcome", self.come("192.0.2.3", type="ping", data={}))
        self.assertFalse(self.opened[0].disconnected)

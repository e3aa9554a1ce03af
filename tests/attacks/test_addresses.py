"""What one address, or one network, can take from everybody else."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.ledger import IS_FULL
from tests.support.lobbies import LobbyWorld, MemoryLine
from vinom.errors import Code, Refused
from vinom.limits.addresses import AddressBuckets
from vinom.messages.lobby import Hello

#: Guest hellos of a /24 and a /48 together; a fiftieth unless everything is tried.
HELLOS = 1_000_000 if IS_FULL else 20_000
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
        welcome = 0
        for number in range(HELLOS):
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
        world = LobbyWorld(guests="yes", most_players=MOST_PLAYERS)
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
        self.assertEqual(self.flood(world, 20_000), HELLOS)
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
        world = LobbyWorld(guests="yes")
        said = [self.say(world, "192.0.2.1") for _ in range(501)]
        self.assertEqual({one["type"] for one in said[:500]}, {"welcome"})
        error = said[500]["error"]
        self.assertEqual(error["code"], "rate_limited")
        self.assertLessEqual(error["details"]["retry_after"], 0.1)
        self.assertEqual(self.say(world, "198.51.100.1")["type"], "welcome")
        world.clock.advance(1.0)
        said = [self.say(world, "192.0.2.1") for _ in range(11)]
        self.assertEqual([one["type"] for one in said].count("welcome"), 10)

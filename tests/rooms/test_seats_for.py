"""How many may play depends on the options: rooms, queues, matches and tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import Pair, RoomsWorld, Size, kinds
from tests.support.lobbies import LobbyWorld
from vinom.errors import Misconfigured, Refused
from vinom.lobby.conversation.conversation import Bounds
from vinom.lobby.matches.outside import OutsidePlayer
from vinom.lobby.matchmaking.queues import Queues, read_tables
from vinom.play.choices import seats_for
from vinom.testing import play
from vinom.tools.check.trial import try_game


class Sized(Pair):
    """A duel, or from size 2 on a table of three or four."""

    name = "sized"
    seats = (2, 4)
    late_join = False

    def seats_for(self, options: Size) -> tuple[int, int]:
        return (2, 2) if options.size == 1 else (3, 4)


class Unsized(Pair):
    """Returns what it has for its seats; fails without."""

    name = "unsized"
    seats = (2, 4)
    found: Any = None

    def seats_for(self, options: Size) -> Any:
        return self.found or {}["size"]


class World(RoomsWorld):
    """A lobby with that game."""

    def __init__(self, tables: Any = None) -> None:
        LobbyWorld.__init__(
            self,
            games={"sized": Sized(), "unsized": Unsized()},
            bounds=Bounds(rate=100.0, burst=1000.0),
            tables=tables,
        )


class RoomTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_small_table(self) -> None:
        """
        A room whose options are for two begins with two, and is full.
        """
        _, joined = self.world.joined("ann", "r1", "sized")
        self.assertEqual(joined["seats"], [2, 2])
        bob, _ = self.world.joined("bob", "r1", "sized")
        self.assertIn("room_started", kinds(bob.heard()))
        cid, _ = self.world.hello("cid")
        said = cid.ask("join_room", game="sized", room_id="r1")
        self.assertEqual(said[0]["error"]["code"], "room_started")

    def test_large_table(self) -> None:
        """
        A room whose options are for three or four does not begin with two, lists four
        seats, and takes teams for no fifth.
        """
        options = {"size": 2}
        ann, joined = self.world.joined("ann", "r1", "sized", options=options)
        self.assertEqual(joined["seats"], [3, 4])
        self.world.joined("bob", "r1", "sized")
        self.world.clock.advance(6.0)
        said = ann.ask("start_room")
        self.assertEqual(said[-1]["error"]["details"]["seats"], 3)
        (facts,) = ann.ask("list_rooms")[0]["data"]["rooms"]
        self.assertEqual((facts["taken"], facts["seats"]), (2, 4))
        self.world.joined("cid", "r1", "sized")
        self.world.clock.advance(6.0)
        self.assertIn("room_started", kinds(ann.heard()))

    def test_wrong_seats(self) -> None:
        """
        A game that returns no numbers of players, or fails, gets no room; the answer
        names its method.
        """
        ann, _ = self.world.hello("ann")
        for found, why in (
            ((1, 2), r"Unsized.seats_for returned \(1, 2\); return two numbers from 2"),
            ((3, 3, 3), r"returned \(3, 3, 3\); return two numbers from 2 to 4"),
            ("ab", "returned 'ab'; return two numbers from 2 to 4"),
            (None, "Unsized.seats_for failed: KeyError"),
        ):
            Unsized.found = found
            (said,) = ann.ask("join_room", game="unsized", options={"size": 3})
            self.assertEqual(said["error"]["code"], "bad_options")
            self.assertRegex(said["error"]["message"], why)


class QueueTests(SynchronousTestCase):
    def states(self, world: World, names: str, **wish: Any) -> list[str]:
        """Have players queue; returns what each was sent last."""
        lines = [world.queued(name, "sized", **wish)[0] for name in names]
        world.clock.advance(0)
        said = [line.heard() for line in lines]
        return [one[-1]["type"] if one else "nothing" for one in said]

    def test_options_of_players(self) -> None:
        """
        Two who want a duel are matched at once; of those who want a large table two
        wait, and four are matched.
        """
        world = World()
        self.assertEqual(self.states(world, "ab"), ["match_found"] * 2)
        large = {"options": {"size": 2}}
        self.assertEqual(self.states(world, "cd", **large), ["nothing"] * 2)
        self.assertEqual(self.states(world, "ef", **large), ["match_found"] * 2)

    def test_parties(self) -> None:
        """
        A party has as many members as may play together with its options.
        """
        world = World()
        for size, most in ((1, 2), (2, 4)):
            line, _ = world.hello(f"ann{size}")
            asked = {"game": "sized", "options": {"size": size}}
            (said,) = line.ask("create_party", **asked)
            self.assertEqual(said["data"]["party"]["size"], most)

    def test_options_of_a_queue(self) -> None:
        """
        A queue with options makes matches as these allow; one whose seats do not fit
        them is refused at the start.
        """
        games = {"sized": Sized()}
        large = {"game": "sized", "options": {"size": 2}}
        queue = Queues(games, read_tables({"large": large})).find("large", None)
        self.assertEqual((queue.rule.shape.fewest, queue.rule.shape.most), (3, 4))
        wrong = read_tables({"large": {**large, "seats": [2, 4]}})
        with self.assertRaisesRegex(Misconfigured, "2 to 4 players, but sized takes 3"):
            Queues(games, wrong)

    def test_options_beyond_a_queue(self) -> None:
        """
        A player whose options no match of the queue can have is told so.
        """
        world = World(read_tables({"duels": {"game": "sized", "seats": [2, 2]}}))
        line, _ = world.hello("ann")
        (said,) = line.ask("queue", queue="duels", options={"size": 2})
        self.assertEqual(said["error"]["code"], "bad_options")
        self.assertIn("makes matches of 2 to 2 players", said["error"]["message"])

    def test_matches_of_others(self) -> None:
        """
        A match that an outside matchmaker makes has as many players as its options
        allow.
        """
        world = World()
        three = [OutsidePlayer(name=name) for name in "abc"]
        refused = self.failureResultOf(self._start(world, three, b"{}"), Refused)
        self.assertEqual(refused.value.details["max"], 2)
        started = self.successResultOf(self._start(world, three, b'{"size": 2}'))
        self.assertEqual(len(started.seats), 3)

    def _start(self, world: World, players: Any, options: bytes) -> Any:
        return ensureDeferred(world.outside.start("sized", players, options))


class AuthorTests(SynchronousTestCase):
    def test_own_tests(self) -> None:
        """
        In a game's own test a table has as many seats as the options allow, and
        ``vinom check`` tries no others.
        """
        self.assertRaises(Refused, play, Sized, seats=3)
        match = play(Sized, seats=3, options={"size": 2})
        self.assertEqual(match.view()["seats"], 3)
        for seed in range(2):
            for is_drawn in (False, True):
                trial = try_game(Sized(), "sized", 3, seed, None, is_drawn)
                faults = [one for one in trial.findings if one.rule == "fault"]
                self.assertEqual(faults, [])

    def test_unasked(self) -> None:
        """
        Without the method the seats are those of the class.
        """
        self.assertEqual(seats_for(Pair(), b"not even read"), (2, 2))

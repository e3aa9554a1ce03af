"""Queues that the settings name, as players and operators know them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.support.lobbies import Faulty, LobbyWorld, MemoryLine, SizeOptions
from vinom.base.model import Player, QueueEntry, Rating
from vinom.errors import Misconfigured
from vinom.game import Game
from vinom.lobby.matchmaking.queues import Queues, read_tables
from vinom.lobby.matchmaking.rules.rule import Finding, NoSettings, Proposal, Rule


class Arena(Game[Any, Any]):
    """The part of a game with teams that the lobby uses."""

    name = "arena"
    actions = SizeOptions
    options = SizeOptions
    seats = (2, 8)
    teams = 2


class Open(Arena):
    """One that takes newcomers."""

    name = "open"
    late_join = True


class Running:
    """
    Running rooms.

    :ivar free: how many seats they have.
    """

    def __init__(self) -> None:
        self.free, self.asked = 0, 0

    async def seats(self, game: str, options: bytes, player_ids: Sequence[str]) -> str:
        self.asked += 1
        if len(player_ids) > self.free:
            return ""
        self.free -= len(player_ids)
        return "r1"


class BackfillTests(SynchronousTestCase):
    """Players who wait get free seats of running rooms."""

    def setUp(self) -> None:
        tables = {"fill": {"game": "open", "seats": [4, 8], "backfill": True}}
        self.store = Faulty()
        self.world = LobbyWorld(
            games={"open": Open()}, tables=read_tables(tables), store=self.store
        )
        self.running = self.world.matchmaker.rounds.running_rooms = Running()

    def test_longest_wait_first(self) -> None:
        """
        Who waits longest gets the seats, and is out of the queue; the others wait on,
        and get the next ones.
        """
        lines = [
            self.world.queued(name, "open", queue="fill")[0] for name in ("a", "b", "c")
        ]
        self.running.free = 2
        self.world.clock.advance(0)
        for line in lines[:2]:
            (found,) = line.heard()
            self.assertEqual(
                (found["type"], found["data"]),
                ("room_found", {"room_id": "r1", "game": "open", "queue": "fill"}),
            )
            self.assertEqual(line.ask("cancel")[0]["error"]["code"], "not_queued")
        self.assertEqual(lines[2].heard(), [])
        self.running.free = 1
        self.world.clock.advance(1.1)
        self.assertEqual(lines[2].heard()[-1]["type"], "room_found")
        asked = self.running.asked
        self.world.clock.pump([1.0] * 5)
        self.assertEqual(self.running.asked, asked, "nobody waits")
        counts = Deferred.fromCoroutine(self.world.matchmaker.counts())
        self.assertEqual(self.successResultOf(counts)["backfilled"], {"open": 3})

    def test_claimed_without_an_answer(self) -> None:
        """
        A player who was taken out of the queue, which the node did not learn at once,
        is sent to the room.
        """
        line, _ = self.world.queued("a", "open", queue="fill")
        self.store.lost["leave"] = 1
        self.running.free = 1
        self.world.clock.advance(0)
        self.assertEqual(line.heard(), [])
        self.world.clock.pump([0.5] * 3)
        (found,) = line.heard()
        self.assertEqual(found["type"], "room_found")

    def test_not_claimed(self) -> None:
        """
        A player who was not taken out of the queue waits on, and is sent nowhere.
        """
        line, welcome = self.world.queued("a", "open", queue="fill")
        self.store.failures["leave"] = 1
        self.running.free = 1
        self.world.clock.pump([0.0, 0.5, 0.5])
        self.running.free = 0
        self.world.clock.pump([0.5] * 6)
        self.assertEqual(line.heard(), [])
        where = self.successResultOf(self.world.lobby.of_player(welcome["player_id"]))
        self.assertIsNotNone(where.entry)

    def test_a_silent_node(self) -> None:
        """
        Players of other queues do not wait for a node that does not say whether it has
        free seats; those who would have got them are matched when that is known.
        """
        answer: Deferred[str] = Deferred()
        silent = self.patch(self.running, "seats", lambda *_: answer)
        filling = [
            self.world.queued(f"a{n}", "open", queue="fill")[0] for n in range(8)
        ]
        self.world.clock.advance(0)
        others = [self.world.queued(f"b{n}", "open")[0] for n in range(8)]
        self.world.clock.advance(0)
        for line in others:
            self.assertEqual(line.heard()[-1]["type"], "match_found")
        silent.restore()
        answer.callback("")
        self.world.clock.advance(0)
        for line in filling:
            self.assertEqual(line.heard()[-1]["type"], "match_found")

    def test_explain(self) -> None:
        """
        An operator sees that running rooms have no seats.
        """
        _, welcome = self.world.queued("a", "open", queue="fill")
        self.world.clock.advance(0)
        explained = self.successResultOf(
            Deferred.fromCoroutine(self.world.matchmaker.explain(welcome["player_id"]))
        )
        self.assertEqual(explained["backfill"], "no running room has 1 free seats")

    def test_other_queues(self) -> None:
        """
        Queues without ``backfill`` make matches of their own.
        """
        self.running.free = 5
        line, _ = self.world.queued("a", "open")
        self.world.clock.advance(0)
        self.assertEqual((self.running.asked, line.heard()), (0, []))

    def test_game_without_newcomers(self) -> None:
        """
        A game that takes no newcomers cannot have such a queue; the node names it.
        """
        tables = read_tables({"fill": {"game": "arena", "backfill": True}})
        with self.assertRaises(Misconfigured) as caught:
            Queues({"arena": Arena()}, tables)
        self.assertIn("queues.fill.backfill", str(caught.exception))


class Broken(Rule):
    """Fails."""

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        yield None
        raise RuntimeError("on purpose")


class Greedy(Rule):
    """Proposes more players than the queue allows."""

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        yield Proposal(tuple(entries))
        return None


class Youngest(Rule):
    """Matches the two who came last."""

    settings = NoSettings

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        yield Proposal(tuple(entries[-2:]), (0, 1))
        return None


TABLES = {
    "ranked": {"game": "arena", "rule": "rating", "team_size": 1},
    "pairs": {"game": "arena", "team_size": 2, "options": {"size": 7}},
    "near": {"game": "arena", "rule": "buckets", "seats": [2, 2]},
    "broken": {"game": "arena", "rule": f"{__name__}:Broken", "team_size": 1},
    "greedy": {"game": "arena", "rule": f"{__name__}:Greedy", "team_size": 1},
    "youngest": {"game": "arena", "rule": f"{__name__}:Youngest", "team_size": 1},
}
GAMES = {"arena": Arena()}


def world_of(**parts: Any) -> LobbyWorld:
    """Make a lobby with these queues."""
    return LobbyWorld(games=GAMES, tables=read_tables(TABLES), **parts)


def states(said: list[dict[str, Any]]) -> list[str]:
    return [m["data"].get("state", m["type"]) for m in said if m["success"]]


class NamedQueueTests(SynchronousTestCase):
    """Queueing by name."""

    def ask(self, world: LobbyWorld, name: str, **wish: Any) -> MemoryLine:
        """Queue; what was answered is taken."""
        line, _ = world.hello(name)
        self.assertEqual(states(line.ask("queue", **wish)), ["waiting"])
        return line

    def rate(self, world: LobbyWorld, player_id: str, mu: float) -> None:
        """Give a player a rating."""
        self.successResultOf(
            world.rating_store.rate(
                "arena",
                f"before-{player_id}",
                1,
                {player_id: Rating()},
                {player_id: Rating(mu, 2.0, 30)},
                {player_id: world.clock.seconds() + 1e6},
            )
        )

    def test_offered(self) -> None:
        """
        A welcome lists the queues; without any it is as it was.
        """
        _, welcome = world_of().hello("ann")
        self.assertEqual(
            welcome["queues"][:2],
            [{"name": "ranked", "game": "arena"}, {"name": "pairs", "game": "arena"}],
        )
        _, welcome = LobbyWorld().hello("ann")
        self.assertNotIn("queues", welcome)
        self.assertNotIn("regions", welcome)

    def test_refusals(self) -> None:
        """
        A queue that is not there, and one with another game or other options, are
        refused by the field at fault.
        """
        line, _ = world_of().hello("ann")
        for wish, code in (
            ({"queue": "golden"}, "unknown_queue"),
            ({"queue": "ranked", "game": "maze"}, "bad_field"),
            ({"queue": "pairs", "options": {"size": 8}}, "bad_options"),
            ({}, "bad_field"),
            ({"queue": "near", "echoes": {"eu": -1}}, "bad_field"),
            ({"queue": "near", "echoes": {str(n): 1 for n in range(17)}}, "bad_field"),
        ):
            self.assertEqual(line.ask("queue", **wish)[0]["error"]["code"], code, wish)

    def test_named_and_default_are_apart(self) -> None:
        """
        Who queues by name does not meet who queues for the game, and each is sent which
        queue it is in.
        """
        world = world_of()
        ann, _ = world.hello("ann")
        said = ann.ask("queue", queue="ranked")[0]["data"]
        self.assertEqual((said["game"], said["queue"]), ("arena", "ranked"))
        bob, _ = world.hello("bob")
        said = bob.ask("queue", game="arena")[0]["data"]
        self.assertNotIn("queue", said)
        world.clock.advance(100)
        self.assertEqual(states(ann.heard() + bob.heard()), [])
        self.ask(world, "cat", queue="ranked")
        world.clock.advance(0)
        self.assertEqual(states(ann.heard()), ["matched", "match_found"])
        plan = world.fleet.hosted[0].plan
        self.assertEqual([seat.team for seat in plan.seats], [0, 1])

    def test_two_against_two(self) -> None:
        """
        A queue of pairs of one game starts with four, with the options of the queue.
        """
        world = world_of()
        lines = [self.ask(world, name, queue="pairs") for name in "abc"]
        world.clock.advance(100)
        self.assertEqual(world.fleet.hosted, [])
        lines.append(self.ask(world, "d", queue="pairs", options={"size": 7}))
        world.clock.advance(0)
        plan = world.fleet.hosted[0].plan
        self.assertEqual([seat.team for seat in plan.seats], [0, 1, 0, 1])
        self.assertEqual(plan.options, b'{"size":7}')

    def test_a_party_stays_together(self) -> None:
        """
        Two who queue together play in one team.
        """
        world = world_of()
        (ann, _), (bob, _) = world.hello("ann"), world.hello("bob")
        created = ann.ask("create_party")[0]["data"]
        token = {"party_id": created["party_id"], "token": created["token"]}
        bob.ask("join_party", **token)
        ann.ask("queue", queue="pairs")
        for name in "cd":
            self.ask(world, name, queue="pairs")
        world.clock.advance(0)
        plan = world.fleet.hosted[0].plan
        teams = {seat.name: seat.team for seat in plan.seats}
        self.assertEqual(teams["ann"], teams["bob"])
        self.assertEqual(teams["c"], teams["d"])
        self.assertNotEqual(teams["ann"], teams["c"])

    def test_window_widens(self) -> None:
        """
        Players of different strength meet after a while, with nobody coming or going;
        an operator is told meanwhile what they wait for.
        """
        world = world_of()
        ann, bob = world.hello("ann"), world.hello("bob")
        self.rate(world, bob[1]["player_id"], 31.0)
        for line, _ in (ann, bob):
            line.ask("queue", queue="ranked")
        world.clock.advance(5)
        work = world.matchmaker.explain(ann[1]["player_id"])
        facts = self.successResultOf(Deferred.fromCoroutine(work))
        self.assertEqual(
            (facts["queue"], facts["excluded"], facts["widens_in"], facts["window"]),
            ("ranked", "rating 1", 5.0, 2.0),
        )
        self.assertEqual(facts["same_wish"], 2)
        world.clock.advance(14.9)
        self.assertEqual(states(ann[0].heard()), [])
        world.clock.advance(0.2)
        self.assertEqual(states(ann[0].heard()), ["matched", "match_found"])

    def test_ratings_follow_rounds(self) -> None:
        """
        A round that its game server reports changes the ratings of its players once,
        and they queue with them next; a round of the default queue changes nothing.
        """
        world = world_of()
        ann, bob = world.hello("ann"), world.hello("bob")
        ids = [ann[1]["player_id"], bob[1]["player_id"]]
        for line, _ in (ann, bob):
            line.ask("queue", queue="ranked")
        world.clock.advance(0)
        match_id = world.fleet.hosted[0].plan.match_id
        outcome = {"round": 1, "places": [[1], [0]], "scores": [0, 5]}
        for _ in range(2):
            world.matches.round_ended(match_id, outcome)
        found = self.successResultOf(world.rating_store.standings("arena", ids))
        self.assertLess(found[0].rating.mu, 25.0)
        self.assertGreater(found[1].rating.mu, 25.0)
        self.assertEqual([one.rating.rounds for one in found], [1, 1])
        self.assertEqual([one.recent for one in found], [(ids[1],), (ids[0],)])
        world.matches.round_ended(match_id, {**outcome, "round": 2})
        again = self.successResultOf(world.rating_store.standings("arena", ids))
        self.assertEqual([one.rating.rounds for one in again], [2, 2])
        world.fleet.end(0)
        line, _ = world.back(ann[1]["player_key"])
        line.ask("queue", queue="ranked")
        (entry,) = self.successResultOf(
            world.lobby.page("arena", b'{"size":10}', "ranked", "", 9)
        ).entries
        self.assertEqual(entry.ratings, (again[0].rating.mu,))
        self.assertEqual(entry.recent, (ids[1],))

    def test_others_first(self) -> None:
        """
        Two who have just played meet others if there are any.
        """
        world = world_of()
        keys = []
        for name in ("ann", "bob"):
            line, welcome = world.hello(name)
            line.ask("queue", queue="ranked")
            keys.append(welcome["player_key"])
        world.clock.advance(0)
        world.fleet.end(0)
        lines = [world.back(key)[0] for key in keys]
        lines.append(world.hello("cat")[0])
        for line in lines:
            line.ask("queue", queue="ranked")
        world.clock.advance(0)
        plan = world.fleet.hosted[1].plan
        self.assertEqual([seat.name for seat in plan.seats], ["ann", "cat"])

    def test_regions(self) -> None:
        """
        Players queue with the echoes that they measured; of regions that are not
        offered nothing is kept.
        """
        world = world_of(regions={"eu": "http://eu/echo", "us": "http://us/echo"})
        line, welcome = world.hello("ann")
        self.assertEqual(
            welcome["regions"][0], {"region": "eu", "url": "http://eu/echo"}
        )
        line.ask("queue", queue="near", echoes={"us": 90, "eu": 30.5, "moon": 1})
        (entry,) = self.successResultOf(
            world.lobby.page("arena", b'{"size":10}', "near", "", 9)
        ).entries
        self.assertEqual(entry.echoes, (("eu", 30.5), ("us", 90)))

    def test_a_rule_that_fails(self) -> None:
        """
        A rule that fails keeps nobody of other queues waiting, and is asked again; what
        it proposes against its settings is not started.
        """
        world = world_of()
        for queue in ("broken", "greedy", "ranked"):
            for name in ("ann", "bob", "cat"):
                self.ask(world, f"{name}-{queue}", queue=queue)
        world.clock.advance(0)
        self.assertEqual(len(world.fleet.hosted), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        world.clock.advance(1.1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_rule_of_ones_own(self) -> None:
        """
        A class that is named in the settings matches players as it wants.
        """
        world = world_of()
        for name in "abc":
            self.ask(world, name, queue="youngest")
        world.clock.advance(0)
        plan = world.fleet.hosted[0].plan
        self.assertEqual([seat.name for seat in plan.seats], ["b", "c"])

    def test_long_waits_are_logged(self) -> None:
        """
        A wait above the limit is logged, and again after as long.
        """
        said: list[str] = []

        def note(event: Any) -> None:
            if "has waited" in str(event.get("log_format")):
                said.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        world = world_of()
        line = self.ask(world, "ann", queue="ranked")
        world.clock.pump([1.0] * 299)
        self.assertEqual(said, [])
        world.clock.pump([1.0] * 30)
        self.assertEqual(len(said), 1)
        self.assertIn("s in the queue ranked, in which 1 can be matched", said[0])
        world.clock.pump([1.0] * 300)
        self.assertEqual(len(said), 2)
        line.ask("cancel")
        world.clock.pump([1.0] * 1000)
        self.assertEqual(len(said), 2)

    def test_a_long_queue_rests(self) -> None:
        """
        Newcomers of a long queue that has no match for them cause one look per pause.
        """
        world = world_of()
        looks = []
        rule = world.queues.named["ranked"].rule
        find = rule.find

        def counted(entries: Any, now: float) -> Any:
            looks.append(len(entries))
            return find(entries, now)

        self.patch(rule, "find", counted)
        for number in range(2500):
            world.lobby.enqueue(
                QueueEntry(
                    f"e{number}",
                    (Player(f"p{number}", "somebody"),),
                    "arena",
                    world.clock.seconds(),
                    b'{"size":10}',
                    queue="ranked",
                    ratings=(1000.0 * number,),
                )
            )
        for number in range(10):
            self.ask(world, f"n{number}", queue="ranked", options={})
            world.clock.advance(0.001)
        self.assertLess(len(looks), 3)
        world.clock.advance(0.1)
        self.assertGreater(max(looks), 2500)


class TableTests(SynchronousTestCase):
    """Mistakes in the settings."""

    def test_without_games(self) -> None:
        """
        What is wrong with a table is said before the games are loaded.
        """
        for tables, words in (
            ([], "must be tables"),
            ({"Big": {"game": "arena"}}, "'Big'"),
            ({"x": {}}, "'x'"),
            ({"x": {"game": "arena", "rul": "fifo"}}, "rul"),
            ({"x": {"game": "arena", "accept_seconds": -1}}, "accept_seconds"),
            ({f"q{n}": {"game": "arena"} for n in range(257)}, "at most 256"),
        ):
            with self.assertRaises(ValueError) as caught:
                read_tables(tables)
            self.assertIn(words, str(caught.exception))

    def test_with_games(self) -> None:
        """
        A queue that cannot work stops the start, in one sentence that names it.
        """
        for table, words in (
            ({"game": "chess"}, "queues.x.game 'chess' is no game"),
            ({"game": "arena", "options": {"size": "big"}}, "queues.x.options"),
            ({"game": "arena", "rule": "magic"}, "there are buckets, fifo, rating"),
            ({"game": "arena", "rule": "nowhere:Rule"}, "cannot load nowhere:Rule"),
            ({"game": "arena", "rule": f"{__name__}:Arena"}, "not a subclass"),
            ({"game": "arena", "team_size": 5}, "10 to 10 players"),
            ({"game": "arena", "seats": [4, 2]}, "4 to 2 players"),
            ({"game": "arena", "seats": [2, 2], "team_size": 1}, "not both"),
            ({"game": "plain", "team_size": 1}, "has none"),
            ({"game": "arena", "settings": {"x": 1}}, "queues.x.settings"),
            (
                {
                    "game": "arena",
                    "rule": "rating",
                    "settings": {
                        "steps": [
                            {"seconds": 0, "window": 5},
                            {"seconds": 9, "window": 2},
                        ]
                    },
                },
                "not 5, 2",
            ),
        ):

            class Plain(Arena):
                teams = None

            with self.assertRaises(Misconfigured) as caught:
                Queues({**GAMES, "plain": Plain()}, read_tables({"x": table}))
            self.assertIn(words, str(caught.exception))

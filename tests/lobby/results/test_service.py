"""What matches and rooms report of their rounds, to what operators read of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.lobby.results.test_sending import MemoryReceiver
from tests.lobby.results.test_store import NOW
from tests.support.apart_rooms import ApartWorld
from tests.support.fleets import MemoryFleet
from tests.support.http import ask
from tests.support.live_rooms import Few, Pair
from tests.support.lobbies import Duel, LobbyWorld, MemoryLine, Party
from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import StoreUnavailable
from vinom.game import Game, Outcome
from vinom.lobby.matches.outside import OutsideMatches
from vinom.lobby.results.sending import Sending
from vinom.lobby.results.service import MOST_LISTED, Results
from vinom.lobby.results.store import ResultStore
from vinom.net.web.answers import Folder
from vinom.node.web.admin import admin_pages


class Teams(Pair):
    """Two teams of one."""

    name = "teams"
    teams = 2


class Odd(Pair):
    """Its outcome is no JSON."""

    name = "odd"

    def outcome(self, s: Any) -> Outcome | None:
        return Outcome(s.over, ((0,), (1,)), (float("nan"), 2)) if s.over else None


GAMES: dict[str, Game[Any, Any]] = {
    game.name: game for game in (Duel(), Party(), Pair(), Few(), Teams(), Odd())
}


#: What a game process that was taken over may report of a match of two.
MORE_SEATS: tuple[dict[str, Any], ...] = (
    {"places": 3},
    {"places": [[2]]},
    {"places": [[0, 1], [0]]},
    {"places": [[]] * 3},
    {"scores": [1, 2, 3]},
    {"scores": ["x"]},
)


class ResultsCase(SynchronousTestCase):
    """A node with results, in memory."""

    is_sending = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store: Any = ResultStore(10_000, 86400.0, self.clock.seconds)
        self.receiver = MemoryReceiver()
        sending = Sending(
            self.store,
            self.receiver,
            self.clock,
            lambda: 1.0,
            read_secrets=lambda: (bytes(32),),
            most_tries=1,
        )
        self.service = Results(
            self.store,
            GAMES,
            self.clock,
            lambda match_id: f"{match_id}.vinomrec",
            sending if self.is_sending else None,
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.world = LobbyWorld(
            clock=self.clock, games=GAMES, results=self.service, watching="listed"
        )
        outside = OutsideMatches(
            self.world.matches, self.world.identity, GAMES, self.world.entropy
        )
        nothing: Any = None
        self.pages = Folder(
            v1=admin_pages(
                nothing,
                nothing,
                self.world.matches,
                self.world.matchmaker,
                outside,
                nothing,
                self.world.rooms,
                self.service,
            )
        )

    def page(self, path: str = "results", status: int = 200) -> Any:
        answer = ask(self.pages, "GET", f"/v1/{path}")
        self.assertEqual(answer.status, status, answer.body)
        return answer.json

    def results(self) -> list[dict[str, Any]]:
        return [kept["result"] for kept in self.page()["results"]]

    def brief(self) -> list[tuple[Any, ...]]:
        return [
            (one["round"], one["reason"], one["places"], one["scores"])
            for one in self.results()
        ]

    def room(self, game: str, *names: str) -> list[MemoryLine]:
        lines = []
        for name in names or ("ann", "bob"):
            line, _ = self.world.hello(name)
            line.ask("join_room", game=game, room_id="r1")
            lines.append(line)
        self.clock.advance(0)
        return lines

    def act(self, line: MemoryLine, word: str) -> None:
        line.ask("action", word=word)
        self.clock.advance(0)


class RoomTests(ResultsCase):
    """Rooms that the node plays itself."""

    def test_rounds(self) -> None:
        """
        Each round of a room has a result with those who played it; what the room's end
        repeats is not another one.
        """
        ann, bob = self.room("pair")
        self.act(ann, "end")
        (first,) = self.results()
        self.assertEqual(
            {name: first[name] for name in ("round", "game", "options", "reason")},
            {"round": 1, "game": "pair", "options": {"size": 1}, "reason": "finished"},
        )
        self.assertTrue(first["match_id"].startswith("r1-"))
        self.assertEqual(first["id"], f"{first['match_id']}:1")
        self.assertEqual(first["recording"], f"{first['match_id']}.vinomrec")
        self.assertEqual((first["places"], first["scores"]), ([[0, 1]], [0, 0]))
        self.assertEqual(first["time"], self.clock.seconds())
        seats = [(seat["seat"], seat["name"]) for seat in first["seats"]]
        self.assertEqual(seats, [(0, "ann"), (1, "bob")])
        self.assertTrue(all(seat["player_id"] for seat in first["seats"]))
        self.act(bob, "end")
        self.clock.advance(100.0)
        self.assertEqual(
            [one[:2] for one in self.brief()], [(1, "finished"), (2, "finished")]
        )

    def test_bot(self) -> None:
        """
        A bot has a seat and a name, and no id.
        """
        (ann,) = self.room("pair", "ann")
        ann.ask("add_bot")
        self.clock.advance(0)
        self.act(ann, "end")
        (one,) = self.results()
        self.assertEqual(
            [(seat["name"], seat["player_id"] is None) for seat in one["seats"]],
            [("ann", False), ("Pixel", True)],
        )

    def test_teams(self) -> None:
        """
        A result names the teams that the rules dealt.
        """
        ann, _ = self.room("teams")
        self.act(ann, "end")
        (one,) = self.results()
        self.assertEqual([seat["team"] for seat in one["seats"]], [0, 1])

    def test_rematch(self) -> None:
        """
        A rematch is another match: its first round is no repetition.
        """
        ann, _ = self.room("pair")
        self.act(ann, "end")
        ann.ask("rematch")
        self.clock.advance(0)
        self.act(ann, "end")
        first, second = self.results()
        self.assertEqual((first["round"], second["round"]), (1, 1))
        self.assertNotEqual(first["match_id"], second["match_id"])

    def test_nobody_finished(self) -> None:
        """
        Play that ends before any round is over has a result that says why; a room in
        which play never began has none.
        """
        (line,) = self.room("pair", "ann")
        line.ask("leave_room")
        self.clock.advance(40.0)
        self.assertEqual(self.results(), [])
        for line in self.room("pair", "cat", "dan"):
            line.ask("leave_room")
        self.clock.advance(40.0)
        self.assertEqual(self.brief(), [(0, "abandoned", [], [])])

    def test_crash(self) -> None:
        """
        A game that fails leaves a result without an outcome.
        """
        ann, _ = self.room("pair")
        self.act(ann, "boom")
        self.assertEqual(self.brief(), [(0, "crashed", [], [])])
        self.flushLoggedErrors()

    def test_node_stops(self) -> None:
        """
        A node that stops notes what it interrupted.
        """
        self.room("pair")
        self.world.rooms.stopService()
        self.assertEqual(self.brief(), [(0, "shutdown", [], [])])

    def test_odd_scores(self) -> None:
        """
        A score that JSON does not have is none.
        """
        ann, _ = self.room("odd")
        self.act(ann, "end")
        self.assertEqual(self.brief(), [(1, "finished", [[0], [1]], [None, 2])])


class MatchTests(ResultsCase):
    """Matches of game servers."""

    def match(self) -> Any:
        for name in ("ann", "bob"):
            self.world.queued(name, "duel")
        self.clock.advance(0)
        return self.world.fleet.hosted[-1]

    def outcome(self, round: int = 1, **facts: Any) -> dict[str, Any]:
        return {"round": round, "places": [[1], [0]], "scores": [3, 4.5]} | facts

    def test_rounds(self) -> None:
        """
        Each round that the game server reports has a result, once.
        """
        hosted = self.match()
        match_id = hosted.plan.match_id
        for number in (1, 2, 2):
            hosted.watch.round_ended(match_id, self.outcome(number))
        self.world.fleet.end(0, outcome=self.outcome(2))
        self.assertEqual(
            self.brief(),
            [
                (1, "finished", [[1], [0]], [3, 4.5]),
                (2, "finished", [[1], [0]], [3, 4.5]),
            ],
        )
        self.assertEqual({one["match_id"] for one in self.results()}, {match_id})

    def test_reported_at_the_end(self) -> None:
        """
        An outcome that only the end of the match reports counts as well.
        """
        self.match()
        self.world.fleet.end(0, outcome=self.outcome())
        self.assertEqual([one[:2] for one in self.brief()], [(1, "finished")])

    def test_without_outcome(self) -> None:
        """
        A match that was lost, or that nobody came to, has a result that says so.
        """
        for reason in ("lost", "void"):
            self.match()
            self.world.fleet.end(-1, reason)
        self.assertEqual([one[:2] for one in self.brief()], [(0, "lost"), (0, "void")])

    def test_lost_after_a_round(self) -> None:
        """
        A game server that dies after a round takes nothing back.
        """
        hosted = self.match()
        hosted.watch.round_ended(hosted.plan.match_id, self.outcome())
        self.world.fleet.end(0, "lost")
        self.assertEqual([one[:2] for one in self.brief()], [(1, "finished")])

    def test_nonsense(self) -> None:
        """
        A game process that reports nonsense has no result, and play goes on.
        """
        hosted = self.match()
        for wrong in ({}, {"round": "x"}, {"round": -1}, *MORE_SEATS):
            outcome = self.outcome() | wrong if wrong else {}
            hosted.watch.round_ended(hosted.plan.match_id, outcome)
        self.assertEqual(self.results(), [])
        self.assertTrue(self.flushLoggedErrors())


class Notes:
    """Notes what rooms report."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, Any, list[str]]] = []

    def round_over(self, plan: MatchPlan, outcome: Any) -> None:
        self.match_over(plan, outcome["round"])

    def match_over(self, plan: MatchPlan, reason: Any) -> None:
        names = [seat.name for seat in plan.seats]
        self.noted.append((plan.match_id, reason, names))


class ApartRoomTests(SynchronousTestCase):
    """Rooms of the node that a game process plays."""

    def test_round(self) -> None:
        """
        A round that ends elsewhere has one result, from the room and not from the
        matches.
        """
        notes = Notes()

        class World(ApartWorld):
            results = notes

        world = World()
        ann, _ = world.joined("ann", "r1", "pair")
        world.joined("bob", "r1", "pair")
        for number in (1, 2):
            ann.act(number, word="end")
            world.turn()
        self.assertEqual([one[1] for one in notes.noted], [1, 2])
        self.assertEqual(notes.noted[0][2], ["ann", "bob"])
        world.near.die()
        world.turn()
        self.assertEqual(len(notes.noted), 2)
        world.joined("cat", "r2", "pair")
        world.joined("dan", "r2", "pair")
        world.near.die()
        world.turn()
        self.assertEqual(
            [one[1:] for one in notes.noted[2:]], [("lost", ["cat", "dan"])]
        )


class ListTests(ResultsCase):
    """Pages of the admin API."""

    is_sending = True

    def note(self, count: int) -> None:
        for number in range(count):
            plan = MatchPlan(f"m{number}", "duel", (SeatPlan("a", "Ann"),), 7)
            outcome = {"round": 1, "places": [[0]], "scores": []}
            self.service.round_over(plan, outcome)

    def test_pages(self) -> None:
        """
        A reader who asks on after the last cursor gets every result once.
        """
        self.note(250)
        found: list[str] = []
        after, pages = "", 0
        while True:
            page = self.page(f"results?after={after}&limit=60")
            if not page["results"]:
                break
            found += [kept["result"]["match_id"] for kept in page["results"]]
            after, pages = page["next"], pages + 1
        self.assertEqual(found, [f"m{number}" for number in range(250)])
        self.assertEqual((pages, page["next"]), (5, after))
        self.assertEqual(len(self.page()["results"]), 100)
        self.assertEqual(len(self.page(f"results?limit={MOST_LISTED}")["results"]), 250)

    def test_wrong_parameters(self) -> None:
        """
        A wrong parameter is named.
        """
        for query, field in (
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("limit=-1", "limit"),
            ("after=x", "after"),
            ("after=%FF", "after"),
            ("since=3", "since"),
        ):
            for path in ("results", "results/dead"):
                error = self.page(f"{path}?{query}", 400)["error"]
                self.assertEqual(error["details"]["field"], field, query)
        self.assertEqual(ask(self.pages, "POST", "/v1/results").status, 405)

    def test_dead(self) -> None:
        """
        Results that the receiver refused are listed with the reason, and sent again,
        one or all of them.
        """
        self.note(3)
        while self.receiver.asked:
            self.receiver.answer(422)
        dead = self.page("results/dead")["results"]
        self.assertEqual(
            [(one["state"], one["why"]) for one in dead],
            [("dead", "it answers 422")] * 3,
        )

        def send(body: Any) -> Any:
            return ask(self.pages, "POST", "/v1/results/dead/send", body)

        self.receiver.seen.clear()
        self.assertEqual(send({"cursor": dead[1]["cursor"]}).json, {"sent_again": 1})
        self.assertEqual(self.receiver.seen, ["m1:1"])
        for wrong in (dead[1]["cursor"], "x", "1-0"):
            answer = send({"cursor": wrong})
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.json["error"]["details"]["field"], "cursor")
        self.assertEqual(send({}).json, {"sent_again": 2})
        self.assertEqual(sorted(self.receiver.seen), ["m0:1", "m1:1", "m2:1"])
        self.assertEqual(self.page("results/dead")["results"], [])

    def test_figures(self) -> None:
        """
        Metrics say how many wait, and for how long.
        """
        self.note(2)
        self.receiver.answer()
        self.clock.advance(5.0)
        asked = Deferred.fromCoroutine(self.service.figures())
        figures = self.successResultOf(asked)
        self.assertEqual(figures["states"], {"kept": 2, "waiting": 1, "dead": 0})
        self.assertEqual(figures["longest_wait"], 5.0)
        self.assertEqual(figures["requests"]["sent"], 1)
        self.assertEqual(figures["noted"], {"finished": 2})

    def test_one_that_cannot_be_stored(self) -> None:
        """
        A result that storage cannot take is logged, and the next ones are kept.
        """
        add = self.store.add

        def picky(result: Any, *, is_wanted: bool) -> Any:
            if result.match_id == "m1":
                raise LookupError("never seen")
            return add(result, is_wanted=is_wanted)

        self.patch(ResultStore, "add", staticmethod(picky))
        self.note(3)
        found = [one["match_id"] for one in self.results()]
        self.assertEqual(found, ["m0", "m2"])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_storage_away(self) -> None:
        """
        Results wait while storage does not answer, and play goes on.
        """
        add, is_away = self.store.add, True

        def away(*given: Any, **named: Any) -> Any:
            if is_away:
                raise StoreUnavailable("late")
            return add(*given, **named)

        self.patch(ResultStore, "add", staticmethod(away))
        self.note(2)
        self.clock.advance(1.0)
        self.clock.advance(0.5)
        is_away = False
        # Noted when storage is back, and still the last.
        self.note(3)
        self.clock.advance(0.5)
        found = [one["match_id"] for one in self.results()]
        self.assertEqual(found, ["m0", "m1", "m2"])


class NothingKeptTests(SynchronousTestCase):
    def test_page(self) -> None:
        """
        A node that keeps no results says how to change that.
        """
        world = LobbyWorld(fleet=MemoryFleet())
        nothing: Any = None
        outside = OutsideMatches(
            world.matches, world.identity, world.games, world.entropy
        )
        pages = Folder(
            v1=admin_pages(
                nothing,
                nothing,
                world.matches,
                world.matchmaker,
                outside,
                nothing,
                world.rooms,
            )
        )
        answer = ask(pages, "GET", "/v1/results")
        self.assertEqual(answer.status, 503)
        self.assertIn("results_most", answer.json["error"]["message"])

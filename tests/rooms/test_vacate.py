"""A game gives up a seat: its player watches, and a newcomer may take the seat."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_faults import RoomCase
from tests.play.test_recording import RecordingCase
from tests.rooms.test_addressed import called
from tests.rooms.test_checkpoints import SECONDS, Node, Nodes
from tests.rooms.test_matches import CrossTests, of
from tests.support.games import Dismissing, Say, Tale
from tests.support.live_rooms import PlayerLine, kinds, only
from vinom.errors import Refused
from vinom.game import Seat, Step, Table, Vacate
from vinom.play.recording import read_recording, replay
from vinom.testing import play
from vinom.tools.check.trial import try_game


class Early(Dismissing):
    """Puts somebody out before play begins."""

    def start(self, table: Table) -> Any:
        return Step(Tale(), (Vacate(0),))


class RoomTests(SynchronousTestCase):
    """In rooms of the node."""

    def setUp(self) -> None:
        self.nodes = Nodes()
        self.node = self.nodes.start("n1", games=(Dismissing,), spectators=2)
        self.lines: dict[str, PlayerLine] = {}
        self.keys: dict[str, tuple[str, dict[str, Any]]] = {}
        for name in "abw":
            self.join(name, **({"spectate": True} if name == "w" else {}))
        for line in self.lines.values():
            line.heard()

    def join(self, name: str, **more: Any) -> dict[str, Any]:
        line, welcome = self.node.hello(name)
        asked = {"game": "dismissing", "room_id": "r1", **more}
        data: dict[str, Any] = line.ask("join_room", **asked)[0]["data"]
        self.node.turn()
        self.lines[name] = line
        self.keys[name] = welcome["player_key"], data
        return data

    def say(self, word: str, id: int = 1) -> None:
        self.lines["a"].do(id, type="say", word=word)
        self.node.turn()

    def lines_of(self, said: list[dict[str, Any]]) -> list[str]:
        shown: list[str] = of(said, "game_state")[-1]["view"]["lines"]
        return [line.split(" ", 1)[1] for line in shown]

    def test_goes_on_watching(self) -> None:
        """
        The player who was put out is sent what was for it in that step, and watches
        from then on: it is sent states, and what is for spectators, and cannot act. The
        others are told, and `left` is not called.
        """
        self.say("out 1")
        said = self.lines["b"].heard()
        self.assertEqual(called(said), ["bye"])
        (left,) = of(said, "client_left")
        self.assertEqual((left["seat"], left["reason"]), (1, "vacated"))
        self.assertEqual(of(self.lines["a"].heard(), "client_left"), [left])
        self.say("to crowd", 2)
        said = self.lines["b"].heard()
        self.assertEqual(called(said), ["crowd"])
        self.assertEqual(self.lines_of(said), ["1 is out", "crowd"])
        self.say("to blue", 3)
        self.assertEqual(called(self.lines["b"].heard()), [])
        self.lines["b"].do(1, type="say", word="hi")
        refused = only(self.lines["b"].heard())["error"]
        self.assertEqual(refused["code"], "not_seated")
        # It comes back as one who watches.
        self.lines["b"].hang_up()
        self.node.turn()
        key, place = self.keys["b"]
        line, _ = self.node.back(key)
        said = line.ask("reconnect", resume=place["resume"])
        self.assertIsNone(said[0]["data"]["seat"])

    def test_no_place_to_watch(self) -> None:
        """
        If no more may watch, the player who was put out is removed, and told so.
        """
        self.join("x", spectate=True)
        self.lines["b"].heard()
        self.say("out 1")
        self.assertIn("kicked", kinds(self.lines["b"].heard()))
        (left,) = of(self.lines["a"].heard(), "client_left")
        self.assertEqual(left["reason"], "vacated")

    def test_newcomers(self) -> None:
        """
        Newcomers take the seats after it, and then the one that was given up.
        """
        self.say("out 1")
        self.assertEqual([self.join(name)["seat"] for name in "cd"], [2, 1])
        said = self.lines["a"].heard()
        self.assertEqual(self.lines_of(said), ["1 is out", "2 is c", "1 is d"])

    def test_the_host(self) -> None:
        """
        If the host is put out, the next player is host; a bot's seat is free again.
        """
        self.lines["a"].ask("add_bot")
        self.say("out 0")
        (left,) = of(self.lines["b"].heard(), "client_left")
        self.assertEqual((left["seat"], left["host"]), (0, 1))

    def test_everybody(self) -> None:
        """
        A game that puts everybody out is over; the room waits for players.
        """
        self.lines["w"].ask("leave_room")
        self.say("out 1")
        self.lines["a"].heard()
        self.say("out 0", 2)
        said = self.lines["a"].heard()
        self.assertEqual(of(said, "client_left")[-1]["seat"], 0)
        self.assertNotIn("room_closed", kinds(said))
        self.node.turn()
        room = self.node.rooms.directory.rooms["r1"]
        self.assertEqual(room.state, "gathering")

    def test_on_another_node(self) -> None:
        """
        If the node dies when it has stored that, and told nobody, the player is sent
        the last word to it at the other node, once, and watches there.
        """
        second = self.nodes.start("n2", games=(Dismissing,))
        self.node.store.is_late = True
        self.say("out 1")
        self.assertEqual(self.lines["b"].heard(), [])
        _, given = self.node.store.waiting.pop()
        self.node.store.store.put(*given)
        self.node.die()
        self.nodes.wait(SECONDS)
        self.assertEqual(self._back(second, "a"), (0, []))
        self.assertIsNone(self._back(second, "b")[0])

    def _back(self, node: Node, name: str) -> tuple[int | None, list[str]]:
        key, place = self.keys[name]
        line, _ = node.back(key)
        said = line.ask("reconnect", resume=place["resume"], heard=place["number"])
        node.turn()
        said += line.heard()
        self.assertEqual(said[0]["type"], "reconnect_result", said)
        return said[0]["data"]["seat"], called(said)


class MatchTests(CrossTests):
    """In a match of a game server."""

    def setUp(self) -> None:
        self.open(game="dismissing")

    def open(self, watching: Any = "listed", game: str = "dismissing") -> None:
        super().open(watching, game)
        self.world.enter(self.ann, self.match_id, "dismissing")
        self.udp = self.world.dial(self.match_id, 1)
        self.ann.heard()

    def test_over_udp(self) -> None:
        """
        A player over UDP who is put out is sent what was for it, and then why its
        connection ends; it may watch in a room, and queue again.
        """
        self.ann.do(1, type="say", word="out 1")
        self.world.run(0.5)
        self.assertEqual(self.udp.kinds, ["called"])
        self.assertEqual(self.udp.rejections, ["kicked"])
        (left,) = of(self.ann.heard(), "client_left")
        self.assertEqual((left["seat"], left["reason"]), (1, "vacated"))
        place = self.world.enter(self.bob, self.match_id, "dismissing", spectate=True)
        self.assertIsNone(place["data"]["seat"])

    def test_by_way_of_the_node(self) -> None:
        """
        A player by way of the node who is put out is sent what was for it, and watches.
        """
        self.ann.do(1, type="say", word="out 0")
        self.world.run(0.5)
        said = self.ann.heard()
        self.assertEqual(called(said), ["bye"])
        self.assertEqual(of(said, "client_left")[0]["reason"], "vacated")
        self.udp.say("to crowd")
        self.world.run(0.5)
        self.assertEqual(called(self.ann.heard()), ["crowd"])

    def test_nobody_may_watch(self) -> None:
        """
        Where nobody may watch matches, it is removed.
        """
        self.open("none")
        self.ann.do(1, type="say", word="out 0")
        self.world.run(0.5)
        self.assertIn("kicked", kinds(self.ann.heard()))


class AuthorTests(RoomCase):
    def test_own_tests(self) -> None:
        """
        In a game's own test the seat is given up as well: nobody acts there.
        """
        match = play(Dismissing, 3)
        match.act(0, Say("out 2"))
        self.assertEqual(match.rejected(2, Say("hi")), "not_seated")
        self.assertRaises(Refused, match.return_, 2)
        self.assertEqual(match.join(Seat("eve")), 2)
        self.assertEqual(
            [line.split(" ", 1)[1] for line in match.view().lines],
            ["2 is out", "2 is eve"],
        )

    def test_mistakes(self) -> None:
        """
        A seat that does not exist cannot be given up, and none before play begins.
        """
        room = self.open_room(Dismissing())
        room.act(0, Say("out 5"), 1001.0)
        why = "a Step gives up seat 5, but this table has seats 0 to 1"
        self.assertIn(why, self.ended(room).report or "")
        room = self.open_room(Early(), join=False)
        self.assertIn("start() gives up a seat", self.ended(room).report or "")

    def test_the_check(self) -> None:
        """
        ``vinom check`` has nobody act for a seat that was given up.
        """

        class Brief(Dismissing):
            def act(self, s: Tale, seat: int, action: Any, now: float) -> Any:
                if any(line.endswith(f"{seat} is out") for line in s.lines):
                    raise AssertionError("it is out")
                return super().act(s, seat, Say(f"out {seat}"), now)

            def outcome(self, s: Tale) -> Any:
                return None

        trial = try_game(Brief(), "brief", 3, 1, most_steps=40)
        self.assertEqual([one for one in trial.findings if one.rule == "fault"], [])


class ReplayTests(RecordingCase):
    def test_replayed(self) -> None:
        """
        A recording in which a seat is given up replays to the same.
        """
        acts = [(1.0, "act", 0, Say("out 1")), (2.0, "act", 0, Say("hi"))]
        data = self.play(Dismissing(), acts)
        self.assertNotIn(b"left", data)
        self.assertIsNone(replay(read_recording(data), Dismissing()).differing)

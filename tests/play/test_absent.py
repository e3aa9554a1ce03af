"""Seats whose players are away: they wait, bots act for them, or they are lost."""

from __future__ import annotations

from typing import Any

from tests.play.test_room import RoomCase, plan_for
from tests.support import games
from tests.support.games import Say
from vinom.errors import Refused, Rejected
from vinom.game import Chance
from vinom.games.maze import Maze
from vinom.play.room import BotFailed, Emitted, Forfeited, Room


class Saying(games.StandingIn):
    """Its bot acts with one word."""

    words = ("hi",)


class LearnedMaze(Maze):
    """A maze in which bots walk for who is away."""

    absent = "bot"
    bot_seconds = 0.25


class BotTests(RoomCase):
    def test_a_bot_acts_at_its_pace(self) -> None:
        """
        While a player is away its bot acts every half second of match time, and
        stops when the player is back.
        """
        room = self.open_room(Saying())
        room.drop(1, 1001.0)
        self.assertEqual(room.deadline(), 1001.5)
        room.alarm(1001.5)
        room.alarm(1002.0)
        room.join(1, 1002.25)
        room.alarm(1009.0)
        self.assertEqual(
            self.lines(room),
            ["1.0 1 dropped", "1.5 1 hi", "2.0 1 hi", "2.2 1 returned"],
        )
        self.assertEqual(
            [(one.kind, one.time, one.seat) for one in self.recorded][1:3],
            [("act", 1.5, 1), ("act", 2.0, 1)],
        )

    def test_player_who_never_came(self) -> None:
        """
        A bot plays from the start for a player who did not join in time.
        """
        room = self.open_room(Saying(), seats=3, join=False)
        room.join(0, 1001.0)
        room.join(1, 1002.0)
        room.alarm(1010.0)
        room.alarm(1010.5)
        self.assertEqual(self.lines(room), ["0.0 2 dropped", "0.5 2 hi"])

    def test_no_bot_for_a_player_who_left(self) -> None:
        """
        A seat that was given up is nobody's any more.
        """
        room = self.open_room(Saying(), seats=3)
        room.drop(2, 1001.0)
        room.leave(2, 1001.25)
        room.alarm(1009.0)
        self.assertEqual(self.lines(room), ["1.0 2 dropped", "1.2 2 left"])

    def test_bots_do_not_play_alone(self) -> None:
        """
        Match time stops while nobody is connected, and so do the bots.
        """
        room = self.open_room(Saying())
        room.drop(0, 1001.0)
        room.drop(1, 1001.25)
        room.alarm(1011.0)
        room.join(1, 1011.25)
        room.alarm(1011.5)
        self.assertEqual(self.lines(room)[-2:], ["1.2 1 returned", "1.5 0 hi"])

    def test_late_alarm(self) -> None:
        """
        A turn comes in its place among what else was due, and turns that were
        missed are not made up.
        """
        room = self.open_room(Saying())
        room.act(0, Say("wake 1.25"), 1000.5)
        room.drop(1, 1000.5)
        room.act(0, Say("late"), 1005.0)
        self.assertEqual(self.lines(room)[2:], ["1.0 1 hi", "1.2 woke", "5.0 0 late"])
        self.assertEqual(room.deadline(), 1005.5)

    def test_many_away_at_once(self) -> None:
        """
        Every absent seat gets its turn, the lowest first.
        """
        room = self.open_room(Saying(), seats=3)
        room.drop(2, 1001.0)
        room.drop(1, 1001.0)
        room.alarm(1001.5)
        self.assertEqual(self.lines(room)[2:], ["1.5 1 hi", "1.5 2 hi"])

    def test_the_same_match_has_the_same_bots(self) -> None:
        """
        The bots' chance follows from the match's seed, whenever alarms come.
        """

        def play(steps: list[float]) -> list[str]:
            room = self.open_room(games.StandingIn())
            room.drop(1, 1000.0)
            for step in steps:
                room.alarm(1000.0 + step)
            return self.lines(room)

        steps = [n / 2 for n in range(1, 7)]
        self.assertEqual(play(steps), play([n / 8 for n in range(25)]))
        self.assertGreater(len(play(steps)), 2)

    def test_chance_of_its_own(self) -> None:
        """
        A bot cannot foretell the game by the chance that it is given.
        """
        seen: list[Chance] = []

        class Curious(games.StandingIn):
            def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> None:
                seen.append(chance)

        room = self.open_room(Curious())
        room.drop(1, 1000.0)
        for step in range(1, 20):
            room.alarm(1000.0 + step / 2)
        self.assertEqual(len({chance.key for chance in seen}), 19)
        self.assertNotIn(room.plan.seed, {chance.key for chance in seen})
        foretold, chance = set(), Chance(room.plan.seed)
        for _ in range(100):
            word, chance = chance.draw()
            foretold.add(word)
        self.assertFalse(foretold & {chance.draw()[0] for chance in seen})

    def test_refused_by_the_rules(self) -> None:
        """
        What the game refuses to a player it refuses to a bot; nothing changes.
        """
        room = self.open_room(type("Naysaying", (Saying,), {"words": ("no",)})())
        room.drop(1, 1001.0)
        room.alarm(1001.5)
        self.assertEqual((room.version, room.deadline()), (2, 1002.0))
        self.assertEqual(room.take_effects()[1:], [])

    def test_a_failing_bot(self) -> None:
        """
        A bot that fails, or returns an invalid action, is logged; its seat waits and
        the match continues. At the next absence, the bot is tried again.
        """
        for word, why in (("?", "KeyError: 'after 1 lines'"), ("nonsense", "Refused")):
            room = self.open_room(type("Failing", (Saying,), {"words": (word,)})())
            room.drop(1, 1001.0)
            room.alarm(1001.5)
            failed = room.take_effects()[-1]
            assert isinstance(failed, BotFailed)
            self.assertEqual(failed.seat, 1)
            self.assertIn(why, failed.report)
            self.assertEqual((room.phase, room.deadline()), ("playing", 1100.0))
            room.join(1, 1002.0)
            room.drop(1, 1003.0)
            self.assertEqual(room.deadline(), 1003.5)

    def test_a_game_that_fails_at_its_bots_action(self) -> None:
        """
        An action that makes the game fail ends the room, even if a bot sent it.
        """
        for word in ("boom", "blind"):
            room = self.open_room(type("Risky", (Saying,), {"words": (word,)})())
            room.drop(1, 1001.0)
            room.alarm(1001.5)
            room.alarm(1002.0)
            self.assertEqual(self.ended(room).end.reason, "crashed")

    def test_ticks(self) -> None:
        """
        In a game with ticks a bot's action waits for the next step; a stall
        does not keep the bot waiting.
        """
        game = type("Ticks", (games.TickingBots,), {"words": ("hi",)})()
        room = self.open_room(game)
        room.drop(1, 1000.0)
        for step in range(1, 13):
            room.alarm(1000.0 + step / 10)
        self.assertEqual(self.lines(room)[1:], ["#6 1 hi", "#11 1 hi"])
        room.alarm(1010.0)
        self.assertGreater(room.time.slipped, 0)
        slipped_to = room.match_time(1010.0)
        for step in range(1, 8):
            room.alarm(1010.0 + step / 10)
        self.assertLess(room.match_time(1010.7) - slipped_to, 0.71)
        self.assertGreater(len(self.lines(room)), 4)

    def test_a_bot_walks_the_maze_of_an_absent_player(self) -> None:
        """
        The maze's own bot sees what a client sees, and collects points.
        """
        game = LearnedMaze()
        room = Room(plan_for(game), game, 0.0)
        room.join(0, 0.0)
        room.join(1, 0.0)
        room.drop(1, 0.0)
        while room.phase == "playing":
            room.alarm(room.deadline() or 0.0)
        self.assertEqual(room.state.scores[0], 0)
        self.assertGreater(room.state.scores[1], 100)


class ForfeitTests(RoomCase):
    def test_away_too_long(self) -> None:
        """
        A player who is away for two seconds loses the seat, and cannot come back.
        """
        room = self.open_room(games.Forfeiting(), seats=3)
        room.drop(1, 1001.0)
        self.assertEqual(room.deadline(), 1003.0)
        room.alarm(1003.0)
        self.assertEqual(self.lines(room), ["1.0 1 dropped", "3.0 1 left"])
        self.assertEqual(room.take_effects()[-1], Forfeited(1))
        self.assertEqual((room.phase, room.deadline()), ("playing", 1100.0))
        with self.assertRaises(Refused):
            room.join(1, 1004.0)

    def test_back_in_time(self) -> None:
        """
        A player who comes back in time keeps the seat, and has two seconds again.
        """
        room = self.open_room(games.Forfeiting(), seats=3)
        room.drop(1, 1001.0)
        room.join(1, 1002.5)
        room.drop(1, 1002.5)
        room.alarm(1004.0)
        self.assertEqual(room.deadline(), 1004.5)
        room.alarm(1004.5)
        self.assertEqual(self.lines(room)[-1], "4.5 1 left")

    def test_late_alarm(self) -> None:
        """
        However late the alarm, a seat is lost at its own time.
        """
        room = self.open_room(games.Forfeiting())
        room.act(0, Say("wake 4.0"), 1000.5)
        room.drop(1, 1001.0)
        room.act(0, Say("late"), 1009.0)
        self.assertEqual(self.lines(room)[2:], ["3.0 1 left", "4.0 woke", "9.0 0 late"])

    def test_all_away(self) -> None:
        """
        The time away counts though match time stops; when every seat is lost
        the room closes.
        """
        room = self.open_room(games.Forfeiting())
        room.drop(0, 1001.0)
        room.drop(1, 1002.0)
        room.alarm(1003.0)
        self.assertEqual(self.lines(room)[-1], "2.0 0 left")
        room.alarm(1004.0)
        self.assertEqual(self.lines(room)[-1], "2.0 1 left")
        end = self.ended(room).end
        self.assertEqual((end.reason, end.present), ("abandoned", ()))

    def test_the_game_is_called_before_its_room_closes(self) -> None:
        """
        A seat that is lost in the moment in which the room closes is lost first.
        """

        class Patient(games.Forfeiting):
            forfeit_seconds = 30.0

        room = self.open_room(Patient())
        room.leave(0, 1001.0)
        room.drop(1, 1002.0)
        room.alarm(1032.0)
        self.assertEqual(self.lines(room)[-1], "2.0 1 left")
        self.assertEqual(self.ended(room).end.reason, "abandoned")

    def test_a_seat_that_waits(self) -> None:
        """
        Without a word about it a game waits for who is away.
        """
        room = self.open_room()
        room.drop(1, 1001.0)
        self.assertEqual(room.deadline(), 1100.0)


class LeavingTests(RoomCase):
    def test_nothing_arrives_from_a_player_who_left(self) -> None:
        """
        What a player sent before it left does not reach the game after that.
        """
        room = self.open_room(games.Ticking(), seats=3)
        room.act(1, Say("mine"), 1000.01)
        room.act(0, Say("ours"), 1000.02)
        room.leave(1, 1000.03)
        room.alarm(1000.1)
        self.assertEqual(self.lines(room), ["0.0 1 left", "#1 0 ours"])

    def test_effects_name_the_seat(self) -> None:
        """
        An event of a bot's action is emitted like a player's.
        """
        room = self.open_room(type("Telling", (Saying,), {"words": ("tell",)})())
        room.drop(1, 1001.0)
        room.alarm(1001.5)
        told = room.take_effects()[-1]
        assert isinstance(told, Emitted)
        self.assertEqual((told.event.kind, told.event.to), ("psst", 1))
        with self.assertRaises(Rejected):
            room.act(1, Say("hi"), 1001.6)

"""Games with very many deadlines: they, and the players beside them."""

from __future__ import annotations

from msgspec.structs import replace

from tests.play.test_room import RoomCase, plan_for
from tests.support.games import Say, Tale, Teller
from vinom.play.clock import MOST_ADVANCES
from vinom.play.play import Play, table_of
from vinom.play.room import MOST_AT_ONCE, Room


class Stepping(Teller):
    """Once woken, it counts, and sets a deadline *step* seconds later."""

    step = 0.0001

    def advance(self, s: Tale, now: float) -> Tale:
        return replace(s, rounds=s.rounds + 1, wake_at=now + self.step)


class Milliseconds(Stepping):
    """As fast as is allowed."""

    step = 0.001


class Tenths(Stepping):
    """As games mostly are."""

    step = 0.1


class DeadlineTests(RoomCase):
    def ring(self, room: Room, until: float, late: float = 20e-6) -> int:
        """Ring a room just after each deadline; returns how often that was."""
        rung = 0
        while room.phase == "playing" and (room.deadline() or until) < until:
            room.alarm((room.deadline() or until) + late)
            rung += 1
        return rung

    def test_crawling_although_rung_in_time(self) -> None:
        """
        A game with ten thousand deadlines per second is ended after a thousand, and the
        report has the reason, although each comes on time.
        """
        room = self.open_room(Stepping())
        room.act(0, Say("wake 1.0"), 1000.5)
        rung = self.ring(room, 1004.0)
        self.assertLess(rung, MOST_ADVANCES + 10)
        closed = self.ended(room)
        self.assertEqual(closed.end.reason, "crashed")
        self.assertIn("more than 1000 deadlines within a second", closed.report or "")

    def test_crawling_while_others_act(self) -> None:
        """
        Such a game is also ended while its players keep acting.
        """
        room = self.open_room(Stepping())
        room.act(0, Say("wake 0.0"), 1000.0)
        for at in range(1, 60):
            if room.phase == "closed":
                break
            self.ring(room, 1000.0 + at / 60)
            if room.phase == "playing":
                room.act(0, Say("hi"), 1000.0 + at / 60)
        self.assertEqual(self.ended(room).end.reason, "crashed")

    def test_as_fast_as_allowed(self) -> None:
        """
        A deadline each millisecond, for as long as it likes, is a game's own affair.
        """
        room = self.open_room(Milliseconds())
        room.act(0, Say("wake 0.0"), 1000.0)
        self.assertGreater(self.ring(room, 1005.0), 4900)
        self.assertEqual(room.phase, "playing")

    def test_players_act_fast(self) -> None:
        """
        Players who act thousands of times per second, each time with a deadline right
        after it, do not end their room.
        """
        room = self.open_room()
        for number in range(2 * MOST_ADVANCES):
            at = number / 4000
            room.act(0, Say(f"wake {at}"), 1000.0 + at)
            room.alarm(1000.0 + at)
        self.assertEqual(room.phase, "playing")

    def test_late_one_gives_way(self) -> None:
        """
        A room that is rung far too late makes up for a few deadlines at a time, so
        that others are rung in between, and plays to the same state in the end.
        """
        room, punctual = (self.open_room(Tenths()) for _ in range(2))
        for one in (room, punctual):
            one.act(0, Say("wake 1.0"), 1000.5)
        self.ring(punctual, 1009.05)
        rung = 0
        while (room.deadline() or 0.0) <= 1009.05:
            before = room.state.rounds
            room.alarm(1009.05)
            self.assertLessEqual(room.state.rounds - before, MOST_AT_ONCE)
            rung += 1
        self.assertGreater(rung, 80 // MOST_AT_ONCE)
        self.assertEqual(room.state, punctual.state)
        self.assertEqual(room.version, punctual.version)

    def test_no_input_overtakes(self) -> None:
        """
        A player who acts, drops or returns while the game is behind comes after what
        was done and before what is still to be done; a replay plays to the same.
        """
        room = self.open_room(Tenths())
        room.act(0, Say("wake 1.0"), 1000.5)
        room.act(0, Say("hi"), 1009.05)
        behind = 1.0 + MOST_AT_ONCE * 0.1
        self.assertAlmostEqual(room.match_time(1009.05), behind)
        room.drop(1, 1009.05)
        room.join(1, 1009.05)
        self.assertEqual(
            self.lines(room)[1:],
            ["2.0 0 hi", "3.0 1 dropped", "4.0 1 returned"],
        )
        while (room.deadline() or 0.0) <= 1009.05:
            room.alarm(1009.05)
        self.assertAlmostEqual(room.match_time(1009.05), 9.05)
        times = [recorded.time for recorded in self.recorded]
        self.assertEqual(times, sorted(times))
        game = Tenths()
        again = Play(game)
        again.lay(table_of(plan_for(game), game))
        again.begin()
        for recorded in self.recorded:
            again.repeat(recorded)
        self.assertEqual((again.state, again.version), (room.state, room.version))

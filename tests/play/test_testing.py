"""``vinom.testing``: how authors test their games."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import games
from tests.support.games import Say
from vinom.errors import Refused, Rejected
from vinom.game import Step, Vacate
from vinom.games.dice import Dice
from vinom.games.oldmaid import OldMaid
from vinom.testing import Match, play


class Failing(games.Teller):
    """Fails at the word "fail", and shows nothing sendable at "view"."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        if action == Say("fail"):
            raise ZeroDivisionError("by design")
        return super().act(s, seat, action, now)

    def view(self, s: Any, audience: Any) -> Any:
        if s.lines and s.lines[-1].endswith("view"):
            return object()
        return super().view(s, audience)


class PlayTests(SynchronousTestCase):
    def lines(self, match: Match) -> Any:
        return match.view().lines

    def test_seats_and_time(self) -> None:
        """
        Players act, lose their connections, return and leave, at the time that it is.
        """
        match = play(games.Teller, 3)
        match.act(0, Say("hi"))
        match.wait(1.5)
        match.drop(1)
        self.assertRaises(ValueError, match.wait, -1.0)
        match.return_(1)
        match.leave(2)
        told = [line.split(" ", 1) for line in self.lines(match)]
        self.assertEqual(
            told,
            [["0.0", "0 hi"], ["1.5", "1 dropped"], ["1.5", "1 returned"],
             ["1.5", "2 left"]],
        )  # fmt: skip
        self.assertEqual(match.time, 1.5)

    def test_plain_actions(self) -> None:
        """
        An action may be written as its fields, and is checked like a player's.
        """
        match = play(games.Teller)
        match.act(1, {"type": "say", "word": "hi"})
        self.assertEqual(self.lines(match)[-1], "0.0 1 hi")
        with self.assertRaises(Refused) as caught:
            match.act(1, {"type": "say", "word": 3})
        self.assertEqual(caught.exception.details["field"], "word")

    def test_vacated(self) -> None:
        """
        A seat that the game gives up at its player's action is that player's no more.
        """

        class Leaving(games.Teller):
            def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
                return Step(super().act(s, seat, action, now)).also(Vacate(seat))

        match = play(Leaving, 3)
        match.act(0, Say("bye"))
        self.assertEqual(match.rejected(0, Say("hi")), "not_seated")

    def test_rejected(self) -> None:
        """
        What the rules forbid is raised, or asked for by its code; if they allow it
        after all, the test fails.
        """
        match = play(Dice)
        turn = match.view().turn
        self.assertEqual(match.rejected(1 - turn, {"type": "roll"}), "not_your_turn")
        with self.assertRaises(Rejected):
            match.act(1 - turn, {"type": "roll"})
        with self.assertRaises(AssertionError):
            match.rejected(turn, {"type": "roll"})

    def test_faults_are_raised(self) -> None:
        """
        What a game raises comes out as it is, also from its view.
        """
        match = play(Failing)
        with self.assertRaisesRegex(ZeroDivisionError, "by design"):
            match.act(0, Say("fail"))
        with self.assertRaises(TypeError):
            match.act(0, Say("view"))

    def test_ticks(self) -> None:
        """
        In a game with ticks actions count at the next one; other games have none.
        """
        match = play(games.Ticking)
        match.act(0, Say("hi"))
        self.assertEqual(match.view().lines, ())
        match.tick(2)
        self.assertEqual(match.time, 2 / games.Ticking.tick_hz)
        self.assertIn("hi", match.view().lines[0])
        with self.assertRaisesRegex(ValueError, "no tick_hz"):
            play(games.Teller).tick()

    def test_who_plays(self) -> None:
        """
        Seats, options and the seed are as the test says; errors name the field.
        """
        with self.assertRaises(Refused):
            play(games.Teller, 99)
        with self.assertRaises(Refused) as caught:
            play(Dice, options={"nonsense": 1})
        self.assertEqual(caught.exception.details["field"], "nonsense")
        hands = [play(OldMaid, seed=seed).state.hands for seed in (1, 1, 2)]
        self.assertEqual(hands[0], hands[1])
        self.assertNotEqual(hands[0], hands[2])

    def test_bots(self) -> None:
        """
        A seat can be given to the game's bot; for one whose player is away, the test
        may act as its bot would.
        """
        match = play(games.StandingIn)
        match.drop(1)
        match.wait(3.0)
        self.assertIn("1", [line.split()[1] for line in self.lines(match)])
        held = play(games.StandingIn, absent="wait")
        held.drop(1)
        held.wait(3.0)
        before = self.lines(held)
        held.act(1, Say("for her"))
        self.assertEqual(len(self.lines(held)), len(before) + 1)

    def test_the_end(self) -> None:
        """
        A room closes as players know it: after its linger time, or when all have left.
        """
        match = play(games.Teller)
        match.leave(0)
        match.leave(1)
        self.assertEqual(match.closed, "abandoned")
        with self.assertRaises(Rejected):
            match.act(0, Say("late"))

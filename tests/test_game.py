"""The author's interface: chance, and what a bare game says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.game import Chance, Game, NoOptions, Seat, Table, Unreadable

WORDS = st.integers(0, (1 << 64) - 1)


class ChanceTests(SynchronousTestCase):
    def test_known_answers(self) -> None:
        """
        The generator is SplitMix64, so other programs can follow it.

        Source: the reference code's first outputs for the seed 1234567.
        """
        chance, drawn = Chance(1234567), []
        for _ in range(5):
            bits, chance = chance.draw()
            drawn.append(bits)
        self.assertEqual(
            drawn,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423,
                4593380528125082431,
                16408922859458223821,
            ],
        )

    @given(WORDS, st.integers(1, 1 << 64))
    def test_below(self, word: int, limit: int) -> None:
        """
        A draw is below its limit, and the same chance draws the same.
        """
        drawn, after = Chance(word).below(limit)
        self.assertTrue(0 <= drawn < limit)
        self.assertEqual(Chance(word).below(limit), (drawn, after))
        self.assertNotEqual(after, Chance(word))

    def test_below_nothing(self) -> None:
        """
        There is nothing below zero.
        """
        for limit in (0, -1):
            with self.assertRaises(ValueError):
                Chance(1).below(limit)

    @given(WORDS, st.lists(st.integers(), max_size=12))
    def test_shuffled(self, word: int, items: list[int]) -> None:
        """
        A shuffle keeps everything, and leaves the original as it was.
        """
        before = list(items)
        shuffled, _ = Chance(word).shuffled(items)
        self.assertEqual((sorted(shuffled), items), (sorted(before), before))

    def test_every_order_comes_up(self) -> None:
        """
        All six orders of three things are drawn about equally often.
        """
        chance, seen = Chance(5), {}
        for _ in range(1200):
            order, chance = chance.shuffled("abc")
            seen[order] = seen.get(order, 0) + 1
        self.assertEqual(len(seen), 6)
        self.assertTrue(all(150 < times < 250 for times in seen.values()))


class GameTests(SynchronousTestCase):
    def test_what_is_mandatory(self) -> None:
        """
        A game without rules says which method it lacks.
        """

        class Empty(Game[Any, Any]):
            pass

        game, table = Empty(), Table((Seat("a"),), NoOptions(), Chance(1))
        for call in (
            lambda: game.start(table),
            lambda: game.act(1, 0, None, 0.0),
            lambda: game.view(1, "all"),
        ):
            with self.assertRaisesRegex(NotImplementedError, "Empty must define"):
                call()
        with self.assertRaises(Unreadable):
            game.migrate({}, 0)

    def test_defaults_change_nothing(self) -> None:
        """
        What a game does not care about leaves its state alone.
        """

        class Calm(Game[str, Any]):
            pass

        game, state = Calm(), "state"
        for result in (
            game.advance(state, 1.0),
            game.tick(state, (), 1),
            game.joined(state, 0, 1.0, Seat("late")),
            game.dropped(state, 0, 1.0),
            game.returned(state, 0, 1.0),
            game.left(state, 0, 1.0),
        ):
            self.assertIs(result, state)
        self.assertIsNone(game.deadline(state))
        self.assertIsNone(game.setup(state))
        self.assertIsNone(game.outcome(state))
        self.assertIsNone(game.bot(None, 0, Chance(1), None))
        self.assertEqual(game.audience(state, None), "all")

"""The author's interface: chance, and what a bare game says."""

from __future__ import annotations

import copy
import pickle
from hashlib import blake2b
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from vinom.game import Chance, Game, NoOptions, Seat, Table, Unreadable

SEEDS = st.integers(0, (1 << 256) - 1)


def _drawn(chance: Chance, count: int) -> list[int]:
    """Draw some words."""
    words = []
    for _ in range(count):
        word, chance = chance.draw()
        words.append(word)
    return words


class ChanceTests(SynchronousTestCase):
    def test_known_answers(self) -> None:
        """
        The numbers are keyed BLAKE2b of the block's number, eight words of 64 bits.

        Source: docs/reference/games.rst, section "Chance".
        """
        key, words = bytes(range(32)), []
        for block in range(2):
            made = blake2b(block.to_bytes(16, "big"), key=key, person=b"vinom chance")
            digest = made.digest()
            words += [digest[at : at + 8] for at in range(0, 64, 8)]
        chance = Chance(key)
        for number, word in enumerate(words):
            self.assertEqual(chance.position, number)
            drawn, chance = chance.draw()
            self.assertEqual(drawn.to_bytes(8, "big"), word)

    def test_any_order_of_draws(self) -> None:
        """
        Many rooms of one process, in any order, don't change each other's draws.
        """
        alone = [_drawn(Chance(seed), 20) for seed in range(400)]
        chances = [Chance(seed) for seed in range(400)]
        together: list[list[int]] = [[] for _ in chances]
        for _ in range(20):
            for seed, chance in enumerate(chances):
                word, chances[seed] = chance.draw()
                together[seed].append(word)
        self.assertEqual(together, alone)

    def test_every_bit_of_the_key_counts(self) -> None:
        """
        No 64 bits determine what is drawn: every bit of the key changes every word.
        """
        words = {_drawn(Chance(1 << bit), 1)[0] for bit in range(256)}
        self.assertEqual(len(words), 256)

    def test_keys(self) -> None:
        """
        A key has 32 bytes; a test may write a number.
        """
        self.assertEqual(Chance(1), Chance(bytes(31) + b"\x01"))
        self.assertEqual(len(Chance((1 << 256) - 1).key), 32)
        for key in (-1, 1 << 256, b"", bytes(31), bytes(33), "1", None):
            with self.subTest(key=key), self.assertRaisesRegex(ValueError, "32 bytes"):
                Chance(key)  # type: ignore[arg-type]  # wrong ones

    def test_a_value(self) -> None:
        """
        A chance can be copied, pickled and sent, and then draws the same.
        """
        _, chance = Chance(7).draw()
        for other in (
            copy.deepcopy(chance),
            pickle.loads(pickle.dumps(chance)),
            msgpack.decode(msgpack.encode(chance), type=Chance),
        ):
            self.assertEqual((other, hash(other)), (chance, hash(chance)))
            self.assertEqual(_drawn(other, 20), _drawn(chance, 20))

    def test_forks(self) -> None:
        """
        Forks for other purposes, or made later, draw other numbers.
        """
        chance = Chance(7)
        _, later = chance.draw()
        words = [
            _drawn(one, 1)[0]
            for one in (chance, chance.fork("a"), chance.fork("b"), later.fork("a"))
        ]
        self.assertEqual(len(set(words)), 4)
        self.assertEqual(chance.fork("a"), Chance(7).fork("a"))

    @given(SEEDS, st.integers(1, 1 << 300))
    def test_below(self, word: int, limit: int) -> None:
        """
        A draw is below its limit, and the same chance draws the same.
        """
        drawn, after = Chance(word).below(limit)
        self.assertTrue(0 <= drawn < limit)
        self.assertEqual(Chance(word).below(limit), (drawn, after))
        self.assertNotEqual(after, Chance(word))

    def test_unbiased(self) -> None:
        """
        Each of 11 numbers is drawn about equally often, and each half of a large range.
        """
        chance, seen, high = Chance(11), [0] * 11, 0
        for _ in range(5500):
            face, chance = chance.below(11)
            seen[face] += 1
            large, chance = chance.below(3 << 126)
            high += large >= 3 << 125
        # Five standard deviations of a fair draw.
        self.assertTrue(all(abs(times - 500) < 107 for times in seen), seen)
        self.assertLess(abs(high - 2750), 186)

    def test_large_limits(self) -> None:
        """
        A limit above 64 bits uses more words; all of its bits are drawn.
        """
        drawn, chance = Chance(1).below(1 << 64)
        self.assertEqual((drawn, chance.position), (_drawn(Chance(1), 1)[0], 1))
        bits = 0
        for _ in range(100):
            drawn, chance = chance.below(1 << 226)
            bits |= drawn
        self.assertEqual(bits, (1 << 226) - 1)

    def test_below_nothing(self) -> None:
        """
        There is nothing below zero.
        """
        for limit in (0, -1):
            with self.assertRaises(ValueError):
                Chance(1).below(limit)

    @given(SEEDS, st.lists(st.integers(), max_size=12))
    def test_shuffled(self, word: int, items: list[int]) -> None:
        """
        A shuffle keeps everything, and leaves the original as it was.
        """
        before = list(items)
        shuffled, _ = Chance(word).shuffled(items)
        self.assertEqual((sorted(shuffled), items), (sorted(before), before))

    @given(SEEDS, st.integers(0, 100))
    def test_shuffled_like_draws(self, seed: int, count: int) -> None:
        """
        A shuffle draws what `below` would, one number for each item but one.
        """
        order, chance = list(range(count)), Chance(seed)
        for last in range(count - 1, 0, -1):
            pick, chance = chance.below(last + 1)
            order[last], order[pick] = order[pick], order[last]
        self.assertEqual(Chance(seed).shuffled(range(count)), (tuple(order), chance))

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

"""The author's interface: chance, and what a bare game says."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Hashable
from hashlib import blake2b
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, msgpack, to_builtins
from twisted.trial.unittest import SynchronousTestCase

from vinom.game import (
    Chance,
    Event,
    Game,
    NoOptions,
    Outcome,
    Seat,
    State,
    Step,
    Table,
    Unreadable,
    put,
    ranked,
)

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


class Hands(State, frozen=True):
    """Cards in hands, of which a player sees its own."""

    chance: Chance
    spare: Chance | None = None
    hands: tuple[str, ...] = ("QH", "7C")
    deck: tuple[str, ...] = ("AS",)
    table: tuple[str, ...] = ()
    over: bool = False

    @property
    def left(self) -> int:
        """How many cards the deck has."""
        return len(self.deck)


class Cards(Game[Hands, Any]):
    """A game with secrets, and without a view of its own."""

    secret = ("hands",)
    hidden = ("deck",)

    def outcome(self, s: Hands) -> Outcome | None:
        return Outcome(1, ((0,), (1,))) if s.over else None


class StateTests(SynchronousTestCase):
    """What authors write states with."""

    def test_with(self) -> None:
        """
        A state is changed in some fields, into another state of its kind.
        """
        state = Hands(Chance(1))
        other = state.with_(table=("KD",), over=True)
        self.assertEqual((other.table, other.over, state.over), (("KD",), True, False))
        self.assertIs(type(other), Hands)
        with self.assertRaisesRegex(TypeError, "colour"):
            state.with_(colour="red")

    def test_put(self) -> None:
        """
        One value of a tuple is exchanged, or one in rows; the old tuple stays.
        """
        values = (1, 2, 3)
        self.assertEqual([put(values, at, 9)[at] for at in range(3)], [9, 9, 9])
        self.assertEqual((put(values, 1, 9), values), ((1, 9, 3), (1, 2, 3)))
        self.assertEqual(put(((1, 2), (3, 4)), (1, 0), 9), ((1, 2), (9, 4)))
        self.assertEqual(put((((1,),),), (0, 0, 0), 9), (((9,),),))

    def test_put_nowhere(self) -> None:
        """
        A place that is not there is named, with those that are; none counts from the
        end.
        """
        rows = ((1, 2, 3), (4, 5, 6))
        for index in (-1, 2, (2, 0), (-1, 0), (0, 3), (1, -1)):
            with self.assertRaisesRegex(IndexError, "there is no place .*: .* 0 to"):
                put(rows, index, 9)

    def test_then(self) -> None:
        """
        Steps go on from one another: the last state, with the events of all in order.
        """

        def count(s: int, more: int) -> Step[int]:
            return Step(s + more, (Event("counted", more),))

        def double(s: int) -> int:
            return s * 2

        step = Step(1).also(Event("a"), Event("b")).then(count, 2).then(double)
        kinds = [event.kind for event in step.also(Event("c")).events]
        self.assertEqual((step.state, kinds), (6, ["a", "b", "counted", "c"]))

    def test_ranked(self) -> None:
        """
        Scores make places: the highest first, equal ones together, of the seats
        that are ranked.
        """
        self.assertEqual(ranked((3, 7, 3, 0)), ((1,), (0, 2), (3,)))
        self.assertEqual(ranked((3, 7, 3, 0), (0, 3)), ((0,), (3,)))
        self.assertEqual(ranked(()), ())


class Die(State, frozen=True):
    """A part of a state."""

    chance: Chance


class Rolled(State, frozen=True):
    """Chance in odd places."""

    many: tuple[tuple[Chance, ...], ...] = ()
    die: Die | None = None


class ViewTests(SynchronousTestCase):
    """What a game without a `view` of its own shows."""

    def shown(self, game: Game[Any, Any], s: Hands, audience: Hashable) -> Any:
        return to_builtins(game.view(s, audience))

    def test_secrets(self) -> None:
        """
        A player sees its own entry of a secret and the others as null, a spectator
        none; nobody sees a deck or a chance.
        """
        game, s = Cards(), Hands(Chance(1), Chance(2))
        for seat, hands in ((0, ("QH", None)), (1, (None, "7C")), (None, (None, None))):
            self.assertEqual(
                self.shown(game, s, game.audience(s, seat)),
                {"hands": hands, "table": (), "over": False},
            )

    def test_revealed(self) -> None:
        """
        Once the round is over, or the game says so, all see all hands.
        """

        class Open(Cards):
            def revealed(self, s: Hands) -> bool:
                return bool(s.table)

        s = Hands(Chance(1))
        for game, known in (
            (Cards(), s.with_(over=True)),
            (Open(), s.with_(table="K")),
        ):
            view = self.shown(game, known, None)
            self.assertEqual(view["hands"], ("QH", "7C"))

    def test_shared_by_a_team(self) -> None:
        """
        An audience of several seats sees the entries of all of them.
        """

        class Whist(Cards):
            def audience(self, s: Hands, seat: int | None) -> Hashable:
                return None if seat is None else seat % 2

        s = Hands(Chance(1), hands=("a", "b", "c", "d"))
        view = self.shown(Whist(), s, 1)
        self.assertEqual(view["hands"], (None, "b", None, "d"))

    def test_one_audience(self) -> None:
        """
        A game without secrets shows the same to all, without what is hidden.
        """

        class Plain(Cards):
            secret = ()

        game, s = Plain(), Hands(Chance(1))
        self.assertEqual({game.audience(s, seat) for seat in (0, 1, None)}, {"all"})
        self.assertEqual(
            self.shown(game, s, "all"),
            {"hands": ("QH", "7C"), "table": (), "over": False},
        )

    def test_shows(self) -> None:
        """
        A declared view is filled from the state's fields and properties, with what is
        hidden once the round is over; a field that the state lacks is named.
        """

        class Few(Struct, frozen=True):
            hands: tuple[str | None, ...]
            left: int

        class Fewer(Cards):
            shows = Few

        s = Hands(Chance(1))
        self.assertEqual(Fewer().view(s, 0), Few(("QH", None), 1))

        class Whole(Struct, frozen=True):
            deck: tuple[str, ...] | None

        class AtLast(Cards):
            secret = ()
            shows = Whole

        self.assertEqual(AtLast().view(s, "all"), Whole(None))
        self.assertEqual(AtLast().view(s.with_(over=True), "all"), Whole(("AS",)))

        class Wrong(Struct, frozen=True):
            left: int
            right: int

        class Lacking(Cards):
            shows = Wrong

        with self.assertRaisesRegex(TypeError, "Lacking.shows has 'right'"):
            Lacking().view(s, 0)

    def test_chance_in_a_part(self) -> None:
        """
        Chance is not shown wherever it is: lists of them are left out, and of a part
        that has one the author is told.
        """

        class Rolling(Game[Rolled, Any]):
            pass

        with self.assertRaisesRegex(TypeError, "Rolled.die holds a Chance, which"):
            Rolling().view(Rolled(), "all")

        class Hiding(Rolling):
            hidden = ("die",)

        shown = Hiding().view(Rolled(), "all")
        self.assertEqual(shown.__struct_fields__, ())

    def test_fixed(self) -> None:
        """
        What is fixed is in the setup and in no view: one field as it is, several by
        their names.
        """

        class One(Cards):
            fixed = ("table",)

        class Two(Cards):
            fixed = ("table", "over")

        s = Hands(Chance(1), table=("KD",))
        self.assertEqual(One().setup(s), ("KD",))
        self.assertEqual(to_builtins(Two().setup(s)), {"table": ("KD",), "over": False})
        self.assertEqual(set(self.shown(Two(), s, 0)), {"hands"})
        self.assertIsNone(Cards().setup(s))

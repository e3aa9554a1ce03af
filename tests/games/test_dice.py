"""Dice: what rolls are worth, whose turn it is, and what is lost by silence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from twisted.trial.unittest import SynchronousTestCase

from tests.support.random_games import random_game
from vinom.errors import Rejected
from vinom.game import Chance, Event, Seat, Step, Table
from vinom.games.dice import (
    Dice,
    DiceOptions,
    DiceState,
    EndTurn,
    Roll,
    SetAside,
    choices,
    is_bust,
    score,
)
from vinom.play.play import Play
from vinom.turns import Rematch

GAME = Dice()
Action = Roll | SetAside | EndTurn | Rematch
KINDS = {1: 1000, 2: 200, 3: 300, 4: 400, 5: 500, 6: 600}


def groups() -> Iterator[tuple[tuple[int, ...], int]]:
    """Everything that scores by itself, as the rules list it."""
    yield (1, 2, 3, 4, 5, 6), 1500
    yield (1, 2, 3, 4, 5), 500
    yield (2, 3, 4, 5, 6), 750
    for face, worth in KINDS.items():
        for doubled in range(4):
            yield (face,) * (3 + doubled), worth * 2**doubled
    yield (1,), 100
    yield (5,), 50


@cache
def best_split(dice: tuple[int, ...]) -> int | None:
    """
    The most that sorted dice are worth when they are split into groups in every
    possible way; ``None`` if some die is always left over.
    """
    if not dice:
        return 0
    found = []
    for faces, worth in groups():
        rest = list(dice)
        try:
            for face in faces:
                rest.remove(face)
        except ValueError:
            continue
        others = best_split(tuple(rest))
        if others is not None:
            found.append(worth + others)
    return max(found, default=None)


class ScoreTests(SynchronousTestCase):
    def test_every_combination(self) -> None:
        """
        Each of the 55,986 throws of one to six dice is worth the most that it
        can be split into, and nothing if a die is left over.
        """
        for count in range(1, 7):
            for dice in product(range(1, 7), repeat=count):
                expected = best_split(tuple(sorted(dice))) or 0
                self.assertEqual(score(dice), expected, dice)

    def test_busts(self) -> None:
        """
        A roll is a bust if no dice of it score, and only then.
        """
        for count in range(1, 7):
            for dice in product(range(1, 7), repeat=count):
                parts = (
                    part
                    for size in range(1, count + 1)
                    for part in combinations(sorted(dice), size)
                )
                has_any = any(best_split(part) for part in parts)
                self.assertEqual(is_bust(dice), not has_any, dice)

    def test_as_the_rules_say(self) -> None:
        """
        The examples in the manual are right.
        """
        for dice, points in [
            ((1, 2, 3, 4, 5, 6), 1500),
            ((5, 4, 3, 2, 1), 500),
            ((1, 2, 3, 4, 5, 5), 550),
            ((6, 5, 4, 3, 2), 750),
            ((1, 1, 1), 1000),
            ((1, 1, 1, 1, 1, 1), 8000),
            ((4, 4, 4, 4), 800),
            ((2, 2, 2, 1, 5), 350),
            ((1, 1), 200),
            ((5,), 50),
            ((2, 2), 0),
            ((1, 2), 0),
            ((), 0),
        ]:
            self.assertEqual(score(dice), points, dice)

    def test_choices(self) -> None:
        """
        A bot is offered each set of positions that scores, and no other.
        """
        found = sorted(choices((1, 3, 5, 3, 3, 2)))
        self.assertIn((300, (1, 3, 4)), found)
        self.assertIn((450, (0, 1, 2, 3, 4)), found)
        self.assertEqual(len(found), 7)


def begun(seed: int = 1, **options: float) -> DiceState:
    table = Table((Seat("a"), Seat("b")), DiceOptions(**options), Chance(seed))
    return GAME.start(table).state


def act(s: DiceState, action: Action, now: float = 1.0) -> Step[DiceState]:
    """Let whose turn it is do something; always with events."""
    result = GAME.act(s, s.turn, action, now)
    assert isinstance(result, Step)
    return result


def choosing(*dice: int, **changes: object) -> DiceState:
    """A game in which seat 0 has just rolled these."""
    return begun().with_(turn=0, dice=dice, **changes)


def kinds(events: tuple[Event, ...]) -> list[str]:
    return [event.kind for event in events]


class RulesTests(SynchronousTestCase):
    def refusal(self, s: DiceState, action: Action, seat: int | None = None) -> str:
        with self.assertRaises(Rejected) as caught:
            GAME.act(s, s.turn if seat is None else seat, action, 1.0)
        return caught.exception.code

    def test_first_player_is_drawn(self) -> None:
        """
        Both players begin about equally often.
        """
        starters = [begun(seed).turn for seed in range(200)]
        self.assertTrue(70 < starters.count(0) < 130)

    def test_a_turn(self) -> None:
        """
        Set aside what scores, roll the rest, and bank: the points are yours and
        the turn is the other's.
        """
        s = act(choosing(1, 5, 2, 3, 4, 4), SetAside((0, 1))).state
        self.assertEqual((s.points, s.aside, s.dice), (150, (1, 5), ()))
        step = act(s, EndTurn())
        self.assertEqual(step.state.scores, (150, 0))
        self.assertEqual((step.state.turn, step.state.points), (1, 0))
        self.assertEqual(step.events[0].data["points"], 150)

    def test_set_aside_and_end_the_turn(self) -> None:
        """
        ``end_turn`` banks what was just set aside, too.
        """
        step = act(choosing(1, 1, 1, 2), SetAside((0, 1, 2), True))
        self.assertEqual(step.state.scores, (1000, 0))
        self.assertEqual(kinds(step.events), ["set_aside", "banked"])

    def test_a_roll_is_of_what_is_left(self) -> None:
        """
        Dice that are set aside are not rolled.
        """
        for seed in range(40):
            s = begun(seed).with_(aside=(1, 5), points=150)
            rolled = act(s, Roll()).events[0]
            self.assertEqual(len(rolled.data["dice"]), 4)

    def test_six_fresh_dice(self) -> None:
        """
        When all six were set aside, six are rolled again and the points stay.
        """
        s = choosing(1, 5, aside=(2, 2, 2, 1), points=300)
        step = act(s, SetAside((0, 1)))
        self.assertEqual(kinds(step.events), ["set_aside", "fresh_dice"])
        self.assertEqual((step.state.aside, step.state.points), ((), 450))
        self.assertEqual(len(act(step.state, Roll()).events[0].data["dice"]), 6)

    def test_bust(self) -> None:
        """
        A roll that scores nothing loses the turn and its points.
        """
        busts = 0
        for seed in range(60):
            s = begun(seed).with_(turn=0, aside=(1,) * 5, points=4000)
            step = act(s, Roll())
            if step.events[0].data["dice"][0] in (1, 5):
                self.assertEqual(kinds(step.events), ["rolled"])
                continue
            busts += 1
            self.assertEqual(kinds(step.events), ["rolled", "busted"])
            self.assertEqual(step.events[1].data["lost"], 4000)
            self.assertEqual((step.state.scores, step.state.turn), ((0, 0), 1))
            self.assertEqual((step.state.aside, step.state.points), ((), 0))
        self.assertGreater(busts, 20)

    def test_refusals(self) -> None:
        """
        What the rules forbid is refused, with a word that says what.
        """
        s = choosing(1, 2, 3, 3, 4, 6)
        self.assertEqual(self.refusal(s, Roll()), "must_set_aside")
        self.assertEqual(self.refusal(s, EndTurn()), "must_set_aside")
        self.assertEqual(self.refusal(s, SetAside((1,))), "does_not_score")
        self.assertEqual(self.refusal(s, SetAside((0, 1))), "does_not_score")
        self.assertEqual(self.refusal(s, SetAside((0, 0))), "no_such_dice")
        self.assertEqual(self.refusal(s, SetAside((0,)), 1), "not_your_turn")
        few = choosing(1, 2)
        self.assertEqual(self.refusal(few, SetAside((2,))), "no_such_dice")
        self.assertEqual(self.refusal(begun(), SetAside((0,))), "must_roll")
        self.assertEqual(self.refusal(begun(), EndTurn()), "nothing_to_bank")
        self.assertEqual(self.refusal(begun(), Rematch()), "round_runs")

    def test_first_to_the_target_wins(self) -> None:
        """
        3000 points end the game, and nothing is rolled after that.
        """
        s = choosing(1, 2, scores=(2900, 2950))
        step = act(s, SetAside((0,), True))
        self.assertEqual(kinds(step.events), ["set_aside", "banked", "ended"])
        outcome = GAME.outcome(step.state)
        self.assertEqual(outcome.places, ((0,), (1,)))
        self.assertEqual(outcome.scores, (3000, 2950))
        self.assertEqual(self.refusal(step.state, Roll(), 0), "round_over")
        self.assertIsNone(GAME.deadline(step.state))

    def test_silence_banks(self) -> None:
        """
        A player who is silent for 30 s ends the turn: dice set aside before count, the
        roll on the table does not.
        """
        s = choosing(1, 1, 1, 2, aside=(5, 5), points=100)
        step = GAME.advance(s, 31.0)
        self.assertEqual(kinds(step.events), ["timed_out", "banked"])
        self.assertEqual((step.state.scores, step.state.turn), ((100, 0), 1))
        self.assertEqual(GAME.deadline(step.state), 61.0)
        nothing = GAME.advance(choosing(1, 1), 31.0)
        self.assertEqual(kinds(nothing.events), ["timed_out"])

    def test_a_leaver_loses(self) -> None:
        """
        A player who leaves loses, even with more points.
        """
        step = GAME.left(choosing(1, scores=(2900, 0)), 0, 5.0)
        assert isinstance(step, Step)
        outcome = GAME.outcome(step.state)
        self.assertEqual(outcome.places, ((1,), (0,)))
        self.assertEqual(self.refusal(step.state, Rematch(), 1), "alone")

    def test_rematch(self) -> None:
        """
        Another round begins when both have asked, from nothing.
        """
        s = act(choosing(1, scores=(2900, 0)), SetAside((0,), True)).state
        one = GAME.act(s, 1, Rematch(), 9.0)
        assert isinstance(one, Step)
        self.assertEqual(kinds(one.events), ["asked"])
        self.assertIs(GAME.act(one.state, 1, Rematch(), 9.0), one.state)
        both = GAME.act(one.state, 0, Rematch(), 9.0)
        assert isinstance(both, Step)
        self.assertEqual(kinds(both.events), ["began"])
        self.assertEqual((both.state.round, both.state.scores), (2, (0, 0)))
        self.assertIsNone(GAME.outcome(both.state))


class LawTests(SynchronousTestCase):
    @given(st.integers(0, 1 << 40))
    @settings(max_examples=25, deadline=None)
    def test_no_roll_without_setting_aside(self, seed: int) -> None:
        """
        However a game goes, between two rolls of a player something was set
        aside, dice never get more or fewer, and only the winner has the target.
        """
        was_rolled = False

        def watch(play: Play) -> None:
            nonlocal was_rolled
            s: DiceState = play.state
            for event in play.events:
                if event.kind == "rolled":
                    self.assertFalse(was_rolled)
                    was_rolled = True
                elif event.kind != "asked":
                    was_rolled = False
            if s.dice:
                self.assertEqual(len(s.dice) + len(s.aside), 6)
                self.assertFalse(is_bust(s.dice))
                for action in (Roll(), EndTurn()):
                    with self.assertRaises(Rejected):
                        GAME.act(s, s.turn, action, play.time)
            else:
                self.assertLess(len(s.aside), 6)
            reached = [
                one for one, has in enumerate(s.scores) if has >= s.options.target
            ]
            self.assertIn(reached, ([], [s.winner]))

        random_game("dice", seed, watch=watch).play()

    def test_bots_finish(self) -> None:
        """
        Two bots play to the end, and both win sometimes.
        """
        winners = set()
        for seed in range(12):
            s, chance = begun(seed), Chance(seed)
            setup = to_builtins(GAME.setup(s))
            for _ in range(600):
                view = to_builtins(GAME.view(s, "all"))
                _, chance = chance.draw()
                action = GAME.bot(view, s.turn, chance, setup)
                s = act(s, action).state
                if s.winner is not None:
                    break
            self.assertEqual(s.phase, "over")
            winners.add(s.winner)
        self.assertEqual(winners, {0, 1})

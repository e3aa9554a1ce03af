"""Matches of players who are equally strong."""

from __future__ import annotations

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tests.support.waiting import entry, names, rated, run, sizes_of_teams
from vinom.lobby.matchmaking.rules.rating import (
    ByRating,
    RatingSettings,
    Widening,
    strength,
)
from vinom.lobby.matchmaking.rules.rule import Shape

STEPS = RatingSettings(
    steps=(Widening(0, 2.0), Widening(10, 6.0), Widening(30, inf)), fill_seconds=5.0
)
DUEL = ByRating(Shape(2, 2), STEPS)


class WindowTests(SynchronousTestCase):
    """The window of those who wait."""

    def test_nearest_of_all(self) -> None:
        """
        A player meets the one who is nearest to it, not the one who came next.
        """
        waiting = [rated("a", 20.0), rated("b", 21.5), rated("c", 20.5)]
        self.assertEqual(names(run(DUEL, waiting, 1.0)[0]), [["a", "c"]])

    def test_widens(self) -> None:
        """
        Players who are far apart meet when the first of them has waited long enough,
        and the rule is asked again at that moment.
        """
        waiting = [rated("a", 20.0, 100.0), rated("b", 25.0, 107.0)]
        self.assertEqual(run(DUEL, waiting, 107.0), ([], 110.0))
        self.assertEqual(names(run(DUEL, waiting, 110.0)[0]), [["a", "b"]])
        far = [rated("a", -500.0, 100.0), rated("b", 9000.0, 129.0)]
        self.assertEqual(run(DUEL, far, 129.0), ([], 130.0))
        self.assertEqual(names(run(DUEL, far, 130.0)[0]), [["a", "b"]])

    def test_never_underflows(self) -> None:
        """
        A wait of years has the last window; a clock that was set back has the first.
        """
        waiting = [rated("a", 20.0, 1e9), rated("b", 25.0, 1e9)]
        self.assertEqual(len(run(DUEL, waiting, 2e9)[0]), 1)
        self.assertEqual(run(DUEL, waiting, 0.0)[0], [])

    def test_equal_entries_in_order(self) -> None:
        """
        Of those who are equally near the one who has waited longest is taken, on
        either side.
        """
        waiting = [rated("x", 20.0, 0.0)]
        waiting += [rated("a", 21.0, 1.0), rated("b", 21.0, 2.0), rated("c", 19.0, 3.0)]
        self.assertEqual(names(run(DUEL, waiting, 4.0)[0])[0], ["x", "a"])
        waiting[1:] = [rated("c", 19.0, 1.0), rated("d", 19.0, 2.0), waiting[1]]
        self.assertEqual(names(run(DUEL, waiting, 4.0)[0])[0], ["x", "c"])

    def test_bad_steps(self) -> None:
        """
        A window that shrinks is a mistake of the operator.
        """
        for steps in (
            (),
            (Widening(5, 1.0),),
            (Widening(0, 4.0), Widening(5, 1.0)),
            (Widening(0, 1.0), Widening(5, 2.0), Widening(3, 3.0)),
            (Widening(0, -1.0),),
        ):
            self.assertRaises(
                ValueError, ByRating, Shape(2, 2), RatingSettings(steps=steps)
            )

    @settings(max_examples=200, deadline=None)
    @given(
        some.lists(some.tuples(some.floats(0, 60), some.floats(0, 50)), max_size=40),
        some.floats(60, 100),
    )
    def test_no_pair_is_missed(
        self, wishes: list[tuple[float, float]], now: float
    ) -> None:
        """
        Nobody is left who could meet another one who is left, in its own window; and
        nobody meets a player outside of the window of the one who has waited longer.
        """
        waiting = [
            rated(str(at), round(rating * 16) / 16, since)
            for at, (since, rating) in enumerate(sorted(wishes))
        ]
        proposals, _ = run(DUEL, waiting, now)
        taken = {one.entry_id for found in proposals for one in found.entries}

        def window(since: float) -> float:
            return [s.window for s in STEPS.steps if now - since >= s.seconds][-1]

        left = [one for one in waiting if one.entry_id not in taken]
        for one in left:
            for other in left:
                if one is not other:
                    apart = abs(one.ratings[0] - other.ratings[0])
                    self.assertGreater(apart, window(one.since))
        for found in proposals:
            first, second = found.entries
            apart = abs(first.ratings[0] - second.ratings[0])
            self.assertLessEqual(apart, window(first.since))


class PartyTests(SynchronousTestCase):
    """Parties, by average and spread."""

    def test_strength(self) -> None:
        """
        A party is as strong as its average, and a little more if one of it is much
        stronger than the others.
        """
        even = entry("p", size=2, ratings=(30.0, 30.0))
        uneven = entry("q", size=2, ratings=(20.0, 40.0))
        self.assertEqual(strength(even, 0.5), 30.0)
        self.assertEqual(strength(uneven, 0.5), 35.0)
        self.assertEqual(strength(uneven, 0.0), 30.0)
        self.assertEqual(strength(entry("r"), 0.5), 25.0)

    def test_teams_are_equally_strong(self) -> None:
        """
        The two strongest of four are not in one team.
        """
        rule = ByRating(Shape(4, 4, 2), RatingSettings(steps=(Widening(0, inf),)))
        waiting = [rated(n, r) for n, r in zip("abcd", (40, 39, 10, 9), strict=True)]
        (found,), _ = run(rule, waiting, 0.0)
        team = dict(zip((e.entry_id for e in found.entries), found.teams, strict=True))
        self.assertEqual(team["a"], team["d"])
        self.assertEqual(team["b"], team["c"])

    def test_two_against_a_party(self) -> None:
        """
        Two lone players are the other team of a party of two, whoever comes first.
        """
        rule = ByRating(Shape(4, 4, 2), RatingSettings(steps=(Widening(0, inf),)))
        waiting = [rated("a", 20), rated("p", 30, size=2), rated("b", 40)]
        (found,), _ = run(rule, waiting, 0.0)
        self.assertEqual(sizes_of_teams(found), [2, 2])

    def test_sizes_that_fit_only_together(self) -> None:
        """
        A match becomes full even where the nearest would leave a gap.
        """
        rule = ByRating(Shape(6, 6, 2), RatingSettings(steps=(Widening(0, inf),)))
        waiting = [rated("p", 25, size=2), rated("q", 25, size=2)]
        waiting += [rated("r", 40, size=3), rated("x", 10)]
        (found,), _ = run(rule, waiting, 0.0)
        self.assertEqual(sizes_of_teams(found), [3, 3])

    def test_fewer_players_after_a_while(self) -> None:
        """
        A game for two to four starts with two, when the first has waited for others.
        """
        rule = ByRating(Shape(2, 4), STEPS)
        waiting = [rated("a", 20.0, 100.0), rated("b", 21.0, 101.0)]
        self.assertEqual(run(rule, waiting, 104.0), ([], 105.0))
        self.assertEqual(names(run(rule, waiting, 105.0)[0]), [["a", "b"]])


class ExplainTests(SynchronousTestCase):
    """What an operator learns."""

    def test_excluded(self) -> None:
        """
        How many the window leaves out is known, and when it widens next.
        """
        ann = rated("ann", 20.0, 100.0)
        others = [rated("b", 24.0, 101.0), rated("c", 60.0, 102.0)]
        found = DUEL.explain(ann, [ann, *others], 103.0)
        self.assertEqual(dict(found.excluded), {"rating": 2})
        self.assertEqual(found.widens_at, 110.0)
        self.assertIn("1 more needed within 2 points of 20.0", found.why)
        self.assertIn("widens in 7.0 s", found.why)
        found = DUEL.explain(ann, [ann, *others], 111.0)
        self.assertEqual(dict(found.excluded), {"rating": 1})
        self.assertIn("next round", found.why)
        self.assertIsNone(DUEL.explain(ann, [ann, *others], 131.0).widens_at)

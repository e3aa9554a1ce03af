"""What every rule of matchmaking keeps."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tests.support.waiting import entry, run, sizes_of_teams
from vinom.base.model import Player, QueueEntry
from vinom.lobby.matches.service import seat_plans
from vinom.lobby.matchmaking.rules.buckets import Buckets, BucketSettings, Reach
from vinom.lobby.matchmaking.rules.fifo import Fifo, FifoSettings
from vinom.lobby.matchmaking.rules.rating import ByRating, RatingSettings, Widening
from vinom.lobby.matchmaking.rules.rule import Rule, Shape
from vinom.play.seats import seat_of

SHAPES = (
    Shape(2, 2),
    Shape(2, 4),
    Shape(2, 2, 2),
    Shape(4, 4, 2),
    Shape(2, 8, 2),
    Shape(6, 6, 3),
    Shape(3, 5, 2),
)
RATING = RatingSettings(
    steps=(Widening(0, 2.0), Widening(5, 10.0), Widening(15, inf)), fill_seconds=5.0
)
BUCKETS = BucketSettings(
    steps=(Reach(0, 0, 50.0), Reach(5, 2, 120.0), Reach(15, 10_000, inf))
)
LAST_STEP = 15.0
WAITING = some.lists(
    some.tuples(
        some.floats(0, 20),
        some.integers(1, 4),
        some.sampled_from([25.0, 25.0, 24.0, 5.0, 40.0, -3.0, 1e9, -1e9]),
        some.sampled_from([(), (("eu", 20.0), ("us", 110.0)), (("us", 30.0),)]),
        some.lists(some.integers(0, 30), max_size=3),
    ),
    max_size=40,
)


def rules(shape: Shape) -> list[Rule]:
    return [
        Fifo(shape, FifoSettings(5.0)),
        ByRating(shape, RATING),
        Buckets(shape, BUCKETS),
    ]


def waiting(wishes: list[Any]) -> list[QueueEntry]:
    """Make entries of what hypothesis drew, the longest wait first."""
    return [
        entry(
            str(number),
            since,
            size=size,
            ratings=(rating,) * size,
            echoes=echoes,
            recent=tuple(str(one) for one in met),
        )
        for number, (since, size, rating, echoes, met) in enumerate(
            sorted(wishes, key=lambda wish: wish[0])
        )
    ]


class EveryRuleTests(SynchronousTestCase):
    """Nobody is matched twice, and parties stay together."""

    @settings(max_examples=300, deadline=None)
    @given(WAITING, some.floats(-100, 60), some.sampled_from(SHAPES))
    def test_always(self, wishes: list[Any], now: float, shape: Shape) -> None:
        """
        No player is in two matches; a match has as many players as its queue allows, in
        teams of equal size, each party in one of them; and a rule that is asked again
        when it wishes is asked in the future.
        """
        entries = waiting(wishes)
        for rule in rules(shape):
            proposals, again = run(rule, entries, now)
            taken = [one.entry_id for found in proposals for one in found.entries]
            self.assertEqual(len(taken), len(set(taken)))
            self.assertLessEqual(set(taken), {one.entry_id for one in entries})
            for found in proposals:
                players = sum(len(one.players) for one in found.entries)
                self.assertTrue(shape.fewest <= players <= shape.most)
                if shape.teams is None:
                    self.assertEqual(found.teams, ())
                else:
                    sizes = sizes_of_teams(found)
                    self.assertEqual(len(found.teams), len(found.entries))
                    self.assertLessEqual(max(sizes) - min(sizes), 1)
                    self.assertLessEqual(len(sizes), shape.teams)
                    if players >= shape.teams:
                        self.assertEqual(len(sizes), shape.teams)
                since = [one.since for one in found.entries]
                self.assertEqual(since, sorted(since))
            if again is not None:
                self.assertGreater(again, now - 1e-6)

    @settings(max_examples=200, deadline=None)
    @given(WAITING, some.sampled_from(SHAPES))
    def test_nobody_waits_beside_partners(
        self, wishes: list[Any], shape: Shape
    ) -> None:
        """
        After everybody's last step no players are left of whom a match could be made.
        """
        entries = waiting(wishes)
        for rule in rules(shape):
            if isinstance(rule, Buckets):
                entries = [
                    QueueEntry(
                        one.entry_id,
                        one.players,
                        one.game,
                        one.since,
                        ratings=one.ratings,
                        echoes=(("eu", 10.0), ("us", 150.0)),
                    )
                    for one in entries
                ]
            proposals, _ = run(rule, entries, 20.0 + LAST_STEP)
            taken = {one.entry_id for found in proposals for one in found.entries}
            left = [
                one
                for one in entries
                if one.entry_id not in taken and len(one.players) <= shape.largest
            ]
            lone = sum(len(one.players) == 1 for one in left)
            self.assertLess(lone, shape.fewest)

    @settings(max_examples=200, deadline=None)
    @given(WAITING, some.floats(0, 40), some.sampled_from(SHAPES))
    def test_equal_entries_in_order(
        self, wishes: list[Any], now: float, shape: Shape
    ) -> None:
        """
        Of entries that are alike, none is matched before one that has waited longer.
        """
        entries = waiting([(since, 1, 25.0, (), []) for since, *_ in wishes])
        for rule in rules(shape):
            proposals, _ = run(rule, entries, now)
            taken = [int(one.entry_id) for found in proposals for one in found.entries]
            self.assertEqual(sorted(taken), list(range(len(taken))))

    def test_old_opponents_if_nobody_else_is_there(self) -> None:
        """
        Those who met lately meet others first, and each other if nobody else waits.
        """
        ann = entry("ann", 0.0, recent=("bob",), ratings=(25.0,))
        bob = entry("bob", 1.0, ratings=(25.0,))
        cat = entry("cat", 2.0, ratings=(25.0,))
        for rule in rules(Shape(2, 2)):
            first, _ = run(rule, [ann, bob, cat], 3.0)
            together = {one.entry_id for one in first[0].entries}
            self.assertEqual(together, {"ann", "cat"}, rule)
            first, _ = run(rule, [bob, ann], 3.0)
            self.assertEqual(len(first), 1, rule)


class SeatTests(SynchronousTestCase):
    """Seats of players."""

    def test_order_and_loadouts(self) -> None:
        """
        Seats follow the queue, and everybody brings its own loadout.
        """
        party = QueueEntry(
            "p", (Player("x", "X"), Player("y", "Y")), "maze", 3.0, b"{}", (b"1", b"2")
        )
        seats = seat_plans([entry("a"), party])
        self.assertEqual(
            [(s.player_id, s.loadout, s.team) for s in seats],
            [("a", b"{}", None), ("x", b"1", None), ("y", b"2", None)],
        )
        self.assertEqual(seat_of(seats, "y"), 2)
        self.assertIsNone(seat_of(seats, "z"))

    def test_teams(self) -> None:
        """
        Teams are dealt in turn, unless a rule has chosen them: then a party is in one.
        """
        seats = seat_plans([entry(name) for name in "abcd"], teams=2)
        self.assertEqual([s.team for s in seats], [0, 1, 0, 1])
        chosen = [entry("a"), entry("p", size=2), entry("b")]
        seats = seat_plans(chosen, 2, (0, 1, 0))
        self.assertEqual([s.team for s in seats], [0, 1, 1, 0])

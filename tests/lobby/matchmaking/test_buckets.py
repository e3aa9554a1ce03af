"""Matches by rank and region."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from tests.support.waiting import names, rated, run
from vinom.lobby.matchmaking.rules.buckets import Buckets, BucketSettings, Reach
from vinom.lobby.matchmaking.rules.rule import Shape

RULE = Buckets(
    Shape(2, 2),
    BucketSettings(
        rank_points=4.0,
        steps=(Reach(0, 0, 50.0), Reach(10, 1, 120.0), Reach(30, 1000, inf)),
    ),
)
EU = (("eu", 20.0), ("us", 110.0), ("asia", 250.0))
US = (("us", 25.0), ("eu", 100.0), ("asia", 180.0))
ASIA = (("asia", 30.0), ("us", 190.0), ("eu", 240.0))


class BucketTests(SynchronousTestCase):
    """Who meets whom, and where."""

    def test_nearest_region(self) -> None:
        """
        Players near one region meet there, though others came first.
        """
        waiting = [
            rated("a", 25.0, 0.0, echoes=EU),
            rated("b", 25.0, 1.0, echoes=US),
            rated("c", 25.0, 2.0, echoes=EU),
        ]
        (found,), again = run(RULE, waiting, 3.0)
        self.assertEqual((names([found]), found.region), ([["a", "c"]], "eu"))
        self.assertEqual(again, None)

    def test_widens_to_the_next_region(self) -> None:
        """
        After a while a player goes to the next region, and after longer to any.
        """
        waiting = [rated("a", 25.0, 0.0, echoes=EU), rated("b", 25.0, 9.0, echoes=US)]
        self.assertEqual(run(RULE, waiting, 9.0), ([], 10.0))
        (found,), _ = run(RULE, waiting, 10.0)
        self.assertEqual(found.region, "us")
        waiting[1] = rated("b", 25.0, 9.0, echoes=ASIA)
        self.assertEqual(run(RULE, waiting, 29.0)[0], [])
        (found,), _ = run(RULE, waiting, 30.0)
        self.assertEqual(found.region, "asia")

    def test_ranks(self) -> None:
        """
        Neighbouring ranks meet after a while, the nearest of them first.
        """
        waiting = [
            rated("a", 25.0, 0.0, echoes=EU),
            rated("b", 23.0, 1.0, echoes=EU),
            rated("c", 31.0, 2.0, echoes=EU),
        ]
        self.assertEqual(run(RULE, waiting, 5.0)[0], [])
        self.assertEqual(names(run(RULE, waiting, 10.0)[0]), [["a", "b"]])
        waiting[1] = rated("b", 12.0, 1.0, echoes=EU)
        self.assertEqual(names(run(RULE, waiting, 10.0)[0]), [["a", "c"]])

    def test_nothing_measured(self) -> None:
        """
        Players who measured nothing meet each other.
        """
        waiting = [rated("a", 25.0), rated("b", 25.0), rated("c", 25.0, echoes=EU)]
        (found,), _ = run(RULE, waiting, 1.0)
        self.assertEqual((names([found]), found.region), ([["a", "b"]], ""))

    def test_explain(self) -> None:
        """
        An operator learns how many are of another rank or too far away.
        """
        ann = rated("ann", 25.0, 0.0, echoes=EU)
        others = [rated("b", 25.0, 1.0, echoes=ASIA), rated("c", 40.0, echoes=EU)]
        found = RULE.explain(ann, [ann, *others], 4.0)
        self.assertEqual(dict(found.excluded), {"rank": 1, "region": 1})
        self.assertEqual(found.widens_at, 10.0)
        self.assertIn("within 0 ranks of rank 6, in eu", found.why)

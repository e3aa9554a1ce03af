"""First come, first served."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tests.support.waiting import entry, names, run
from vinom.base.model import QueueEntry, Waiting
from vinom.lobby.matchmaking.rules.fifo import Fifo, FifoSettings
from vinom.lobby.matchmaking.rules.rule import Shape

MAZE = Fifo(Shape(2, 4), FifoSettings(5.0))


class FindTests(SynchronousTestCase):
    """Which matches start."""

    def found(self, waiting: list[QueueEntry], now: float) -> tuple[Any, float | None]:
        proposals, again = run(MAZE, waiting, now)
        return names(proposals), again

    def test_full_table_starts_at_once(self) -> None:
        """
        Four players of a game for four need not wait; the fifth waits.
        """
        waiting = [entry(name, since=9.0) for name in "abcde"]
        self.assertEqual(self.found(waiting, 9.0), ([list("abcd")], None))

    def test_minimum_after_a_while(self) -> None:
        """
        Two start without the others when the first of them waited long enough.
        """
        waiting = [entry("a", 1.0), entry("b", 4.0)]
        self.assertEqual(self.found(waiting, 5.9), ([], 6.0))
        self.assertEqual(self.found(waiting, 6.0), ([["a", "b"]], None))

    def test_alone(self) -> None:
        """
        One player alone waits as long as it takes.
        """
        self.assertEqual(self.found([entry("a")], 1e9), ([], None))

    def test_party_that_does_not_fit_waits(self) -> None:
        """
        A party is never torn apart; the table takes the next who fit.
        """
        party = entry("p", 3.0, size=2)
        waiting = [entry("a", 0.0), entry("b", 1.0), entry("c", 2.0), party]
        waiting.append(entry("d", 4.0))
        self.assertEqual(self.found(waiting, 4.0)[0], [["a", "b", "c", "d"]])

    def test_large_party_keeps_nobody_waiting(self) -> None:
        """
        A party of three that no lone player completes keeps two pairs from nothing.
        """
        waiting = [entry("p", 0.0, size=3), entry("q", 1.0, size=2)]
        waiting.append(entry("r", 2.0, size=2))
        self.assertEqual(self.found(waiting, 2.0), ([["q", "r"]], 5.0))

    def test_three_and_one_before_two(self) -> None:
        """
        Parties that were taken too early do not keep a match from becoming full.
        """
        rule = Fifo(Shape(6, 6, 2), FifoSettings(5.0))
        # One, one and two come first, and leave no room for the three.
        waiting = [
            entry(name, float(at), size=size)
            for at, (name, size) in enumerate(
                (("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 3))
            )
        ]
        proposals, _ = run(rule, waiting, 9.0)
        self.assertEqual(len(proposals), 1)
        self.assertEqual(names(proposals)[0][0], "a")

    @settings(max_examples=200, deadline=None)
    @given(some.lists(some.floats(0, 20), max_size=30), some.floats(20, 40))
    def test_nobody_is_passed(self, since: list[float], now: float) -> None:
        """
        Nobody is matched past a player who came first.
        """
        waiting = [entry(str(n), at) for n, at in enumerate(sorted(since))]
        proposals, _ = run(MAZE, waiting, now)
        taken = [int(name) for group in names(proposals) for name in group]
        self.assertEqual(taken, list(range(len(taken))))


class ExplainTests(SynchronousTestCase):
    """When it can start, and why not yet."""

    def test_due(self) -> None:
        """
        A full table is due at once, a smaller one after a while.
        """
        for waiting, due in (
            (Waiting(2, 2, 3.0), 8.0),
            (Waiting(4, 4, 3.0), 0.0),
            (Waiting(9, 7, 3.0), 0.0),
        ):
            self.assertEqual(MAZE.due(waiting), due)

    def test_reasons(self) -> None:
        """
        An operator learns why a player waits, for every reason.
        """
        ann, bob = entry("a", 10.0), entry("b", 12.0)

        def why(who: QueueEntry, *waiting: QueueEntry) -> str:
            return MAZE.explain(who, waiting, 13.0).why

        self.assertIn("1 more", why(ann, ann))
        self.assertIn("in 2.0 s", why(bob, ann, bob))
        four = [entry(name) for name in "wxyz"]
        self.assertIn("table is full", why(four[0], *four))
        large = entry("p", 1.0, size=5)
        self.assertIn("larger than a team", why(large, large, *four))
        found = MAZE.explain(ann, (ann, large), 13.0)
        self.assertEqual(dict(found.excluded), {"party too large": 5})

"""Whose match gets the next place."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import MatchPlan, SeatPlan
from vinom.fleet.hosted import MatchRequest
from vinom.fleet.waiting import MOST_PASSED, WaitingMatches


def request(name: str, *hosts: str) -> MatchRequest:
    plan = MatchPlan(name, "duel", (SeatPlan("p", "P"),), 1)
    watch: Any = None
    return MatchRequest(plan, (), watch, hosts=hosts)


class WaitingMatchesTests(SynchronousTestCase):
    """Matches that wait for a port."""

    def setUp(self) -> None:
        self.waiting = WaitingMatches()

    def add(self, name: str, *hosts: str) -> None:
        self.waiting.add(request(name, *hosts))

    def take(self, count: int = 1, now: float = 0.0) -> list[str]:
        return [self.waiting.take(now).match_id for _ in range(count)]

    def test_one_address_each(self) -> None:
        """
        Matches of players from everywhere are served in the order they were made.
        """
        for number in range(5):
            self.add(f"m{number}", f"192.0.2.{number}", f"198.51.100.{number}")
        self.assertEqual(self.take(5), ["m0", "m1", "m2", "m3", "m4"])

    def test_fewest_first(self) -> None:
        """
        Whoever has many matches waits for those who have none, as long as they last;
        a match of two addresses counts for the one with fewer.
        """
        for number in range(4):
            self.add(f"x{number}", "203.0.113.1", "203.0.113.1")
        self.assertEqual(self.take(2), ["x0", "x1"])
        self.add("ann", "192.0.2.1", "203.0.113.1")
        self.add("bob", "192.0.2.2")
        self.assertEqual(self.take(3), ["ann", "bob", "x2"])
        for over in ("x0", "x1", "x2", "ann"):
            self.waiting.over(over)
        self.add("bob2", "192.0.2.2")
        self.assertEqual(self.take(2), ["x3", "bob2"])
        for over in ("x3", "bob", "bob2"):
            self.waiting.over(over)
        self.assertEqual(len(self.waiting._counts), 0)

    def test_passed_for_half_a_minute(self) -> None:
        """
        A match that others passed half a minute ago is next, whoever comes.
        """
        self.add("x0", "203.0.113.1")
        self.take()
        self.add("x1", "203.0.113.1")
        for number in range(3):
            self.add(f"m{number}", f"192.0.2.{number}")
        self.assertEqual(self.take(now=10.0), ["m0"])
        self.assertEqual(self.take(now=9.9 + MOST_PASSED), ["m1"])
        self.assertEqual(self.take(2, now=10.0 + MOST_PASSED), ["x1", "m2"])

    def test_withdrawn_and_again(self) -> None:
        """
        A match whose game server died comes first again; one that was withdrawn never.
        """
        first, second = request("first"), request("second")
        self.waiting.add(first)
        self.waiting.add(second)
        self.assertEqual(self.take(), ["first"])
        self.waiting.over("first")
        self.waiting.add_first(first)
        self.assertEqual(self.take(), ["first"])
        self.assertIn(second, self.waiting)
        self.waiting.remove(second)
        self.assertEqual(len(self.waiting), 0)
        self.add("third")
        self.assertEqual([r.match_id for r in self.waiting.clear()], ["third"])

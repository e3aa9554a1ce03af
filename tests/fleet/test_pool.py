"""How many game servers there are, and whose match gets the next place."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import MatchPlan, SeatPlan
from vinom.fleet.match import MatchMeans, RoomTimeouts, RunningMatch
from vinom.fleet.policy import (
    MOST_PASSED,
    PoolCounts,
    PoolPolicy,
    RefillPacing,
    StartPacing,
    WaitingMatches,
    growth,
)

POLICIES = st.builds(
    PoolPolicy,
    warm=st.integers(0, 9),
    most=st.integers(1, 20),
    rooms_per_process=st.integers(1, 4),
    starting=st.integers(1, 9),
)


@st.composite
def counts(draw):
    starting, warm = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    total = starting + warm + draw(st.integers(0, 9))
    waiting, ports = draw(st.integers(0, 30)), draw(st.integers(0, 30))
    return PoolCounts(starting, warm, total, waiting, ports)


class PoolTests(SynchronousTestCase):
    """What follows from the operator's settings."""

    def test_warm(self):
        """
        As many as wished for are kept warm.
        """
        self.assertEqual(growth(PoolPolicy(warm=3), PoolCounts(1, 1, 5, 0, 9)), 1)

    def test_waiting(self):
        """
        Matches that wait get game servers, but not more than there are ports.
        """
        policy = PoolPolicy(warm=1, most=50, starting=50)
        self.assertEqual(growth(policy, PoolCounts(0, 0, 0, 10, 99)), 11)
        self.assertEqual(growth(policy, PoolCounts(0, 0, 0, 10, 4)), 5)

    def test_dense(self):
        """
        Fewer processes are needed where each hosts several matches.
        """
        policy = PoolPolicy(warm=0, rooms_per_process=4)
        self.assertEqual(growth(policy, PoolCounts(0, 0, 0, 5, 99)), 2)

    def test_too_many(self):
        """
        Game servers that nobody waits for any more are stopped.
        """
        policy = PoolPolicy(warm=2)
        self.assertEqual(growth(policy, PoolCounts(0, 5, 5, 1, 9)), -2)
        self.assertGreater(growth(policy, PoolCounts(0, 5, 5, 9, 9)), 0)

    @given(POLICIES, counts())
    def test_bounds(self, policy, there):
        """
        The cap holds, few start at a time, and only warm ones are stopped.
        """
        count = growth(policy, there)
        if count > 0:
            self.assertLessEqual(there.total + count, policy.most)
            self.assertLessEqual(there.starting + count, policy.starting)
        self.assertLessEqual(-count, there.warm)


class StartPacingTests(SynchronousTestCase):
    """How often a broken program is started."""

    def test_slower_and_slower(self):
        """
        Each failure doubles the wait, up to a bound; success ends it.
        """
        pacing, now, waits = StartPacing(least=1.0, most=5.0), 0.0, []
        self.assertTrue(pacing.may_start(now))
        for _ in range(5):
            pacing.failed(now)
            began = now
            while not pacing.may_start(now):
                now += 0.5
            waits.append(now - began)
        self.assertEqual(waits, [1.0, 2.0, 4.0, 5.0, 5.0])
        pacing.failed(now)
        pacing.worked()
        self.assertTrue(pacing.may_start(now))
        pacing.failed(now)
        self.assertTrue(pacing.may_start(now + 1.0))

    def test_together(self):
        """
        Several that fail together count as one.
        """
        pacing = StartPacing()
        for _ in range(8):
            pacing.failed(0.0)
        self.assertTrue(pacing.may_start(1.0))


class RefillPacingTests(SynchronousTestCase):
    """When game servers are started in place of those that matches took."""

    def test_after_the_last(self) -> None:
        """
        Not at once, and not between two that are taken at the same moment.
        """
        pacing = RefillPacing(after=0.1, most=1.0)
        self.assertLess(pacing.begins_at, 0.0)
        pacing.taken(5.0)
        pacing.taken(5.05)
        self.assertAlmostEqual(pacing.begins_at, 5.15)

    def test_at_last(self) -> None:
        """
        Matches that come all the time do not put it off for ever.
        """
        pacing = RefillPacing(after=0.1, most=1.0)
        for step in range(20):
            pacing.taken(5.0 + step * 0.05)
        self.assertAlmostEqual(pacing.begins_at, 6.0)
        pacing.taken(6.01)
        self.assertAlmostEqual(pacing.begins_at, 6.11)


def request(name: str, *hosts: str) -> RunningMatch:
    plan = MatchPlan(name, "duel", (SeatPlan("p", "P"),), 1)
    nobody: Any = None
    means = MatchMeans(Clock(), Clock().seconds, RoomTimeouts({}), None, nobody, nobody)
    return RunningMatch.make(means, plan, nobody, hosts=hosts)


class WaitingMatchesTests(SynchronousTestCase):
    """Matches that wait for a port."""

    def setUp(self) -> None:
        self.waiting = WaitingMatches()

    def add(self, name: str, *hosts: str) -> None:
        self.waiting.add(request(name, *hosts))

    def take(self, count: int = 1, now: float = 0.0) -> list[str]:
        return [self.waiting.take(now).plan.match_id for _ in range(count)]

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
        self.assertEqual([r.plan.match_id for r in self.waiting.clear()], ["third"])

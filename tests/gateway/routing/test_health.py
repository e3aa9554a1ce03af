"""Which back ends may get sessions."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.gateway.backends import HealthChecks
from vinom.gateway.routing.health import (
    LEAST_ANSWERS,
    LONGEST_PAUSE,
    MOST_FAILURES,
    OUT_SECONDS,
    SPAN,
    Health,
)
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint, ServiceRule, check_rules
from vinom.gateway.sessions import SessionRequest

ONE, OTHER = Endpoint("a", 1), Endpoint("b", 1)


class HealthCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.health = Health(self.clock.seconds, lambda: 1.0)

    def fail(self, times: int = MOST_FAILURES) -> None:  # type: ignore[override]
        """Have ONE fail to be reached."""
        for _ in range(times):
            self.health.tries(ONE)
            self.health.failed(ONE)


class BreakerTests(HealthCase):
    def test_opens(self) -> None:
        """
        After three failures in a row nobody gets there; two, or three with a success
        between, are nothing.
        """
        self.fail(MOST_FAILURES - 1)
        self.assertTrue(self.health.is_usable(ONE))
        self.health.reached(ONE)
        self.fail(MOST_FAILURES - 1)
        self.assertTrue(self.health.is_usable(ONE))
        self.fail(1)
        self.assertFalse(self.health.is_usable(ONE))
        self.assertFalse(self.health.is_reachable(ONE))
        self.assertTrue(self.health.is_usable(OTHER))
        self.assertEqual((self.health.state(ONE), self.health.opened), ("open", 1))

    def test_one_tries(self) -> None:
        """
        After a pause one session tries it; the others wait for what comes of it.
        """
        self.fail()
        self.clock.advance(1.0)
        self.assertEqual(self.health.state(ONE), "half-open")
        self.assertTrue(self.health.is_usable(ONE))
        self.health.tries(ONE)
        self.assertFalse(self.health.is_usable(ONE))
        self.health.reached(ONE)
        self.assertTrue(self.health.is_usable(ONE))
        self.assertEqual(self.health.state(ONE), "good")

    def test_whoever_tries_may_vanish(self) -> None:
        """
        If that session never ends, another one may try.
        """
        self.fail()
        self.clock.advance(1.0)
        self.health.tries(ONE)
        self.clock.advance(10.0)
        self.assertTrue(self.health.is_usable(ONE))

    def test_longer_pauses(self) -> None:
        """
        Each further failure makes the pause longer, up to a limit.
        """
        self.fail()
        pauses = []
        for _ in range(8):
            start = self.clock.seconds()
            while not self.health.is_usable(ONE):
                self.clock.advance(0.5)
            pauses.append(self.clock.seconds() - start)
            self.fail(1)
        self.assertEqual(pauses[:4], [1.0, 2.0, 4.0, 8.0])
        self.assertEqual(set(pauses[4:]), {LONGEST_PAUSE})

    def test_all_at_once(self) -> None:
        """
        A thousand sessions that tried it at the same time are one mistake: the pause
        is as short as after three.
        """
        for _ in range(1000):
            self.health.tries(ONE)
        for _ in range(1000):
            self.health.failed(ONE)
        self.assertFalse(self.health.is_usable(ONE))
        self.clock.advance(1.0)
        self.assertTrue(self.health.is_usable(ONE))

    def test_forgotten(self) -> None:
        """
        Nothing is kept of a back end that is in no rule any more.
        """
        self.fail()
        self.health.keep({OTHER})
        self.assertTrue(self.health.is_usable(ONE))
        self.fail()
        self.health.answered(ONE, False)
        self.assertEqual(self.health._known, {})


class OutlierTests(HealthCase):
    def answer(self, good: int, bad: int) -> None:
        """Have ONE answer."""
        for _ in range(good):
            self.health.answered(ONE, True)
        for _ in range(bad):
            self.health.answered(ONE, False)

    def test_half_fail(self) -> None:
        """
        A back end of whose answers half are failures is out for some seconds, also if
        they come slowly; one that fails less often stays.
        """
        self.answer(LEAST_ANSWERS, LEAST_ANSWERS - 1)
        self.assertTrue(self.health.is_usable(ONE))
        self.clock.advance(SPAN)
        self.answer(0, 1)
        self.assertFalse(self.health.is_usable(ONE))
        self.assertTrue(self.health.is_reachable(ONE))
        self.assertEqual((self.health.state(ONE), self.health.ejected), ("out", 1))
        self.clock.advance(1.5 * OUT_SECONDS)
        self.assertTrue(self.health.is_usable(ONE))

    def test_few(self) -> None:
        """
        A few failures alone say nothing, nor do those of long ago.
        """
        self.answer(0, LEAST_ANSWERS - 1)
        self.assertTrue(self.health.is_usable(ONE))
        self.clock.advance(2 * SPAN)
        self.answer(0, 1)
        self.assertTrue(self.health.is_usable(ONE))

    def test_better_than_none(self) -> None:
        """
        If all back ends are outliers they serve all the same; if they cannot be reached
        they do not.
        """
        router = Router(self.health.is_usable, self.health.is_reachable)
        rule = ServiceRule("x", "round_robin", (ONE,))
        asked = SessionRequest("packets", "h", code=1)
        self.answer(0, LEAST_ANSWERS)
        self.assertEqual(router.choose(rule, asked, 1), ONE)
        both = ServiceRule("x", "round_robin", (ONE, OTHER))
        for _ in range(4):
            self.assertEqual(router.choose(both, asked, 1), OTHER)
        self.fail()
        self.assertIsNone(router.choose(rule, asked, 1))


class Reaching:
    """What checks reach."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.broken: set[str] = set()
        self.waiting: Deferred[None] | None = None

    async def check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        """Reach a back end."""
        self.checked.append(f"{endpoint}{rule.check}")
        if self.waiting is not None:
            await self.waiting
        if str(endpoint) in self.broken:
            raise ConnectionError("refused")


class CheckTests(HealthCase):
    def setUp(self) -> None:
        super().setUp()
        self.router = Router(self.health.is_usable)
        self.router.use(
            check_rules(
                {
                    "x": {"strategy": "round_robin", "endpoints": ["a:1", "b:1"]},
                    "y": {
                        "strategy": "round_robin",
                        "endpoints": ["b:1"],
                        "check": "/ready",
                    },
                    "z": {"strategy": "realm"},
                }
            )
        )
        self.router.realms = {1: Endpoint("r", 1)}
        self.reaching = Reaching()
        self.checks = HealthChecks(
            self.router, self.health, {"tcp": self.reaching}, self.clock, 3.0
        )
        self.checks.startService()
        self.addCleanup(self.checks.stopService)

    def test_each(self) -> None:
        """
        Each back end of each rule is checked once in a while, those of realms too, by
        its rule's own check if it has one.
        """
        self.clock.pump([0.5] * 5)
        self.assertEqual(sorted(self.reaching.checked), ["a:1", "b:1/ready", "r:1"])
        self.clock.pump([0.5] * 6)
        self.assertEqual(len(self.reaching.checked), 6)

    def test_down_and_up(self) -> None:
        """
        What is down gets no session, though none tried; when it is back it does.
        """
        self.reaching.broken = {"a:1"}
        self.clock.pump([0.5] * 30)
        self.assertFalse(self.health.is_usable(ONE))
        self.assertTrue(self.health.is_usable(OTHER))
        self.assertGreaterEqual(self.checks.failed, 3)
        self.reaching.broken = set()
        self.clock.pump([0.5] * 40)
        self.assertEqual(self.health.state(ONE), "good")

    def test_one_at_a_time(self) -> None:
        """
        A back end that does not answer a check is not checked again meanwhile.
        """
        self.reaching.waiting = Deferred()
        self.reaching.checked.clear()
        self.clock.pump([0.5] * 60)
        self.assertEqual(len(self.reaching.checked), 3)
        self.reaching.waiting.callback(None)
        self.reaching.waiting = None
        self.clock.pump([0.5] * 7)
        self.assertEqual(len(self.reaching.checked), 6)

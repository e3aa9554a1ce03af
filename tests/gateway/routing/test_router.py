"""Which back end serves a session."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from uhashring import HashRing

from vinom.gateway.routing.router import MOST_STICKY, Router, _position
from vinom.gateway.routing.rules import Endpoint, ServiceRule, check_rules
from vinom.gateway.sessions import SessionRequest


def back_ends(count: int, port: int = 80) -> list[str]:
    """Name some back ends."""
    return [f"10.0.0.{number}:{port}" for number in range(count)]


def request(**given: Any) -> SessionRequest:
    """Make a request of a client of packets."""
    return SessionRequest("packets", "192.0.2.1", **{"code": 1, **given})


class RouterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.down: set[Endpoint] = set()
        self.router = Router(lambda one: one not in self.down)

    def use(self, strategy: str, endpoints: list[str], **more: Any) -> ServiceRule:
        """Have one rule, of a service with the code 1."""
        given = {"strategy": strategy, "code": 1, "endpoints": endpoints, **more}
        self.router.use(check_rules({"game": given}))
        return self.router.rules.by_name["game"]

    def choose(self, session_id: int = 1, **given: Any) -> str:
        """Choose a back end."""
        asked = request(**given)
        rule = self.router.rule_of(asked)
        assert rule is not None
        return str(self.router.choose(rule, asked, session_id))


class StrategyTests(RouterCase):
    def test_round_robin(self) -> None:
        """
        Back ends take turns; one that is down is left out.
        """
        self.use("round_robin", back_ends(3))
        chosen = [self.choose() for _ in range(6)]
        self.assertEqual(chosen, back_ends(3) * 2)
        self.down = {Endpoint("10.0.0.1", 80)}
        chosen = [self.choose() for _ in range(6)]
        self.assertEqual(set(chosen), {"10.0.0.0:80", "10.0.0.2:80"})

    def test_least_sessions(self) -> None:
        """
        The back end with the fewest sessions gets the next one.
        """
        self.use("least_sessions", back_ends(3))
        for number, count in enumerate((2, 1, 3)):
            for _ in range(count):
                self.router.begun(Endpoint(f"10.0.0.{number}", 80))
        self.assertEqual(self.choose(), "10.0.0.1:80")
        self.down = {Endpoint("10.0.0.1", 80)}
        self.assertEqual(self.choose(), "10.0.0.0:80")
        self.router.ended(Endpoint("10.0.0.2", 80))
        self.router.ended(Endpoint("10.0.0.2", 80))
        self.router.ended(Endpoint("10.0.0.2", 80))
        self.assertEqual(self.choose(), "10.0.0.2:80")
        self.assertEqual(len(self.router.open), 2)

    def test_consistent_hash(self) -> None:
        """
        A user has one back end; if one of ten goes, a tenth of the users move, and only
        those who were there.
        """
        self.use("consistent_hash", back_ends(10))
        before = {user: self.choose(user=user) for user in range(1, 5001)}
        again = {user: self.choose(user=user) for user in range(1, 5001)}
        self.assertEqual(before, again)
        shares = Counter(before.values())
        self.assertEqual(len(shares), 10)
        for share in shares.values():
            self.assertTrue(350 < share < 700, shares)
        self.use("consistent_hash", back_ends(9))
        moved = [user for user in before if self.choose(user=user) != before[user]]
        self.assertEqual({before[user] for user in moved}, {"10.0.0.9:80"})
        self.assertEqual(len(moved), shares["10.0.0.9:80"])

    def test_consistent_hash_when_one_is_down(self) -> None:
        """
        Users of a back end that is down go to the others, not all to one.
        """
        self.use("consistent_hash", back_ends(5))
        before = {user: self.choose(user=user) for user in range(1, 1001)}
        self.down = {Endpoint("10.0.0.0", 80)}
        after = {user: self.choose(user=user) for user in range(1, 1001)}
        moved = {user for user in before if before[user] != after[user]}
        self.assertEqual({before[user] for user in moved}, {"10.0.0.0:80"})
        self.assertEqual(len({after[user] for user in moved}), 4)

    def test_as_the_library(self) -> None:
        """
        Gateways of all versions send a user to the same back end: the one that the
        library's own look-up finds.
        """
        for count in (1, 3, 40, 700):
            names = back_ends(count)
            self.use("consistent_hash", names)
            ring = HashRing(names, hash_fn=_position, vnodes=100)
            for user in range(1, 500):
                self.assertEqual(self.choose(user=user), ring.get_node(str(user)))

    def test_nobody_is_named(self) -> None:
        """
        Without a user the session's id is hashed, so that sessions spread.
        """
        self.use("consistent_hash", back_ends(5))
        self.assertEqual(len({self.choose(session_id=one) for one in range(100)}), 5)
        self.assertEqual(len({self.choose(one, user="x") for one in range(100)}), 1)

    def test_realm(self) -> None:
        """
        A realm's back end is that of the mapping; a realm without one has none.
        """
        rule = self.use("realm", [])
        self.router.realms = {7: Endpoint("a", 1)}
        self.assertEqual(self.choose(realm_id=7), "a:1")
        self.assertEqual(self.choose(realm_id=8), "None")
        tried = self.router.choose(
            rule, request(realm_id=7), 1, tried=[Endpoint("a", 1)]
        )
        self.assertIsNone(tried)
        self.down = {Endpoint("a", 1)}
        self.assertEqual(self.choose(realm_id=7), "None")

    def test_realm_of_a_path(self) -> None:
        """
        Browsers name a realm in the path.
        """
        self.use("realm", [], match={"path": "/realms/{realm}"})
        self.router.realms = {7: Endpoint("a", 1), 8: Endpoint("b", 1)}
        for path, where in (("/realms/7/ws", "a:1"), ("/realms/8", "b:1")):
            self.assertEqual(self.choose(code=None, path=path), where)
        self.assertEqual(self.choose(code=None, path="/realms/9"), "None")

    def test_all_are_down(self) -> None:
        """
        If no back end is left there is none, whatever the strategy.
        """
        self.down = {Endpoint(f"10.0.0.{number}", 80) for number in range(3)}
        for strategy in ("round_robin", "least_sessions", "consistent_hash"):
            rule = self.use(strategy, back_ends(3))
            self.assertEqual(self.choose(), "None")
            self.down, tried = set(), self.down
            self.assertIsNone(self.router.choose(rule, request(), 1, tried))
            self.down = tried


class StickyTests(RouterCase):
    def begin(self, now: float, user: int = 5) -> str:
        """Begin a session of a user."""
        asked = request(user=user)
        rule = self.router.rule_of(asked)
        assert rule is not None
        found = self.router.choose(rule, asked, 1, (), now)
        assert found is not None
        self.router.stick("game", asked, found, now)
        return str(found)

    def test_same_back_end(self) -> None:
        """
        A user's next session goes to the back end of the last one, as long as the rule
        says, also when other rules came that still name it.
        """
        self.use("round_robin", back_ends(3), sticky=10)
        first = self.begin(0.0)
        self.assertEqual(self.begin(9.0), first)
        self.use("round_robin", back_ends(5), sticky=10)
        self.assertEqual(self.begin(18.0), first)
        self.assertNotEqual(self.begin(29.0), first)

    def test_other_back_end(self) -> None:
        """
        If that back end is down, or in no rule any more, another one serves.
        """
        self.use("round_robin", back_ends(3), sticky=10)
        first = self.begin(0.0)
        self.down = {Endpoint(first.removesuffix(":80"), 80)}
        self.assertNotEqual(self.begin(1.0), first)
        self.down = set()
        second = self.begin(2.0)
        self.use("round_robin", back_ends(3, 81), sticky=10)
        self.assertNotEqual(self.begin(3.0), second)

    def test_bounded(self) -> None:
        """
        Users who do not come back are forgotten.
        """
        self.use("round_robin", back_ends(3), sticky=10)
        asked = [request(user=one + 1) for one in range(MOST_STICKY + 10)]
        for one in asked:
            self.router.stick("game", one, Endpoint("10.0.0.0", 80), 0.0)
        self.assertEqual(len(self.router._sticky), MOST_STICKY)
        self.router.stick("game", asked[0], Endpoint("10.0.0.0", 80), 11.0)
        self.assertEqual(len(self.router._sticky), 1)


class RuleTests(SynchronousTestCase):
    def test_by_what(self) -> None:
        """
        Lobby lines go to the lobby's service, packets to that of their code, requests
        to that of their path, and unknown bytes where the settings say.
        """
        rules = check_rules(
            {
                "lobby": {"strategy": "round_robin", "endpoints": ["a:1"]},
                "7": {"strategy": "round_robin", "endpoints": ["b:1"]},
                "page": {
                    "strategy": "round_robin",
                    "endpoints": ["c:1"],
                    "match": {"path": "/x"},
                },
                "rest": {"strategy": "round_robin", "endpoints": ["d:1"]},
            }
        )
        router = Router(rules=rules, other_service="rest")
        for asked, service in (
            (SessionRequest("lines", "h"), "lobby"),
            (SessionRequest("tcp", "h"), "rest"),
            (SessionRequest("packets", "h", code=7), "7"),
            (SessionRequest("packets", "h", code=8), None),
            (SessionRequest("http", "h", path="/x/y"), "page"),
            (SessionRequest("http", "h", path="/"), None),
        ):
            found = router.rule_of(asked)
            self.assertEqual(None if found is None else found.service, service)

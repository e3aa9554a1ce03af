"""Ratings, learnt from rounds."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.waiting import entry
from vinom.base.model import Player, QueueEntry, Rating, SeatPlan
from vinom.errors import StoreUnavailable
from vinom.lobby.matchmaking.ratings import Lifetimes, Ratings, rate_round
from vinom.lobby.matchmaking.rules.rule import Proposal
from vinom.store.memory.players import MemoryRatingStore


def seats(*names: str, teams: tuple[int, ...] = ()) -> tuple[SeatPlan, ...]:
    return tuple(
        SeatPlan(name, name, team=teams[number] if teams else None)
        for number, name in enumerate(names)
    )


def new(*names: str) -> dict[str, Rating]:
    return dict.fromkeys(names, Rating())


class SkillTests(SynchronousTestCase):
    """What a round shows."""

    def test_places(self) -> None:
        """
        Who comes first gains, who comes last loses, and all are known better; players
        who share a place stay equal.
        """
        after = rate_round(seats(*"abcd"), [[2], [0, 3], [1]], new(*"abcd"))
        self.assertGreater(after["c"].mu, after["a"].mu)
        self.assertGreater(after["a"].mu, after["b"].mu)
        self.assertAlmostEqual(after["a"].mu, after["d"].mu)
        for rating in after.values():
            self.assertLess(rating.sigma, Rating().sigma)
            self.assertEqual(rating.rounds, 1)

    def test_favourite(self) -> None:
        """
        A favourite who wins gains less than one who wins against it.
        """
        before = {"a": Rating(35.0, 3.0, 9), "b": Rating(15.0, 3.0, 9)}
        expected = rate_round(seats("a", "b"), [[0], [1]], before)
        upset = rate_round(seats("a", "b"), [[1], [0]], before)
        self.assertLess(expected["a"].mu - 35.0, upset["b"].mu - 15.0)

    def test_teams(self) -> None:
        """
        Players of a team win and lose together, whoever of them scored.
        """
        places = [[0, 2], [1, 3]]
        after = rate_round(seats(*"abcd", teams=(0, 1, 0, 1)), places, new(*"abcd"))
        self.assertAlmostEqual(after["a"].mu, after["c"].mu)
        self.assertGreater(after["a"].mu, after["b"].mu)

    def test_bots_and_deserters(self) -> None:
        """
        Bots have no rating; a player without a place is behind the others; alone
        nobody can gain anything.
        """
        self.assertEqual(rate_round(seats("a", ""), [[0], [1]], new("a")), {})
        after = rate_round(seats("a", "b", ""), [[0, 2]], new("a", "b"))
        self.assertEqual(set(after), {"a", "b"})
        self.assertGreater(after["a"].mu, after["b"].mu)
        self.assertEqual(rate_round(seats("a", "b"), [], new("a", "b")), {})


class RatingsTests(SynchronousTestCase):
    """Ratings of matches."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store: Any = MemoryRatingStore(self.clock.seconds)
        self.ratings = Ratings(self.store, self.clock, Lifetimes(1000.0, 10.0))

    def proposal(self) -> Proposal:
        guest = Player("guest", "guest", is_guest=True)
        return Proposal((entry("ann"), QueueEntry("g", (guest,), "maze", 0.0)))

    def rounds(self) -> list[int]:
        found = self.successResultOf(self.store.standings("maze", ["ann", "guest"]))
        return [one.rating.rounds for one in found]

    def test_guests_are_forgotten_first(self) -> None:
        """
        A guest has its rating as long as its player key; an account for long.
        """
        watch = self.ratings.watch("maze", self.proposal())
        watch.round_ended("m", {"round": 1, "places": [[0], [1]]})
        self.assertEqual(self.rounds(), [1, 1])
        self.clock.advance(10.0)
        self.assertEqual(self.rounds(), [1, 0])
        self.clock.advance(990.0)
        self.assertEqual(self.rounds(), [0, 0])

    def test_store_away(self) -> None:
        """
        A round that ends while the store does not answer is rated when it does, once,
        though the first try took effect.
        """
        rate, calls = self.store.rate, []

        def late(*given: Any) -> Deferred[Any]:
            calls.append(given)
            answer = rate(*given)
            if len(calls) < 3:
                return fail(StoreUnavailable("no answer"))
            return answer  # type: ignore[no-any-return]

        class Late:
            standings = self.store.standings
            rate = staticmethod(late)

        ratings = Ratings(Late(), self.clock)
        watch = ratings.watch("maze", self.proposal())
        watch.round_ended("m", {"round": 1, "places": [[0], [1]]})
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(calls), 3)
        self.assertEqual(self.rounds(), [1, 1])

    def test_two_matches_at_once(self) -> None:
        """
        A rating that another match changes meanwhile is worked out again.
        """
        rate, calls = self.store.rate, []

        def raced(*given: Any) -> Deferred[Any]:
            calls.append(given)
            if len(calls) == 1:
                other = {"ann": Rating(30.0, 5.0, 7)}
                rate("maze", "other", 1, {"ann": Rating()}, other, {"ann": 1e9})
            return rate(*given)  # type: ignore[no-any-return]

        class Raced:
            standings = self.store.standings
            rate = staticmethod(raced)

        watch = Ratings(Raced(), self.clock).watch("maze", self.proposal())
        watch.round_ended("m", {"round": 1, "places": [[0], [1]]})
        self.assertEqual(self.rounds(), [8, 1])

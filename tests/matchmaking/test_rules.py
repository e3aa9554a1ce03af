"""Who plays with whom."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vinom.matches.service import seat_plans
from vinom.matchmaking.rules import Rules, due_at, explain, propose
from vinom.model import Player, QueueEntry, Waiting
from vinom.play.seats import seat_of
from vinom.store.memory import MemoryEntryStore

RULES = Rules({"maze": (2, 4), "duel": (2, 2)}, fill_seconds=5.0)


def entry(
    name: str, since: float = 0.0, game: str = "maze", **facts: Any
) -> QueueEntry:
    return QueueEntry(name, (Player(name, name),), game, since, **facts)


def names(proposals: Any) -> list[list[str]]:
    return [[e.entry_id for e in p.entries] for p in proposals.ready]


class ProposeTests(SynchronousTestCase):
    """First come, first served."""

    def test_full_table_starts_at_once(self) -> None:
        """
        Four players of a game for four need not wait; the fifth waits.
        """
        waiting = [entry(name, since=9.0) for name in "abcde"]
        found = propose(waiting, RULES, now=9.0)
        self.assertEqual(names(found), [list("abcd")])
        self.assertIsNone(found.deadline)

    def test_minimum_after_a_while(self) -> None:
        """
        Two start without the others when the first of them waited long enough.
        """
        waiting = [entry("a", 1.0), entry("b", 4.0)]
        early = propose(waiting, RULES, now=5.9)
        self.assertEqual((names(early), early.deadline), ([], 6.0))
        self.assertEqual(names(propose(waiting, RULES, now=6.0)), [["a", "b"]])

    def test_alone(self) -> None:
        """
        One player alone waits as long as it takes.
        """
        found = propose([entry("a")], RULES, now=1e9)
        self.assertEqual((names(found), found.deadline), ([], None))

    def test_only_equal_wishes_meet(self) -> None:
        """
        Another game, or other options, is another queue.
        """
        waiting = [
            entry("a", game="duel"),
            entry("b", game="maze"),
            entry("c", game="duel", options=b'{"x":1}'),
            entry("d", game="duel"),
        ]
        self.assertEqual(names(propose(waiting, RULES, 0.0)), [["a", "d"]])

    def test_suspended_are_left_out(self) -> None:
        """
        Nobody is matched with a player who is not there.
        """
        waiting = [entry("a", game="duel", suspended=True), entry("b", game="duel")]
        self.assertEqual(names(propose(waiting, RULES, 100.0)), [])

    def test_unknown_game(self) -> None:
        """
        A request for a game that is gone harms nobody.
        """
        waiting = [entry("a", game="gone"), entry("b", game="gone")]
        self.assertEqual(names(propose(waiting, RULES, 100.0)), [])

    def test_party_that_does_not_fit_waits(self) -> None:
        """
        A party is never torn apart; the table takes the next who fit.
        """
        party = QueueEntry("p", (Player("x", "x"), Player("y", "y")), "maze", 3.0)
        waiting = [entry("a", 0.0), entry("b", 1.0), entry("c", 2.0), party]
        waiting.append(entry("d", 4.0))
        found = propose(waiting, RULES, 4.0)
        self.assertEqual(names(found), [["a", "b", "c", "d"]])

    @settings(max_examples=200, deadline=None)
    @given(
        some.lists(
            some.tuples(
                some.floats(0, 20),
                some.sampled_from(["maze", "duel"]),
                some.sampled_from([b"{}", b'{"x":1}']),
                some.booleans(),
            ),
            max_size=30,
        ),
        some.floats(20, 40),
    )
    def test_always(self, wishes: list[Any], now: float) -> None:
        """
        Nobody is matched twice, with players who asked for something else, or past one
        who came first.
        """
        wishes.sort(key=lambda wish: wish[0])
        waiting = [
            entry(str(n), since, game, options=options, suspended=away)
            for n, (since, game, options, away) in enumerate(wishes)
        ]
        found = propose(waiting, RULES, now)
        taken = [e.entry_id for p in found.ready for e in p.entries]
        self.assertEqual(len(taken), len(set(taken)))
        for proposal in found.ready:
            fewest, most = RULES.tables[proposal.game]
            self.assertTrue(fewest <= len(proposal.entries) <= most)
            wish = {(e.game, e.options, e.suspended) for e in proposal.entries}
            self.assertEqual(wish, {(proposal.game, proposal.options, False)})
            last = max(int(e.entry_id) for e in proposal.entries)
            for earlier in waiting[:last]:
                if (earlier.game, earlier.options, earlier.suspended) in wish:
                    self.assertIn(earlier.entry_id, taken)


class ExplainTests(SynchronousTestCase):
    """Explanations for operators."""

    def test_due(self) -> None:
        """
        A full table is due at once, a smaller one after a while, and too few never.
        """
        for waiting, due in (
            (Waiting(), None),
            (Waiting(4, 1, 3.0), None),
            (Waiting(2, 2, 3.0), 8.0),
            (Waiting(4, 4, 3.0), 0.0),
            (Waiting(9, 7, 3.0), 0.0),
        ):
            self.assertEqual(due_at("maze", waiting, RULES), due)
        self.assertIsNone(due_at("gone", Waiting(9, 9, 3.0), RULES))

    def explain(self, who: QueueEntry, *waiting: QueueEntry) -> dict[str, Any]:
        """Explain the wait of *who* at 13 s, as a store of these entries has it."""
        store = MemoryEntryStore()
        for one in waiting:
            store.add(one)
        place = self.successResultOf(store.place(who.entry_id))
        queue = self.successResultOf(store.waiting(who.game, who.options))
        counts = self.successResultOf(store.counts())
        others = counts.players[who.game] - queue.players
        return explain(who, place, queue, others, RULES, 13.0)

    def test_reasons(self) -> None:
        """
        An operator learns why a player waits, for every reason.
        """
        ann, bob = entry("a", 10.0), entry("b", 12.0)
        away = entry("c", 1.0, suspended=True)
        gone = entry("d", 1.0, game="gone")

        def why(who: QueueEntry, *waiting: QueueEntry) -> str:
            return str(self.explain(who, *waiting)["why"])

        self.assertIn("1 more", why(ann, ann))
        self.assertIn("1 more", why(ann, away, ann))
        self.assertIn("in 2.0 s", why(bob, ann, bob))
        self.assertIn("disconnected", why(away, away))
        self.assertIn("no game with this name", why(gone, gone))
        four = [entry(name) for name in "wxyz"]
        self.assertIn("table is full", why(four[0], *four))
        facts = self.explain(bob, ann, bob, entry("e", options=b'{"x":1}'))
        self.assertEqual(facts["position"], 2)
        self.assertEqual(facts["other_options"], 1)
        self.assertEqual(facts["waited"], 1.0)


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
        Teams are dealt in turn.
        """
        seats = seat_plans([entry(name) for name in "abcd"], teams=2)
        self.assertEqual([s.team for s in seats], [0, 1, 0, 1])

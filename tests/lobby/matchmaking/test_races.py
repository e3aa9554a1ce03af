"""Nodes that act on the same players at once, with answers of storage in any order."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.support.races import Choose, TwoNodes, interleavings
from vinom.base.messages.parties import (
    JoinParty,
    KickFromParty,
    LeaveParty,
)

#: Port calls of the two together whose order is tried in all ways.
DEPTH = 8

Scene = Callable[[TwoNodes], None]


def begin(world: TwoNodes, *steps: Callable[[], None]) -> None:
    """Begin some things at the same moment."""
    world.gate.is_open = False
    for step in steps:
        step()


class PairTests(SynchronousTestCase):
    """Two who act at once: every order of their first eight port calls."""

    def race(
        self,
        before: Scene,
        *steps: Scene,
        after: Scene | None = None,
        accept_seconds: float = 10.0,
    ) -> None:
        """
        Race *steps* in all orders.

        :param before: what happens first.
        :param after: checks the end.
        """

        def once(choose: Choose) -> None:
            world = TwoNodes(accept_seconds)
            before(world)
            world.gate.is_open = False
            for step in steps:
                step(world)
            world.race(choose)
            self.assertEqual(list(world.problems()), [])
            if after is not None:
                after(world)

        self.assertGreater(interleavings(DEPTH, once), 3)

    def hosted(self, count: int) -> Scene:
        def check(world: TwoNodes) -> None:
            found = sum(len(node.fleet.hosted) for node in world.nodes)
            self.assertEqual(found, count)

        return check

    def two_wait(self, world: TwoNodes) -> None:
        world.queue(0, "ann")
        world.queue(1, "bob")

    def three_wait(self, world: TwoNodes) -> None:
        self.two_wait(world)
        world.queue(1, "cat")

    def asked(self, world: TwoNodes) -> None:
        self.two_wait(world)
        world.clock.advance(0)

    def pair(self, world: TwoNodes) -> None:
        world.form(0, "ann", "bob")

    def test_same_entries(self) -> None:
        """
        Two nodes that find the same table start one match, not two.
        """
        self.race(
            self.three_wait,
            lambda world: world.look(0),
            lambda world: world.look(1),
            after=self.hosted(1),
            accept_seconds=0.0,
        )

    def test_same_entries_asked(self) -> None:
        """
        Two nodes that find the same table ask its players once.
        """

        def check(world: TwoNodes) -> None:
            self.assertEqual(len(world.store.state.prematches), 1)

        self.race(
            self.three_wait,
            lambda world: world.look(0),
            lambda world: world.look(1),
            after=check,
        )

    def test_last_two_accept(self) -> None:
        """
        When the last two accept at once on two nodes, one of these makes the match.
        """
        self.race(
            self.asked,
            lambda world: world.answer(0, "ann"),
            lambda world: world.answer(1, "bob"),
            after=self.hosted(1),
        )

    def test_accept_and_decline(self) -> None:
        """
        A yes and a no at once: no match, and the decliner waits no longer.
        """

        def check(world: TwoNodes) -> None:
            self.hosted(0)(world)
            (entry,) = world.store.state.entries.values()
            self.assertEqual(entry.players[0].name, "ann")

        self.race(
            self.asked,
            lambda world: world.answer(0, "ann"),
            lambda world: world.answer(1, "bob", False),
            after=check,
        )

    def test_accept_in_the_last_moment(self) -> None:
        """
        The last yes, and the end of the time: a match, or all wait again.
        """

        def ready(world: TwoNodes) -> None:
            self.asked(world)
            world.answer(0, "ann")
            world.clock.advance(9.999)

        def check(world: TwoNodes) -> None:
            hosted = sum(len(node.fleet.hosted) for node in world.nodes)
            waits = {
                player.name
                for entry in world.store.state.entries.values()
                for player in entry.players
            }
            # One who was too late is out; one who was in time never is.
            self.assertTrue(hosted == 1 or "ann" in waits)

        self.race(
            ready,
            lambda world: world.answer(1, "bob"),
            lambda world: world.clock.advance(0.01),
            after=check,
        )

    def test_cancel_and_match(self) -> None:
        """
        A player who cancels while a match is found is in neither, or in the match.
        """
        self.race(
            self.two_wait,
            lambda world: world.look(1),
            lambda world: world.cancel(0, "ann"),
            accept_seconds=0.0,
        )

    def test_accept_and_cancel(self) -> None:
        """
        The last yes, and a player who accepted before and cancels.
        """

        def ready(world: TwoNodes) -> None:
            self.asked(world)
            world.answer(0, "ann")

        self.race(
            ready,
            lambda world: world.answer(1, "bob"),
            lambda world: world.cancel(0, "ann"),
        )

    def test_queue_twice(self) -> None:
        """
        A player who asks for two games at once, on two nodes, waits for one.
        """
        self.race(
            lambda world: None,
            lambda world: world.queue(0, "ann", "duel"),
            lambda world: world.queue(1, "ann", "party"),
        )

    def test_queue_while_playing(self) -> None:
        """
        A player who is in a match and asks for another one waits for none, though
        another node finds somebody for it at that moment.
        """

        def playing(world: TwoNodes) -> None:
            self.asked(world)
            for name in ("ann", "bob"):
                world.answer(0, name)
            world.clock.advance(0)
            self.hosted(1)(world)
            world.queue(1, "cat")
            world.clock.advance(0)

        self.race(
            playing,
            lambda world: world.queue(0, "ann"),
            lambda world: world.look(1),
            after=self.hosted(1),
        )

    def test_host_queues_twice(self) -> None:
        """
        A party whose host queues on two nodes at once waits once.
        """
        self.race(
            self.pair,
            lambda world: world.queue(0, "ann", "squad"),
            lambda world: world.queue(1, "ann", "party"),
        )

    def test_queue_and_leave(self) -> None:
        """
        The host queues while a member leaves: nobody waits who is not in the party.
        """
        self.race(
            self.pair,
            lambda world: world.queue(0, "ann", "squad"),
            lambda world: world.ask(1, "bob", LeaveParty()),
        )

    def test_queue_and_kick(self) -> None:
        """
        The host queues and removes a member at once.
        """
        self.race(
            self.pair,
            lambda world: world.queue(0, "ann", "squad"),
            lambda world: world.ask(1, "ann", KickFromParty("bob")),
        )

    def test_queue_and_join(self) -> None:
        """
        The host queues while somebody comes in: all members wait, or nobody.
        """
        self.race(
            self.pair,
            lambda world: world.queue(0, "ann", "squad"),
            lambda world: world.ask(1, "cat", JoinParty(world.formed[0])),
        )

    def test_join_and_queue_alone(self) -> None:
        """
        A player who joins a party and queues alone at once is not in two entries.
        """
        self.race(
            self.pair,
            lambda world: world.queue(0, "cat", "squad"),
            lambda world: world.ask(1, "cat", JoinParty(world.formed[0])),
        )

    def test_two_parties(self) -> None:
        """
        A player who joins two parties at once is in one.
        """

        def ready(world: TwoNodes) -> None:
            world.form(0, "ann")
            world.form(1, "bob")

        def check(world: TwoNodes) -> None:
            members = [
                each
                for party in world.store.state.parties.values()
                for each in party.player_ids
            ]
            self.assertEqual(sorted(members), ["ann", "bob", "cat"])

        self.race(
            ready,
            lambda world: world.ask(0, "cat", JoinParty(world.formed[0])),
            lambda world: world.ask(1, "cat", JoinParty(world.formed[1])),
            after=check,
        )

    def test_join_twice(self) -> None:
        """
        A player who joins the same party on two nodes at once is in it once.
        """

        def check(world: TwoNodes) -> None:
            (party,) = world.store.state.parties.values()
            self.assertEqual(party.player_ids, ("ann", "cat"))

        self.race(
            lambda world: world.form(0, "ann"),
            lambda world: world.ask(0, "cat", JoinParty(world.formed[0])),
            lambda world: world.ask(1, "cat", JoinParty(world.formed[0])),
            after=check,
        )

    def test_leave_and_accept(self) -> None:
        """
        A member leaves its party while another gives the last yes.
        """

        def ready(world: TwoNodes) -> None:
            self.pair(world)
            world.queue(0, "ann", "duel")
            world.clock.advance(0)
            world.answer(0, "ann")

        self.race(
            ready,
            lambda world: world.answer(1, "bob"),
            lambda world: world.ask(0, "ann", LeaveParty()),
        )

    def test_everybody_leaves(self) -> None:
        """
        When all leave at once no party is left.
        """

        def check(world: TwoNodes) -> None:
            self.assertEqual(world.store.state.parties, {})

        self.race(
            self.pair,
            lambda world: world.ask(0, "ann", LeaveParty()),
            lambda world: world.ask(1, "bob", LeaveParty()),
            after=check,
        )

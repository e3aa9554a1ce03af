"""What a game server that was taken over can say in its hello to the next node."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FleetWorld, match_plan, ticket
from vinom.base.model import MatchEnd
from vinom.fleet.control.messages import Adopted, Kept, OpenRoom, Playing, RoomEnded

#: The match of another one.
STOLEN = Playing("m2", match_plan("m2"), 9, 9, b"forged", True, {0: "left"})


class HelloTests(SynchronousTestCase):
    """A node takes over two game servers; the one with m1 lies."""

    def setUp(self) -> None:
        dead, self.world = FleetWorld(), FleetWorld(seed=8)
        self.thief, self.other = dead.host("m1"), dead.host("m2")
        self.assertEqual(self.world.after(dead), [True, True])

    def dial_other(self) -> None:
        """The other one says what is true."""
        tickets = (ticket("m2", 1),)
        playing = Playing("m2", match_plan("m2"), 3, 3, b"kept", tickets=tickets)
        self.other.dial(matches=(playing,))
        self.world.settle()
        self.assertIn(Adopted(("m2",)), self.other.heard)

    def test_match_of_another(self) -> None:
        """
        It gets no match of another one, whatever it says about that before that one
        comes, and later: players are let in there, and it goes on from what was kept.
        """
        self.thief.dial(matches=(Playing("m1", match_plan("m1")), STOLEN))
        self.world.settle()
        self.assertIn(Adopted(("m1",)), self.thief.heard)
        self.dial_other()
        self.thief.say(Kept("m2", 4, 0, b"forged"))
        self.thief.say(RoomEnded(MatchEnd("m2", "finished")))
        self.world.settle()
        self.assertEqual((self.world.watch.told, self.world.reasons()), ([], {}))
        self.other.exit(signal=9)
        self.world.wait(2)
        orders = self.world.supply.hosting("m2").heard
        (opened,) = [one for one in orders if isinstance(one, OpenRoom)]
        self.assertEqual((opened.checkpoint, opened.number), (b"kept", 3))
        self.assertEqual([one.seat for one in opened.tickets], [1])

    def test_id_of_another(self) -> None:
        """
        A process that is not the one that was written down gets no matches.
        """
        self.other.dial(pid=self.thief.pid, matches=(STOLEN,))
        self.world.settle()
        self.assertTrue(self.other.transport.is_lost)
        self.assertEqual(self.world.fleet.status().servers["away"], 2)
        self.dial_other()

    def test_old_owner(self) -> None:
        """
        At the node that had it before, and has lost it to another, it finds nobody.
        """
        self.world.fleet.continuity.give_up(self.thief.server_id)
        self.thief.dial_again()
        self.world.settle()
        self.assertTrue(self.thief.transport.is_lost)
        self.assertEqual((self.world.watch.told, self.world.reasons()), ([], {}))

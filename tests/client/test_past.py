"""The tick of each state, and what a player says that it was shown, from end to end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.client import test_rooms
from tests.support.apart_rooms import ApartWorld
from tests.support.glimpse import Glimpse
from tests.support.whole import WholeWorld
from vinom.client.match import Match
from vinom.net.dtls.bad_network import Conditioner, Conditions


class RoomPastTests(test_rooms.RoomsCase):
    """In a room of the node, over a lobby line."""

    def test_tick(self) -> None:
        """
        Every state names its tick; an action says which one its player was shown: that
        of the view, or another one, perhaps between two, or before the first.
        """
        ann, _ = self.pair("glimpse")
        self.pass_time(1.0)
        self.assertEqual(ann.tick, ann.view["tick"])
        self.assertGreater(ann.tick, 10)
        shown = ann.tick
        for tick in (None, shown - 2.6, -2.0):
            number = ann.act({"type": "look"}, tick)
        self.pass_time(0.2)
        self.assertEqual(ann.view["seen"], [[0, shown], [0, shown - 3], [0, shown]])
        self.assertEqual(ann.acked, number)


class ApartPastTests(RoomPastTests):
    """The same where the game is played by a process of its own."""

    def setUp(self) -> None:
        self.patch(test_rooms, "RoomsWorld", ApartWorld)
        super().setUp()


class UdpPastTests(SynchronousTestCase):
    """In a match, over UDP."""

    def test_tick(self) -> None:
        """
        A player who is far away is judged by what it was shown, although an input may
        be sent several times before it arrives.
        """
        world = WholeWorld({"glimpse": Glimpse()})
        far = Conditions(loss=0.2, delay=0.04, jitter=0.02)
        found: list[Match] = []
        asked: list[int] = []

        def look(match: Match) -> None:
            if match.tick > 5 and match.tick % 4 == 0 and len(asked) < 8:
                asked.append(match.tick)
                match.act({"type": "look"})

        for name in ("ann", "bob"):
            network = Conditioner(world.reactor, far, 3) if not found else None
            world.client(name, network).queue("glimpse").addCallback(found.append)
        world.run(lambda: len(found) == 2, 10.0)
        found[0].on_state(look)
        bob = found[1]
        world.run(lambda: len(bob.view["seen"] if bob.view else ()) == 8, 20.0)
        seat = found[0].seat
        self.assertEqual(bob.view["seen"], [[seat, tick] for tick in asked])
        self.assertEqual(bob.tick, bob.view["tick"])

"""Through the relay: what holds for players at a game server holds at the node."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.gameserver import test_faults, test_server
from tests.support.relay_net import RelayNet


class Relayed:
    """Has tests played through the node's relay."""

    patch: Any

    def setUp(self) -> None:
        for module in (test_server, test_faults):
            self.patch(module, "GameNet", RelayNet)
        super().setUp()


class RelayedNodeTests(Relayed, SynchronousTestCase):
    """What the node orders, except for what only a game server with a port can do."""

    test_open_twice = test_server.NodeTests.test_open_twice
    test_unknown_game = test_server.NodeTests.test_unknown_game
    test_seats_refused = test_server.NodeTests.test_seats_that_the_game_does_not_take
    test_stop = test_server.NodeTests.test_stop
    test_stop_without_a_room = test_server.NodeTests.test_stop_without_a_room
    test_kick = test_server.NodeTests.test_kick
    test_close_room = test_server.NodeTests.test_close_room
    test_several_rooms = test_server.NodeTests.test_several_rooms


class RelayedPlayTests(Relayed, test_server.PlayTests):
    """Playing."""

    def test_a_match(self) -> None:
        """
        Two players play to the end; all agree on it, and nothing of them is left.
        """
        net = RelayNet()
        ann, bob = net.begin()
        ann.say("one")
        net.run(0.1)
        bob.say("end")
        net.run(8.0)
        (end,) = net.ends
        self.assertEqual(("finished", (0, 1)), (end.reason, end.present))
        self.assertEqual([end], net.watches["m1"].ends)
        self.assertEqual(1, net.watches["m1"].starts)
        for player in (ann, bob):
            (over,) = player.over
            told = over.reason, over.version, over.view_hash
            self.assertEqual(("finished", end.version, end.view_hash), told)
            self.assertEqual(end.version, player.seen.version)
            self.assertEqual(["closed"], player.lost)
        self.assertEqual(1, net.stopped)
        self.assertEqual(({}, {}), (net.server.rooms, net.relay.rooms))
        self.assertEqual(0, net.relay.players.port.dtls.admission.tickets)


class RelayedDensityTests(Relayed, test_server.DensityTests):
    """Several rooms."""


class RelayedSetupTests(Relayed, test_server.SetupTests):
    """What is sent once."""


class RelayedSeatTests(Relayed, test_server.SeatTests):
    """Seats, tokens and connections."""


class RelayedBadNetworkTests(Relayed, test_server.BadNetworkTests):
    """Loss, copies and disorder."""


class RelayedCrashTests(Relayed, test_faults.CrashTests):
    """A game that fails."""


class RelayedLongEventTests(Relayed, test_faults.LongEventTests):
    """Events as long as a game likes."""

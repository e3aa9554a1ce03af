"""The attacks on the seats of game servers, tried at the relay."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.attacks import test_game_actions, test_seats
from tests.fleet.relay.test_cross import RelayedWorld
from tests.support.relay_net import RelayNet


class Relayed:
    """Has tests played through the node's relay."""

    patch: Any

    def setUp(self) -> None:
        for module in (test_game_actions, test_seats):
            self.patch(module, "GameNet", RelayNet)
        super().setUp()


class RelayedProofTests(Relayed, test_seats.ProofTests):
    """Tokens and tickets that are not one's own."""


class RelayedRaceTests(Relayed, test_seats.RaceTests):
    """Two at once."""


class RelayedOldEpochTests(Relayed, test_seats.OldEpochTests):
    """Connections that were replaced."""


class RelayedReplayTests(Relayed, test_seats.ReplayTests):
    """Datagrams that were recorded."""


class RelayedDatagramTests(Relayed, test_game_actions.DatagramTests):
    """Actions that are none."""


class LineTests(SynchronousTestCase):
    """Players of the node's rooms in a relayed match."""

    def test_long_number(self) -> None:
        """
        An action with a number that MessagePack cannot hold, or that is none, is
        refused with its field; the match goes on.
        """
        world = RelayedWorld()
        match_id, (ann, _) = world.matched()
        world.enter(ann, match_id)
        udp = world.dial(match_id, 1)
        ann.heard()
        for number, word in enumerate((10**30, -(2**63) - 1, [[]], None), 1):
            ann.do(number, type="say", word=word)
            world.run()
            (no,) = [m for m in ann.heard() if m["type"] == "error"]
            self.assertEqual("bad_action", no["error"]["code"])
            self.assertEqual("word", no["error"]["details"]["field"])
        ann.act(5, type="say", word="still here")
        world.run()
        self.assertIn("still here", udp.lines[-1])

"""Connections that have no seat yet, or none any more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from vinom.fleet.gameserver import reception as gameserver_reception
from vinom.net.packets.player import Joined


class ReceptionTests(SynchronousTestCase):
    """`Reception`, with many at the door."""

    def test_many_connections(self) -> None:
        """
        A client that makes connections and never asks for a seat fills no memory, and a
        player still gets in.
        """
        self.patch(gameserver_reception, "MOST_CONNECTIONS", 3)
        net = GameNet()
        net.bind()
        net.open()
        crowd = [net.player(0) for _ in range(6)]
        for each in crowd:
            each.is_silent = True
        net.run(0.5)
        self.assertEqual(3, net.associations)
        self.assertEqual(3, net.server.measure()["lines_evicted"])
        bob = net.player(1)
        net.run(0.5)
        self.assertEqual(1, len(bob.of(Joined)))
        net.run(9.0)
        self.assertEqual(1, net.associations)

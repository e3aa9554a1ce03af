"""Connections of a game server: many without a seat, and much in one turn."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from vinom.fleet.gameserver import reception
from vinom.net.dtls.channel import Connected, Disconnected
from vinom.net.dtls.server import ServerEvent
from vinom.net.packets.player import Joined


class PlayerPortTests(SynchronousTestCase):
    """`PlayerPort` and its `Reception`."""

    def test_many_connections(self) -> None:
        """
        A client that makes connections and never asks for a seat fills no memory, and a
        player still gets in.
        """
        self.patch(reception, "MOST_CONNECTIONS", 3)
        net = GameNet()
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

    def test_gone_as_soon_as_there(self) -> None:
        """
        A player whose connection is made and lost in one turn is nobody: it is not
        said to have been refused, and takes no place.
        """
        net = GameNet()
        net.open()
        came: list[ServerEvent] = []
        self.patch(net.port, "_deliver", came.extend)
        ann = net.player(0)
        ann.is_silent = True
        net.run(0.2)
        ann.close()
        net.run(0.2)
        self.assertEqual([Connected, Disconnected], [type(event) for event in came])
        port = net.server.port
        assert port is not None
        with capturedLogs() as told:
            port.deliver(came)
        self.assertEqual([], [formatEvent(event) for event in told])
        self.assertEqual(0, net.unseated)

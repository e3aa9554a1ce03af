"""What connections bring to a game server, several things at once."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from vinom.net.dtls.channel import Connected, Disconnected
from vinom.net.dtls.server import ServerEvent


class TurnTests(SynchronousTestCase):
    """`PlayerPort.deliver`, with much in one turn of the reactor."""

    def test_gone_as_soon_as_there(self) -> None:
        """
        A player whose connection is made and lost in one turn is nobody: it is not
        said to have been refused, and takes no place.
        """
        net = GameNet()
        net.bind()
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

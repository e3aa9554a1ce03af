"""What a game does wrong on a game server, and who notices."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from vinom.packets.player import EventArrived


class CrashTests(SynchronousTestCase):
    """A game that fails, seen by who runs it."""

    def test_log(self) -> None:
        """
        The log names the game, what it raised at which line, and where the rest is.
        """
        net = GameNet()
        ann, _ = net.begin()
        with capturedLogs() as told:
            ann.say("boom")
            net.run(1.0)
        (line,) = [formatEvent(e) for e in told if e["log_level"] is LogLevel.error]
        self.assertRegex(
            line,
            r"^game teller failed: ZeroDivisionError: boom "
            r"\(games\.py:\d+, in act\); see .+",
        )


class LongEventTests(SynchronousTestCase):
    """Events as long as a game likes."""

    def test_as_long_as_can_be(self) -> None:
        """
        An event of many packets arrives whole, at everybody.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.say("shout 16000")
        net.run(1.0)
        for player in (ann, bob):
            (event,) = player.of(EventArrived)
            self.assertEqual("A" * 16000, event.data)
        self.assertEqual([], net.ends)

    def test_too_long(self) -> None:
        """
        An event that cannot be sent ends the match as a fault of its game, and
        is not lost silently.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.say("shout 17000")
        net.run(1.0)
        self.assertEqual(["crashed"], [end.reason for end in net.ends])
        self.assertEqual("crashed", ann.over[0].reason)
        self.assertEqual("crashed", bob.over[0].reason)
        self.assertEqual(1, net.stopped)

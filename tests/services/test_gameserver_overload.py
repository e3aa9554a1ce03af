"""What a game server does when it has more to do than it can."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from vinom.wire.dtls import ServerEvent
from vinom.wire.playerlink import Joined, Rejected


class OverloadTests(SynchronousTestCase):
    """A running match, on a machine that becomes slow."""

    def setUp(self) -> None:
        self.net = GameNet(rooms_limit=3)
        self.ann, self.bob = self.net.begin()
        port = self.net.server._port
        assert port is not None
        self.deliver = port._deliver
        self.slowness = 0.0
        port._deliver = self.slow

    def slow(self, events: list[ServerEvent]) -> None:
        self.net.reactor.rightNow += self.slowness
        self.deliver(events)

    def play(self, seconds: float) -> None:
        """Both players say something all the time."""
        end = self.net.reactor.seconds() + seconds
        while self.net.reactor.seconds() < end:
            self.ann.say("a")
            self.bob.say("b")
            self.net.run(0.02)

    def count_verified(self) -> list[Any]:
        """Note each token whose signature is looked at from now on."""
        reception = self.net.server._connections.reception
        assert reception is not None
        seen: list[Any] = []
        verify = reception._verifier.verify

        def counted(token: str, now: float) -> Any:
            seen.append(token)
            return verify(token, now)

        self.patch(reception._verifier, "verify", counted)
        return seen

    def test_new_player_comes_later(self) -> None:
        """
        A new player is told when to come again, at the price of no signature;
        those who play go on; later the same token is good.
        """
        self.slowness = 0.1
        self.play(4.0)
        self.net.open("m2")
        verified = self.count_verified()
        token = self.net.token(0, "m2")
        eve = self.net.player(0, "m2", token)
        self.play(2.0)
        (no,) = eve.of(Rejected)
        self.assertEqual((no.code, no.retry_after), ("busy", 2.0))
        self.assertEqual(verified, [])
        figures = self.net.server.measure()
        self.assertEqual(figures["overloaded"], 1.0)
        self.assertEqual(figures["overloads"], 1)
        self.assertEqual(figures["joins_busy"], 1)
        heard = len(self.ann.lines)
        self.play(0.5)
        self.assertGreater(len(self.ann.lines), heard)
        self.slowness = 0.0
        self.play(3.0)
        again = self.net.player(0, "m2", token)
        self.net.run(0.5)
        self.assertEqual(len(again.of(Joined)), 1)
        self.assertEqual(self.net.server.measure()["overloaded"], 0.0)

    def test_who_plays_may_return(self) -> None:
        """
        A player whose connection broke gets back to its seat, with a resume token
        as with a new one.
        """
        self.slowness = 0.1
        self.play(4.0)
        back = self.net.resumed(0, self.ann.resume)
        self.play(2.0)
        self.assertEqual(len(back.of(Joined)), 1)
        back = self.net.player(0)
        self.play(2.0)
        self.assertEqual(len(back.of(Joined)), 1)

    def test_one_slow_turn(self) -> None:
        """
        A single hiccup turns nobody away.
        """
        self.slowness = 0.1
        self.play(0.15)
        self.slowness = 0.0
        self.net.open("m2")
        eve = self.net.player(0, "m2")
        self.net.run(0.5)
        self.assertEqual(len(eve.of(Joined)), 1)

    def test_in_the_log(self) -> None:
        """
        An operator reads one line when it begins and one when it is over.
        """
        lines: list[str] = []

        def remember(event: LogEvent) -> None:
            if "new players" in (text := formatEvent(event)):
                lines.append(text)

        globalLogPublisher.addObserver(remember)
        self.addCleanup(globalLogPublisher.removeObserver, remember)
        self.slowness = 0.1
        self.play(5.0)
        self.assertEqual(len(lines), 1)
        self.slowness = 0.0
        self.play(6.0)
        self.assertEqual(len(lines), 2)

"""What a game server does when it has more to do than it can."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.base.reactor.test_turns import epoll
from tests.support.game_net import BadReactor, GameNet
from tests.support.games import Quiet, Say, Tale, Ticking
from tests.support.logged import watch_log
from vinom.base.limits.pressure import Overload
from vinom.base.model import MatchPlan, SeatPlan
from vinom.base.reactor.turns import TurnWatch
from vinom.fleet.control.messages import OpenRoom, RelaySeat, RelayState
from vinom.fleet.gameserver.matches import GameServerOptions
from vinom.fleet.gameserver.seats import Runtime
from vinom.fleet.gameserver.server import GameServer, ProcessHooks
from vinom.net.dtls.server import ServerEvent
from vinom.net.packets.player import Joined, Rejected


class OverloadTests(SynchronousTestCase):
    """A running match, on a machine that becomes slow."""

    def setUp(self) -> None:
        self.net = GameNet(rooms_limit=3)
        self.ann, self.bob = self.net.begin()
        port = self.net.port
        self.deliver = port._deliver
        self.slowness = 0.0
        port._deliver = self.slow

    def slow(self, events: list[ServerEvent]) -> None:
        self.net.reactor.rightNow += self.slowness
        self.deliver(events)

    def play(self, seconds: float) -> None:
        """Both players act all the time."""
        end = self.net.reactor.seconds() + seconds
        while self.net.reactor.seconds() < end:
            self.ann.say("a")
            self.bob.say("b")
            self.net.run(0.02)

    def count_verified(self) -> list[Any]:
        """Note each token whose signature is looked at from now on."""
        assert self.net.server.port is not None
        reception = self.net.server.port.reception
        seen: list[Any] = []
        verify = reception._verifier.verify

        def counted(token: str, now: float) -> Any:
            seen.append(token)
            return verify(token, now)

        self.patch(reception._verifier, "verify", counted)
        return seen

    def test_new_player_comes_later(self) -> None:
        """
        A new player is sent when to try again, without the cost of a signature; current
        players keep playing; later the same token is valid.
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

    def test_seated_player_may_return(self) -> None:
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
        lines = watch_log(self, "new players")
        self.slowness = 0.1
        self.play(5.0)
        self.assertEqual(len(lines), 1)
        self.slowness = 0.0
        self.play(6.0)
        self.assertEqual(len(lines), 2)


class RoundReactor(BadReactor):
    """Goes around as `EPollReactor` does: it waits, then does what is due."""

    def __init__(self, has_epoll: bool = True) -> None:
        super().__init__()
        if has_epoll:
            # A clock will do for a reactor.
            self._poller: Any = epoll(self)

    def run(self, seconds: float, step: float = 0.01) -> None:
        if not hasattr(self, "_poller"):
            super().run(seconds, step)
            return
        end = self.seconds() + seconds
        while self.seconds() < end:
            self._poller.poll(step, 1)
            self.advance(0)


class Slowly(Ticking):
    """
    Its ticks take time.

    :ivar slowness: seconds each.
    """

    slowness = 0.0

    def __init__(self, reactor: BadReactor) -> None:
        self.reactor = reactor

    def tick(
        self, s: Tale, inputs: tuple[tuple[int, Say | Quiet], ...], n: int
    ) -> Tale:
        self.reactor.rightNow += self.slowness
        return super().tick(s, inputs, n)


class WatchedNet(GameNet):
    """A game server whose reactor is watched, and which plays `Slowly`."""

    def __init__(self, has_epoll: bool = True) -> None:
        super().__init__()
        self.reactor = RoundReactor(has_epoll)
        self.game = Slowly(self.reactor)
        self.watch = TurnWatch(self.reactor.seconds)
        self.watch.start(self.reactor)
        self.server = GameServer(
            "g1",
            {"ticking": self.game},
            Runtime(self.reactor, self.reactor.seconds, random.Random(0).randbytes),
            self.recordings,
            self._stop,
            GameServerOptions(3),
            ProcessHooks(turns=self.watch),
        )
        self.server.linked(self.told.append)


def slow_port(net: GameNet) -> None:
    """Have each turn take a tenth of a second for what players send."""
    port = net.port
    deliver = port._deliver

    def slow(events: list[ServerEvent]) -> None:
        net.reactor.rightNow += 0.1
        deliver(events)

    port._deliver = slow


class WholeTurnTests(SynchronousTestCase):
    """Work that no datagram brought."""

    def test_slow_ticks(self) -> None:
        """
        A game whose ticks take too long keeps new players out, who are sent when to try
        again; players with seats keep playing.
        """
        net = WatchedNet()
        ann, bob = net.begin(game="ticking")
        net.game.slowness = 0.08
        net.run(2.0)
        net.open("m2", game="ticking")
        eve = net.player(0, "m2")
        net.run(2.0)
        (no,) = eve.of(Rejected)
        self.assertEqual((no.code, no.retry_after), ("busy", 2.0))
        bob.say("on")
        net.run(1.0)
        self.assertTrue(ann.lines[-1].endswith("1 on"))
        net.game.slowness = 0.0
        net.run(3.0)
        again = net.player(0, "m2")
        net.run(0.5)
        self.assertEqual(len(again.of(Joined)), 1)

    def test_relayed_match(self) -> None:
        """
        A match whose players all joined through the node counts like any other.
        """
        net = WatchedNet()
        net.bind()
        seats = (SeatPlan("p0", "Ann"), SeatPlan("p1", "Bob"))
        net.server.received(OpenRoom(MatchPlan("m1", "ticking", seats, 7), (), True))
        for seat in range(2):
            net.server.received(RelaySeat("m1", seat, "join", 1))
        net.run(1.0)
        self.assertEqual(net.server.measure()["overloaded"], 0.0)
        net.game.slowness = 0.08
        net.run(2.0)
        self.assertEqual(net.server.measure()["overloaded"], 1.0)
        self.assertGreater(len(net.of(RelayState)), 10)

    def test_time_counts_once(self) -> None:
        """
        The port's share of a turn is not judged beside the whole turn.
        """
        judged: list[float] = []
        self.patch(Overload, "turned", lambda _, took, now: judged.append(took))
        net = WatchedNet()
        ann, _ = net.begin(game="ticking")
        slow_port(net)
        ann.say("a")
        net.run(1.0)
        self.assertGreater(sum(judged), 0.1)
        self.assertAlmostEqual(sum(judged), net.watch.turns.total)

    def test_turns_unknown(self) -> None:
        """
        On a reactor whose turns cannot be measured, those of the port count.
        """
        net = WatchedNet(has_epoll=False)
        ann, _ = net.begin(game="ticking")
        slow_port(net)
        for _ in range(100):
            ann.say("a")
            net.run(0.02)
        self.assertEqual(net.server.measure()["overloaded"], 1.0)

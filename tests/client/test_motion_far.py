"""Motion far away: native players of the manual's labs, over a bad network."""

from __future__ import annotations

import random
import sys
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from tests.support.labs import LABS
from tests.support.whole import WholeWorld
from vinom.client.match import Match
from vinom.client.motion import Interpolator, Predictor, TickClock
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.play.game_loader import load_game

SETTLED = 4.0


class FarCase(SynchronousTestCase):
    """
    One player beside the server, who sees the truth, and one far away.

    :ivar truth: what the near one saw: when, and the view.
    """

    def meet(self, lab: str, delay: float) -> None:
        """Begin a match of a lab; *delay* is each way, seconds."""
        self.patch(sys, "path", [str(LABS), *sys.path])
        self.game = game = load_game(f"labs:{lab}")
        # A match of two, so that both meet in it.
        self.patch(type(game), "seats", (2, 2))
        world = self.world = WholeWorld({"lab": game}, seed=7)
        conditions = Conditions(loss=0.05, delay=delay, jitter=0.02)
        network = Conditioner(world.reactor, conditions, 7)
        found: list[Match] = []
        for filter in (None, network):
            world.client(f"p{filter is None}", filter).queue("lab").addCallback(
                found.append
            )
        world.run(lambda: len(found) == 2, 20.0)
        self.near, self.far = found if self.is_near(found[0], delay) else found[::-1]
        self.truth: list[tuple[float, Any]] = []
        self.near.on_state(lambda match: self.truth.append((self.now, match.view)))
        self.clock = TickClock(20)
        self.far.on_state(lambda match: self.clock.arrived(match.tick, self.now))
        self.begun = self.now

    def is_near(self, match: Match, delay: float) -> bool:
        """Is this the player without a network?"""
        self.world.run(lambda: match.rtt is not None and match.view is not None, 20.0)
        return (match.rtt or 0.0) < delay

    @property
    def now(self) -> float:
        return float(self.world.clock.seconds())

    def every(self, seconds: float, call: Any) -> None:
        """Call from now on, until the test is over."""
        looping = LoopingCall(call)
        looping.clock = self.world.clock
        looping.start(seconds)
        self.addCleanup(looping.stop)

    def run_on(self, seconds: float) -> None:
        end = self.now + seconds
        self.world.run(lambda: self.now >= end, seconds + 1.0)

    def true_at(self, now: float, of: Any) -> float:
        """Where something is on the server at a moment, between two states."""
        after = next(n for n, (at, _) in enumerate(self.truth) if at >= now)
        (was, before), (will, then) = self.truth[after - 1 : after + 1]
        part = (now - was) / (will - was)
        return float(of(before) + (of(then) - of(before)) * part)


class FarTests(FarCase):
    def test_own_paddle(self) -> None:
        """
        With 150 ms each way and a twentieth of all datagrams lost, in 99 % of all
        frames the own paddle is at most half its width from where the server has it
        150 ms later.
        """
        self.meet("Prediction", 0.15)
        far, half = self.far, self.game.setup(None)["half"]
        own: Predictor[dict[str, Any], int] = Predictor(
            lambda body: {
                **body,
                "x": min(max(body["x"] + 320 * body["way"], half), 12_800 - half),
            },
            lambda body, way: {**body, "way": way},
            self.clock,
            fields=("x",),
        )
        chance, way, until = random.Random(7), 0, 0.0
        frames: list[tuple[float, float]] = []

        def see(match: Match) -> None:
            body = match.view["paddles"][match.seat]
            own.confirm(match.tick, body, match.acked, self.now)

        def hold() -> None:
            nonlocal way, until
            if self.now > until:
                way = chance.choice([one for one in (-1, 0, 1) if one != way])
                until = self.now + chance.uniform(0.2, 1.2)
            own.act(way, far.act({"type": "move", "way": way}), self.now)

        def draw() -> None:
            body = own.at(self.now)
            if body is not None and self.now > self.begun + SETTLED:
                frames.append((self.now, body["x"]))

        far.on_state(see)
        self.every(1 / 20, hold)
        self.every(1 / 60, draw)
        self.run_on(30.0)
        errors = sorted(
            abs(x - self.true_at(now + 0.15, lambda s: s["paddles"][far.seat]["x"]))
            for now, x in frames
            if now < self.now - 1
        )
        self.assertGreater(len(errors), 1000)
        self.assertLessEqual(errors[int(0.99 * len(errors))], half)

    def test_eight_of_eight(self) -> None:
        """
        With 250 ms each way, who shoots at what is drawn hits eight of eight by what
        was shown, and none by what is there when the shot arrives.
        """
        self.meet("LagCompensation", 0.25)
        others: Interpolator[float] = Interpolator(self.clock)
        self.far.on_state(lambda match: others.add(match.tick, match.view["duck"]))
        self.run_on(SETTLED)
        for _ in range(8):
            x = others.at(self.now)
            assert x is not None
            shown = self.clock.tick_at(self.now)
            self.far.act({"type": "shoot", "x": round(x)}, shown)
            self.run_on(1.23)
        score = self.near.view["scores"][self.far.seat]
        self.assertEqual(score, {"shots": 8, "seen": 8, "now": 0})

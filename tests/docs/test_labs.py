"""The labs of the manual: what their pages promise, on a bad network."""

from __future__ import annotations

import itertools
import random
import sys
from typing import Any

import attrs
import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script
from tests.support.needs import needs
from vinom.game import Chance, Game, Input, Seat, Table
from vinom.node.web.pages import STATIC
from vinom.play.game_loader import load_game

LABS = STATIC.parents[3] / "docs/labs"
STEP = 50.0
FRAME = 1000 / 60
#: How long a page takes to learn its network, milliseconds.
SETTLED = 3000.0


@attrs.define
class Network:
    """
    One player's network, both ways; times: milliseconds.

    :ivar loss: of a packet; the next one brings a lost action.
    """

    seed: int
    delay: float
    jitter: float = 20.0
    loss: float = 0.05
    _chance: random.Random = attrs.field(init=False)
    _came: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def state(self, now: float) -> float | None:
        """When a state arrives; ``None`` if it gets lost."""
        return None if self._is_lost() else now + self._late()

    def action(self, now: float) -> float:
        """When an action arrives: in order."""
        while self._is_lost():
            now += STEP
        self._came = max(self._came, now + self._late())
        return self._came

    def _is_lost(self) -> bool:
        return self._chance.random() < self.loss

    def _late(self) -> float:
        return self.delay + self._chance.uniform(-self.jitter, self.jitter)


class LabCase(SynchronousTestCase):
    """Runs a lab's rules here, and its board in Node."""

    def setUp(self) -> None:
        needs("node")
        self.patch(sys, "path", [str(LABS), *sys.path])

    def lab(self, name: str) -> Game[Any, Any]:
        return load_game(f"labs:{name}")

    def play(
        self,
        game: Game[Any, Any],
        seconds: float,
        network: Network,
        actions: list[tuple[float, Any, int]],
    ) -> list[Any]:
        """
        Play the rules for one player.

        :param actions: when each was sent, and the tick that was shown.
        :returns: the state after each tick; and what the page receives.
        """
        s = game.start(Table((Seat("ann"),), game.options(), Chance(network.seed)))
        coming = [(network.action(now), what, tick) for now, what, tick in actions]
        self.states, self.network, acked = [s], list[list[Any]](), 0
        for n in range(1, int(seconds * 1000 / STEP)):
            now = n * STEP
            come = [one for one in coming[acked:] if one[0] <= now]
            acked += len(come)
            inputs = tuple(
                Input(0, what, self.seen(tick or n - 1, n, game), tick)
                for _, what, tick in come
            )
            self.states.append(game.tick(self.states[-1], inputs, n))
            view = msgspec.to_builtins(game.view(self.states[-1], "all"))
            arrives = network.state(now)
            if arrives is not None:
                self.network.append([arrives, "state", n, view, acked])
        # A state that is older than one that has come is not shown.
        newest, shown = -1, []
        for event in sorted(self.network, key=lambda one: one[0]):
            if event[2] > newest:
                newest = event[2]
                shown.append(event)
        self.network = shown
        return self.states

    def seen(self, tick: int, n: int, game: Game[Any, Any]) -> Any:
        return self.states[max(min(tick, n - 1), n - 1 - game.past_ticks, 0)]

    def draw(self, lab: str, game: Game[Any, Any], events: list[list[Any]]) -> Any:
        """Run the board with what the page receives, and these events of its own."""
        first = self.network[0][0]
        order = [*self.network, *(one for one in events if one[0] > first)]
        asked = {
            "lab": lab,
            "setup": game.setup(None),
            "events": sorted(order, key=lambda one: one[0]),
        }
        return run_script("lab.mjs", asked)

    def truth(self, of: Any, now: float) -> float:
        """Where something is on the server at a moment, between two ticks."""
        tick, part = divmod(now / STEP, 1)
        at, then = (
            of(self.states[min(int(tick) + n, len(self.states) - 1)]) for n in (0, 1)
        )
        return float(at + (then - at) * part)


def held(seed: int, seconds: float) -> list[tuple[float, int]]:
    """What a player holds at each tick: a way for a while, then another one."""
    chance, way, until = random.Random(seed), 0, 0.0
    ways = []
    for n in range(int((seconds - 2) * 1000 / STEP)):
        now = 1007 + n * STEP
        if now > until:
            way = chance.choice([one for one in (-1, 0, 1) if one != way])
            until = now + chance.uniform(200, 1200)
        ways.append((now, way))
    return ways


class SmoothLabTests(LabCase):
    def steps(self, lab: str, name: str) -> tuple[list[list[float]], list[float]]:
        """What a board draws in each frame at 150 ms; by row, its largest step."""
        game = self.lab(name)
        self.play(game, 12.0, Network(5, 150.0), [])
        frames = [[SETTLED + n * FRAME, "frame"] for n in range(480)]
        drawn = self.draw(lab, game, frames)["frames"]
        rows = [
            [value for value in row if value is not None]
            for row in zip(*drawn, strict=True)
        ]
        pairs = [itertools.pairwise(row) for row in rows]
        return drawn, [max((abs(b - a) for a, b in pair), default=0) for pair in pairs]

    def test_interpolation(self) -> None:
        """
        Between two states the duck flies evenly; from state to state it jumps.
        """
        _, (newest, between, *_) = self.steps("interpolation", "Interpolation")
        even = 400 * FRAME / STEP
        self.assertGreaterEqual(newest, 400)
        self.assertLess(between, 1.5 * even)

    def test_reconciliation(self) -> None:
        """
        A gust that no rule of the page predicts is corrected at once, or smoothly: at
        most a fifth of it in a frame. A page that doesn't look stays wrong.
        """
        drawn, (_, jump, fade, *_) = self.steps("reconciliation", "Reconciliation")
        self.assertGreaterEqual(jump, 1600)
        self.assertLess(fade, 1600 / 5)
        alone, jumps, fades, *_ = drawn[-1]
        self.assertLess(abs(jumps - fades), 10)
        self.assertGreater(abs(alone - fades), 1500)


class PredictionLabTests(LabCase):
    def errors(self, lab: str, name: str, row: int, seed: int) -> list[float]:
        """
        How far a paddle is drawn from where the server will have it when what is sent
        at that moment arrives there, for each frame.
        """
        seconds, delay = 30.0, 150.0
        game = self.lab(name)
        ways = held(seed, seconds)
        move = game.actions.__args__[0]
        actions = [(now, move(way), 0) for now, way in ways]
        self.play(game, seconds, Network(seed, delay), actions)
        frames = [n * FRAME for n in range(int((seconds - 2) * 1000 / FRAME))]
        events = [[now, "move", way] for now, way in ways]
        drawn = self.draw(lab, game, [*events, *([now, "frame"] for now in frames)])
        first = len(frames) - len(drawn["frames"])
        return [
            abs(rows[row] - self.truth(lambda s: s.paddles[0].x, now + delay))
            for now, rows in zip(frames[first:], drawn["frames"], strict=True)
            if now > SETTLED
        ]

    def test_own_paddle(self) -> None:
        """
        With 150 ms each way and a twentieth of all packets lost, in 99 % of all frames
        the own paddle is at most half its width from where the server will have it.
        The newest state is not.
        """
        half = self.lab("Prediction").setup(None)["half"]
        for seed in range(4):
            errors = sorted(self.errors("prediction", "Prediction", 1, seed))
            self.assertGreater(len(errors), 1000)
            self.assertLessEqual(errors[int(0.99 * len(errors))], half, f"seed {seed}")
        newest = sorted(self.errors("prediction", "Prediction", 0, 1))
        self.assertGreater(newest[len(newest) // 2], half)


class LagLabTests(LabCase):
    def shoot(self, seed: int) -> Any:
        """Shoot at what is drawn, eight times; returns the score."""
        game, seconds = self.lab("LagCompensation"), 16.0
        self.play(game, seconds, Network(seed, 250.0), [])
        aims = [[SETTLED + 1234.5 * n, "aim"] for n in range(8)]
        shots = self.draw("lag", game, aims)["acted"]
        shoot = game.actions.__args__[1]
        actions = [(now, shoot(what["x"]), tick) for now, what, tick in shots]
        return self.play(game, seconds, Network(seed, 250.0), actions)[-1].scores[0]

    def test_eight_of_eight(self) -> None:
        """
        A player 250 ms away who shoots at what is drawn hits eight of eight ducks if
        the game looks at what was shown, and none if it looks at what is there now.
        """
        for seed in (1, 2, 7):
            score = self.shoot(seed)
            self.assertEqual((score.shots, score.seen), (8, 8), f"seed {seed}")
            # With other seeds a duck that turned may be there again by chance.
            self.assertEqual(score.now, 0, f"seed {seed}")

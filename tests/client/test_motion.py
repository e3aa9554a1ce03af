"""Motion in Python: the same pictures as motion.js draws."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script
from tests.support.needs import needs
from vinom.client.motion import Interpolator, Predictor, TickClock, mix

HZ = 20


def received(seed: int) -> list[list[Any]]:
    """
    What a page received, did and drew in 12 seconds, in order: states late, lost and in
    another order, a body that comes and goes, and another match after 8 seconds.
    """
    chance = random.Random(seed)
    events: list[list[Any]] = []
    x = dx = number = 0
    for tick in range(240):
        now = 1000 + 50 * tick
        if chance.random() < 0.2:
            number += 1
            dx = chance.choice((-30, 0, 30))
            events.append([now, "acted", dx, number])
        x += dx
        match_tick = tick if tick < 160 else tick - 160
        seen = [[x, -x, None], {"x": 2.5 * tick, "name": "ann", "on": tick % 2 == 0}]
        body = None if 100 < tick < 110 else {"x": x, "y": 5, "dx": dx}
        late = chance.uniform(40, 160)
        if chance.random() < 0.9:
            state = [match_tick, seen[: 1 + tick % 3], body, max(0, number - 1)]
            events.append([now + late, "state", *state])
        events += [[now + 16.7 * frame, "frame"] for frame in range(3)]
    return sorted(events, key=lambda event: event[0])


def draw(events: list[list[Any]]) -> list[Any]:
    """Do what motion.mjs does."""
    clock = TickClock(HZ)
    others: Interpolator[Any] = Interpolator(clock)
    own: Predictor[dict[str, Any], int] = Predictor(
        lambda body: {**body, "x": body["x"] + body["dx"]},
        lambda body, dx: {**body, "dx": dx},
        clock,
        far=500,
    )
    frames: list[Any] = []
    for at, kind, *data in events:
        now = at / 1000
        if kind == "acted":
            own.act(data[0], data[1], now)
        elif kind == "state":
            tick, seen, body, acked = data
            clock.arrived(tick, now)
            others.add(tick, seen)
            own.confirm(tick, body, acked, now)
        else:
            frames.append(
                [clock.tick_at(now), others.at(now), own.tick_at(now), own.at(now)]
            )
    return frames


class MotionTests(SynchronousTestCase):
    def assert_alike(self, one: Any, other: Any) -> None:
        """Equal, but for the last digits of fractions."""
        if isinstance(one, list):
            self.assertEqual(len(one), len(other))
            for a, b in zip(one, other, strict=True):
                self.assert_alike(a, b)
        elif isinstance(one, dict):
            self.assertEqual([*one], [*other])
            self.assert_alike([*one.values()], [*other.values()])
        elif isinstance(one, int | float) and not isinstance(one, bool):
            self.assertAlmostEqual(one, other, places=6)
        else:
            self.assertEqual(one, other)

    def test_as_in_the_browser(self) -> None:
        """
        A native client draws what the browser draws, whatever arrives when.
        """
        needs("node")
        for seed in range(5):
            events = received(seed)
            shown = run_script("motion.mjs", {"hz": HZ, "events": events})
            self.assertGreater(len(shown), 700)
            self.assert_alike(draw(events), shown)

    def test_mix(self) -> None:
        """
        Numbers mix; what is new, or is not a number, is as in the later state.
        """
        before = {"at": [0, 10], "name": "a", "on": True, "left": 1}
        after = {"at": [4, 20, 7], "name": "b", "on": False, "new": 2}
        mixed = {"at": [1.0, 12.5, 7], "name": "b", "on": False, "new": 2}
        self.assertEqual(mix(before, after, 0.25), mixed)

    def test_nothing_yet(self) -> None:
        """
        Before the first state there is nothing to draw.
        """
        clock = TickClock(HZ)
        own: Predictor[Any, Any] = Predictor(dict, mix, clock)
        self.assertIsNone(Interpolator(clock).at(1.0))
        self.assertIsNone(own.at(1.0))
        self.assertEqual((own.tick_at(1.0), clock.newest_at(1.0)), (0.0, 0.0))

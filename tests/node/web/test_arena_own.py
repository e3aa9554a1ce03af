"""The player's own figure on the arena's page, moved before the server answers."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import attrs
import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script
from vinom.game import Chance, Seat, Step, Table
from vinom.games.arena import (
    DASH_SPEED,
    HALF,
    SPEED,
    TICK_HZ,
    Action,
    Arena,
    ArenaOptions,
    ArenaState,
    Dash,
    Move,
)

STEP = 1000 / TICK_HZ
FRAME = 1000 / 60


@attrs.define
class Field:
    """An arena in which seat 0 runs, and the other stands out of its way."""

    seed: int
    state: ArenaState = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        seats = (Seat("ann", None), Seat("bob", None))
        table = Table(seats, ArenaOptions(seconds=600, points=100), Chance(self.seed))
        self.state = Arena().start(table)

    def tick(self, actions: list[Action]) -> list[Any]:
        """Advance by one step; returns seat 0 as the view shows it."""
        inputs = tuple((0, action) for action in actions)
        made = Arena().tick(self.state, inputs, self.state.tick + 1)
        self.state = made.state if isinstance(made, Step) else made
        return self.shown()

    def shown(self) -> list[Any]:
        """Return seat 0 as the view shows it."""
        player = Arena().view(self.state, "all").players[0]
        shown: list[Any] = msgspec.to_builtins(player)
        return shown

    def setup(self) -> Any:
        """Return the part of the view that never changes."""
        return msgspec.to_builtins(Arena().setup(self.state))


def wish(chance: random.Random) -> Action:
    """Draw an action at random."""
    if chance.random() < 0.2:
        return Dash()
    if chance.random() < 0.2:
        return Move(0, 0)
    return Move(chance.randint(-100, 100), chance.randint(-100, 100))


class ArenaOwnTests(SynchronousTestCase):
    def run_page(self, **given: Any) -> Any:
        """Run the page's own code."""
        body = {"x": 0, "y": 0, "toX": 0, "toY": 0, "dash": 0, "rest": 0}
        asked = {"rules": {"body": body, "ticks": []}, "network": [], **given}
        return run_script("own.mjs", asked)

    def test_rules(self) -> None:
        """
        The page moves a player as the game does, to the same whole numbers: along
        walls and the rim, in any direction, dashing or not.
        """
        for seed in range(10):
            chance, field = random.Random(seed), Field(seed)
            x, y = field.shown()[:2]
            body = {"x": x, "y": y, "toX": 0, "toY": 0, "dash": 0, "rest": 0}
            asked, truth = [], []
            for _ in range(600):
                actions = [wish(chance) for _ in range(chance.choice((0, 0, 0, 1, 2)))]
                asked.append([msgspec.to_builtins(action) for action in actions])
                shown = field.tick(actions)
                truth.append([*shown[:4], shown[5], shown[6]])
            found = self.run_page(
                field=field.setup(), rules={"body": body, "ticks": asked}
            )
            self.assertEqual(found["rules"], truth, f"seed {seed}")

    def test_far_away(self) -> None:
        """
        With a delay of 50 to 100 ms each way the player's own figure moves with the
        next frame, and evenly; it is drawn where the server has it when the input of
        that moment arrives there, within a fraction of its width.
        """
        for seed in range(4):
            play = FarAway(seed)
            found = self.run_page(field=play.field.setup(), network=play.network)
            shown = found["shown"]
            frames = [now for now, kind, *_ in play.network if kind == "frame"]
            places = dict(zip(frames, shown, strict=True))
            # Once the round trip has been measured.
            later = [now for now in frames if now > 3000]
            errors = sorted(
                math.dist(places[now], play.truth_at(now + 75)) for now in later
            )
            self.assertLess(errors[int(0.95 * len(errors))], HALF, f"seed {seed}")
            self.assertLess(errors[-1], 3 * HALF)
            ways = [
                math.dist(places[one], places[next])
                for one, next in itertools.pairwise(later)
            ]
            self.assertLess(max(ways), 2 * DASH_SPEED * FRAME / STEP)
            begins = [
                now
                for now in play.begins
                # Not into a wall.
                if math.dist(play.truth_at(now), play.truth_at(now + 300)) > 3 * SPEED
            ]
            self.assertGreater(len(begins), 1)
            for now in begins:
                at = next(frame for frame in frames if frame >= now)
                soon = next(frame for frame in frames if frame >= now + 50)
                way = math.dist(places[at], places[soon])
                self.assertGreater(way, SPEED / 4, f"seed {seed}, {now} ms")

    def test_nothing_sent(self) -> None:
        """
        Without answers the figure stops; an input that did not arrive is dropped, and
        the figure ends where the server has it.
        """
        field = Field(1)
        x, y = field.shown()[:2]
        right = Move(100 if x < 10_000 else -100, 0)
        network: list[list[Any]] = [
            [tick * STEP, "state", tick, field.shown(), 0] for tick in range(20)
        ]
        network.append([960.0, "acted", msgspec.to_builtins(right), 1])
        network += [[now, "frame"] for now in (1000.0, 3000.0, 9000.0)]
        network += [
            [10_000 + tick * STEP, "state", 200 + tick, field.shown(), 0]
            for tick in range(40)
        ]
        network.append([12_600.0, "frame"])
        shown = self.run_page(field=field.setup(), network=network)["shown"]
        self.assertGreater(abs(shown[0][0] - x), 0)
        self.assertLessEqual(abs(shown[1][0] - x), 12 * SPEED)
        self.assertLess(math.dist(shown[1], shown[2]), 1)
        self.assertLess(math.dist(shown[3], (x, y)), 1)


class FarAway:
    """
    What a page and a server receive from each other in 20 seconds.

    :ivar network: what the page did, received and drew, in order.
    :ivar begins: when the figure began to run after standing.
    """

    def __init__(self, seed: int) -> None:
        self.field = Field(seed)
        self._chance = random.Random(seed)
        self.begins: list[float] = []
        sent = self._act()
        self._truth = [self.field.shown()[:2]]
        states, arrival = [], 0.0
        coming = [(self._later(now), action) for now, action in sent]
        acked = 0
        for index in range(1, len(coming)):
            # One connection: nothing overtakes.
            coming[index] = (
                max(coming[index - 1][0], coming[index][0]),
                coming[index][1],
            )
        for tick in range(1, 400):
            now = tick * STEP
            actions = [action for when, action in coming if when <= now]
            coming = [one for one in coming if one[0] > now]
            acked += len(actions)
            shown = self.field.tick(actions)
            self._truth.append(shown[:2])
            arrival = max(arrival, self._later(now))
            states.append([arrival, "state", tick, shown, acked])
        acted = [
            [now, "acted", msgspec.to_builtins(action), number]
            for number, (now, action) in enumerate(sent, 1)
        ]
        first, last = states[0][0], states[-1][0]
        frames = [
            [first + n * FRAME, "frame"] for n in range(int((last - first) / FRAME))
        ]
        self.network: list[list[Any]] = sorted(
            [*acted, *states, *frames], key=lambda one: one[0]
        )

    def _act(self) -> list[tuple[float, Action]]:
        """Run, sometimes dash, sometimes stand, and so on."""
        chance, sent, now = self._chance, [], 500.0
        while now < 19_000:
            angle = chance.uniform(0, 2 * math.pi)
            way = round(100 * math.cos(angle)), round(100 * math.sin(angle))
            if sent and sent[-1][1] == Move(0, 0):
                self.begins.append(now)
            sent.append((now, Move(*way)))
            now += chance.uniform(300, 1500)
            if chance.random() < 0.3:
                sent.append((now - 100, Dash()))
            if chance.random() < 0.5:
                sent.append((now, Move(0, 0)))
                now += chance.uniform(600, 1000)
        return sent

    def _later(self, now: float) -> float:
        return now + self._chance.uniform(50, 100)

    def truth_at(self, now: float) -> list[float]:
        """Where the server has it, interpolated between two steps."""
        tick, part = divmod(now / STEP, 1)
        one, other = (
            self._truth[min(int(tick) + n, len(self._truth) - 1)] for n in (0, 1)
        )
        return [a + (b - a) * part for a, b in zip(one, other, strict=True)]

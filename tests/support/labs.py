"""Players of the manual's labs who are far away, on a virtual clock."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from tests.support.javascript import run_script
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


def load_lab(name: str) -> Game[Any, Any]:
    """Load the rules of a lab."""
    if str(LABS) not in sys.path:
        sys.path.insert(0, str(LABS))
    return load_game(f"labs:{name}")


class FarPlay:
    """
    A lab's rules played here for one player who is far away, and its board in Node.

    :ivar states: the state after each tick.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        seconds: float,
        network: Network,
        actions: Sequence[tuple[float, Any, int]] = (),
    ) -> None:
        """
        Play.

        :param game: the lab.
        :param seconds: how long.
        :param network: the player's.
        :param actions: when each was sent, and the tick that was shown.
        """
        self._game = game
        s = game.start(Table((Seat("ann"),), game.options(), Chance(network.seed)))
        coming = [(network.action(now), what, tick) for now, what, tick in actions]
        self.states, came, acked = [s], list[list[Any]](), 0
        for n in range(1, int(seconds * 1000 / STEP)):
            now = n * STEP
            come = [one for one in coming[acked:] if one[0] <= now]
            acked += len(come)
            inputs = tuple(
                Input(0, what, self._seen(tick or n - 1, n), tick)
                for _, what, tick in come
            )
            self.states.append(game.tick(self.states[-1], inputs, n))
            view = msgspec.to_builtins(game.view(self.states[-1], "all"))
            arrives = network.state(now)
            if arrives is not None:
                came.append([arrives, "state", n, view, acked])
        # A state that is older than one that has come is not shown.
        newest = -1
        self._arrivals: list[list[Any]] = []
        for event in sorted(came, key=lambda one: one[0]):
            if event[2] > newest:
                newest = event[2]
                self._arrivals.append(event)

    def _seen(self, tick: int, n: int) -> Any:
        return self.states[max(min(tick, n - 1), n - 1 - self._game.past_ticks, 0)]

    def draw(self, lab: str, events: Sequence[list[Any]]) -> Any:
        """Run the board with what the page receives, and these events of its own."""
        first = self._arrivals[0][0]
        order = [*self._arrivals, *(one for one in events if one[0] > first)]
        asked = {
            "lab": lab,
            "setup": self._game.setup(None),
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


@attrs.frozen
class Frame:
    """
    A frame of a lab with a paddle.

    :ivar at: when, milliseconds.
    :ivar rows: where the board draws it, by row.
    :ivar right: where the server will have it when what is sent now arrives there.
    """

    at: float
    rows: list[float]
    right: float


def frames_of(lab: str, name: str, seed: int, delay: float = 150.0) -> list[Frame]:
    """Play with a paddle for half a minute; returns what is drawn, once settled."""
    seconds, game = 30.0, load_lab(name)
    ways = held(seed, seconds)
    move = game.actions.__args__[0]
    network = Network(seed, delay)
    play = FarPlay(game, seconds, network, [(now, move(way), 0) for now, way in ways])
    times = [n * FRAME for n in range(int((seconds - 2) * 1000 / FRAME))]
    events = [[now, "move", way] for now, way in ways]
    drawn = play.draw(lab, [*events, *([now, "frame"] for now in times)])["frames"]
    return [
        Frame(now, rows, play.truth(lambda s: s.paddles[0].x, now + delay))
        for now, rows in zip(times[-len(drawn) :], drawn, strict=True)
        if now > SETTLED
    ]

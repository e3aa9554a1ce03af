"""
A swarm: 40 who run about at 20 ticks per second, as a view with grids and without.

For measuring packed views: everybody moves in each tick, and is shown as x, y, angle,
health and kind.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import cos, pi, sin
from typing import Annotated, Any, Literal

from msgspec import Struct

from vinom.game import Chance, Game, Grid, Table
from vinom.games.roomecho import Place

_SIZE, _KINDS = 40, ("soldier", "archer", "wagon", "tower")
_EDGE = 50.0


class Runner(Struct, frozen=True, gc=False):
    """
    One of the swarm.

    :ivar angle: where it runs, radians.
    """

    x: Annotated[float, Grid(0.01, -50, 50)]
    y: Annotated[float, Grid(0.01, -50, 50)]
    angle: Annotated[float, Grid(0.01, -3.15, 3.15)]
    health: Annotated[int, Grid(1, 0, 100)]
    kind: Literal["soldier", "archer", "wagon", "tower"]


class SwarmView(Struct, frozen=True):
    """
    What all see.

    :ivar heard: by seat, the number of the latest input.
    """

    tick: Annotated[int, Grid(1, 0, (1 << 32) - 1)]
    heard: tuple[Annotated[int, Grid(1, 0, (1 << 32) - 1)], ...]
    runners: tuple[Runner, ...]


class SwarmState(Struct, frozen=True):
    """Everything; see `SwarmView`."""

    tick: int
    heard: tuple[int, ...]
    runners: tuple[Runner, ...]
    chance: Chance


class Swarm(Game[SwarmState, Place]):
    """The rules: run on, and turn round at the edge."""

    name = "swarm"
    actions = Place
    seats = (1, 4)
    tick_hz = 20
    linger = 0.0
    time_limit = 30 * 24 * 3600.0
    shows = SwarmView
    #: How many there are, and which share of them runs.
    size, running = _SIZE, 1.0

    def start(self, table: Table) -> SwarmState:
        """Begin with everybody somewhere."""
        runners, chance = [], table.chance
        for number in range(self.size):
            x, chance = chance.below(9000)
            y, chance = chance.below(9000)
            angle, chance = chance.below(628)
            runners.append(
                Runner(
                    x / 100 - 45,
                    y / 100 - 45,
                    angle / 100 - pi,
                    100,
                    _KINDS[number % len(_KINDS)],
                )
            )
        return SwarmState(0, (0,) * len(table.seats), tuple(runners), chance)

    def tick(
        self, s: SwarmState, inputs: tuple[tuple[int, Place], ...], n: int
    ) -> SwarmState:
        """Take the new inputs, and make one step."""
        heard = list(s.heard)
        for seat, place in inputs:
            heard[seat] = place.q
        turn, chance = s.chance.below(30)
        size = len(s.runners)
        # Who runs changes: each second another starts, and one stops.
        first, count = n // 20, self.running * size
        return SwarmState(
            n,
            tuple(heard),
            tuple(
                [
                    _run(one, (turn - 15) / 100 * (1 - number % 3))
                    if (number - first) % size < count
                    else one
                    for number, one in enumerate(s.runners)
                ]
            ),
            chance,
        )


def _run(one: Runner, turn: float) -> Runner:
    angle = (one.angle + turn + pi) % (2 * pi) - pi
    x, y = one.x + cos(angle) / 4, one.y + sin(angle) / 4
    if not (-_EDGE < x < _EDGE and -_EDGE < y < _EDGE):
        x, y, angle = one.x, one.y, -angle
    health = one.health - 1 if turn > 0.14 and one.health > 1 else one.health
    return Runner(x, y, angle, health, one.kind)


class Crowded(Swarm):
    """150, of which a third runs."""

    name = "crowded"
    size, running = 150, 1 / 3


class WholeSwarm(Swarm):
    """The same without grids: whole views, MessagePack."""

    name = "wholeswarm"
    shows = None

    def view(self, s: SwarmState, audience: Hashable) -> dict[str, Any]:
        """Show the same."""
        return {"tick": s.tick, "heard": s.heard, "runners": s.runners}

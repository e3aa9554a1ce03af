"""The arena's actions, views, options and state."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from vinom.game import Chance
from vinom.games.arena_field import FULL, Point, Wall
from vinom.games.rounds import Rematch

Axis = Annotated[int, Meta(ge=-FULL, le=FULL)]
#: A client's own number for an input; the view shows that of the latest one applied.
InputNumber = Annotated[int, Meta(ge=0, le=65_535)]
Phase = Literal["playing", "over"]


class ArenaOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    When a round ends, and how many gems there are.

    :ivar points: a player with this many wins at once.
    :ivar seconds: length of a round, match time.
    :ivar gems: number on the field.
    """

    points: Annotated[int, Meta(ge=1, le=100)] = 15
    seconds: Annotated[int, Meta(ge=5, le=600)] = 90
    gems: Annotated[int, Meta(ge=1, le=8)] = 5


class Move(Struct, frozen=True, forbid_unknown_fields=True, tag="move"):
    """
    Go in this direction until the next move; ``0, 0`` stops.

    :ivar x: to the right.
    :ivar y: down.
    :ivar n: any number; the view shows that of the latest input applied.
    """

    x: Axis
    y: Axis
    n: InputNumber = 0


class Dash(Struct, frozen=True, forbid_unknown_fields=True, tag="dash"):
    """
    Be three times as fast for a moment.

    :ivar n: as in `Move`.
    """

    n: InputNumber = 0


Action = Move | Dash | Rematch


class ArenaSetup(Struct, frozen=True):
    """
    What never changes.

    :ivar size: a player's width.
    :ivar speed: distance per tick; ``dash_speed`` likewise.
    :ivar walls: ``[left, top, width, height]`` of each.
    :ivar reach: a gem nearer than this along each axis is taken.
    :ivar points: a player with this many wins at once.
    """

    width: int
    height: int
    size: int
    speed: int
    dash_speed: int
    dash_ticks: int
    rest_ticks: int
    tick_hz: int
    reach: int
    walls: tuple[Wall, ...]
    points: int


class PlayerView(Struct, frozen=True, array_like=True):
    """
    One player; on the wire an array of these, in this order.

    :ivar vx: movement in the last tick; ``vy`` likewise.
    :ivar dash: ticks left of the player's dash.
    :ivar rest: ticks until the player may dash again.
    :ivar safe: ticks during which nobody can hit the player.
    :ivar n: number of the player's latest input that was applied.
    """

    x: int
    y: int
    vx: int
    vy: int
    points: int
    dash: int
    rest: int
    safe: int
    n: int


class ArenaView(Struct, frozen=True):
    """
    What all players and spectators see.

    :ivar ends: the tick at which the round is over.
    :ivar players: by seat; ``None`` for a seat that was given up.
    :ivar gems: ``[x, y]`` of each.
    :ivar rematch: seats that ask for another round.
    """

    tick: int
    ends: int
    round: int
    phase: Phase
    players: tuple[PlayerView | None, ...]
    gems: tuple[Point, ...]
    winners: tuple[int, ...]
    rematch: tuple[int, ...]


class Body(Struct, frozen=True):
    """
    One player; fields that are also in the view are described there.

    :ivar to_x: the direction the player wants, as in `Move`; ``to_y`` likewise.
    :ivar here: does the seat have a player?
    """

    x: int
    y: int
    vx: int = 0
    vy: int = 0
    points: int = 0
    dash: int = 0
    rest: int = 0
    safe: int = 0
    n: int = 0
    to_x: int = 0
    to_y: int = 0
    here: bool = True


class ArenaState(Struct, frozen=True):
    """
    A moment in the arena; fields that are also in the view are described there.

    :ivar target: a player with this many points wins.
    :ivar length: of a round, ticks.
    :ivar bodies: the players, by seat.
    """

    target: int
    length: int
    walls: tuple[Wall, ...]
    chance: Chance
    bodies: tuple[Body, ...]
    gems: tuple[Point, ...]
    tick: int = 0
    ends: int = 0
    round: int = 1
    phase: Phase = "playing"
    winners: tuple[int, ...] = ()
    rematch: tuple[int, ...] = ()


def show(s: ArenaState) -> ArenaView:
    """Show all players, and only what a client needs to draw."""
    players = tuple(
        PlayerView(
            body.x,
            body.y,
            body.vx,
            body.vy,
            body.points,
            body.dash,
            body.rest,
            body.safe,
            body.n,
        )
        if body.here
        else None
        for body in s.bodies
    )
    return ArenaView(
        s.tick, s.ends, s.round, s.phase, players, s.gems, s.winners, s.rematch
    )

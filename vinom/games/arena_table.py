"""The arena's table: what players may ask, what they see, what the game holds."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from msgspec import Meta, Struct

from vinom.game import Chance
from vinom.games.arena_field import FULL, Point, Wall
from vinom.games.rounds import Rematch

Axis = Annotated[int, Meta(ge=-FULL, le=FULL)]
#: A client's own number for an input, told back when it has taken effect.
InputNumber = Annotated[int, Meta(ge=0, le=65_535)]
Phase = Literal["playing", "over"]


class ArenaOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    When a round ends, and how many gems there are.

    :ivar points: who has so many wins at once.
    :ivar seconds: of match time.
    :ivar gems: on the field at a time.
    """

    points: Annotated[int, Meta(ge=1, le=100)] = 15
    seconds: Annotated[int, Meta(ge=5, le=600)] = 90
    gems: Annotated[int, Meta(ge=1, le=8)] = 5


class Move(Struct, frozen=True, forbid_unknown_fields=True, tag="move"):
    """
    Go this way until told otherwise; ``0, 0`` is to stand.

    :ivar x: to the right.
    :ivar y: down.
    :ivar n: any number; the view shows that of the latest that took effect.
    """

    x: Axis
    y: Axis
    n: InputNumber = 0


class Dash(Struct, frozen=True, forbid_unknown_fields=True, tag="dash"):
    """Be three times as fast for a moment."""

    n: InputNumber = 0


Action = Move | Dash | Rematch


class ArenaSetup(Struct, frozen=True):
    """
    What never changes.

    :ivar size: a player's width.
    :ivar speed: way of one tick; ``dash_speed`` likewise.
    :ivar walls: ``[left, top, width, height]`` of each.
    :ivar reach: along each axis, a gem nearer than this is taken.
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
    One player; an array of these, in this order.

    :ivar vx: way of the last tick; ``vy`` likewise.
    :ivar dash: ticks that its dash still lasts.
    :ivar rest: ticks until it may dash again.
    :ivar safe: ticks for which nobody can hit it.
    :ivar n: of the latest of its inputs that took effect.
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
    What everybody sees.

    :ivar ends: the tick at which the round is over.
    :ivar players: ``None`` for a seat that was given up.
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


@attrs.frozen
class Body:
    """
    One player; fields that the view shows mean what they mean there.

    :ivar to_x: where it wants to go, as in `Move`; ``to_y`` likewise.
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


@attrs.frozen
class ArenaState:
    """
    A moment in the arena; fields that the view shows mean what they mean there.

    :ivar target: points that win.
    :ivar length: ticks of a round.
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
    """Show everybody, and no more than a client needs to draw."""
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

"""
Room tick: each player walks to the place of their last input, twenty steps per second.

As `vinom.games.roomecho`, for measuring games whose state moves by itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct

from vinom.game import Game, Table
from vinom.games.roomecho import Place

_SEATS = ("0", "1", "2", "3")
#: The longest way in one step.
_STRIDE = 50


class Walker(Struct, frozen=True, gc=False):
    """
    One player.

    :ivar q: number of the input that the player follows.
    :ivar tx: the place to walk to.
    """

    x: int
    y: int
    q: int
    tx: int
    ty: int


class TickState(Struct, frozen=True):
    """
    Everyone.

    :ivar n: steps so far.
    """

    n: int
    walkers: tuple[Walker, ...]


def _step(at: int, to: int) -> int:
    return max(at - _STRIDE, min(at + _STRIDE, to))


class RoomTick(Game[TickState, Place]):
    """The rules: go there."""

    name = "roomtick"
    actions = Place
    seats = (1, 4)
    tick_hz = 20
    linger = 0.0
    time_limit = 30 * 24 * 3600.0

    def start(self, table: Table) -> TickState:
        """Begin with everybody in the corner."""
        return TickState(0, (Walker(0, 0, 0, 0, 0),) * len(table.seats))

    def tick(
        self, s: TickState, inputs: tuple[tuple[int, Place], ...], n: int
    ) -> TickState:
        """Take the new inputs, and make one step."""
        walkers = list(s.walkers)
        for seat, place in inputs:
            w = walkers[seat]
            walkers[seat] = Walker(w.x, w.y, place.q, place.x, place.y)
        return TickState(
            n,
            tuple(
                Walker(_step(w.x, w.tx), _step(w.y, w.ty), w.q, w.tx, w.ty)
                for w in walkers
            ),
        )

    def view(self, s: TickState, audience: Hashable) -> dict[str, Any]:
        """Show ``{"v": steps, "p": {seat: {x, y, q}}}``."""
        return {
            "v": s.n,
            "p": {
                seat: {"x": w.x, "y": w.y, "q": w.q}
                for seat, w in zip(_SEATS, s.walkers, strict=False)
            },
        }

"""
A crowd: up to 64 walk on one field, twenty steps a second, in fog.

Each seat is shown who is near it, so each has its own view at every step.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct

from vinom.game import Game, Table
from vinom.games.roomecho import Place

#: How far one sees, along each side; the field has 10,000.
_SIGHT = 1500
#: The longest way in one step.
_STRIDE = 50


class Walker(Struct, frozen=True, gc=False):
    """
    One player.

    :ivar q: number of the input that it follows.
    :ivar tx: where it goes.
    """

    x: int
    y: int
    q: int
    tx: int
    ty: int


class CrowdState(Struct, frozen=True):
    """
    Everyone.

    :ivar n: steps so far.
    """

    n: int
    walkers: tuple[Walker, ...]


def _step(at: int, to: int) -> int:
    return max(at - _STRIDE, min(at + _STRIDE, to))


class Crowd(Game[CrowdState, Place]):
    """The rules: go there, and see who is near."""

    name = "crowd"
    actions = Place
    seats = (1, 64)
    tick_hz = 20
    linger = 0.0
    time_limit = 30 * 24 * 3600.0

    def start(self, table: Table) -> CrowdState:
        """Begin with everybody somewhere else."""
        return CrowdState(
            0,
            tuple(
                Walker(x, y, 0, x, y)
                for seat in range(len(table.seats))
                for x, y in [(1000 + seat % 8 * 1100, 1000 + seat // 8 * 1100)]
            ),
        )

    def tick(
        self, s: CrowdState, inputs: tuple[tuple[int, Place], ...], n: int
    ) -> CrowdState:
        """Take the new wishes, and make one step."""
        walkers = list(s.walkers)
        for seat, place in inputs:
            w = walkers[seat]
            walkers[seat] = Walker(w.x, w.y, place.q, place.x, place.y)
        return CrowdState(
            n,
            tuple(
                Walker(_step(w.x, w.tx), _step(w.y, w.ty), w.q, w.tx, w.ty)
                for w in walkers
            ),
        )

    def audience(self, s: CrowdState, seat: int | None) -> Hashable:
        """Everyone sees something else; who only watches sees nobody."""
        return -1 if seat is None else seat

    def view(self, s: CrowdState, audience: Hashable) -> dict[str, Any]:
        """Show oneself, ``{x, y, q}``, and where those are who are near."""
        if not isinstance(audience, int) or audience < 0:
            return {"n": s.n}
        me = s.walkers[audience]
        x, y = me.x, me.y
        near = [
            (seat, w.x, w.y)
            for seat, w in enumerate(s.walkers)
            if -_SIGHT < w.x - x < _SIGHT and -_SIGHT < w.y - y < _SIGHT and w is not me
        ]
        return {"n": s.n, "me": {"x": x, "y": y, "q": me.q}, "near": near}

"""
A crowd: up to 64 walk on one field, twenty steps per second, in fog.

Each seat sees the players near it, so each has its own view at every step.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from benchmarks.games.roomtick import RoomTick, TickState, Walker
from vinom.game import Table

#: How far a player sees in each direction; the field is 10,000 wide.
_SIGHT = 1500


class Crowd(RoomTick):
    """The rules: walk to a place, and see the players near it."""

    name = "crowd"
    seats = (1, 64)

    def start(self, table: Table) -> TickState:
        """Begin with everybody at another place."""
        return TickState(
            0,
            tuple(
                Walker(x, y, 0, x, y)
                for seat in range(len(table.seats))
                for x, y in [(1000 + seat % 8 * 1100, 1000 + seat // 8 * 1100)]
            ),
        )

    def audience(self, s: TickState, seat: int | None) -> Hashable:
        """Each seat has its own view; spectators see nobody."""
        return -1 if seat is None else seat

    def view(self, s: TickState, audience: Hashable) -> dict[str, Any]:
        """Show the player, ``{x, y, q}``, and the places of players nearby."""
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

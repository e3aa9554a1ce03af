"""
Room echo: everyone's latest position, sent to everyone. For measuring.

It has the least rules a game can have, so what a measurement shows is the
server. It never ends by itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct

from vinom.game import Chance, Game, Table

_SEATS = ("0", "1", "2", "3")


class Place(Struct, frozen=True, gc=False):
    """
    Where a player is.

    :ivar q: its own number for this input.
    """

    x: int
    y: int
    q: int


class EchoState(Struct, frozen=True):
    """
    The latest input of each seat.

    :ivar v: inputs so far.
    """

    v: int
    p: tuple[Place | None, ...]


class RoomEcho(Game[EchoState, Place]):
    """The rules: whatever you say."""

    name = "roomecho"
    actions = Place
    seats = (1, 4)
    linger = 0.0
    time_limit = 30 * 24 * 3600.0

    def start(self, table: Table) -> EchoState:
        """Begin with nobody anywhere."""
        return EchoState(0, (None,) * len(table.seats))

    def act(self, s: EchoState, seat: int, action: Place, now: float) -> EchoState:
        """Keep it."""
        p = s.p
        return EchoState(s.v + 1, (*p[:seat], action, *p[seat + 1 :]))

    def view(self, s: EchoState, audience: Hashable) -> dict[str, Any]:
        """Show ``{"v": inputs, "p": {seat: {x, y, q}}}``, without empty seats."""
        return {
            "v": s.v,
            "p": {
                seat: place
                for seat, place in zip(_SEATS, s.p, strict=False)
                if place is not None
            },
        }

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Place:
        """Go anywhere, counting."""
        bits, _ = chance.draw()
        last = view["p"].get(str(seat))
        return Place(
            bits % 10_000, bits // 10_000 % 10_000, last["q"] + 1 if last else 0
        )

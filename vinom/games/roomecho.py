"""
Room echo: every player's latest position, sent to all players. For measurements.

It has almost no rules, so a measurement shows the cost of the server. It never ends by
itself.
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

    :ivar q: the player's own number for this input.
    """

    x: int
    y: int
    q: int


class EchoState(Struct, frozen=True):
    """
    The latest input of each seat.

    :ivar v: number of inputs so far.
    :ivar p: the latest input, by seat.
    """

    v: int
    p: tuple[Place | None, ...]


class RoomEcho(Game[EchoState, Place]):
    """The rules: keep each player's latest position."""

    name = "roomecho"
    actions = Place
    seats = (1, 4)
    linger = 0.0
    time_limit = 30 * 24 * 3600.0

    def start(self, table: Table) -> EchoState:
        """Begin without positions."""
        return EchoState(0, (None,) * len(table.seats))

    def act(self, s: EchoState, seat: int, action: Place, now: float) -> EchoState:
        """Keep the position."""
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
        """Choose a random position, with the next number."""
        bits, _ = chance.draw()
        last = view["p"].get(str(seat))
        return Place(
            bits % 10_000, bits // 10_000 % 10_000, last["q"] + 1 if last else 0
        )

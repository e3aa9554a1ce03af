"""A game that says what its players were shown when they acted."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Game, Input, Table


class Look(Struct, frozen=True, tag="look"):
    """Note what I was shown."""


class Glances(Struct, frozen=True):
    """
    :ivar tick: the number of the last step.
    :ivar seen: for each look, its seat, and the tick of the state that was shown.
    """

    tick: int = 0
    seen: tuple[tuple[int, int], ...] = ()


class Glimpse(Game[Glances, Look]):
    """Twenty ticks per second, of which a player may be five behind."""

    name = "glimpse"
    actions = Look
    seats = (1, 2)
    tick_hz = 20
    past_ticks = 5
    durability = "none"

    def start(self, table: Table) -> Glances:
        return Glances()

    def act(self, s: Glances, seat: int, action: Look, now: float) -> Glances:
        return s

    def tick(self, s: Glances, inputs: tuple[Input[Glances, Look], ...], n: int) -> Any:
        seen = [(one[0], one.seen.tick) for one in inputs]
        return replace(s, tick=n, seen=(*s.seen, *seen)[-10:])

    def view(self, s: Glances, audience: Hashable) -> Glances:
        return s

"""Games that count what their players do: nothing lost, nothing done twice."""

from __future__ import annotations

from collections.abc import Hashable

from msgspec import Struct

from vinom.game import Game, Seat, Table


class Tap(Struct, frozen=True):
    """One more."""


class Taps(Struct, frozen=True):
    """How often each seat has tapped."""

    counts: tuple[int, ...]


class Counting(Game[Taps, Tap]):
    """Two players tap for as long as they like."""

    name = "counting"
    actions = Tap
    seats = (2, 2)

    def start(self, table: Table) -> Taps:
        return Taps((0,) * len(table.seats))

    def act(self, s: Taps, seat: int, action: Tap, now: float) -> Taps:
        counts = s.counts
        return Taps((*counts[:seat], counts[seat] + 1, *counts[seat + 1 :]))

    def view(self, s: Taps, audience: Hashable) -> list[int]:
        return [*s.counts]


class CountingOpen(Counting):
    """The same for up to four; players may come after the start."""

    name = "counting-open"
    seats = (2, 4)
    late_join = True

    def joined(self, s: Taps, seat: int, now: float, newcomer: Seat) -> Taps:
        return Taps((*s.counts, *(0 for _ in range(seat + 1 - len(s.counts)))))


class CountingHere(Counting):
    """The same; its rooms do not outlive their node."""

    name = "counting-here"
    durability = "none"

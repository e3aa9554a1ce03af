"""A game that writes down what each of four players says, for counting."""

from __future__ import annotations

from msgspec import Struct

from vinom.game import Game, Table


class Count(Struct, frozen=True, tag="count"):
    """Say a number."""

    n: int


class Said(Struct, frozen=True):
    """What each seat said, in order."""

    numbers: tuple[tuple[int, ...], ...]


class SaidView(Struct, frozen=True):
    """By seat: the last number, how many were said, and how many out of turn."""

    last: tuple[int, ...]
    count: tuple[int, ...]
    wrong: tuple[int, ...]


class RollCall(Game[Said, Count]):
    """Every player counts: a number that is missing or doubled shows."""

    name = "rollcall"
    actions = Count
    seats = (4, 4)
    time_limit = 300.0

    def start(self, table: Table) -> Said:
        return Said(tuple(() for _ in table.seats))

    def act(self, s: Said, seat: int, action: Count, now: float) -> Said:
        mine = (*s.numbers[seat], action.n)
        return Said((*s.numbers[:seat], mine, *s.numbers[seat + 1 :]))

    def view(self, s: Said, audience: object) -> SaidView:
        return SaidView(
            tuple(each[-1] if each else 0 for each in s.numbers),
            tuple(len(each) for each in s.numbers),
            tuple(sum(n != at for at, n in enumerate(each, 1)) for each in s.numbers),
        )

"""Nim: take one to three matches from the pile; take the last one to win."""

from typing import Annotated

from msgspec import Meta, Struct

from vinom.game import Event, Rejected, Step
from vinom.turns import TurnGame, TurnState


class NimOptions(Struct, frozen=True, forbid_unknown_fields=True):
    pile: Annotated[int, Meta(ge=1, le=1000)] = 21


class Take(Struct, frozen=True, tag="take", forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1, le=3)]


class NimState(TurnState, frozen=True):
    options: NimOptions = NimOptions()
    pile: int = 0


class Nim(TurnGame[NimState, Take]):
    options = NimOptions
    turn_seconds = 20.0

    def begin(self, s, now):
        return s.with_(pile=s.options.pile)

    def play(self, s, seat, action, now):
        if action.count > s.pile:
            raise Rejected("too_many", f"only {s.pile} are left")
        s = s.with_(pile=s.pile - action.count)
        step = Step(s).also(Event("took", {"seat": seat, "count": action.count}))
        if s.pile == 0:
            return step.then(self.win, seat)
        return step.then(self.next_turn, now)

    def choose(self, view, seat, chance, setup):
        return Take(view["pile"] % 4 or 1)

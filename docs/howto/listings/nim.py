"""Nim: take one to three matches from the pile; take the last one to win."""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from vinom.game import Event, Game, Outcome, Rejected, Step

#: A silent player loses its turn after this long, seconds.
PATIENCE = 20.0


class NimOptions(Struct, frozen=True, forbid_unknown_fields=True):
    pile: Annotated[int, Meta(ge=1, le=1000)] = 21


class Take(Struct, frozen=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1, le=3)]


class NimState(Struct, frozen=True):
    pile: int
    turn: int
    turn_ends: float
    players: int


class NimView(Struct, frozen=True):
    pile: int
    turn: int


class Nim(Game[NimState, Take]):
    actions = Take
    options = NimOptions
    seats = (2, 2)
    linger = 5.0
    time_limit = 1800.0

    def start(self, table):
        first, _ = table.chance.below(len(table.seats))
        return NimState(table.options.pile, first, PATIENCE, len(table.seats))

    def act(self, s, seat, action, now):
        if seat != s.turn or s.pile == 0:
            raise Rejected("not_your_turn", "wait for your turn")
        if action.count > s.pile:
            raise Rejected("too_many", f"only {s.pile} are left")
        took = Event("took", {"seat": seat, "count": action.count})
        return Step(self._next(s, s.pile - action.count, now), (took,))

    def deadline(self, s):
        return s.turn_ends if s.pile else None

    def advance(self, s, now):
        return self._next(s, s.pile - 1, now)

    def left(self, s, seat, now):
        # A player whose turn it is when the pile is empty loses: see `outcome`.
        return replace(s, pile=0, turn=seat) if s.pile else s

    def outcome(self, s):
        if s.pile:
            return None
        # The player whose turn it is loses: the other took the last match.
        return Outcome(round=1, places=((1 - s.turn,), (s.turn,)))

    def view(self, s, audience):
        return NimView(s.pile, s.turn)

    def bot(self, view, seat, chance, setup):
        if view["turn"] != seat or not view["pile"]:
            return None
        return Take(view["pile"] % 4 or min(view["pile"], 1))

    def _next(self, s, pile, now):
        turn = (s.turn + 1) % s.players
        return replace(s, pile=pile, turn=turn, turn_ends=now + PATIENCE)

"""Pig: roll as often as you dare, then hold. A one costs you the pot."""

from msgspec import Struct

from vinom.game import Event, Step, put
from vinom.turns import TurnGame, TurnState


class Roll(Struct, frozen=True, tag="roll"):
    """Throw the die. What it shows goes into the pot."""


class Hold(Struct, frozen=True, tag="hold"):
    """Take the pot. The next player rolls."""


class PigState(TurnState, frozen=True):
    scores: tuple[int, ...] = ()
    pot: int = 0


class Pig(TurnGame[PigState, Roll | Hold]):
    seats = (2, 6)
    per_turn = ("pot",)

    def begin(self, s, now):
        return s.with_(scores=(0,) * len(s.wins))

    def play(self, s, seat, action, now):
        if isinstance(action, Hold):
            return self.hold(s, seat, now)
        die, chance = s.chance.below(6)
        s = s.with_(chance=chance, pot=s.pot + die + 1)
        s = self.again(s, now) if die else self.next_turn(s, now)
        return Step(s).also(Event("rolled", die + 1))

    def hold(self, s, seat, now):
        s = s.with_(scores=put(s.scores, seat, s.scores[seat] + s.pot))
        return self.next_turn(s, now) if s.scores[seat] < 50 else self.win(s, seat)

    def timed_out(self, s, seat, now):
        return self.hold(s, seat, now)

    def choose(self, view, seat, chance, setup):
        return Hold() if view["pot"] >= 20 else Roll()

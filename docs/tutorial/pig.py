"""Pig: roll as often as you dare, then hold. A one costs you the pot."""

from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Step


class Roll(Struct, frozen=True, tag="roll"):
    """Throw the die. What it shows goes into the pot."""


class Hold(Struct, frozen=True, tag="hold"):
    """Take the pot. The next player rolls."""


class PigView(Struct, frozen=True):
    scores: tuple[int, ...]
    turn: int
    pot: int
    gone: tuple[int, ...]


class PigState(PigView, frozen=True):
    chance: Chance
    due: float


class Pig(Game[PigState, Roll | Hold]):
    actions = Roll | Hold
    seats = (2, 6)

    def start(self, table):
        return PigState((0,) * len(table.seats), 0, 0, (), table.chance, 30.0)

    def act(self, s, seat, action, now):
        if seat != s.turn or self.outcome(s):
            raise Rejected("not_your_turn", "it is not your turn")
        if isinstance(action, Hold):
            return self.advance(s, now)
        die, chance = s.chance.below(6)
        s = replace(s, pot=s.pot + die + 1 if die else 0, chance=chance, due=now + 30)
        return Step(s if die else self.advance(s, now), (Event("rolled", die + 1),))

    def advance(self, s, now):
        scores = tuple(n + s.pot * (i == s.turn) for i, n in enumerate(s.scores))
        after = [(s.turn + 1 + i) % len(scores) for i in range(len(scores))]
        turn = next((i for i in after if i not in s.gone), s.turn)
        return replace(s, scores=scores, turn=turn, pot=0, due=now + 30)

    def left(self, s, seat, now):
        s = replace(s, gone=(*s.gone, seat))
        return self.advance(s, now) if seat == s.turn else s

    def deadline(self, s):
        goes_on = max(s.scores) < 50 and len(s.scores) - len(s.gone) > 1
        return s.due if goes_on else None

    def outcome(self, s):
        best = sorted(range(len(s.scores)), key=lambda i: (i in s.gone, -s.scores[i]))
        return None if self.deadline(s) else Outcome(1, tuple((i,) for i in best))

    def view(self, s, audience):
        return PigView(s.scores, s.turn, s.pot, s.gone)

    def bot(self, view, seat, chance, setup):
        wish = Hold() if view["pot"] >= 20 else Roll()
        return wish if view["turn"] == seat else None

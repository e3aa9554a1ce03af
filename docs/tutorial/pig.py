"""Pig: roll as often as you dare, then hold. A one costs you the pot."""

from msgspec import Struct

from vinom.game import Chance, Event, Game, Outcome, Rejected, Step


class Roll(Struct, frozen=True, tag="roll"):
    """Throw the die. What it shows goes into the pot."""


class Hold(Struct, frozen=True, tag="hold"):
    """Take the pot. The next player rolls."""


class PigView(Struct, frozen=True):
    scores: tuple[int, ...]
    turn: int
    pot: int


class PigState(PigView, frozen=True):
    chance: Chance
    due: float


class Pig(Game[PigState, Roll | Hold]):
    actions = Roll | Hold
    seats = (2, 6)

    def start(self, table):
        return PigState((0,) * len(table.seats), 0, 0, table.chance, 30.0)

    def act(self, s, seat, action, now):
        if seat != s.turn or self.outcome(s):
            raise Rejected("not_your_turn", "it is not your turn")
        if isinstance(action, Hold):
            return self.advance(s, now)
        die, chance = s.chance.below(6)
        pot = s.pot + die + 1 if die else 0
        s = PigState(s.scores, s.turn, pot, chance, now + 30)
        return Step(s if pot else self.advance(s, now), (Event("rolled", die + 1),))

    def advance(self, s, now):
        scores = tuple(n + s.pot * (i == s.turn) for i, n in enumerate(s.scores))
        return PigState(scores, (s.turn + 1) % len(scores), 0, s.chance, now + 30)

    def deadline(self, s):
        return s.due if max(s.scores) < 50 else None

    def outcome(self, s):
        best = sorted(range(len(s.scores)), key=lambda i: -s.scores[i])
        return None if self.deadline(s) else Outcome(1, tuple((i,) for i in best))

    def view(self, s, audience):
        return PigView(s.scores, s.turn, s.pot)

    def bot(self, view, seat, chance, setup):
        wish = Hold() if view["pot"] >= 20 else Roll()
        return wish if view["turn"] == seat else None

"""Tug of war: pull in time with your beats; twenty steps per second."""

from msgspec import Struct

from vinom.game import Game, Outcome


class Pull(Struct, frozen=True, tag="pull"):
    """Pull once. Another pull within six steps has no effect."""


class TugState(Struct, frozen=True):
    tick: int = 0
    rope: int = 0
    speed: int = 0
    rested: tuple[int, int] = (0, 0)


class Tug(Game[TugState, Pull]):
    actions = Pull
    seats = (2, 2)
    tick_hz = 20
    durability = "behind"

    def start(self, table):
        return TugState()

    def tick(self, s, inputs, n):
        if self.outcome(s):
            return s
        speed, rested = s.speed, list(s.rested)
        for seat, _ in inputs:
            if n >= rested[seat]:
                speed += 30 if seat else -30
                rested[seat] = n + 6
        speed = int(speed * 0.9)
        return TugState(n, s.rope + speed, speed, tuple(rested))

    def outcome(self, s):
        if abs(s.rope) < 1000 and s.tick < 20 * 60:
            return None
        winner = int(s.rope > 0)
        return Outcome(1, ((winner,), (1 - winner,)))

    def view(self, s, audience):
        return s

    def bot(self, view, seat, chance, setup):
        return Pull() if view["tick"] >= view["rested"][seat] else None

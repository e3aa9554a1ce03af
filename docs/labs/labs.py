"""Four labs: a game with ticks, over a network that delays and loses."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Chance, Game, Input, Table

#: All lengths are whole numbers.
WIDTH = 12_800
#: Half the width of a paddle, and how far it goes in a tick.
HALF, SPEED = 800, 320
#: Half the width of a duck, and how far it flies in a tick.
DUCK, FLIGHT = 300, 400
TICK_HZ = 20
#: A gust comes every so many ticks, and moves each paddle by so much.
GUST_TICKS, GUST = 60, 1600


class Move(Struct, frozen=True, tag="move"):
    """Go left, right, or stand, until the next move."""

    way: Literal[-1, 0, 1]


class Shoot(Struct, frozen=True, tag="shoot"):
    """Shoot at a place."""

    x: int


class Paddle(Struct, frozen=True):
    x: int = WIDTH // 2
    way: int = 0


class Score(Struct, frozen=True):
    """
    :ivar shots: how many were shot.
    :ivar seen: hits, judged by what the player was shown.
    :ivar now: hits, judged by where the duck was when the shot arrived.
    """

    shots: int = 0
    seen: int = 0
    now: int = 0


class Pond(Struct, frozen=True):
    chance: Chance
    paddles: tuple[Paddle, ...]
    scores: tuple[Score, ...]
    duck: int = WIDTH // 2
    flight: int = FLIGHT


class View(Struct, frozen=True):
    paddles: tuple[Paddle, ...]
    scores: tuple[Score, ...]
    duck: int


class Lab(Game[Pond, Move | Shoot]):
    """A duck, and a paddle for each player."""

    actions = Move | Shoot
    seats = (1, 4)
    late_join = True
    tick_hz = TICK_HZ
    past_ticks = 40
    durability = "none"
    board_files = ("lab.js",)
    gust: ClassVar[int] = 0

    def start(self, table: Table) -> Pond:
        players = len(table.seats)
        return Pond(table.chance, (Paddle(),) * players, (Score(),) * players)

    def act(self, s, seat, action, now):
        return s

    def tick(
        self, s: Pond, inputs: tuple[Input[Pond, Move | Shoot], ...], n: int
    ) -> Pond:
        paddles, scores = list(s.paddles), list(s.scores)
        for one in inputs:
            seat, action = one
            if isinstance(action, Move):
                paddles[seat] = replace(paddles[seat], way=action.way)
            else:
                scores[seat] = judge(scores[seat], action.x, one.seen, s)
        paddles = [step(paddle) for paddle in paddles]
        if self.gust and n % GUST_TICKS == 0:
            paddles = [replace(one, x=at(one.x + self.gust)) for one in paddles]
        return fly(replace(s, paddles=tuple(paddles), scores=tuple(scores)))

    def joined(self, s, seat, now, newcomer):
        paddles = (*s.paddles[:seat], Paddle(), *s.paddles[seat + 1 :])
        scores = (*s.scores[:seat], Score(), *s.scores[seat + 1 :])
        return replace(s, paddles=paddles, scores=scores)

    def view(self, s, audience):
        return View(s.paddles, s.scores, s.duck)

    def setup(self, s):
        return {"tick_hz": TICK_HZ, "width": WIDTH, "half": HALF, "duck": DUCK}


def at(x: int) -> int:
    """Stop a paddle at the rim."""
    return min(max(x, HALF), WIDTH - HALF)


def step(paddle: Paddle) -> Paddle:
    """Move a paddle by one tick; prediction.js does the same."""
    return replace(paddle, x=at(paddle.x + SPEED * paddle.way))


def judge(score: Score, x: int, seen: Pond, s: Pond) -> Score:
    """Count a shot, by what its player was shown and by what is now."""
    return Score(
        score.shots + 1,
        score.seen + (abs(x - seen.duck) <= DUCK),
        score.now + (abs(x - s.duck) <= DUCK),
    )


def fly(s: Pond) -> Pond:
    """Let the duck fly, and turn when it likes."""
    drawn, chance = s.chance.below(25)
    flight = -s.flight if drawn == 0 else s.flight
    if not DUCK < s.duck + flight < WIDTH - DUCK:
        flight = -flight
    return replace(s, chance=chance, duck=s.duck + flight, flight=flight)


class Interpolation(Lab):
    board = "interpolation.js"


class Prediction(Lab):
    board = "prediction.js"
    board_files = ("lab.js", "prediction.js")


class Reconciliation(Lab):
    board = "reconciliation.js"
    board_files = ("lab.js", "prediction.js")
    gust = GUST


class LagCompensation(Lab):
    title = "Lag compensation"
    board = "lag.js"

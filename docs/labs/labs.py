"""Five labs: games with ticks, over a network that delays and loses."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from vinom.game import Chance, Game, Grid, Input, Table

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


#: How many ducks a flock has, and the field's size.
MANY, ACROSS, DOWN = 40, 128, 72


class Duck(Struct, frozen=True):
    """One of a flock: where it is, and how far it flies in a tick."""

    x: Annotated[float, Grid(0.01, 0, ACROSS)]
    y: Annotated[float, Grid(0.01, 0, DOWN)]
    dx: Annotated[float, Grid(0.01, -1, 1)]
    dy: Annotated[float, Grid(0.01, -1, 1)]
    kind: Literal["mallard", "teal"]


class Flock(Struct, frozen=True):
    """The state, and what all see of it."""

    ducks: tuple[Duck, ...]
    flying: Annotated[int, Grid(1, 0, MANY)] = MANY


class Fly(Struct, frozen=True, tag="fly"):
    """Let so many ducks fly."""

    many: Annotated[int, Meta(ge=0, le=MANY)]


class Packing(Game[Flock, Fly]):
    actions = Fly
    shows = Flock
    seats = (1, 4)
    late_join = True
    tick_hz = TICK_HZ
    durability = "none"
    board = "packing.js"
    board_files = ("lab.js",)

    def start(self, table: Table) -> Flock:
        chance, ducks = table.chance, []
        for number in range(MANY):
            drawn = []
            for limit in (ACROSS * 100, DOWN * 100, 201, 201):
                one, chance = chance.below(limit)
                drawn.append(one / 100)
            x, y, dx, dy = drawn
            kind: Literal["mallard", "teal"] = "teal" if number % 4 else "mallard"
            ducks.append(Duck(x, y, dx - 1, dy - 1, kind))
        return Flock(tuple(ducks))

    def tick(self, s: Flock, inputs: tuple[Input[Flock, Fly], ...], n: int) -> Flock:
        for _, action in inputs:
            s = replace(s, flying=action.many)
        ducks = [glide(one) for one in s.ducks[: s.flying]]
        return replace(s, ducks=(*ducks, *s.ducks[s.flying :]))

    def setup(self, s):
        return {"tick_hz": TICK_HZ, "width": ACROSS, "height": DOWN}


def glide(one: Duck) -> Duck:
    """Move a duck by one tick; it turns back at the rim."""
    dx = one.dx if 0 <= one.x + one.dx <= ACROSS else -one.dx
    dy = one.dy if 0 <= one.y + one.dy <= DOWN else -one.dy
    return replace(one, x=one.x + dx, y=one.y + dy, dx=dx, dy=dy)

"""Two snakes, one of which will hit something: twenty steps per second.

Steer with the arrow keys. Eat to grow; hit an edge or a snake, and you have lost.
"""

from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct

from vinom.game import Chance, Event, Game, Outcome, State, Step, put

WIDTH, HEIGHT, SPEED, NEAR = 30_000, 20_000, 250, 700
WAYS = ((1, 0), (0, 1), (-1, 0), (0, -1))


class Steer(Struct, frozen=True, tag="steer", forbid_unknown_fields=True):
    """Turn: 0 is right, 1 down, 2 left, 3 up."""

    way: Annotated[int, Meta(ge=0, le=3)]


class Snake(State, frozen=True):
    x: int
    y: int
    way: int
    # Where it has turned, the latest first; the last is the end of its tail.
    body: tuple[tuple[int, int], ...]
    length: int = 4_000
    alive: bool = True


class Field(State, frozen=True):
    snakes: tuple[Snake, ...]
    food: tuple[int, int]
    chance: Chance


def apply(snake, way):
    if way % 2 == snake.way % 2:
        return snake
    return snake.with_(way=way, body=((snake.x, snake.y), *snake.body))


def step(snake):
    right, down = WAYS[snake.way]
    x, y = snake.x + SPEED * right, snake.y + SPEED * down
    return snake.with_(x=x, y=y, body=trimmed(x, y, snake.body, snake.length))


def trimmed(x, y, body, left):
    kept = []
    for to_x, to_y in body:
        far = abs(to_x - x) + abs(to_y - y)
        if far > left:
            to_x = min(max(to_x, x - left), x + left)
            to_y = min(max(to_y, y - left), y + left)
        kept.append((to_x, to_y))
        left -= far
        if left <= 0:
            break
        x, y = to_x, to_y
    return tuple(kept)


def hits(snake, other):
    """Whether a snake's head is outside, in the other, or in itself behind its neck."""
    if not (0 <= snake.x <= WIDTH and 0 <= snake.y <= HEIGHT):
        return True
    parts = list(pairwise([(other.x, other.y), *other.body]))
    return any(
        min(x, to_x) - NEAR < snake.x < max(x, to_x) + NEAR
        and min(y, to_y) - NEAR < snake.y < max(y, to_y) + NEAR
        for (x, y), (to_x, to_y) in parts[3 * (snake is other) :]
    )


class Snakes(Game[Field, Steer]):
    actions = Steer
    seats = (2, 2)
    tick_hz = 20
    durability = "behind"
    absent = "forfeit"
    board = "board.js"
    board_files = ("rules.js",)

    def start(self, table):
        return self.feed(
            Field(
                (
                    Snake(5_000, 5_000, 0, ((1_000, 5_000),)),
                    Snake(25_000, 15_000, 2, ((29_000, 15_000),)),
                ),
                (0, 0),
                table.chance,
            )
        )

    def feed(self, s):
        x, chance = s.chance.below(WIDTH - 4 * NEAR)
        y, chance = chance.below(HEIGHT - 4 * NEAR)
        return s.with_(food=(x + 2 * NEAR, y + 2 * NEAR), chance=chance)

    def setup(self, s):
        return {"tick_hz": self.tick_hz, "width": WIDTH, "height": HEIGHT}

    def tick(self, s, inputs, n):
        if self.outcome(s):
            return s
        snakes = list(s.snakes)
        for seat, action in inputs:
            snakes[seat] = apply(snakes[seat], action.way)
        snakes = [step(one) for one in snakes]
        moved = [
            one.with_(alive=not any(hits(one, other) for other in snakes))
            for one in snakes
        ]
        s = s.with_(snakes=tuple(moved))
        for seat, one in enumerate(moved):
            if abs(one.x - s.food[0]) < 2 * NEAR and abs(one.y - s.food[1]) < 2 * NEAR:
                s = s.with_(
                    snakes=put(s.snakes, seat, one.with_(length=one.length + 2_000))
                )
                return Step(self.feed(s)).also(Event("ate", seat))
        return s

    def left(self, s, seat, now):
        return s.with_(snakes=put(s.snakes, seat, s.snakes[seat].with_(alive=False)))

    def outcome(self, s):
        alive = [seat for seat in (0, 1) if s.snakes[seat].alive]
        if len(alive) == 2:
            return None
        return Outcome(1, ((alive[0],), (1 - alive[0],)) if alive else ((0, 1),))

    def bot(self, view, seat, chance, setup):
        me = view["snakes"][seat]
        right, down = view["food"][0] - me["x"], view["food"][1] - me["y"]
        if me["way"] % 2:
            return Steer(0 if right > 0 else 2) if abs(down) < NEAR else None
        return Steer(1 if down > 0 else 3) if abs(right) < NEAR else None

"""
The arena's field: where walls stand, and how a player moves among them.

All lengths are whole numbers, so every machine computes the same positions.
A player is a square that stands straight, whatever a client draws.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt

from vinom.game import Chance

WIDTH = 24_000
HEIGHT = 13_500
#: Half a player's width.
HALF = 400
#: Way of one tick.
SPEED = 160
DASH_SPEED = 480
#: The longest that a move's direction may be along one axis.
FULL = 100

#: Left, top, width, height.
Wall = tuple[int, int, int, int]
Point = tuple[int, int]

#: Where players begin; walls keep away from the rim.
STARTS: tuple[Point, ...] = (
    (1200, 1200),
    (WIDTH - 1200, HEIGHT - 1200),
    (WIDTH - 1200, 1200),
    (1200, HEIGHT - 1200),
    (WIDTH // 2, 1200),
    (WIDTH // 2, HEIGHT - 1200),
    (1200, HEIGHT // 2),
    (WIDTH - 1200, HEIGHT // 2),
)

#: Walls stand one in each cell of a lattice, and this far from its sides, so
#: that a player fits between any two.
_MARGIN = 500
_CELL_WIDTH, _CELL_HEIGHT = 4800, 4500
_COLUMNS, _ROWS = 4, 2
_SHORTEST, _LONGEST = 800, 3000


def build(chance: Chance) -> tuple[tuple[Wall, ...], Chance]:
    """Draw the walls, alike when the field is turned upside down."""
    walls: list[Wall] = []
    left = (WIDTH - _COLUMNS * _CELL_WIDTH) // 2
    top = (HEIGHT - _ROWS * _CELL_HEIGHT) // 2
    for cell in range(_COLUMNS * _ROWS // 2):
        column, row = divmod(cell, _ROWS)
        drawn, chance = chance.below(_LONGEST - _SHORTEST + 1)
        width = _SHORTEST + drawn
        drawn, chance = chance.below(_LONGEST - _SHORTEST + 1)
        height = _SHORTEST + drawn
        right, chance = chance.below(_CELL_WIDTH - 2 * _MARGIN - width + 1)
        down, chance = chance.below(_CELL_HEIGHT - 2 * _MARGIN - height + 1)
        x = left + column * _CELL_WIDTH + _MARGIN + right
        y = top + row * _CELL_HEIGHT + _MARGIN + down
        walls.append((x, y, width, height))
        walls.append((WIDTH - x - width, HEIGHT - y - height, width, height))
    return tuple(walls), chance


def is_free(walls: tuple[Wall, ...], x: int, y: int) -> bool:
    """Can a player stand there?"""
    if not (HALF <= x <= WIDTH - HALF and HALF <= y <= HEIGHT - HALF):
        return False
    return not any(_overlaps(wall, x, y) for wall in walls)


@lru_cache(maxsize=256)
def free_points(walls: tuple[Wall, ...]) -> tuple[Point, ...]:
    """List where gems may lie: points of a grid at which a player can stand."""
    return tuple(
        (x, y)
        for y in range(750, HEIGHT, 750)
        for x in range(750, WIDTH, 750)
        if is_free(walls, x, y)
    )


def velocity(x: int, y: int, speed: int) -> Point:
    """
    Turn a direction into a way per tick.

    :param x: a direction of length `FULL` or more is full speed, a shorter one
        slower in proportion.
    """
    square = x * x + y * y
    # Rounded up: nobody is faster on a diagonal.
    length = isqrt(square - 1) + 1 if square else 0
    scale = max(length, FULL)
    return _share(speed, x, scale), _share(speed, y, scale)


def _share(speed: int, part: int, whole: int) -> int:
    # Towards zero, or left would be faster than right.
    share = speed * abs(part) // whole
    return share if part >= 0 else -share


def slide(walls: tuple[Wall, ...], x: int, y: int, dx: int, dy: int) -> Point:
    """
    Move a player, along walls where they are in the way.

    Nobody is fast enough to jump over a wall: one step is shorter than a wall
    and a player are together.
    """
    if dx:
        x = min(max(x + dx, HALF), WIDTH - HALF)
        for wall in walls:
            if _overlaps(wall, x, y):
                x = wall[0] - HALF if dx > 0 else wall[0] + wall[2] + HALF
    if dy:
        y = min(max(y + dy, HALF), HEIGHT - HALF)
        for wall in walls:
            if _overlaps(wall, x, y):
                y = wall[1] - HALF if dy > 0 else wall[1] + wall[3] + HALF
    return x, y


def _overlaps(wall: Wall, x: int, y: int) -> bool:
    left, top, width, height = wall
    return (
        left - HALF < x < left + width + HALF and top - HALF < y < top + height + HALF
    )

"""
The arena's field: its walls, and how a player moves between them.

All lengths are whole numbers, so every machine computes the same positions. A player is
a square parallel to the axes, whatever shape a client draws.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt

from vinom.game import Chance

WIDTH = 24_000
HEIGHT = 13_500
#: Half a player's width.
HALF = 400
#: Distance per tick.
SPEED = 160
DASH_SPEED = 480
#: Greatest component of a move's direction along one axis.
FULL = 100

#: Left, top, width, height.
Wall = tuple[int, int, int, int]
Point = tuple[int, int]

#: Where players begin; there are no walls near the edge.
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

#: Each cell of a grid has one wall, at least this far from the cell's sides, so that a
#: player fits between any two walls.
_MARGIN = 500
_CELL_WIDTH, _CELL_HEIGHT = 4800, 4500
_COLUMNS, _ROWS = 4, 2
_SHORTEST, _LONGEST = 800, 3000


def build(chance: Chance) -> tuple[tuple[Wall, ...], Chance]:
    """Draw the walls; they are the same after a half turn of the field."""
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
    """Can a player be there?"""
    if not (HALF <= x <= WIDTH - HALF and HALF <= y <= HEIGHT - HALF):
        return False
    return not any(_overlaps(wall, x, y) for wall in walls)


@lru_cache(maxsize=256)
def free_points(walls: tuple[Wall, ...]) -> tuple[Point, ...]:
    """List where gems may be: points of a grid that a player can reach."""
    return tuple(
        (x, y)
        for y in range(750, HEIGHT, 750)
        for x in range(750, WIDTH, 750)
        if is_free(walls, x, y)
    )


def velocity(x: int, y: int, speed: int) -> Point:
    """
    Turn a direction into a movement per tick.

    A direction of length `FULL` or more gives full speed; a shorter one is slower in
    proportion.

    :param x: the direction's component to the right.
    :param y: its component downwards.
    :param speed: full speed, distance per tick.
    """
    square = x * x + y * y
    # Rounded up, so that a diagonal is never faster.
    length = isqrt(square - 1) + 1 if square else 0
    scale = max(length, FULL)
    return _share(speed, x, scale), _share(speed, y, scale)


def _share(speed: int, part: int, whole: int) -> int:
    # Rounded towards zero; otherwise left would be faster than right.
    share = speed * abs(part) // whole
    return share if part >= 0 else -share


def slide(walls: tuple[Wall, ...], x: int, y: int, dx: int, dy: int) -> Point:
    """
    Move a player, who slides along walls.

    A player cannot jump over a wall: one step is shorter than a wall and a player
    together.

    :returns: the new position.
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

"""
The maze itself: its passages, corners and points.

Passages are carved by Wilson's algorithm, which draws each possible perfect
maze equally often (D. Wilson, "Generating random spanning trees more quickly
than the cover time", 1996).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from vinom.game import Chance

Direction = Literal["up", "right", "down", "left"]

#: Directions in the order of their bits in a cell's passages.
DIRECTIONS: tuple[Direction, ...] = ("up", "right", "down", "left")
#: How each direction changes ``(row, col)``.
STEPS: dict[Direction, tuple[int, int]] = {
    "up": (-1, 0),
    "right": (0, 1),
    "down": (1, 0),
    "left": (0, -1),
}
BITS: dict[Direction, int] = {side: 1 << bit for bit, side in enumerate(DIRECTIONS)}


def carve(rows: int, cols: int, chance: Chance) -> tuple[tuple[str, ...], Chance]:
    """
    Draw a perfect maze, with exactly one way between any two cells.

    :returns: one text per row, one hexadecimal digit per cell: the sum of the
        open sides, up 1, right 2, down 4, left 8; and the chance for the next draw.
    """
    size = rows * cols
    open_sides = [0] * size
    in_maze = bytearray(size)
    first, chance = chance.below(size)
    in_maze[first] = 1
    exit_of = [0] * size
    bits, left = 0, 0
    for start in range(size):
        # Walk at random until a cell of the maze, keeping only the last exit of each
        # cell: this removes the loops of the walk.
        cell = start
        while not in_maze[cell]:
            if not left:
                # One draw gives 32 directions; one draw for each would be slow.
                bits, chance = chance.draw()
                left = 32
            side = bits & 3
            bits >>= 2
            left -= 1
            beside = _beside(cell, side, rows, cols)
            if beside is not None:
                exit_of[cell] = side
                cell = beside
        cell = start
        while not in_maze[cell]:
            in_maze[cell] = 1
            side = exit_of[cell]
            beside = _beside(cell, side, rows, cols)
            assert beside is not None  # only exits that lead to a cell are kept
            open_sides[cell] |= 1 << side
            open_sides[beside] |= 1 << (side + 2) % 4
            cell = beside
    digits = "".join("0123456789abcdef"[sides] for sides in open_sides)
    return tuple(digits[row * cols : (row + 1) * cols] for row in range(rows)), chance


def _beside(cell: int, side: int, rows: int, cols: int) -> int | None:
    """Find the cell on one side; ``None`` if there is none."""
    if side == 0:
        return cell - cols if cell >= cols else None
    if side == 1:
        return cell + 1 if (cell + 1) % cols else None
    if side == 2:
        return cell + cols if cell < (rows - 1) * cols else None
    return cell - 1 if cell % cols else None


def deal_corners(
    rows: int, cols: int, players: int, chance: Chance
) -> tuple[tuple[tuple[int, int], ...], Chance]:
    """Draw a corner for each of 2 to 4 players; the first two are opposite."""
    corners = ((0, 0), (0, cols - 1), (rows - 1, cols - 1), (rows - 1, 0))
    first, chance = chance.below(4)
    turn, chance = chance.below(2)
    third = first + 1 + 2 * turn
    order = (first, first + 2, third, third + 2)
    return tuple(corners[index % 4] for index in order[:players]), chance


def strew(
    rows: int, cols: int, starts: Sequence[tuple[int, int]], chance: Chance
) -> tuple[str, Chance]:
    """
    Draw the points: every cell 1, one in ten 5, start cells 0.

    For each 5 two cells are drawn, and the one nearer to the centre holds it.

    :returns: one digit per cell, row by row; and the chance for the next draw.
    """
    digits = ["1"] * (rows * cols)
    for row, col in starts:
        digits[row * cols + col] = "0"
    free = [cell for cell, digit in enumerate(digits) if digit == "1"]
    for _ in range(min(round(rows * cols / 10), len(free))):
        one, chance = chance.below(len(free))
        other, chance = chance.below(len(free))
        nearest = min(one, other, key=lambda at: _off_centre(free[at], rows, cols))
        digits[free.pop(nearest)] = "5"
    return "".join(digits), chance


def _off_centre(cell: int, rows: int, cols: int) -> int:
    """Measure the distance from the centre, with both axes scaled to equal length."""
    row, col = divmod(cell, cols)
    down, right = abs(2 * row - rows + 1) * cols, abs(2 * col - cols + 1) * rows
    return down * down + right * right


@lru_cache(maxsize=256)
def passages(walls: tuple[str, ...]) -> tuple[tuple[tuple[Direction, int], ...], ...]:
    """List for each cell, row by row, its open directions and where they lead."""
    cols = len(walls[0])
    move: dict[Direction, int] = {"up": -cols, "right": 1, "down": cols, "left": -1}
    return tuple(
        tuple(
            (direction, row * cols + col + move[direction])
            for direction in DIRECTIONS
            if int(digit, 16) & BITS[direction]
        )
        for row, digits in enumerate(walls)
        for col, digit in enumerate(digits)
    )


def way_to_points(
    walls: tuple[str, ...], points: str, start: int, chance: Chance
) -> Direction | None:
    """
    Choose the first step towards the nearest cell with points; at equal distance, the
    one with the most.

    :param points: one digit per cell, row by row.
    :param start: a cell's number, row by row.
    :returns: a direction; ``None`` if no points are left.
    """
    ways = passages(walls)
    seen = bytearray(len(ways))
    seen[start] = 1
    near: deque[tuple[int, Direction]] = deque()
    for direction, cell in ways[start]:
        seen[cell] = 1
        near.append((cell, direction))
    while near:
        found = [(points[cell], direction) for cell, direction in near]
        richest = max(digit for digit, _ in found)
        if richest != "0":
            best = [direction for digit, direction in found if digit == richest]
            return best[chance.below(len(best))[0]]
        for _ in range(len(near)):
            cell, direction = near.popleft()
            for _, beside in ways[cell]:
                if not seen[beside]:
                    seen[beside] = 1
                    near.append((beside, direction))
    return None

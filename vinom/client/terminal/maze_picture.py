"""
Draw a maze: walls as box-drawing lines, points, players, and the dancing winners.

Pure: a decoded setup and view go in, a `Canvas` comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from vinom.client.terminal.canvas import Canvas, Style

#: Colours of the seats, readable on dark and on light backgrounds.
SEAT_STYLES: tuple[Style, ...] = (
    "1;38;5;16;48;5;45",
    "1;38;5;16;48;5;213",
    "1;38;5;16;48;5;119",
    "1;38;5;16;48;5;214",
)
#: The same colours for text on the terminal's own background.
SEAT_INKS: tuple[Style, ...] = (
    "1;38;5;45",
    "1;38;5;213",
    "1;38;5;119",
    "1;38;5;214",
)
_WALL: Style = "38;5;68"
_POINT: Style = "38;5;250"
_RICH: Style = "1;38;5;220"

# Indexed by the sum of the walls that meet there: up 1, right 2, down 4, left 8.
_CORNERS = " ╵╶╰╷│╭├╴╯─┴╮┤┬┼"
_UP, _RIGHT, _DOWN, _LEFT = 1, 2, 4, 8

# Frames of a dance, by the width of a cell.
_DANCES = {1: ("Y", "o"), 2: ("\\o", "o/"), 3: ("\\o/", "_o_", "/o\\", "_o_")}


def columns(cols: int, cell: int) -> int:
    """Width of a maze whose cells are *cell* columns wide inside."""
    return cols * (cell + 1) + 1


def place_of(at: Sequence[int], cell: int) -> tuple[int, int]:
    """Row and column on the canvas where the inside of a cell begins."""
    return 2 * at[0] + 1, (cell + 1) * at[1] + 1


def draw_maze(
    setup: Mapping[str, Any],
    view: Mapping[str, Any],
    names: Sequence[str],
    you: int | None = None,
    *,
    cell: int = 3,
    frame: int = 0,
) -> Canvas:
    """
    Draw the maze of a `vinom.games.maze` setup and view.

    :param names: of the players, by seat.
    :param you: the seat that is drawn on top of others.
    :param cell: columns inside a cell, 1 to 3.
    :param frame: number of the picture; it drives animations.
    """
    canvas = _walls(tuple(setup["walls"]), cell).cut(
        0, 0, 2 * setup["rows"] + 1, columns(setup["cols"], cell)
    )
    _draw_points(canvas, setup["cols"], view["points"], cell)
    # Players in the same cell are shown in turn.
    crowds: dict[tuple[int, int], list[int]] = {}
    for seat, at in enumerate(view["at"]):
        crowds.setdefault((at[0], at[1]), []).append(seat)
    for at, crowd in crowds.items():
        seat = you if you in crowd else crowd[frame // 4 % len(crowd)]
        if seat in view["dancing"]:
            dance = _DANCES[cell]
            glyph = dance[(frame // 2 + seat) % len(dance)]
        else:
            glyph = player_glyph(names, seat, cell)
        style = SEAT_STYLES[seat % len(SEAT_STYLES)]
        canvas.put(*place_of(at, cell), glyph, style)
    return canvas


def player_glyph(names: Sequence[str], seat: int, cell: int) -> str:
    """Text that fills a cell for a player: the first letters of the name."""
    name = names[seat] if seat < len(names) else ""
    letters = "".join(letter for letter in name if letter.isascii())
    letters = (letters[:1].upper() + letters[1:]) or str(seat + 1)
    if cell == 3:
        return f" {letters[0]} "
    return letters[:cell].ljust(cell)


def _draw_points(canvas: Canvas, cols: int, points: str, cell: int) -> None:
    middle = 1 if cell == 3 else 0
    for number, digit in enumerate(points):
        if digit != "0":
            row, col = place_of(divmod(number, cols), cell)
            glyph, style = ("◆", _RICH) if digit == "5" else ("·", _POINT)
            canvas.put(row, col + middle, glyph, style)


@lru_cache(maxsize=8)
def _walls(walls: tuple[str, ...], cell: int) -> Canvas:
    """Draw the walls only; they never change, so this is cached."""
    rows, cols = len(walls), len(walls[0])
    open_sides = [[int(digit, 16) for digit in row] for row in walls]

    def is_wall_above(row: int, col: int) -> bool:
        """Is there a wall on the upper side of a cell; rows + 1 of them."""
        if not 0 <= col < cols:
            return False
        return row in (0, rows) or not open_sides[row][col] & _UP

    def is_wall_left(row: int, col: int) -> bool:
        """Is there a wall on the left side of a cell; cols + 1 of them."""
        if not 0 <= row < rows:
            return False
        return col in (0, cols) or not open_sides[row][col] & _LEFT

    canvas = Canvas(2 * rows + 1, columns(cols, cell))
    for row in range(rows + 1):
        for col in range(cols + 1):
            meeting = (
                _UP * is_wall_left(row - 1, col)
                + _RIGHT * is_wall_above(row, col)
                + _DOWN * is_wall_left(row, col)
                + _LEFT * is_wall_above(row, col - 1)
            )
            left = (cell + 1) * col
            canvas.put(2 * row, left, _CORNERS[meeting], _WALL)
            if is_wall_above(row, col):
                canvas.put(2 * row, left + 1, "─" * cell, _WALL)
            if is_wall_left(row, col):
                canvas.put(2 * row + 1, left, "│", _WALL)
    return canvas

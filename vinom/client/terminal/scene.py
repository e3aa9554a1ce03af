"""
Draw a maze, and compose the whole screen: the maze, players, scores, time and RTT.

Walls are box-drawing lines; winners dance. Pure: a `Scene` and the terminal's size go
in, lines come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from textwrap import wrap
from typing import Any

import attrs

from vinom.base.printable import printable
from vinom.client.terminal.screen import QUIET, Canvas, Row, Style, fit, width_of

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


_LOUD: Style = "1;38;5;220"
_PANEL_LEAST, _PANEL_MOST = 18, 34


@attrs.frozen
class Scene:
    """
    One moment of a match, as one player sees it.

    :ivar setup: of `vinom.games.maze`, as decoded.
    :ivar view: of `vinom.games.maze`, as decoded.
    :ivar time: match time, seconds.
    :ivar rtt: round trip time, seconds.
    :ivar names: of the players, by seat.
    :ivar loss: share of packets that got lost, 0 to 1.
    :ivar you: the player's seat; ``None`` for a spectator.
    :ivar title: text at the top.
    :ivar notes: lines to show below the scores.
    :ivar keys: text at the bottom.
    :ivar frame: number of the picture; it drives animations.
    """

    setup: Mapping[str, Any]
    view: Mapping[str, Any]
    names: Sequence[str]
    time: float = 0.0
    rtt: float | None = None
    loss: float | None = None
    you: int | None = None
    title: str = "vinom · maze"
    notes: Sequence[str] = ()
    keys: str = ""
    frame: int = 0


def compose(scene: Scene, width: int, height: int) -> Canvas:
    """
    Draw *scene* to fit a terminal.

    The cells are as wide as fits beside the scores; a maze that is too large is cut
    around the player.
    """
    sheet = Canvas(height, width)
    most = max(width - 1 - _PANEL_LEAST, width // 2)
    cols = scene.setup["cols"]
    cell = next((cell for cell in (3, 2) if columns(cols, cell) <= most), 1)
    keys = _in_rows(scene.keys, width - 2)[: max(height - 5, 1)]
    maze = draw_maze(
        scene.setup,
        scene.view,
        scene.names,
        scene.you,
        cell=cell,
        frame=scene.frame,
    )
    body = max(height - 1 - len(keys), 1)
    maze = _cut_around(maze, scene, cell, body, most)
    panel = _panel(scene, min(width - maze.width - 1, _PANEL_MOST))
    panel = panel.cut(0, 0, min(panel.height, body), panel.width)
    sheet.put_title(scene.title, _clock(scene))
    sheet.paste(1, 0, maze)
    sheet.paste(1, maze.width + 1, panel)
    row = min(height - len(keys), 1 + max(maze.height, panel.height))
    for down, text in enumerate(keys):
        sheet.put(row + down, 1, text, QUIET)
    return sheet


def headline(scene: Scene) -> str:
    """Give the score in one line, for output that is not a terminal."""
    view = scene.view
    scores = ", ".join(
        f"{_name(scene, seat)} {score}" for seat, score in enumerate(view["scores"])
    )
    if not view["over"]:
        return f"{scores}, {view['left']} points left"
    return f"{_verdict(scene)} ({scores})"


def _cut_around(
    maze: Canvas, scene: Scene, cell: int, height: int, width: int
) -> Canvas:
    """Cut the maze to fit, with the player in the middle."""
    if maze.height <= height and maze.width <= width:
        return maze
    at = scene.view["at"][scene.you or 0]
    row, col = place_of(at, cell)
    top = max(0, min(row - height // 2, maze.height - height))
    left = max(0, min(col - width // 2, maze.width - width))
    return maze.cut(top, left, min(height, maze.height), min(width, maze.width))


def _in_rows(keys: str, width: int) -> list[str]:
    """Wrap the bottom line between its parts, or between words."""
    rows: list[str] = []
    for part in keys.split(" · ") if keys else ():
        if rows and len(rows[-1]) + 3 + len(part) <= width:
            rows[-1] += f" · {part}"
        else:
            # Users copy the command, so it is never cut.
            rows += wrap(part, max(width, 1), break_on_hyphens=False)
    return rows


def _panel(scene: Scene, width: int) -> Canvas:
    """Draw the scores, who won or what is left, and the notes."""
    view = scene.view
    rows: list[Row] = [[]]
    best = max((*view["scores"], 1))
    for seat, score in enumerate(view["scores"]):
        name = _name(scene, seat) + (" (you)" if seat == scene.you else "")
        if seat in view["dancing"]:
            name = f"♪ {name} ♪" if scene.frame // 2 % 2 else f"♫ {name} ♫"
        name = fit(name, width - 8)
        gap = " " * max(1, width - 4 - sum(map(width_of, name)) - len(str(score)))
        rows.append([("● ", _ink(seat)), (name, "1"), (f"{gap}{score}", _ink(seat))])
        length = round(2 * (width - 4) * score / best)
        bar = "█" * (length // 2) + "▌" * (length % 2)
        rows.append([("  ", ""), (bar, _ink(seat)[2:])])
    rows.append([])
    if view["over"]:
        verdict = f"★ {_verdict(scene)}"
        spare = sum(map(width_of, verdict)) - len(verdict)
        for line in wrap(verdict, max(width - spare, 8), subsequent_indent="  "):
            rows.append([(fit(line, width), _LOUD)])
    else:
        rows.append([(f"{view['left']} points left", "")])
    rows.append([])
    rows.append([(_connection_quality(scene), QUIET)])
    if scene.notes:
        rows.append([])
        rows.extend([(fit(note, width), "")] for note in scene.notes)
    panel = Canvas(len(rows), width)
    for row, parts in enumerate(rows):
        panel.put_row(row, 0, parts)
    return panel


def _verdict(scene: Scene) -> str:
    view = scene.view
    winners = [_name(scene, seat) for seat in view["winners"]]
    if not winners:
        return "the game is over"
    score = view["scores"][view["winners"][0]]
    if len(winners) == 1:
        return f"{winners[0]} wins with {score}"
    return f"{' and '.join(winners)} share {score}"


def _name(scene: Scene, seat: int) -> str:
    return printable(scene.names[seat]) if seat < len(scene.names) else f"seat {seat}"


def _ink(seat: int) -> Style:
    return SEAT_INKS[seat % len(SEAT_INKS)]


def _connection_quality(scene: Scene) -> str:
    if scene.rtt is None:
        return "RTT -"
    loss = f", loss {scene.loss:.0%}" if scene.loss else ""
    return f"RTT {scene.rtt * 1000:.1f} ms{loss}"


def _clock(scene: Scene) -> str:
    if scene.view["over"]:
        return "over"
    left = max(0, round(scene.setup["ends_at"] - scene.time))
    return f"{left // 60}:{left % 60:02d} left"

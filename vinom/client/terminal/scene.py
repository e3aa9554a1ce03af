"""
Compose the whole screen of a maze: the maze, players, scores, time and RTT.

Pure: a `Scene` and the terminal's size go in, lines come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import attrs

from vinom.base.printable import printable
from vinom.client.terminal.canvas import QUIET, Canvas, Row, Style, fit, width_of
from vinom.client.terminal.maze_picture import SEAT_INKS, columns, draw_maze, place_of

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

    The cells are as wide as fits; a maze that is too large is cut around the player.
    The scores go below the maze if there is no space beside it.
    """
    sheet = Canvas(height, width)
    cols = scene.setup["cols"]
    cell, beside = _layout(cols, width)
    panel = _panel(scene, width - beside - 1 if beside else width, beside is None)
    keys = _in_rows(scene.keys, width - 2)[: max(height - 5, 1)]
    body = height - 1 - len(keys)
    room = body if beside else max(body - panel.height, 3)
    maze = draw_maze(
        scene.setup,
        scene.view,
        scene.names,
        scene.you,
        cell=cell,
        frame=scene.frame,
    )
    maze = _cut_around(maze, scene, cell, room, beside or width)
    sheet.put_title(scene.title, _clock(scene))
    sheet.paste(1, 0, maze)
    if beside:
        sheet.paste(1, beside + 1, panel)
    else:
        sheet.paste(1 + maze.height, 0, panel)
    used = 1 + maze.height + (0 if beside else panel.height)
    row = min(height - len(keys), max(used, 1 + panel.height if beside else used))
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


def _layout(cols: int, width: int) -> tuple[int, int | None]:
    """Choose a cell's width, and the column of a panel beside the maze, if it fits."""
    for cell in (3, 2, 1):
        if columns(cols, cell) + 1 + _PANEL_LEAST <= width:
            return cell, columns(cols, cell)
    for cell in (3, 2):
        if columns(cols, cell) <= width:
            return cell, None
    return 1, None


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


def _panel(scene: Scene, width: int, is_below: bool) -> Canvas:
    rows = _summary(scene) if is_below else _details(scene, min(width, _PANEL_MOST))
    panel = Canvas(len(rows), min(width, _PANEL_MOST) if not is_below else width)
    for row, parts in enumerate(rows):
        panel.put_row(row, 0, parts)
    return panel


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


def _summary(scene: Scene) -> list[Row]:
    """The scores in one row, for terminals without space beside the maze."""
    scores = [(" ", "")]
    for seat, score in enumerate(scene.view["scores"]):
        scores.append((f"● {fit(_name(scene, seat), 10)} {score}  ", _ink(seat)))
    scores.append((_connection_quality(scene), QUIET))
    rows: list[Row] = [scores]
    if scene.view["over"]:
        rows.append([(f" {_verdict(scene)}", _LOUD)])
    rows.extend([(f" {note}", "")] for note in scene.notes)
    return rows


def _details(scene: Scene, width: int) -> list[Row]:
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
    return rows


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

"""
Draw a deployment: its nodes, and which players, parties, matches and rooms they have.

Pure: what is known goes in, lines come out.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from vinom.client.terminal.canvas import Canvas, Style, fit
from vinom.client.terminal.scene import to_ascii

_TITLE: Style = "1;38;5;231;48;5;25"
_QUIET: Style = "38;5;245"
_BAD: Style = "1;38;5;203"
#: One per node, by its place in the list.
_INKS: tuple[Style, ...] = (
    *("1;38;5;80", "1;38;5;220", "1;38;5;177"),
    *("1;38;5;113", "1;38;5;215"),
)


@attrs.frozen
class Spot:
    """
    A player, and where.

    :ivar name: to play under.
    :ivar node: name of the node that has the player's line; ``None``: none has.
    """

    name: str
    node: str | None


@attrs.frozen
class NodeRow:
    """
    A node.

    :ivar name: one letter.
    :ivar address: of its lobby.
    :ivar state: ``serving``, ``starting`` or ``killed``.
    :ivar lease: the number of its lease; 0: it has none.
    :ivar players: how many lines the node says that it has.
    :ivar plays: its matches and rooms, each in words.
    """

    name: str
    address: str
    state: str
    lease: int = 0
    players: int = 0
    plays: Sequence[str] = ()


@attrs.frozen
class GroupRow:
    """
    A party, or the players of a room.

    :ivar members: who is in it, and where they are.
    :ivar doing: what it does, in words.
    """

    members: Sequence[Spot]
    doing: str


@attrs.frozen
class Scenery:
    """
    One moment of a deployment.

    :ivar title: text at the top.
    :ivar store: how Redis is, in words.
    :ivar nodes: in the order of their names.
    :ivar parties: those of bots.
    :ivar rooms: of the nodes.
    :ivar news: what happened, the latest last.
    :ivar keys: text at the bottom.
    """

    title: str
    store: str
    nodes: Sequence[NodeRow]
    parties: Sequence[GroupRow]
    rooms: Sequence[GroupRow]
    news: Sequence[str]
    keys: str


def compose_nodes(
    scenery: Scenery,
    width: int,
    height: int,
    *,
    colour: bool = True,
    ascii_only: bool = False,
) -> list[str]:
    """
    Draw *scenery* to fit a terminal; old news go first if it is too small.

    :returns: at most *height* lines of at most *width* columns.
    """
    sheet = Canvas(height, width)
    sheet.put(0, 0, " " * width, _TITLE)
    sheet.put(0, 1, fit(scenery.title, width - 2), _TITLE)
    sheet.put(1, 1, fit(f"Redis   {scenery.store}", width - 2))
    inks = _inks(scenery)
    row = 3
    for node in scenery.nodes:
        row = _put_node(sheet, row, node, scenery, inks[node.name])
    row += 1
    for head, groups in (("party", scenery.parties), ("room", scenery.rooms)):
        for group in groups:
            _put_group(sheet, row, head, group, inks)
            row += 1
    space = height - 1 - (row + 1)
    for down, text in enumerate(scenery.news[-space:] if space > 0 else ()):
        sheet.put(row + 1 + down, 1, fit(text, width - 2), _QUIET)
    sheet.put(height - 1, 0, " " * width)
    sheet.put(height - 1, 1, fit(scenery.keys, width - 2), _QUIET)
    lines = sheet.lines(colour=colour)
    return [to_ascii(line) for line in lines] if ascii_only else lines


def node_line(scenery: Scenery) -> str:
    """Give the same in one line, for output that is not a terminal."""
    parts = []
    for node in scenery.nodes:
        names = " ".join(spot.name for spot in _at(scenery, node.name)) or "nobody"
        plays = "".join(f", {play}" for play in node.plays)
        what = f"{names}{plays}" if node.state == "serving" else node.state
        parts.append(f"{node.name}: {what}")
    missing = [spot.name for spot in _at(scenery, None)]
    if missing:
        parts.append(f"without a node: {' '.join(missing)}")
    return "; ".join(parts)


def _inks(scenery: Scenery) -> dict[str, Style]:
    return {
        node.name: _INKS[place % len(_INKS)] for place, node in enumerate(scenery.nodes)
    }


def _at(scenery: Scenery, name: str | None) -> list[Spot]:
    return [
        spot
        for group in (*scenery.parties, *scenery.rooms)
        for spot in group.members
        if spot.node == name
    ]


def _put_node(
    sheet: Canvas, row: int, node: NodeRow, scenery: Scenery, ink: Style
) -> int:
    """Draw a node; returns the row after it."""
    indent, space = 9, sheet.width - 10
    col = sheet.put(row, 1, f"node {node.name}  ", ink)
    if node.state != "serving":
        sheet.put(row, col, fit(f"{node.state}  {node.address}", space), _BAD)
        return row + 2
    col = sheet.put(row, col, f"{node.address}  lease {node.lease}  ", _QUIET)
    names = " ".join(spot.name for spot in _at(scenery, node.name))
    sheet.put(row, col, fit(f"{node.players} players: {names}", sheet.width - col - 1))
    plays = node.plays or ("no matches, no rooms",)
    for down, play in enumerate(plays, 1):
        style = "" if node.plays else _QUIET
        sheet.put(row + down, indent, fit(play, space), style)
    return row + 1 + len(plays)


def _put_group(
    sheet: Canvas, row: int, head: str, group: GroupRow, inks: dict[str, Style]
) -> None:
    col = sheet.put(row, 1, f"{head:<6}  ", _QUIET)
    for spot in group.members:
        ink = _BAD if spot.node is None else inks.get(spot.node, "")
        col = sheet.put(row, col, f"{spot.name} ({spot.node or 'away'})", ink) + 1
    sheet.put(row, max(col, 30), fit(group.doing, sheet.width - max(col, 30) - 1))

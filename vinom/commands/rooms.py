"""``vinom rooms``: the rooms that a node hosts itself; end one, or kick somebody."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from vinom.node.asking import add_node_arguments, ask_node, in_columns

_HEADINGS = ("ROOM", "GAME", "STATE", "SEATS", "WATCH", "HERE", "VERSION", "PLAYERS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--end", metavar="ROOM", help="end this room")
    what.add_argument(
        "--kick",
        nargs=2,
        metavar=("ROOM", "PLAYER"),
        help="remove this player from this room, by its player_id",
    )
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print one line a room, or have the node do something."""
    if options.end is not None:
        page = f"rooms/{quote(options.end, safe='')}/end"
        return ask_node(
            options, lambda node: node.post(page), lambda told: f"{options.end} is over"
        )
    if options.kick is not None:
        room, player = options.kick
        page = f"rooms/{quote(room, safe='')}/kick"
        return ask_node(
            options,
            lambda node: node.post(page, {"player_id": player}),
            lambda told: f"{player} is out of room {room}",
        )
    return ask_node(options, lambda node: node.get("rooms"), _show)


def _show(told: dict[str, Any]) -> str:
    if not told["rooms"]:
        return "no rooms"
    return in_columns([_HEADINGS, *(_row(room) for room in told["rooms"])])


def _row(room: dict[str, Any]) -> tuple[str, ...]:
    players = ", ".join(
        f"{seat['name']} ({seat['player_id'] or 'bot'}, {seat['state']})"
        for seat in room["players"]
    )
    return (
        room["room_id"],
        room["game"],
        room["state"],
        f"{room['taken']}/{room['seats']}",
        str(room["spectators"]),
        str(room["connected"]),
        str(room["version"]),
        players,
    )

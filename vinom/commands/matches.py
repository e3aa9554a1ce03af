"""``vinom matches``: the matches of a node."""

from __future__ import annotations

import argparse
from typing import Any

from vinom.node.asking import add_node_arguments, ask_node, in_columns

_HEADINGS = ("MATCH", "GAME", "STATE", "AGE", "AT", "PLAYERS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print one line a match."""
    return ask_node(options, lambda node: node.get("matches"), _show)


def _show(told: dict[str, Any]) -> str:
    if not told["matches"]:
        return "no matches"
    return in_columns([_HEADINGS, *(_row(match) for match in told["matches"])])


def _row(match: dict[str, Any]) -> tuple[str, ...]:
    host, port = match["host"], match["port"]
    at = "-" if port is None else f"{f'[{host}]' if ':' in host else host}:{port}"
    players = ", ".join(
        f"{seat['name']} ({seat['player_id']}, {seat['state']})"
        for seat in match["players"]
    )
    return (
        match["match_id"],
        match["game"],
        match["state"],
        f"{match['age']:.0f}s",
        at,
        players,
    )

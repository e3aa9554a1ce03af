"""``vinom kick``: remove a player from a match."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from vinom.node.asking import add_node_arguments, ask_node


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    parser.add_argument("match_id", help="as in vinom matches")
    parser.add_argument("player_id", help="as in vinom matches")
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Have the node do it."""
    page = f"matches/{quote(options.match_id, safe='')}/kick"
    return ask_node(
        options,
        lambda node: node.post(page, {"player_id": options.player_id}),
        lambda told: f"{options.player_id} is out of match {options.match_id}",
    )

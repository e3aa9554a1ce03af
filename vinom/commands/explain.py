"""``vinom explain``: why a player is not matched."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from vinom.node.asking import add_node_arguments, ask_node, in_columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    parser.add_argument("player_id", help="as in vinom matches, or in the log")
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print what the player waits for."""
    page = f"explain/{quote(options.player_id, safe='')}"
    return ask_node(options, lambda node: node.get(page), _show)


def _show(told: dict[str, Any]) -> str:
    return in_columns([(name, str(value)) for name, value in told.items()])

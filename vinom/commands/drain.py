"""``vinom drain``: take no new matches, and stop when the last one ends."""

from __future__ import annotations

import argparse

from vinom.node.asking import add_node_arguments, ask_node


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Have the node do it."""
    return ask_node(
        options,
        lambda node: node.post("drain"),
        lambda told: "draining: the node stops when its last match ends",
    )

"""``vinom status``: what a node is doing."""

from __future__ import annotations

import argparse
from typing import Any

from vinom.tap.asking import add_node_arguments, ask_node, in_columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the node's status."""
    return ask_node(options, lambda node: node.get("status"), _show)


def _show(told: dict[str, Any]) -> str:
    return in_columns(_rows(told, ""))


def _rows(told: dict[str, Any], prefix: str) -> list[tuple[str, ...]]:
    """One row a fact; inner facts under their path."""
    rows: list[tuple[str, ...]] = []
    for name, value in told.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{prefix}{name}", text))
    return rows

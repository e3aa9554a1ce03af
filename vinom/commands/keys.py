"""``vinom keys``: a node's keys, and how new ones take over."""

from __future__ import annotations

import argparse
import time
from typing import Any

from vinom.node.asking import AdminLine, add_node_arguments, ask_node, in_columns

_HEAD = ("ID", "KIND", "STATE", "AGE", "EXPIRES")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "rotate"),
        default="list",
        help="list them (the default), or rotate: let a new one take over",
    )
    parser.add_argument(
        "kind",
        nargs="?",
        choices=("token", "ca", "cookie"),
        default="token",
        help="which to rotate: the token key (the default), the authority, or the "
        "cookie keys of game servers",
    )
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """List, or rotate."""
    if options.action == "list":
        return ask_node(options, lambda node: node.get("keys"), _show)

    def rotate(node: AdminLine) -> Any:
        return node.post("keys/rotate", {"kind": options.kind})

    return ask_node(options, rotate, _show_rotation)


def _show(told: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [_HEAD]
    for key in told["keys"]:
        ends = key["expires_at"]
        rows.append(
            (
                key["id"],
                key["kind"],
                key["state"],
                _span(key["age"]),
                "-" if ends is None else f"in {_span(ends - time.time())}",
            )
        )
    return in_columns(rows)


def _show_rotation(told: dict[str, Any]) -> str:
    if told["kind"] == "cookie":
        return f"{told['game_servers']} game servers make new cookie keys"
    what = {"token": "token key", "ca": "authority"}[told["kind"]]
    return (
        f"{what} {told['id']} signs from now on; the one before it is accepted for "
        f"{_span(told['accepted_seconds'])}"
    )


def _span(seconds: float) -> str:
    """Write a length of time in its largest unit that says enough."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"

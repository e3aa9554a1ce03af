"""``vinom status``: what a node is doing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from vinom.node.asking import add_node_arguments, ask_node, in_columns

_PORT_STATES = ("free", "bound", "quarantined")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    add_node_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the node's status."""
    return ask_node(options, lambda node: node.get("status"), _show)


def _show(told: dict[str, Any]) -> str:
    """Write a summary; everything else is in the JSON."""
    queue, matches, fleet = told["queue"], told["matches"], told["fleet"]
    waiting = queue["waiting"]
    ports = {state: fleet[f"ports_{state}"] for state in _PORT_STATES}
    rows: list[tuple[str, ...]] = [
        ("node", f"vinom {told['version']}, {told['state']}"),
        ("up", _duration(told["uptime"])),
        ("lobby", f"{told['lobby']}, {told['lines']} lines"),
        ("players", f"{told['players']} in the lobby"),
        ("queue", _queue(waiting, queue)),
        ("matches", _states(matches, ("forming", "placed", "playing"))),
        ("ended", _states(matches["ended"], sorted(matches["ended"]))),
        ("game servers", _states(fleet["servers"], fleet["servers"])),
        ("ports", _states(ports, _PORT_STATES)),
    ]
    for name, ends in sorted(told["certificates"].items()):
        rows.append((f"{name} certificate", f"until {_moment(ends)}"))
    return in_columns(rows)


def _queue(waiting: Mapping[str, int], queue: Mapping[str, Any]) -> str:
    if not sum(waiting.values()):
        return "nobody waits"
    text = _states(waiting, sorted(waiting))
    if queue["suspended"]:
        text += f", {queue['suspended']} of them away"
    return f"{text}; the longest for {_duration(queue['longest_wait'])}"


def _states(counts: Mapping[str, int], names: Iterable[str]) -> str:
    """Write "3 playing, 1 forming"; what there is none of is left out."""
    words = [f"{counts[name]} {name}" for name in names if counts[name]]
    return ", ".join(words) or "none"


def _duration(seconds: float) -> str:
    """Write the two largest units of a time, which say enough."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    for large, small in (
        (f"{days} d", f"{hours} h"),
        (f"{hours} h", f"{minutes} min"),
        (f"{minutes} min", f"{seconds} s"),
    ):
        if not large.startswith("0 "):
            return f"{large} {small}"
    return f"{seconds} s"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"

"""A directive that generates the reference of settings from their table."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vinom.node.settings import TABLE, Row
from vinom.node.values import Switch

TITLES = {
    "network": "Where it listens",
    "state": "What it keeps",
    "store": "Store",
    "results": "Results of rounds",
    "identity": "Who may connect",
    "lobby": "The lobby",
    "matchmaking": "Matchmaking",
    "websocket": "WebSocket",
    "games": "Games and game servers",
    "rooms": "Rooms of the node",
    "strangers": "Strangers",
    "operation": "Operation",
    "trust": "Certificates",
}


def rendered(row: Row) -> list[str]:
    """Render one setting as reST."""
    flag = f"--{row.flag}"
    if not isinstance(row.kind, Switch):
        flag = f"{flag} {row.kind.metavar}"
    # The texts are written for terminals: escape stars and references for reST.
    text = row.help.replace("*", r"\*").replace("_ ", r"\_ ")
    lines = [f"``{flag}``", f"   {text[0].upper()}{text[1:]}.", ""]
    facts = f"   ``{row.name}`` in the file, ``{row.variable}`` in the environment"
    if row.many:
        facts += "; a list in the file, separated by blanks in the variable"
    if row.default is not None:
        facts += f". Default: ``{row.default}``"
    return [*lines, f"{facts}.", ""]


class SettingsTable(SphinxDirective):
    """``.. vinom-settings::``"""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for section, rows in groupby(TABLE, lambda row: row.section):
            title = TITLES[section]
            lines += [title, "-" * len(title), ""]
            for row in rows:
                lines += rendered(row)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive; Sphinx calls this."""
    app.add_directive("vinom-settings", SettingsTable)
    return {"version": "1", "parallel_read_safe": True}

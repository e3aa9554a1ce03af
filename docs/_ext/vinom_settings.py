"""A directive that generates the reference of settings from their table."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vinom.base.settings.values import Row, Switch
from vinom.fleet.gameserver.settings import TABLE as GAME_SERVER
from vinom.gateway.settings import TABLE as GATEWAY
from vinom.node.settings import TABLE

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
    "pods": "Game servers in a cluster",
    "rooms": "Rooms of the node",
    "strangers": "Strangers",
    "operation": "Operation",
    "trust": "Certificates",
    "tls": "TLS",
    "routing": "Rules and back ends",
    "http": "HTTP and WebSocket",
    "node": "Its node",
}


#: By argument: whose settings, and how their headings are underlined.
_OF = {"gateway": (GATEWAY, "~"), "gameserver": (GAME_SERVER, "~")}


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
    """``.. vinom-settings::``, with ``gateway`` or ``gameserver`` for others."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        table, mark = _OF.get("".join(self.arguments), (TABLE, "-"))
        for section, rows in groupby(table, lambda row: row.section):
            title = TITLES[section]
            lines += [title, mark * len(title), ""]
            for row in rows:
                lines += rendered(row)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive; Sphinx calls this."""
    app.add_directive("vinom-settings", SettingsTable)
    return {"version": "1", "parallel_read_safe": True}

"""The tutorial's session, typed into netcat against a real node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import start_node
from tests.support.programs import start_program

DOCS = Path(__file__).resolve().parents[2] / "docs"

#: Facts that differ from one session to the next.
_OWN = {
    "player_id",
    "player_key",
    "match_id",
    "port",
    "server_name",
    "certificate",
    "token",
    "expires_at",
    "waited",
    "server",
}


def shape(value: Any) -> Any:
    """A message without what is different each time."""
    if isinstance(value, dict):
        return {
            key: type(inner).__name__ if key in _OWN else shape(inner)
            for key, inner in value.items()
        }
    return [shape(inner) for inner in value] if isinstance(value, list) else value


class TutorialTests(TestCase):
    """A newcomer sees what the page shows."""

    timeout = 120
    docs = DOCS

    async def test_netcat(self) -> None:
        """
        Four lines typed by hand are answered as the tutorial prints it.
        """
        node = await start_node(self)
        netcat = start_program(self, "nc", node.host, str(node.port), environ={})
        typed = heard = 0
        session = self.docs / "tutorial" / "netcat.txt"
        for line in session.read_text(encoding="utf-8").splitlines():
            printed = json.loads(line)
            if "success" in printed:
                while netcat.output.count(b"\n") == heard:
                    await deferLater(reactor, 0.05)
                answer = json.loads(netcat.output.splitlines()[heard])
                self.assertEqual(shape(answer), shape(printed))
                heard += 1
            else:
                typed += 1
                netcat.transport.write(line.encode() + b"\n")  # type: ignore[union-attr]
        self.assertEqual(typed, 4)

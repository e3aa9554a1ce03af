"""The tutorial's session, typed into netcat against a real node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import start_node
from tests.support.needs import path_of

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


class Netcat(ProcessProtocol):
    """Somebody who types into ``nc`` and reads what comes."""

    def __init__(self) -> None:
        self._held = b""
        self._heard: list[Any] = []
        self._wanted: Deferred[Any] | None = None
        self.ended: Deferred[None] = Deferred()

    def type(self, line: str) -> None:
        """Type one line."""
        assert self.transport is not None
        self.transport.write(line.encode() + b"\n")

    def read(self) -> Deferred[Any]:
        """The next line that comes, from JSON."""
        self._wanted = Deferred()
        self._wanted.addTimeout(30, reactor)
        wanted = self._wanted
        self._serve()
        return wanted

    def outReceived(self, data: bytes) -> None:
        *lines, self._held = (self._held + data).split(b"\n")
        self._heard += map(json.loads, lines)
        self._serve()

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)

    def _serve(self) -> None:
        if self._wanted is not None and self._heard:
            wanted, self._wanted = self._wanted, None
            wanted.callback(self._heard.pop(0))


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
        program = path_of("nc")
        node = await start_node(self)
        netcat = Netcat()
        process = reactor.spawnProcess(  # type: ignore[attr-defined]  # zope's
            netcat, program, ["nc", node.host, str(node.port)]
        )
        self.addCleanup(self._hang_up, process, netcat)
        typed = 0
        session = self.docs / "tutorial" / "netcat.txt"
        for line in session.read_text(encoding="utf-8").splitlines():
            printed = json.loads(line)
            if "success" in printed:
                self.assertEqual(shape(await netcat.read()), shape(printed))
            else:
                typed += 1
                netcat.type(line)
        self.assertEqual(typed, 4)

    def _hang_up(self, process: Any, netcat: Netcat) -> Deferred[None]:
        if not netcat.ended.called:
            process.signalProcess("KILL")
        return netcat.ended

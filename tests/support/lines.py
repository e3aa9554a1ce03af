"""A player at a lobby line with nothing but JSON, for tests with real nodes."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import TestCase

from vinom.base.messages.catalogue import PROTOCOL


class Typed(LineReceiver):
    """
    Sends lines of JSON and keeps what it receives.

    :ivar heard: everything received, oldest first.
    """

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self._waiting: list[tuple[Any, Deferred[dict[str, Any]]]] = []

    def lineReceived(self, line: bytes) -> None:
        message = json.loads(line)
        self.heard.append(message)
        for entry in tuple(self._waiting):
            fits, waiting = entry
            if fits(message):
                self._waiting.remove(entry)
                waiting.callback(message)

    def say(self, type: str, id: int | None = None, /, **data: Any) -> None:
        """Ask for something."""
        message: dict[str, Any] = {"type": type, "data": data}
        if id is not None:
            message["id"] = id
        self.sendLine(json.dumps(message).encode())

    def hear(self, type: str, fits: Any = None) -> Deferred[dict[str, Any]]:
        """Wait for the next message of this type that fits; return its data."""
        waiting: Deferred[dict[str, Any]] = Deferred()

        def is_it(message: dict[str, Any]) -> bool:
            if message["type"] != type:
                return False
            return fits is None or bool(fits(message.get("data") or message["error"]))

        self._waiting.append((is_it, waiting))
        return waiting.addCallback(lambda m: m.get("data") or m["error"])

    def ask(self, type: str, answer: str, /, **data: Any) -> Deferred[dict[str, Any]]:
        """Ask, and wait for the answer of this type."""
        heard = self.hear(answer)
        self.say(type, **data)
        return heard


async def typed(test: TestCase, node: Any, name: str) -> Typed:
    """
    Be a player at a node, with nothing but JSON, until the end of a test.

    :param node: has a ``host`` and a ``port``.
    """
    endpoint = HostnameEndpoint(reactor, node.host, node.port)
    line = await connectProtocol(endpoint, Typed())
    test.addCleanup(line.transport.abortConnection)
    await line.ask("hello", "welcome", protocol=PROTOCOL, name=name)
    return line

"""The lobby over real sockets: what memory cannot show."""

from __future__ import annotations

import socket
from typing import Any

from msgspec import json
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.lobbies import LobbyWorld
from vinom.net.lines.tcp import LineFactory, Lines

#: A bound on liveness, nothing finer; seconds.
PATIENCE = 20.0


def talk(port: int, *messages: bytes) -> list[dict[str, Any]]:
    """Send everything at once, as a pipe into netcat would; read to the end."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as peer:
        peer.sendall(b"".join(message + b"\n" for message in messages))
        said = b""
        while part := peer.recv(65536):
            said += part
        # More after the node has closed its side must not reset the connection.
        peer.sendall(b'{"type":"ping"}\n')
        return [json.decode(line) for line in said.splitlines()]


class LobbySocketTests(TestCase):
    """A person with netcat."""

    timeout = 180

    async def test_two_players(self) -> None:
        """
        Two people type two lines each, get a match, and then the line is closed,
        with nothing lost of what was sent.
        """
        world = LobbyWorld()
        factory = LineFactory(Lines(world.desk.open, reactor))
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        turns: list[Any] = []

        def turn() -> None:
            # The lobby's own clock is virtual; sockets are not.
            world.clock.advance(0.01)
            turns[:] = [reactor.callLater(0.01, turn)]

        turn()
        self.addCleanup(lambda: turns[0].cancel())
        talks = [
            deferToThread(
                talk,
                port.getHost().port,
                b'{"type": "hello", "data": {"protocol": 1, "name": "%s"}}' % name,
                b'{"type": "queue", "data": {"game": "duel"}}',
            )
            for name in (b"ann", b"bob")
        ]
        for waiting in talks:
            said = await waiting
            self.assertEqual(
                [message["type"] for message in said],
                ["welcome", "queue_status", "queue_status", "match_found"],
            )
        closed: Deferred[None] = Deferred()
        reactor.callLater(0.1, closed.callback, None)
        await closed

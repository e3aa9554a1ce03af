"""A node and its players over WebSocket, with somebody else's client."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, json
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.child_nodes import start_http_node
from tests.support.websocket_clients import WebSocketClient, connect
from vinom.base.messages.catalogue import PROTOCOL, decode_answer
from vinom.base.messages.envelope import Told, encode_request
from vinom.base.messages.lobby import Hello, MatchEnded, MatchFound
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match, MatchResult

#: Longest wait for a message, seconds: a bound on liveness.
PATIENCE = 60.0


class Player:
    """One player, whose WebSocket is the ``websockets`` package's."""

    scheme = "ws"

    def __init__(self, port: int, name: str, **options: Any) -> None:
        self.port, self.name, self.options = port, name, options
        self.socket: WebSocketClient
        self._told: list[Any] = []

    async def hello(self) -> dict[str, Any]:
        """Connect and say hello; returns the welcome."""
        uri = f"{self.scheme}://127.0.0.1:{self.port}/ws"
        self.socket = await deferToThread(connect, uri, **self.options)
        return await self.ask(encode_request(Hello(PROTOCOL, self.name), 1))

    async def ask(self, request: bytes) -> dict[str, Any]:
        """Send a request, and wait for the next message."""
        await self.send(request)
        said: dict[str, Any] = json.decode(await self.message())
        return said

    async def send(self, request: bytes) -> None:
        """Send a request, and do not wait."""
        await deferToThread(self.socket.send, request.decode())

    async def message(self) -> bytes:
        """Wait for a message; several may come as one array."""
        while not self._told:
            text = await deferToThread(self.socket.recv, PATIENCE)
            assert isinstance(text, str)
            self._told = json.decode(text, type=list[Raw])
        return bytes(self._told.pop(0))

    async def push(self, kind: type[Any]) -> Any:
        """Wait for a push of that kind, and pass over others."""
        while True:
            told = decode_answer(await self.message())
            if isinstance(told, Told) and isinstance(told.push, kind):
                return told.push


class WebSocketNodeTests(TestCase):
    """``/ws`` of a real node."""

    timeout = 120

    async def start(self, *arguments: str) -> None:
        self.node, self.http = await start_http_node(
            self,
            "--game=tests.support.quick:Second",
            "--warm=1",
            *arguments,
        )

    async def player(self, name: str, **options: Any) -> Player:
        player = Player(self.http, name, **options)
        await player.hello()
        self.addCleanup(lambda: deferToThread(player.socket.close))
        return player

    async def test_match(self) -> None:
        """
        Two players find each other over WebSocket, play over UDP, and are sent on the
        same WebSocket, which stays open, how their match ended.
        """
        await self.start()
        players = [await self.player(name) for name in ("ann", "bob")]
        for player in players:
            asked = b'{"type":"queue","id":2,"data":{"game":"second"}}'
            said = await player.ask(asked)
            self.assertEqual((said["type"], said["id"]), ("queue_status", 2))
        matches = []
        for player in players:
            found = await player.push(MatchFound)
            endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.node.port)
            lobby = LobbyClient(reactor, endpoint, Hello(PROTOCOL, player.name))
            match = Match(reactor, lobby, found)
            match.start()
            matches.append(match)
        await gatherResults([match.joined for match in matches])
        matches[1].act({})
        results: list[MatchResult] = await gatherResults(
            [match.ended for match in matches]
        )
        self.assertEqual([result.reason for result in results], ["finished"] * 2)
        for player in players:
            ended = await player.push(MatchEnded)
            self.assertEqual(ended.match_id, matches[0].match_id)
            pong = await player.ask(b'{"type":"ping","id":3}')
            self.assertEqual((pong["type"], pong["id"]), ("pong", 3))

    async def test_stop(self) -> None:
        """
        A node that stops informs everybody, with the code for it.
        """
        await self.start()
        player = await self.player("ann")
        stopped = self.node.stop()
        said = json.decode(await player.message())
        self.assertEqual(said["error"]["code"], "shutdown")
        closed = await self.assertFailure(
            deferToThread(player.socket.recv, PATIENCE), ConnectionClosed
        )
        self.assertEqual(closed.rcvd.code, 1001)
        await stopped

    async def test_settings(self) -> None:
        """
        Origins and compression follow the command line.
        """
        await self.start("--origin=*.example.com", "--browsers-only", "--deflate")
        for origin in ("https://evil-example.com", "https://example.com", None):
            refused = await self.assertFailure(
                ensureDeferred(Player(self.http, "eve", origin=origin).hello()),
                InvalidStatus,
            )
            self.assertEqual(refused.response.status_code, 403)
            self.assertIn(b"origin_refused", refused.response.body)
        player = await self.player("ann", origin="https://play.example.com")
        (extension,) = player.socket.protocol.extensions
        self.assertEqual(extension.name, "permessage-deflate")
        said = await player.ask(b'{"type":"ping","id":"x"}')
        self.assertEqual(said["type"], "pong")

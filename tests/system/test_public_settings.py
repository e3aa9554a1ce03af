"""What an operator sets for the public port and its rooms reaches a running node."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from msgspec import json
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import InvalidStatus

from tests.support.child_nodes import start_http_node
from tests.system.test_websocket_node import PATIENCE, Player

GAME = "tictactoe"
#: What a client whose TLS is refused sees; to time out is another error.
CUT_OFF = (ConnectionError, ssl.SSLError)


class RoomPlayer(Player):
    """A player who comes over TLS, in rooms; it may have a proxy before it."""

    scheme = "wss"

    def __init__(self, port: int, name: str, told: str = "", **options: Any) -> None:
        """*told* is the address in the proxy's header; without it there is none."""
        super().__init__(port, name, **options)
        self.told = told

    async def hello(self) -> dict[str, Any]:
        context = ssl.create_default_context()
        # Whose certificate it is, is for other tests.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        sock = await deferToThread(self._arrive)
        self.options |= {"sock": sock, "ssl": context}
        return await super().hello()

    def _arrive(self) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        if self.told:
            raw.sendall(f"PROXY TCP4 {self.told} 192.0.2.1 9 443\r\n".encode())
        return raw

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait for a message with these fields, and pass over others."""
        while True:
            said: dict[str, Any] = json.decode(await self.message())
            data = said.get("data") or {}
            if said["type"] == kind and fields.items() <= data.items():
                return said

    async def join(self, room_id: str, **more: Any) -> dict[str, Any]:
        """Ask for a place in a room; returns the answer."""
        data = {"game": GAME, "room_id": room_id, **more}
        asked = {"type": "join_room", "id": 2, "data": data}
        await deferToThread(self.socket.send, json.encode(asked).decode())
        while True:
            said: dict[str, Any] = json.decode(await self.message())
            if said.get("id") == 2:
                return said

    def cut(self) -> None:
        """Lose the connection without a word, if there is one."""
        if hasattr(self, "socket"):
            self.socket.cut()


class PublicSettingsTests(TestCase):
    """Settings of a real node, seen from outside."""

    timeout = 120
    #: What whoever is one too many of an address sees.
    too_many: tuple[type[Exception], ...] = CUT_OFF

    async def start(self, *arguments: str) -> None:
        self.node, self.http = await start_http_node(
            self,
            f"--game=vinom.games.{GAME}:TicTacToe",
            "--warm=0",
            *arguments,
        )

    def player(self, name: str, told: str = "", **options: Any) -> RoomPlayer:
        player = RoomPlayer(self.http, name, told, **options)
        self.addCleanup(player.cut)
        return player

    async def come(self, name: str, told: str, **options: Any) -> RoomPlayer:
        player = self.player(name, told, **options)
        said = await player.hello()
        self.assertEqual(said["type"], "welcome")
        return player

    async def test_behind_a_proxy(self) -> None:
        """
        Behind a proxy that passes TLS on, each player has its own address and number of
        connections; pages from anywhere are allowed; and rooms have the configured
        bounds: one spectator, and a second of grace.
        """
        await self.start(
            "--proxy=127.0.0.1",
            "--http-tls",
            "--any-origin",
            "--guests=yes",
            "--connections-per-address=1",
            "--spectators-per-room=1",
            "--grace-seconds=1",
        )
        ann = await self.come("ann", "203.0.113.1", origin="https://evil.example")
        bob = await self.come("bob", "203.0.113.2")
        cid = await self.come("cid", "203.0.113.3")
        dan = await self.come("dan", "203.0.113.4")
        # One too many of the same address does not even shake hands.
        with self.assertRaises(self.too_many):
            await self.player("eve", "203.0.113.1").hello()
        for player, answer in ((ann, None), (bob, None)):
            said = await player.join("r1")
            self.assertEqual(said.get("error"), answer)
        said = await cid.join("r1", spectate=True)
        self.assertTrue(said["success"])
        said = await dan.join("r1", spectate=True)
        self.assertEqual(said["error"]["code"], "room_full")
        bob.cut()
        await ann.until("client_left", reason="lost")
        await ann.until("client_left", reason="expired")

    async def test_without_a_proxy(self) -> None:
        """
        Without ``--proxy`` nobody is believed to speak for another, not even from
        this machine; and over TLS a plain page of this host is not the node's own.
        """
        await self.start("--http-tls")
        with self.assertRaises(CUT_OFF):
            await self.player("eve", "203.0.113.1").hello()
        plain = self.player("eve", origin=f"http://127.0.0.1:{self.http}")
        refused = await self.assertFailure(ensureDeferred(plain.hello()), InvalidStatus)
        self.assertEqual(refused.response.status_code, 403)
        await self.come("ann", "", origin=f"https://127.0.0.1:{self.http}")

"""One address against a running node, and a player of another beside it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from msgspec import json
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.child_gateways import start_gateway
from tests.support.child_nodes import start_http_node
from tests.support.websocket_clients import connect
from tests.support.whole_node import WholeNode
from tests.system.test_websocket_node import PATIENCE, Player

ATTACKER, VICTIM = "203.0.113.1", "192.0.2.1"


class ProxiedPlayer(Player):
    """A player behind a proxy, which sends whose connection it is."""

    def __init__(self, port: int, host: str) -> None:
        super().__init__(port, "x")
        self.host = host

    async def greet(self) -> dict[str, Any]:
        """Connect and say hello; gives the answer."""
        uri = f"{self.scheme}://127.0.0.1:{self.port}/ws"
        sock = await deferToThread(self._arrive)
        self.socket = await deferToThread(connect, uri, sock=sock)
        return await self.request("hello", protocol=1, name="x")

    async def request(self, kind: str, **data: Any) -> dict[str, Any]:
        """Ask for something; gives the answer, and passes over others."""
        asked = {"type": kind, "id": 7, "data": data}
        said = await self.ask(json.encode(asked))
        while said.get("id") != 7:
            said = json.decode(await self.message())
        return said

    async def until(self, kind: str) -> dict[str, Any]:
        """Wait for a message of this kind."""
        while True:
            said: dict[str, Any] = json.decode(await self.message())
            if said["type"] == kind:
                return said

    def _arrive(self) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        raw.sendall(f"PROXY TCP4 {self.host} 192.0.2.9 9 443\r\n".encode())
        return raw


class OneAddressTests(TestCase):
    """Limits of an address, behind a proxy."""

    timeout = 120

    async def start(self, *arguments: str) -> None:
        self.node, self.http = await start_http_node(
            self,
            "--proxy=127.0.0.1",
            "--guests=yes",
            "--game=tests.support.quick:Second",
            *arguments,
        )

    async def come(self, host: str) -> tuple[ProxiedPlayer, Any]:
        """Say hello; gives the player and the answer."""
        player = ProxiedPlayer(self.http, host)
        said = await player.greet()
        self.addCleanup(player.socket.cut)
        return player, said

    def codes(self, said: list[dict[str, Any]]) -> list[str | None]:
        return [(one.get("error") or {}).get("code") for one in said]

    async def test_settings(self) -> None:
        """
        The operator's limits for guests, rooms and matches hold for an address, and for
        no other one.
        """
        await self.start(
            "--guest-rate=0.06",
            *("--rooms-per-address=1", "--matches-per-address=1", "--warm=1"),
        )
        came = [await self.come(ATTACKER) for _ in range(4)]
        said = [one for _, one in came]
        self.assertEqual(self.codes(said), [None] * 3 + ["rate_limited"])
        eves = [one for one, _ in came[:3]]
        for eve in eves[:2]:
            queued = await eve.request("queue", game="second")
            self.assertEqual(queued["type"], "queue_status")
        await eves[0].until("match_found")
        busy = await eves[2].request("queue", game="second")
        asked = [{"game": "second", "room_id": f"r{number}"} for number in range(2)]
        opened = await eves[2].request("join_room", **asked[0])
        await eves[2].request("leave_room")
        refused = await eves[2].request("join_room", **asked[1])
        said = [busy, opened, refused]
        self.assertEqual(self.codes(said), ["busy", None, "too_many_rooms"])
        ann, _ = await self.come(VICTIM)
        self.assertEqual(
            self.codes([await ann.request("join_room", **asked[1])]), [None]
        )


class UnreadPagesTests(TestCase):
    """Pages that an address requests, and does not read."""

    timeout = 120

    def test_memory(self) -> None:
        """
        However many are requested in one read, and however large they are, the node
        makes and holds only what the next read of the client may take.
        """
        site = Path(self.mktemp())
        site.mkdir()
        site.joinpath("index.html").write_text("<p>x</p>")
        site.joinpath("song.mp3").write_bytes(bytes(4_000_000))
        node = WholeNode(f"--page={site}")
        self.addCleanup(node.stop)
        node.wait()
        before = node.resident
        for path in (b"/vinom.js", b"/song.mp3", b"/health"):
            request = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
            for _ in range(12):
                made = socket.socket()
                self.addCleanup(made.close)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                made.connect(("127.0.0.1", node.http))
                made.sendall(request * (65536 // len(request)))
            for _ in range(20):
                with urlopen(f"http://127.0.0.1:{node.http}/health") as answer:
                    self.assertEqual(answer.status, 200)
            self.assertLess(node.resident - before, 16_000_000)

    async def test_many_connections(self) -> None:
        """
        As many connections as one address may have hold little of a node, or of a
        gateway, however much each of them sends in advance.
        """
        node = WholeNode()
        self.addCleanup(node.stop)
        await deferToThread(node.wait)
        site = {
            "strategy": "round_robin",
            "endpoints": [f"127.0.0.1:{node.http}"],
            "match": {"path": "/"},
        }
        gateway = await start_gateway(self, {"site": site})
        for port, program in ((node.http, node), (gateway.port, gateway)):
            await deferToThread(self.ask, port)
            before = program.resident
            await deferToThread(self.flood, port)
            self.assertLess(program.resident - before, 8_000_000)

    def ask(self, port: int) -> None:
        with urlopen(f"http://127.0.0.1:{port}/health") as answer:
            self.assertEqual(answer.status, 200)

    def flood(self, port: int) -> None:
        """Send as much as there is room for, and read nothing; then go."""
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        made = []
        for _ in range(240):
            one = socket.socket()
            self.addCleanup(one.close)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.bind(("127.0.0.2", 0))
            one.connect(("127.0.0.1", port))
            one.setblocking(False)
            made.append(one)
        for _ in range(4):
            for one in made:
                with contextlib.suppress(BlockingIOError):
                    one.send(request * (65536 // len(request)))
            self.ask(port)

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

ATTACKER, VICTIM, FRIEND = "203.0.113.1", "192.0.2.1", "198.51.100.1"


class ProxiedPlayer(Player):
    """A player behind a proxy, which sends whose connection it is."""

    def __init__(self, port: int, host: str) -> None:
        super().__init__(port, "x")
        self.host = host

    async def greet(self, **data: Any) -> dict[str, Any]:
        """Connect and say hello; gives the answer."""
        uri = f"{self.scheme}://127.0.0.1:{self.port}/ws"
        sock = await deferToThread(self._arrive)
        self.socket = await deferToThread(connect, uri, sock=sock)
        return await self.request("hello", protocol=1, **(data or {"name": "x"}))

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

    async def come(self, host: str, **data: Any) -> tuple[ProxiedPlayer, Any]:
        """Say hello; gives the player and the answer."""
        player = ProxiedPlayer(self.http, host)
        said = await player.greet(**data)
        self.addCleanup(player.socket.cut)
        return player, said

    def codes(self, said: list[dict[str, Any]]) -> list[str | None]:
        return [(one.get("error") or {}).get("code") for one in said]

    async def test_guests(self) -> None:
        """
        An address that makes guest after guest must wait; a player of another
        address comes back with its key, and new ones come.
        """
        await self.start("--guest-rate=0.01", "--guest-burst=5", "--warm=0")
        ann, welcome = await self.come(VICTIM)
        ann.socket.cut()
        said = [(await self.come(ATTACKER))[1] for _ in range(8)]
        self.assertEqual(self.codes(said), [None] * 5 + ["rate_limited"] * 3)
        key = welcome["data"]["player_key"]
        _, back = await self.come(VICTIM, player_key=key)
        self.assertEqual(back["data"]["player_id"], welcome["data"]["player_id"])
        _, other = await self.come(FRIEND)
        self.assertEqual(other["type"], "welcome")

    async def test_passwords(self) -> None:
        """
        An address that makes one party with a password after the other must wait, and
        has others wait for nothing.
        """
        await self.start("--warm=0", "--guest-burst=100")
        said = []
        for _ in range(15):
            eve, _ = await self.come(ATTACKER)
            for _ in range(4):
                said.append(await eve.request("create_party", password="x" * 20))
                await eve.request("leave_party")
        self.assertIn("rate_limited", self.codes(said))
        self.assertEqual(self.codes(said)[:20], [None] * 20)
        self.assertNotIn("error", await eve.request("create_party"))
        ann, _ = await self.come(VICTIM)
        made = await ann.request("create_party", password="x" * 20)
        self.assertEqual(made["type"], "party_created")

    async def test_rooms(self) -> None:
        """
        An address opens as many rooms as it may; they close when their players have
        hung up, and then it may open others.
        """
        await self.start(
            "--rooms-per-address=2",
            "--room-close-seconds=0.2",
            "--warm=0",
        )
        eve, _ = await self.come(ATTACKER)
        said = [
            await eve.request("join_room", game="second", room_id=f"r{number}")
            for number in range(3)
        ]
        self.assertEqual(self.codes(said), [None, None, "too_many_rooms"])
        ann, _ = await self.come(VICTIM)
        asked = {"game": "second", "room_id": "ours"}
        self.assertEqual(self.codes([await ann.request("join_room", **asked)]), [None])
        listed = await ann.request("list_rooms")
        self.assertEqual(listed["data"]["rooms"], [])
        eve.socket.cut()
        while True:
            mal, _ = await self.come(ATTACKER)
            again = await mal.request("join_room", game="second", room_id="r9")
            if again["type"] == "join_room_result":
                break
            mal.socket.cut()

    async def test_matches(self) -> None:
        """
        An address that holds the only game server, with a match nobody joins, has no
        second one; the match is void in time, and others get their turn.
        """
        await self.start(
            "--matches-per-address=1", "--join-seconds=1", "--warm=1", "--max-servers=1"
        )
        eves = [await self.come(ATTACKER) for _ in range(3)]
        for eve, _ in eves[:2]:
            said = await eve.request("queue", game="second")
            self.assertEqual(said["type"], "queue_status")
        await eves[0][0].until("match_found")
        refused = await eves[2][0].request("queue", game="second")
        self.assertEqual(self.codes([refused]), ["busy"])
        players = [(await self.come(host))[0] for host in (VICTIM, FRIEND)]
        for player in players:
            await player.request("queue", game="second")
        for player in players:
            await player.until("match_found")
        ended = await eves[0][0].until("match_ended")
        self.assertEqual(ended["data"]["reason"], "void")
        said = await eves[2][0].request("queue", game="second")
        self.assertEqual(said["type"], "queue_status")


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

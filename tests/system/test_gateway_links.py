"""Real nodes behind real gateways, by native links: TLS and UNIX sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.support.child_gateways import ChildGateway, start_gateway, until
from tests.support.child_nodes import admin_of, start_node, status_of
from tests.support.programs import short_folder
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import ListRooms, RoomList
from vinom.client.line import LobbyRefusal
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match
from vinom.client.rooms import LiveRoom
from vinom.client.sdk import Client
from vinom.net.keys.authority import Authority
from vinom.tools.commands.child_node import ChildNode, free_port
from vinom.tools.commands.cli import main

#: Nobody behind a gateway has the privileges of loopback.
OPEN = (
    *("--guests=yes", "--allow-plaintext"),
    "--game=tests.support.quick:Second",
    "--game=tests.support.quick:Longer",
)
PATIENCE = 30.0


def hello(name: str = "ann") -> bytes:
    """Write a hello, as a line."""
    data = {"protocol": PROTOCOL, "name": name}
    return json.dumps({"type": "hello", "id": 1, "data": data}).encode() + b"\n"


def talk(port: int, said: bytes, source: str = "127.0.0.1") -> bytes:
    """Send bytes, and read the first line that comes, or all until the end."""
    with socket.create_connection(
        ("127.0.0.1", port), PATIENCE, source_address=(source, 0)
    ) as peer:
        peer.sendall(said)
        return peer.makefile("rb").readline()


def stay(port: int) -> socket.socket:
    """Say hello, and stay."""
    peer = socket.create_connection(("127.0.0.1", port), PATIENCE)
    peer.sendall(hello("stays"))
    said = b""
    while not said.endswith(b"\n"):
        said += peer.recv(65536)
    assert json.loads(said)["type"] == "welcome"
    return peer


@implementer(IStreamClientEndpoint)
class Movable:
    """
    Where a player connects.

    :ivar port: may change before the next connection.
    :ivar dialed: how many connections it was asked for.
    """

    def __init__(self, port: int) -> None:
        self.port, self.dialed = port, 0

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect (`IStreamClientEndpoint`)."""
        self.dialed += 1
        found: Deferred[Any] = HostnameEndpoint(
            reactor, "127.0.0.1", self.port
        ).connect(factory)
        return found


class GatewayLinksTests(TestCase):
    """Players come by way of a gateway, and notice nothing of it."""

    timeout = 180

    def setUp(self) -> None:
        self.folder = short_folder(self)

    def authority(self, name: str = "authority") -> tuple[str, ...]:
        """Make the authority of a deployment; gives a node's settings."""
        folder = self.folder / name
        Authority.open(folder, "game.vinom", time.time)
        return (
            f"--authority-certificate-file={folder / 'authority' / 'ca.pem'}",
            f"--authority-key-file={folder / 'authority' / 'ca.key'}",
        )

    def certificate(self, *authority: str) -> tuple[str, ...]:
        """Make a gateway's certificate; gives its settings."""
        folder = Path(mkdtemp(dir=self.folder))
        made = main(
            [
                *("link-certificate", str(folder), "--name=g1"),
                *(f"--state-dir={self.folder / 'unused'}", *authority),
            ]
        )
        self.assertEqual(made, 0)
        return (
            f"--link-certificate-file={folder / 'link.pem'}",
            f"--link-key-file={folder / 'link.key'}",
            f"--link-authority-file={folder / 'authority.pem'}",
        )

    async def node(
        self, where: str, *arguments: str, is_open: bool = True
    ) -> ChildNode:
        """Start a node that gateways may link to, open to guests without TLS or not."""
        opens = OPEN if is_open else ()
        return await start_node(self, f"--gateway-link={where}", *opens, *arguments)

    async def behind_tls(self, *arguments: str) -> ChildGateway:
        """Start two nodes, and a gateway that links to them over TLS."""
        authority = self.authority()
        self.links = [free_port(), free_port()]
        self.nodes = [
            await self.node(f"tls:127.0.0.1:{port}", *authority, *arguments)
            for port in self.links
        ]
        return await start_gateway(
            self, self.rules("packets+tls"), *self.certificate(*authority)
        )

    def rules(self, transport: str, *endpoints: str) -> dict[str, Any]:
        """Write the rule of the lobby."""
        found = endpoints or tuple(f"127.0.0.1:{port}" for port in self.links)
        return {
            "lobby": {
                "strategy": "round_robin",
                "endpoints": list(found),
                "transport": transport,
            }
        }

    async def test_two_nodes_over_tls(self) -> None:
        """
        Sessions go to both nodes, over one or two links each.
        """
        gateway = await self.behind_tls()
        answers = await gatherResults(
            [deferToThread(talk, gateway.port, hello(f"p{n}")) for n in range(8)]
        )
        self.assertEqual(
            [json.loads(answer)["type"] for answer in answers], ["welcome"] * 8
        )
        for node in self.nodes:
            found = await deferToThread(status_of, node)
            self.assertEqual(found["gateways"]["served"], 4)
            self.assertLessEqual(sum(found["gateways"]["links"].values()), 2)

    async def test_drain(self) -> None:
        """
        A node that drains keeps its players, who notice nothing; new ones go to the
        other node. A node that stops sends its players why.
        """
        gateway = await self.behind_tls("--drain-seconds=60")
        kept = [await deferToThread(stay, gateway.port) for _ in range(2)]
        first = self.nodes[0]
        seated, _ = self.movable(first.port, "eve")
        await seated.join_room("longer")
        await deferToThread(admin_of(first).post, "drain", {})
        # The node's answer may be here before what it sent to the gateway is there.
        await gateway.program.printed(b"accepts no more sessions")
        for _ in range(4):
            answer = await deferToThread(talk, gateway.port, hello("new"))
            self.assertEqual(json.loads(answer)["type"], "welcome")
        found = await deferToThread(status_of, self.nodes[1])
        self.assertEqual(found["gateways"]["served"], 5)
        for peer in kept:
            peer.sendall(b'{"type":"ping"}\n')
            answer = await deferToThread(peer.makefile("rb").readline)
            self.assertEqual(json.loads(answer)["type"], "pong")
        seated.close()
        for node in self.nodes:
            # The first one has begun to drain; the other has nothing to wait for.
            os.kill(node.pid, signal.SIGTERM)
        for peer in kept:
            rest = await deferToThread(peer.makefile("rb").read)
            (said,) = rest.splitlines()
            self.assertEqual(json.loads(said)["error"]["code"], "shutdown")
            peer.close()

    async def test_plaintext(self) -> None:
        """
        Who comes to a plain port of a gateway, whose node wants TLS, is told so by any
        client; and so is the gateway's operator, by the access log.
        """
        where = f"unix:{self.folder / 'a.sock'}"
        await self.node(where, is_open=False)
        gateway = await start_gateway(self, self.rules("packets", where))
        at = HostnameEndpoint(reactor, "127.0.0.1", gateway.port)
        player = LobbyClient(reactor, at, Hello(PROTOCOL, "ann"))
        refused = await self.assertFailure(player.hello(), LobbyRefusal)
        self.assertEqual(refused.code, "plaintext_refused")
        await until(self, gateway.sessions, "the session is over")
        (session,) = gateway.sessions()
        self.assertIn("plaintext_refused: use TLS", session["why"])

    async def test_match(self) -> None:
        """
        Two players find each other through the gateway, and their match is played.
        """
        socket_path = self.folder / "link.sock"
        await self.node(f"unix:{socket_path}", "--warm=1")
        gateway = await start_gateway(
            self, self.rules("packets", f"unix:{socket_path}")
        )
        where = HostnameEndpoint(reactor, "127.0.0.1", gateway.port)
        lobbies = [
            LobbyClient(reactor, where, Hello(PROTOCOL, name))
            for name in ("ann", "bob")
        ]
        found = await gatherResults([lobby.find_match("second") for lobby in lobbies])
        matches = [
            Match(reactor, lobby, one)
            for lobby, one in zip(lobbies, found, strict=True)
        ]
        for match in matches:
            match.start()
        await gatherResults([match.joined for match in matches])
        matches[1].act({})
        results = await gatherResults([match.ended for match in matches])
        self.assertEqual([result.reason for result in results], ["finished"] * 2)
        for lobby in lobbies:
            lobby.close()

    async def test_room(self) -> None:
        """
        A room is made, listed and joined through the gateway; a player whose connection
        breaks has its place again, through another gateway.
        """
        where = f"unix:{self.folder / 'link.sock'}"
        await self.node(where)
        rules = self.rules("packets", where)
        gateway = await start_gateway(self, rules)
        other = await start_gateway(self, rules)
        ann, where_ann = self.movable(gateway.port, "ann")
        bob, _ = self.movable(other.port, "bob")
        room: LiveRoom = await ann.join_room("longer")
        room_id = room.place.room_id
        listed = await bob.rooms.ask(ListRooms("longer"))
        assert isinstance(listed, RoomList)
        self.assertEqual([one.room_id for one in listed.rooms], [room_id])
        joined: LiveRoom = await bob.join_room("longer", room_id)
        self.assertEqual(joined.place.room_id, room_id)
        await self.until(lambda: room.state == "playing" and room.view is not None)
        seat = room.seat
        # Its gateway is gone: the client finds its place by way of the other one.
        where_ann.port = other.port
        before = where_ann.dialed
        os.kill(gateway.pid, signal.SIGKILL)
        await self.until(lambda: where_ann.dialed > before and room.is_connected)
        self.assertEqual(room.seat, seat)
        room.act({})
        await self.until(lambda: joined.view is not None and any(joined.view["points"]))

    def movable(self, port: int, name: str) -> tuple[Client, Movable]:
        """Make a player whose next connection may go elsewhere."""
        where = Movable(port)
        found = Client(reactor, LobbyClient(reactor, where, Hello(PROTOCOL, name)))
        self.addCleanup(found.close)
        return found, where

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        give_up = reactor.seconds() + PATIENCE
        while not is_so():
            self.assertLess(reactor.seconds(), give_up)
            await deferLater(reactor, 0.02)

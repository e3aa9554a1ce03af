"""A real node behind a real gateway, whose lobby lines begin with a PROXY header."""

from __future__ import annotations

import json
import socket

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.child_gateways import ChildGateway, start_gateway
from tests.support.child_nodes import start_node
from tests.system.test_gateway_links import PATIENCE, hello


class GatewayProxiedTests(TestCase):
    """Lobby lines with ``transport = "tcp+proxy"``."""

    timeout = 120

    async def gateway(self, *arguments: str) -> ChildGateway:
        """Start a node that believes its gateway, and the gateway."""
        node = await start_node(self, "--proxy=127.0.0.1", *arguments)
        rule = {
            "strategy": "round_robin",
            "endpoints": [f"127.0.0.1:{node.port}"],
            "transport": "tcp+proxy",
        }
        return await start_gateway(self, {"lobby": rule})

    async def test_addresses(self) -> None:
        """
        The node's limit of connections counts the players' own addresses.
        """
        gateway = await self.gateway("--guests=yes", "--connections-per-address=2")
        kept = []

        def come(source: str) -> str:
            peer = socket.create_connection(
                ("127.0.0.1", gateway.port), PATIENCE, source_address=(source, 0)
            )
            kept.append(peer)
            peer.sendall(hello())
            with peer.makefile("rb") as answers:
                said = json.loads(answers.readline())
            return str(said.get("error", said).get("code", said["type"]))

        came = [await deferToThread(come, "127.0.0.2") for _ in range(3)]
        self.assertEqual(came, ["welcome", "welcome", "too_many_connections"])
        self.assertEqual(await deferToThread(come, "127.0.0.3"), "welcome")
        for peer in kept:
            peer.close()

    async def test_half_closed(self) -> None:
        """
        A player who sends all at once and closes that half, as ``nc -N`` does, gets
        every answer.
        """
        gateway = await self.gateway("--guests=yes")

        def ask() -> list[bytes]:
            with socket.create_connection(
                ("127.0.0.1", gateway.port), PATIENCE
            ) as peer:
                peer.sendall(hello() + b'{"type":"ping","id":2}\n')
                peer.shutdown(socket.SHUT_WR)
                with peer.makefile("rb") as answers:
                    return answers.readlines()

        answers = [json.loads(line) for line in await deferToThread(ask)]
        self.assertEqual([one["type"] for one in answers[:1]], ["welcome"])
        self.assertEqual([one.get("id") for one in answers], [1, 2])

    async def test_never_loopback(self) -> None:
        """
        A player of the gateway's own machine is no guest of loopback.
        """
        gateway = await self.gateway()

        def ask() -> bytes:
            with socket.create_connection(
                ("127.0.0.1", gateway.port), PATIENCE
            ) as peer:
                peer.sendall(hello())
                with peer.makefile("rb") as answers:
                    return answers.readline()

        refused = json.loads(await deferToThread(ask))
        self.assertEqual(refused["error"]["code"], "unauthorized")

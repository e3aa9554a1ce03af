"""A node whose game servers are Agones': real programs, over its API and its SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor

from tests.support.agones.controller import Agones
from tests.support.pod_nodes import GAME, PodNodeCase
from vinom.commands.child_node import free_port

SETTINGS = """
fleet = "agones"
kubeconfig = "{kubeconfig}"
game_server_link = "tls:127.0.0.1:{link}"
game = ["{game}"]
guests = "yes"
# All four play one match, however long it takes until the last of them has come.
fill_seconds = 600

[agones]
fleet = "green"
namespace = "games"
owner = "node-1"
grace_seconds = 10
"""


class AgonesNodeTests(PodNodeCase):
    """What players and operators have of it."""

    timeout = 60

    async def setUp(self) -> None:
        await super().setUp()
        self.agones = Agones(self.server, self.kubelet, reactor)
        self.addCleanup(self.agones.stop)
        self.agones.create_fleet("green", 1)

    def configure(self, **pods: str) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        config = folder / "node.toml"
        config.write_text(
            SETTINGS.format(
                kubeconfig=self.server.write_kubeconfig(folder / "kubeconfig"),
                link=free_port(),
                game=GAME,
            )
        )
        return config

    async def test_a_match(self) -> None:
        """
        Four players play a match in a game server that was Ready, and that Agones ends
        afterwards; the next one is Ready then, and none is taken without need.
        """
        await self.until(lambda: self.agones.list("Ready"))
        (first,) = self.agones.list("Ready")
        name = first["metadata"]["name"]
        sdk = self.agones.sdks[name]
        node = await self.start()
        self.assertEqual(self.agones.list("Allocated"), [])
        states: list[Any] = []
        self.server.objects.watchers.append(
            lambda change: states.append(change.value.get("status", {}).get("state"))
        )
        await self.check_match(node)
        self.assertIn("Allocated", states)
        await self.until(lambda: name not in self.agones.sdks)
        self.assertIn(("POST", "/shutdown"), sdk.requests)
        await self.until(lambda: self.agones.list("Ready"))
        await node.stop()
        self.assertEqual(self.agones.list("Allocated"), [])

    async def test_behind_the_relay(self) -> None:
        """
        Players who cannot reach the cluster's machines connect to the node, and play in
        a game server of Agones all the same.
        """
        await self.until(lambda: self.agones.list("Ready"))
        await self.check_match(await self.start("--udp=relay"))

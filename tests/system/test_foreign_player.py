"""Somebody else's engine plays on a real node, against one of our bots."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.programs import start_foreign
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello, MatchFound
from vinom.client.lobby import LobbyClient
from vinom.client.sdk import connect
from vinom.tools.commands.child_node import ChildNode

GODOT = Path(__file__).with_name("godot")


class ForeignPlayerTests(TestCase):
    timeout = 180

    async def meet(self) -> tuple[MatchFound, str]:
        """
        Have one of ours and a stranger matched.

        :returns: what the stranger is sent, and the file of its trust anchor.
        """
        node = ChildNode(reactor, ["--fill-seconds=0.1", "--join-seconds=60"])
        self.addCleanup(node.stop)
        await node.start()
        ours = await connect(reactor, node.host, node.port, name="ours")
        self.addCleanup(ours.close)
        endpoint = HostnameEndpoint(reactor, node.host, node.port)
        stranger = LobbyClient(reactor, endpoint, Hello(PROTOCOL, "stranger"))
        self.addCleanup(stranger.close)
        joined = ours.queue("maze")
        found = await stranger.find_match("maze")
        self.joined = joined
        anchor = self.mktemp()
        Path(anchor).write_text(found.certificate)
        return found, anchor

    async def test_godot(self) -> None:
        """
        A Godot player verifies the game server, takes the seat it was given by
        the lobby, and moves; the other player sees it.
        """
        found, anchor = await self.meet()
        godot = start_foreign(
            self, "godot3-server", "--no-window", "--script", str(GODOT / "play.gd"),
            found.host, str(found.port), found.server_name, anchor, found.token,
        )  # fmt: skip
        match, code = await gatherResults([self.joined, godot.ended])
        self.assertEqual(code, 0, godot.output)
        self.assertIn(f"seat {found.seat}\n", godot.text)
        self.assertIn("moved [", godot.text)
        self.assertEqual(match.names[found.seat], "stranger")
        while match.view["at"][found.seat] == match.setup["starts"][found.seat]:
            await deferLater(reactor, 0.01)

"""Players over UDP and game servers that they cannot reach: the node relays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of
from tests.system import test_cross_transport


def udp_ports(pid: int) -> set[int]:
    """List the UDP ports that a process has bound."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(descriptor.readlink()))
        except OSError:
            continue
    found = set()
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, _, _, _, _, _, _, inode, *_ = line.split()
            if f"socket:[{inode}]" in sockets:
                found.add(int(local.rpartition(":")[2], 16))
    return found


class RelayTests(TestCase):
    """A match by way of the node; more in tests.alone.relayed_main_job."""

    timeout = 120
    setUp = test_cross_transport.CrossTransportTests.setUp
    bot = test_cross_transport.CrossTransportTests.bot

    async def start(self) -> None:
        await test_cross_transport.CrossTransportTests.start(self, "--udp=relay")

    def ask(self, what: str) -> Any:
        """Ask the node for something."""
        return admin_of(self.node).get(what)

    async def test_one_port(self) -> None:
        """
        All players of a match connect to the one UDP port of the node; its game server
        has none, and finishes the match.
        """
        await self.start()
        playing = gatherResults([self.bot(f"bot-{number}") for number in range(4)])
        served: dict[int, set[int]] = {}
        while not (served or playing.called):
            await deferLater(reactor, 0.05)
            fleet = self.ask("status")["fleet"]["game_servers"].values()
            served |= {
                one["pid"]: udp_ports(one["pid"]) for one in fleet if one["matches"]
            }
        own = udp_ports(self.node.pid)
        results = await playing
        self.assertEqual([set()], list(served.values()))
        self.assertEqual(1, len(own), own)
        self.assertEqual({"finished"}, {result.reason for result in results})
        for result in results:
            self.assertEqual(result.version, result.seen_version)
            self.assertEqual(result.view_hash, result.seen_hash)

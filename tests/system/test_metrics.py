"""A real node's metrics, after a match whose process is gone."""

from __future__ import annotations

import socket
from http.client import HTTPConnection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.deploy.test_monitoring import families
from tests.support.child_nodes import start_node
from tests.support.match_bots import play_one
from tests.support.quick import QuickMaze
from vinom.client.match import MatchResult
from vinom.client.sdk import connect
from vinom.tools.commands.child_node import free_port_range

Sample = tuple[str, ...]


class MetricsTests(TestCase):
    timeout = 120

    def scrape(self) -> dict[Sample, float]:
        """Ask as Prometheus does; labels are sorted by their names."""
        line = HTTPConnection("vinom")
        line.sock = socket.socket(socket.AF_UNIX)
        line.sock.settimeout(20)
        line.sock.connect(str(Path(self.node.state_dir) / "admin.sock"))
        try:
            token = (Path(self.node.state_dir) / "admin.token").read_text().strip()
            line.request(
                "GET", "/metrics", headers={"Authorization": f"Bearer {token}"}
            )
            page = line.getresponse().read().decode()
        finally:
            line.close()
        self.families = {
            family.name: family.type for family in text_string_to_metric_families(page)
        }
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    async def play(self) -> None:
        """Let four bots play one short match."""
        ended: list[Deferred[MatchResult]] = []

        async def bring(index: int) -> None:
            client = await connect(
                reactor, self.node.host, self.node.port, name=f"bot-{index}"
            )
            await play_one(client, index, lambda match: ended.append(match.ended))

        await gatherResults([Deferred.fromCoroutine(bring(i)) for i in range(4)])
        await gatherResults(ended)

    async def test_after_a_match(self) -> None:
        """
        Everything that the dashboard shows is exported, and what a game process
        counted is still there when it is gone.
        """
        first, last = free_port_range(4)
        self.node = await start_node(
            self,
            "--game=tests.support.quick:QuickMaze",
            f"--ports={first}-{last}",
            # All four in one match, however slowly they come.
            "--fill-seconds=60",
            "--join-seconds=60",
        )
        await self.play()
        while True:
            found = self.scrape()
            # Its port is free a moment before its last words are read.
            is_leaving = found[("vinom_game_servers", "leaving")] > 0
            if found[("vinom_ports", "free")] == 4 and not is_leaving:
                break
            await deferLater(reactor, 0.1)
        self.assertEqual(found[("vinom_matches_ended_total", "finished")], 1)
        self.assertEqual(found[("vinom_handshakes_total", "finished")], 4)
        self.assertEqual(found[("vinom_joins_total", "accepted")], 4)
        self.assertEqual(found[("vinom_game_players",)], 0)
        self.assertEqual(found[("vinom_queue_wait_seconds_count", QuickMaze.name)], 4)
        self.assertGreater(found[("vinom_datagrams_total", "in")], 20)
        for process in ("node", "game_server"):
            turns = found[("vinom_reactor_turn_seconds_count", process)]
            self.assertGreater(turns, 10)
        wanted = {
            family.name: family.type
            for family in families()
            if not family.name.startswith("vinom_gateway_")
        }
        self.assertEqual({**wanted, **self.families}, self.families)

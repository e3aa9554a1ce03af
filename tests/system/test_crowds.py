"""
Crowds in parties, on four real nodes behind nginx, with a real Redis: nobody is booked
twice, nobody is forgotten, whatever is killed or stopped.

``VINOM_CROWDS=full`` in the environment: 1,000 players for two minutes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.crowds import GOOD, Crowd, Habits
from tests.support.ending import end
from tests.support.fairness import Story, Trouble, judge, matches, prematches
from tests.support.needs import do_without, path_of
from tests.support.quick import Brawl
from tests.support.redis_servers import RedisServer, until
from vinom.commands.child_node import ChildNode, free_port
from vinom.keys.authority import Authority
from vinom.node.asking import AdminLine

IS_FULL = os.environ.get("VINOM_CROWDS") == "full"
NODES = 4
PLAYERS = 1000 if IS_FULL else 60
SECONDS = 120.0 if IS_FULL else 2.0
ROOMS = 20 if IS_FULL else 1
HEARTBEAT, LEASE = 0.5, 2.0
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

NGINX = """
pid {folder}/pid;
error_log {folder}/error.log;
include /etc/nginx/modules-enabled/*.conf;
worker_processes 1;
events {{ worker_connections 8192; }}
stream {{
    upstream nodes {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        proxy_pass nodes;
        proxy_protocol on;
        proxy_connect_timeout 1s;
        proxy_timeout 2m;
    }}
}}
"""

SETTINGS = """
[queues.storm]
game = "brawl"
rule = "rating"
team_size = 3
avoid_recent = 0
accept_seconds = 3.0
"""


class CrowdTests(TestCase):
    """Players in parties of one to three, who do what players do."""

    timeout = 600

    async def setUp(self) -> None:
        path_of("nginx")
        if not NGINX_STREAM.exists():
            do_without("not installed: nginx's stream (Debian: libnginx-mod-stream)")
        self.server = RedisServer()
        self.addCleanup(self.server.kill)
        self.folder = Path(tempfile.mkdtemp(prefix="vinom-crowd-"))
        self.addCleanup(rmtree, self.folder, ignore_errors=True)
        # Workers of nginx give up being root.
        self.folder.chmod(0o755)
        Authority.open(self.folder, "game.vinom", reactor.seconds)
        self.settings = self.folder / "vinom.toml"
        self.settings.write_text(SETTINGS)
        self.troubles: list[Trouble] = []
        self.chance = random.Random(13)
        self.ports = [free_port() for _ in range(NODES)]
        self.logs: list[ChildNode] = []
        habits = Habits(pause=15.0) if IS_FULL else Habits()
        self.crowd = Crowd(free_port(), "storm", Brawl.name, habits=habits)
        self.nodes = await gatherResults([self.start(port) for port in self.ports])
        self.balance()
        self.addCleanup(self.crowd.stop)

    def start(self, http: int) -> Any:
        """Start a node whose page is at this port; fires when others can reach it."""
        authority = self.folder / "authority"
        node = ChildNode(
            reactor,
            [
                f"--config={self.settings}",
                f"--store={self.server.url}",
                f"--authority-certificate-file={authority / 'ca.pem'}",
                f"--authority-key-file={authority / 'ca.key'}",
                f"--game={Brawl.__module__}:{Brawl.__name__}",
                f"--http={http}",
                f"--heartbeat-seconds={HEARTBEAT}",
                f"--lease-seconds={LEASE}",
                "--proxy=127.0.0.1",
                "--guests=yes",
                "--node-link=0",
                "--join-seconds=2",
                "--warm=2",
                f"--rooms-per-process={ROOMS}",
            ],
        )
        self.addCleanup(node.stop)
        return node.start().addCallback(lambda _: node)

    def balance(self) -> None:
        """Start nginx in front of the nodes."""
        servers = "\n".join(
            f"        server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;"
            for port in self.ports
        )
        config = self.folder / "nginx.conf"
        config.write_text(
            NGINX.format(folder=self.folder, port=self.crowd.port, servers=servers)
        )
        nginx = subprocess.Popen(
            [path_of("nginx"), "-c", str(config), "-g", "daemon off;"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(end, nginx)

    async def gather(self) -> None:
        """Have the crowd come."""
        sizes: list[int] = []
        while sum(sizes) < PLAYERS:
            sizes.append(min(self.chance.choice((1, 1, 2, 3)), PLAYERS - sum(sizes)))
        self.crowd.add(sizes)
        for node in self.nodes:
            line = AdminLine(Path(node.state_dir) / "admin.sock")
            await until(lambda line=line: line.get("status")["store"]["lease"])
        await self.crowd.gather()
        self.crowd.begin()

    async def kill(self) -> None:
        """Kill a node, and start another one in its place."""
        number = self.chance.randrange(NODES)
        now = reactor.seconds()
        os.kill(self.nodes[number].pid, signal.SIGKILL)
        self.troubles.append(Trouble(now, now, f"kill of node {number}"))
        self.nodes[number] = await self.start(self.ports[number])

    async def stop_store(self) -> None:
        """Stop Redis for 5 s; then everybody says hello again."""
        began = reactor.seconds()
        self.server.pause()
        await deferLater(reactor, 5.0)
        self.server.wake()
        self.troubles.append(Trouble(began, reactor.seconds(), "stop of the store"))
        await self.crowd.come_again(0.5 + PLAYERS / 1000)

    async def finish(self) -> None:
        """Let the crowd behave, come back a last time, and judge."""
        # On a slow machine it takes longer until there is enough to judge.
        await self.crowd.until(lambda: self.found() > 3 * PLAYERS // 2)
        self.crowd.habits = GOOD
        await deferLater(reactor, 1.0)
        await self.crowd.come_again(0.2 + PLAYERS / 1000)
        await self.crowd.until(lambda: all(one.is_back for one in self.crowd.guests))
        story = Story(
            self.crowd.events,
            self.crowd.ids(),
            self.troubles,
            # Beside other tests a slow machine takes its time; alone it must not.
            back_seconds=LEASE + (3.0 if IS_FULL else 15.0),
            # Two cores with a thousand players are busy for seconds.
            margin=5.0,
        )
        found, asked = matches(story), prematches(story)
        faults = judge(story)
        if faults or os.environ.get("VINOM_CROWDS_SHOW"):
            print(f"\n{len(found)} matches of {len(asked)} prematches")
            for what, count in sorted(self.crowd.counts().items()):
                print(f"{count:7} {what}")
        log = Path(self.mktemp()).absolute()
        log.write_text("\n".join(map(str, story.in_order)))
        self.assertEqual(faults, [], "\n".join(("", *faults, f"see {log}")))
        self.assertGreater(len(found), PLAYERS // 6)
        self.assertGreater(len(asked), len(found))

    def found(self) -> int:
        """Count how often a match was found for somebody."""
        return self.crowd.counts()["received match_found"]

    async def test_calm(self) -> None:
        """
        Nobody is in two matches, or in one that not all accepted; everybody has played
        or is queued; and of equal groups the first comes first.
        """
        await self.gather()
        await deferLater(reactor, SECONDS)
        await self.finish()

    async def test_storm(self) -> None:
        """
        The same while nodes are killed, and Redis stands still; and everybody is back
        in time.
        """
        await self.gather()
        if IS_FULL:
            await self.long_storm()
        else:
            await deferLater(reactor, 1.0)
            await self.kill()
            await self.stop_store()
        await deferLater(reactor, LEASE + 3.0)
        await self.finish()

    async def long_storm(self) -> None:
        """Kill a node every 10 s, and stop Redis twice."""
        began = reactor.seconds()
        for number in range(int(SECONDS / 10.0)):
            await deferLater(
                reactor, max(0.0, began + 10.0 * number - reactor.seconds())
            )
            await self.kill()
            if number in (3, 8):
                # Its lease is over before, so that its players are back.
                await deferLater(reactor, LEASE + 1.0)
                await self.stop_store()

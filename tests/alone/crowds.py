"""
Crowds in parties, on four real nodes behind nginx, with a real Redis: nobody is booked
twice, nobody is forgotten, whatever is killed or stopped.

``VINOM_CROWDS=full`` in the environment: 1,000 players for two minutes;
``VINOM_CROWDS=200:40``: 200 for 40 seconds, with all that belongs to the full size.
``VINOM_CROWDS_SHOW=1`` prints what was counted, and keeps the logs of the nodes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import SkipTest, TestCase

from tests.support.child_nodes import admin_of
from tests.support.counting import Counting
from tests.support.crowds import GOOD, Crowd, Habits
from tests.support.ending import end
from tests.support.fairness import Story, Trouble, judge, matches, prematches
from tests.support.needs import do_without, path_of
from tests.support.programs import short_folder
from tests.support.quick import Brawl
from tests.support.redis_servers import (
    RedisServer,
    StayingLine,
    WatchedRedis,
    is_master,
    until,
)
from tests.support.tapping import Balancer, Player, is_settled
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import JoinRoom
from vinom.client.lobby import LobbyClient, SharedLine
from vinom.client.rooms import PlayerRooms
from vinom.net.keys.authority import Authority
from vinom.tools.commands.child_node import ChildNode, free_port

_SIZE = os.environ.get("VINOM_CROWDS", "")
IS_FULL = bool(_SIZE)
IS_SHOWN = bool(os.environ.get("VINOM_CROWDS_SHOW"))
NODES = 4
PLAYERS, SECONDS = (
    (1000, 120.0)
    if _SIZE == "full"
    else (int(_SIZE.split(":")[0]), float(_SIZE.split(":")[1]))
    if IS_FULL
    else (60, 2.0)
)
#: Matches that one game process has.
ROOMS = 20 if IS_FULL else 1
#: Rooms of an ``ahead`` game, with two players each.
TABLES = 10 if IS_FULL else 2
LEASE = 2.0
#: Two cores with a thousand players are busy for seconds: how late news may be. Beside
#: other tests a slow machine takes its time until all are back; alone it must not.
MARGIN, BACK = 5.0, LEASE + (3.0 if IS_FULL else 15.0)
#: Longer than Redis is stopped, so that this is no reason for a failover.
DOWN_AFTER = 8.0
GAMES = (Brawl, Counting)
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
        self.folder = short_folder(self)
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
        self.tappers: list[Player] = []
        self.clients: list[PlayerRooms] = []
        self.late: list[str] = []

    async def open(self, store: RedisServer | WatchedRedis) -> None:
        """Start nodes with this store, and nginx in front of them."""
        self.server = store
        self.addCleanup(store.kill)
        if isinstance(store, WatchedRedis):
            await until(store.is_ready, 60)
        self.nodes = await gatherResults([self.start(port) for port in self.ports])
        self.balance()
        self.addCleanup(self.crowd.stop)

    def start(self, http: int) -> Any:
        """Start a node whose page is at this port; fires when others can reach it."""
        authority = self.folder / "authority"
        logged = None
        if IS_SHOWN:
            logged = self.enterContext(Path(self.mktemp()).open("ab", 0))
        node = ChildNode(
            reactor,
            [
                f"--config={self.settings}",
                f"--store={self.server.url}",
                f"--authority-certificate-file={authority / 'ca.pem'}",
                f"--authority-key-file={authority / 'ca.key'}",
                *(f"--game={one.__module__}:{one.__name__}" for one in GAMES),
                f"--http={http}",
                f"--lease-seconds={LEASE}",
                "--orphan-seconds=6",
                "--proxy=127.0.0.1",
                "--guests=yes",
                "--node-link=0",
                "--join-seconds=2",
                "--warm=2",
                f"--rooms-per-process={ROOMS}",
            ],
            output=logged and logged.write,
        )
        self.addCleanup(node.stop)
        # Before it: they would try to come back.
        self.addCleanup(self.hang_up)
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
            line = admin_of(node)
            await until(lambda line=line: line.get("status")["store"]["lease"])
        await self.crowd.gather()
        for table in range(TABLES):
            for seat in range(2):
                await self.sit_down(f"table-{table}", table + seat)
        tapping = LoopingCall(lambda: [one.tap() for one in self.tappers])
        tapping.start(0.25)
        self.addCleanup(lambda: tapping.running and tapping.stop())
        self.tapping = tapping
        self.crowd.begin()

    async def sit_down(self, room_id: str, first: int) -> None:
        """Have one more player in a room of an ``ahead`` game, who taps."""
        balancer = Balancer(self.nodes, first % NODES)
        lobby = LobbyClient(reactor, balancer, Hello(1, name=f"t{len(self.clients)}"))
        client = PlayerRooms(SharedLine(reactor, lobby))
        self.clients.append(client)
        room = await client.join(JoinRoom(Counting.name, room_id))
        self.tappers.append(Player(room))

    def hang_up(self) -> None:
        """Let those in rooms go."""
        for client in self.clients:
            client.close()

    def trouble(self, began: float, name: str, ended: float | None = None) -> None:
        """Note a trouble that is over; who is in a room must be back in its seat."""
        trouble = Trouble(began, ended or reactor.seconds(), name)
        self.troubles.append(trouble)
        watching = reactor.callLater(BACK, self.watch, trouble)
        self.addCleanup(lambda: watching.active() and watching.cancel())

    def watch(self, trouble: Trouble) -> None:
        """Note who is late, unless something else has happened meanwhile."""
        if trouble is self.troubles[-1] and not self.is_troubled:
            self.late += [
                f"{one.room.room_id} seat {one.room.seat} was not back in time after "
                f"the {trouble.name} of {trouble.ended:.3f}"
                for one in self.tappers
                if not one.room.is_connected
            ]

    is_troubled = False

    async def kill(self) -> None:
        """Kill a node, and start another one in its place."""
        number = self.chance.randrange(NODES)
        now = reactor.seconds()
        os.kill(self.nodes[number].pid, signal.SIGKILL)
        self.trouble(now, f"kill of node {number}", now)
        self.nodes[number] = await self.start(self.ports[number])

    async def kill_all(self, seconds: float) -> None:
        """Kill all nodes at once, and start them again after a while."""
        began, self.is_troubled = reactor.seconds(), True
        for node in self.nodes:
            os.kill(node.pid, signal.SIGKILL)
        await deferLater(reactor, seconds)
        self.nodes[:] = await gatherResults([self.start(port) for port in self.ports])
        self.is_troubled = False
        self.trouble(began, "end of all nodes")

    async def stop_store(self) -> None:
        """Stop Redis for 5 s; then everybody says hello again."""
        began, self.is_troubled = reactor.seconds(), True
        self.server.pause()
        await deferLater(reactor, 5.0)
        self.server.wake()
        self.is_troubled = False
        self.trouble(began, "stop of the store")
        await self.crowd.come_again(0.5 + PLAYERS / 1000)

    async def fail_over(self) -> None:
        """
        Have another Redis become the master; then everybody says hello again.

        A connection to the old master stays: what it writes is refused.
        """
        store = self.server
        assert isinstance(store, WatchedRedis)
        old = store.master
        (new,) = (one for one in store.servers if one is not old)
        line = StayingLine(old.port)
        self.addCleanup(line.close)
        self.assertEqual(line.ask("SET", "stray", "before"), "OK")
        began, self.is_troubled = reactor.seconds(), True
        await until(store.fail_over, 60)
        await until(lambda: is_master(new.port), 60)
        # From the end of its connection it learns that it has no replica any more.
        await until(lambda: not is_master(old.port, has_replica=True), 60)
        refused = 0
        while not is_master(new.port, has_replica=True):
            try:
                line.ask("SET", "stray", "after")
            except AssertionError as refusal:
                self.assertRegex(str(refusal), "NOREPLICAS|READONLY|LOADING|MASTERDOWN")
                refused += 1
            except OSError:
                # It has become a replica, and closed its connections.
                line = StayingLine(old.port)
                self.addCleanup(line.close)
            else:
                self.fail("the old master took a write")
            if refused == 20 and not IS_FULL:
                # As the Sentinel would do some 10 s later.
                old.command("REPLICAOF", "127.0.0.1", str(new.port))
            await deferLater(reactor, 0.05)
        self.assertGreater(refused, 0)
        self.assertEqual(new.command("GET", "stray"), "before")
        self.is_troubled = False
        self.trouble(began, "failover")
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
            back_seconds=BACK,
            margin=MARGIN,
        )
        log = Path(self.mktemp()).absolute()
        log.write_text("\n".join(map(str, story.in_order)))
        found, asked = matches(story), prematches(story)
        # First: judging takes its time, in which nobody is heard.
        faults = [*await self.rise(), *self.late, *judge(story)]
        if faults or IS_SHOWN:
            print(f"\n{len(found)} matches of {len(asked)} prematches")
            for what, count in sorted(self.crowd.counts().items()):
                print(f"{count:7} {what}")
        self.assertEqual(faults, [], "\n".join(("", *faults, f"see {log}")))
        self.assertGreater(len(found), PLAYERS // 6)
        self.assertGreater(len(asked), len(found))

    async def rise(self) -> list[str]:
        """List what is wrong in the rooms: each action counts, and once."""
        self.tapping.stop()
        with contextlib.suppress(AssertionError):
            # Who is not, is listed.
            await until(lambda: all(map(is_settled, self.tappers)), 30)
        return [
            f"{one.room.room_id} seat {one.room.seat}: {wrong}"
            for one in self.tappers
            for wrong in [
                *one.wrong,
                *([f"{one.count} counted of {one.sent}"] * (one.count != one.sent)),
                *(["it is not connected"] * (not one.room.is_connected)),
                *(["did nothing"] * (one.sent < 5)),
            ]
        ]

    def found(self) -> int:
        """Count how often a match was found for somebody."""
        return self.crowd.counts()["received match_found"]

    async def test_calm(self) -> None:
        """
        Nobody is in two matches, or in one that not all accepted; everybody has played
        or is queued; and of equal groups the first comes first.
        """
        await self.open(RedisServer())
        await self.gather()
        await deferLater(reactor, SECONDS)
        await self.finish()

    async def test_storm(self) -> None:
        """
        The same while nodes are killed, and Redis stands still; and everybody is back
        in time. In rooms no version goes back, and no action is lost.
        """
        if IS_FULL:
            await self.open(WatchedRedis(DOWN_AFTER))
            await self.gather()
            await self.long_storm()
        else:
            await self.open(RedisServer())
            await self.gather()
            await deferLater(reactor, 1.0)
            await self.kill()
            await self.stop_store()
        await deferLater(reactor, LEASE + 3.0)
        await self.finish()

    async def long_storm(self) -> None:
        """Kill a node every 10 s, stop Redis twice, and have it fail over once."""
        began, steps = reactor.seconds(), max(3, int(SECONDS / 10.0))
        for number in range(steps):
            await deferLater(
                reactor, max(0.0, began + 10.0 * number - reactor.seconds())
            )
            await self.kill()
            step = {
                steps // 3: self.stop_store,
                steps // 2: self.fail_over,
                steps * 3 // 4: self.stop_store,
            }.get(number)
            if step is not None:
                # Its lease is over before, so that its players are back.
                await deferLater(reactor, LEASE + 1.0)
                await step()

    async def test_failover(self) -> None:
        """
        The same while Sentinel makes another Redis the master: the old one takes no
        writes, also on a connection that stayed.
        """
        if IS_FULL:
            raise SkipTest("the storm has one")
        await self.open(WatchedRedis(DOWN_AFTER))
        await self.gather()
        await deferLater(reactor, 1.0)
        await self.fail_over()
        await deferLater(reactor, LEASE + 1.0)
        await self.finish()

    async def test_all_nodes(self) -> None:
        """
        The same when all nodes are killed at once, and started again a while later.
        """
        await self.open(RedisServer())
        await self.gather()
        await deferLater(reactor, SECONDS / 4)
        await self.kill_all(20.0 if IS_FULL else 3.0)
        await deferLater(reactor, LEASE + (10.0 if IS_FULL else 1.0))
        await self.finish()

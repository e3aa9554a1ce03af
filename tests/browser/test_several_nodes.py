"""Pages of several nodes with one Redis, behind a balancer."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.browsers import PATIENCE, Browser
from tests.support.ending import end
from tests.support.needs import path_of
from tests.support.pages import PLAY_TICTACTOE, PageTestCase
from tests.support.redis_servers import RedisServer
from tests.support.whole_node import WholeNode
from vinom.net.keys.authority import Authority
from vinom.node.asking import AdminLine
from vinom.tools.commands.child_node import free_port

_LINK = "return document.querySelector('#party-link')?.value"
_HAPROXY = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    retries 5
    option redispatch 1
"""
#: A page of one node, and of the other one if that is gone.
_LISTEN = """
listen at{port}
    bind 127.0.0.1:{port}
    default-server check inter 200ms fall 1 rise 1
    server own 127.0.0.1:{own} on-marked-down shutdown-sessions
    server other 127.0.0.1:{other} backup
"""


class NodesTests(PageTestCase):
    """Ann's page is of one node, Bob's of another."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.redis = RedisServer()
        self.at_end(self.redis.kill)
        Authority.open(self.folder, "game.vinom", time.time)
        authority = self.folder / "authority"
        self.nodes = [
            WholeNode(
                f"--store={self.redis.url}",
                f"--authority-certificate-file={authority / 'ca.pem'}",
                f"--authority-key-file={authority / 'ca.key'}",
                "--node-link=0",
                "--lease-seconds=2",
                "--accept-seconds=60",
            )
            for _ in range(2)
        ]
        for node in self.nodes:
            self.at_end(node.stop)
        for node in self.nodes:
            node.wait()
        self.ports = [free_port(), free_port()]
        first, second = (node.http for node in self.nodes)
        self.balance((self.ports[0], first, second), (self.ports[1], second, first))

    def balance(self, *pages: tuple[int, int, int]) -> None:
        """Start a balancer with these ports; each names a node, and one in reserve."""
        text = _HAPROXY + "".join(
            _LISTEN.format(port=port, own=own, other=other)
            for port, own, other in pages
        )
        config = self.folder / "haproxy.cfg"
        config.write_text(text)
        balancer = subprocess.Popen(
            [path_of("haproxy"), "-db", "-f", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.at_end(lambda: end(balancer))
        give_up = time.monotonic() + PATIENCE
        for port, *_ in pages:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    self.assertLess(time.monotonic(), give_up, "no balancer")
                    time.sleep(0.05)

    def host_of_match(self) -> WholeNode:
        """Find the node whose game server plays the only match."""
        (found,) = [
            node
            for node in self.nodes
            if AdminLine(node.state / "admin.sock").get("status")["matches"]["playing"]
        ]
        return found

    def test_node_is_killed(self) -> None:
        """
        Two friends at two nodes form a party, both accept, and play; then the node of
        one is killed. Its page comes back by itself, to the same seat, and both finish;
        they are still in their party.
        """
        self.allow_network_complaints()
        ann = self.player("Ann", port=self.ports[0])
        bob = self.player("Bob", port=self.ports[1])
        ann.press("Invite friends")
        link = urlsplit(ann.until(_LINK, what="the link is shown"))
        bob.open(link._replace(netloc=f"127.0.0.1:{self.ports[1]}").geturl())
        self.wait_for(bob, "online")
        for player in (ann, bob):
            player.see("Your party")
            player.until("return document.querySelectorAll('.party li').length === 2")
        ann.run("document.getElementById('party-game').value = 'tictactoe'")
        ann.press("Play together")
        for player in (ann, bob):
            player.press("Accept")
        killed: list[Browser] = []

        def kill() -> None:
            host = self.host_of_match()
            lost = next(node for node in self.nodes if node is not host)
            killed.append((ann, bob)[self.nodes.index(lost)])
            lost.kill()

        self.play(PLAY_TICTACTOE, [ann, bob], 2, kill)
        self.assertEqual(len(killed), 1)
        self.picture("several-nodes", ann, bob)
        for player in (ann, bob):
            player.run("location.hash = ''")
            player.see("Your party")
            player.until("return document.querySelectorAll('.party li').length === 2")

"""A game process that is stopped for longer than its lease, and then continued."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of, start_node
from tests.support.counters import Counter, players_of, stop_counting
from tests.support.ending import is_running
from tests.support.kubernetes_api.proxy import Forward
from tests.support.programs import until_warm
from tests.support.redis_servers import until
from vinom.tools.commands.child_node import free_port_range

#: Of the node under test, seconds.
LEASE = 8.0
#: What players know as the node's address; what is between has it.
_NEAR = "127.0.0.2"


def waiting_at(port: int) -> int:
    """Count the bytes that wait in the socket of a UDP port, as the kernel does."""
    waiting = 0
    for line in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            waiting += int(fields[4].rpartition(":")[2], 16)
    return waiting


class StoppedServerTests(TestCase):
    """
    A real node and a real game process, and a network that counts datagrams.

    The node is stopped, too: it would kill a game process that does not answer.
    """

    timeout = 120

    async def setUp(self) -> None:
        first, last = free_port_range(3)
        self.forwards = {
            port: Forward(reactor, ("127.0.0.1", port))
            for port in range(first, last + 1)
        }
        for port, forward in self.forwards.items():
            forward.open(_NEAR, port)
            self.addCleanup(forward.close)
        self.node = await start_node(
            self,
            "--game=tests.support.roll_call:RollCall",
            "--warm=1",
            f"--ports={first}-{last}",
            f"--advertise={_NEAR}",
            f"--orphan-seconds={LEASE}",
        )
        await until_warm(Path(self.node.state_dir))

    async def begin(self) -> list[Counter]:
        """Let four players meet and count."""
        return await players_of(self, self.node, way="udp")

    def game_process(self, match_id: str) -> tuple[int, int]:
        """The process that plays a match, and its port."""
        status = admin_of(self.node).get("status")
        ((pid, port),) = [
            (server["pid"], server["port"])
            for server in status["fleet"]["game_servers"].values()
            if match_id in server["matches"]
        ]
        return pid, port

    async def stop_for(self, pid: int, port: int, seconds: float) -> int:
        """
        Stop the game process, while inputs arrive in its socket, and continue it.

        :returns: how many datagrams it had sent.
        """
        os.kill(pid, signal.SIGSTOP)
        await deferLater(reactor, seconds)  # type: ignore[arg-type]
        self.assertGreater(waiting_at(port), 0, "no inputs wait in its socket")
        sent = self.forwards[port].came
        os.kill(pid, signal.SIGCONT)
        return sent

    async def test_longer_than_its_lease(self) -> None:
        """
        A game process that was stopped for a moment answers the inputs that wait in its
        socket. One that was stopped for longer than its lease sends no datagram any
        more, and ends. Its match goes on in another one, where no input is missing or
        doubled.
        """
        players = await self.begin()
        pid, port = self.game_process(players[0].match.match_id)
        os.kill(self.node.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.node.pid, signal.SIGCONT)
        sent = await self.stop_for(pid, port, 0.5)
        await until(lambda: self.forwards[port].came > sent)

        sent = await self.stop_for(pid, port, LEASE + 0.5)
        await until(lambda: not is_running(pid))
        # Whatever it sent has come by now.
        await deferLater(reactor, 0.2)  # type: ignore[arg-type]
        self.assertEqual(self.forwards[port].came, sent)

        said = [player.said for player in players]
        os.kill(self.node.pid, signal.SIGCONT)
        await until(
            lambda: all(
                player.heard > before
                for player, before in zip(players, said, strict=True)
            )
        )
        self.assertEqual({player.match.joins for player in players}, {2})
        self.assertNotEqual(self.game_process(players[0].match.match_id)[0], pid)
        await stop_counting(self, players)

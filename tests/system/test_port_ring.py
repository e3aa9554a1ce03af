"""
Few ports, many short matches, and game processes that are killed or stopped.

Here 30 matches; ``VINOM_PORTS=full`` plays 300, which takes a minute
and more, and asks for the time in which players learn of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.alone.main_job import descriptors_of, processes_below
from tests.support.child_nodes import admin_of
from tests.support.quick import Second, Tap
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.client.line import LineLost
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match, MatchResult
from vinom.play.recording import read_recording, replay
from vinom.tools.commands.child_node import ChildNode, free_port_range

IS_FULL = os.environ.get("VINOM_PORTS") == "full"
MATCHES = 300 if IS_FULL else 30
PORTS = 10
WARM = 2
SEATS = 2
#: Time in which a match whose game server died must be over, seconds. The short
#: version only asks that it ends at all: others use the machine.
LEARNED = 20.0 if IS_FULL else 60.0
#: Connections that are made at the same time.
AT_ONCE = 20
#: What players may take for their hello, and to come to their match, seconds; both
#: are only bounds on liveness here.
PATIENT = 120
#: Once in this many matches something happens: to the process of a match that is
#: played, and to one that waits for a match.
PERIOD = 10
TO_PLAYED = {2: signal.SIGKILL, 5: signal.SIGSTOP}
TO_WARM = {3: signal.SIGKILL, 7: signal.SIGSTOP}


def is_bound(host: str, port: int) -> bool:
    """
    Does somebody have this UDP port?

    The kernel's table of sockets is not reliable: a reader while others close
    theirs may miss some.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True
    return False


@attrs.define(eq=False)
class Told:
    """
    One match, as its players saw it.

    :ivar unbound: seats that were sent it while nobody had its port.
    :ivar server: the game server that plays it.
    :ivar late: for each seat of a match whose process was struck, how long after
        that its end came, seconds.
    """

    number: int
    server: str
    unbound: list[int] = attrs.field(factory=list)
    seated: set[int] = attrs.field(factory=set)
    results: dict[int, MatchResult] = attrs.field(factory=dict)
    late: list[float] = attrs.field(factory=list)


class PortRingTests(TestCase):
    timeout = 1200

    async def play(self, index: int) -> None:
        """One player, from hello to the end of its match."""
        endpoint = HostnameEndpoint(reactor, self.node.host, self.node.port)
        hello = Hello(PROTOCOL, f"player-{index}")
        lobby = LobbyClient(reactor, endpoint, hello)
        # On a busy machine; `find_match` tries again.
        with contextlib.suppress(LineLost):
            await self.door.run(lobby.hello)
        found = await lobby.find_match(Second.name)
        # Still in the very turn of the reactor in which it was sent.
        is_there = is_bound(found.host, found.port)
        told = self.told.get(found.match_id)
        if told is None:
            server = found.server_name.split(".")[1]
            told = self.told[found.match_id] = Told(len(self.told), server)
            number = TO_WARM.get(told.number % PERIOD)
            self.strike(number, lambda server: server["stage"] == "warm")
        if not is_there:
            told.unbound.append(found.seat)
        match = Match(reactor, lobby, found)
        self.play_along(match, told)
        match.start()
        result = await match.ended
        told.results[found.seat] = result
        if told.server in self.struck:
            told.late.append(reactor.seconds() - self.struck[told.server])
        lobby.close()

    def play_along(self, match: Match, told: Told) -> None:
        """Tap: once in the first seat, twice in the second."""
        taps = [True] * (match.seat + 1)

        def saw(match: Match) -> None:
            if taps and match.is_connected and match.act(Tap()):
                taps.pop()
            if match.seat not in told.seated:
                told.seated.add(match.seat)
                # One that is nearly over might be over before it is struck.
                if len(told.seated) == SEATS and match.time < 0.5:
                    number = TO_PLAYED.get(told.number % PERIOD)
                    self.strike(number, lambda s: match.match_id in s["matches"])

        match.on_state(saw)

    def strike(
        self, number: signal.Signals | None, is_meant: Callable[[Any], bool]
    ) -> None:
        """Send a signal to the first game server that is meant."""
        if number is None:
            return
        for server_id, server in self.status()["fleet"]["game_servers"].items():
            if is_meant(server):
                os.kill(server["pid"], number)
                self.struck[server_id] = reactor.seconds()
                return

    # The node.

    def status(self) -> dict[str, Any]:
        """What the node says of itself."""
        return admin_of(self.node).get("status")

    async def settle(self) -> dict[str, Any]:
        """Wait until the last game server is gone and the warm ones are back."""
        while True:
            status = self.status()
            servers = status["fleet"]["servers"]
            if (
                servers["warm"] == WARM
                and sum(servers.values()) == WARM
                and status["lines"] == 0
            ):
                # The node closes the line of `status` a moment after we do.
                await deferLater(reactor, 0.5)
                return status
            await deferLater(reactor, 0.1)

    async def test_ports_return(self) -> None:
        """
        Ten ports serve any number of matches, one after another: nobody is sent
        of a port that nobody listens at, and no match is lost. When a game
        process is killed or stopped its match goes on and finishes, and nobody else
        notices.
        """
        first, last = free_port_range(PORTS)
        self.node = ChildNode(
            reactor,
            [
                "--game=tests.support.quick:Second",
                f"--ports={first}-{last}",
                f"--warm={WARM}",
                "--connections-per-address=1000",
                "--matches-per-address=1000",
                "--guest-burst=1000",
                f"--hello-seconds={PATIENT}",
                f"--join-seconds={PATIENT}",
            ],
        )
        self.addCleanup(self.node.stop)
        self.told: dict[str, Told] = {}
        self.struck: dict[str, float] = {}
        self.door = DeferredSemaphore(AT_ONCE)
        await self.node.start()
        await self.settle()
        before = self.holdings()
        players = [Deferred.fromCoroutine(self.play(n)) for n in range(SEATS * MATCHES)]
        await gatherResults(players, consumeErrors=True)
        status = await self.settle()

        self.assertEqual(len(self.told), MATCHES)
        self.assertEqual([t for t in self.told.values() if t.unbound], [])
        struck = [told for told in self.told.values() if told.server in self.struck]
        self.assertGreaterEqual(len(struck), len(TO_PLAYED) * MATCHES // PERIOD // 2)
        self.assertGreater(len(self.struck), len(struck), "no warm one was struck")
        for match_id, told in self.told.items():
            self.check_end(match_id, told)
        self.assertLess(max(max(told.late) for told in struck), LEARNED)

        self.assertEqual(status["matches"]["ended"], {"finished": MATCHES})
        fleet = status["fleet"]
        ports = [fleet[f"ports_{s}"] for s in ("free", "bound", "quarantined")]
        self.assertEqual(ports, [PORTS, 0, 0])
        left = [fleet["waiting"], fleet["rooms"], status["players"]]
        self.assertEqual(left, [0, 0, 0])
        ring = range(first, last + 1)
        self.assertEqual([p for p in ring if is_bound(self.node.host, p)], [])
        self.assertEqual(self.holdings(), before)

    def check_end(self, match_id: str, told: Told) -> None:
        """A match ends as the replay of the last part of its recording does."""
        self.assertEqual(len(told.results), SEATS)
        folder = Path(self.node.state_dir) / "recordings"
        parts = sorted(
            folder.glob(f"{match_id}*.vinomrec"),
            key=lambda path: (len(path.name), path.name),
        )
        self.assertEqual(len(parts), 1 + (told.server in self.struck))
        replayed = replay(read_recording(parts[-1].read_bytes()), Second())
        for result in told.results.values():
            self.assertEqual(result.reason, "finished")
            self.assertEqual(result.version, replayed.version)
            self.assertEqual(result.view_hash, replayed.view_hash)
            # The last state may come too late on a busy machine, a wrong one never.
            self.assertLessEqual(result.seen_version, replayed.version)
            if result.seen_version == replayed.version:
                self.assertEqual(result.seen_hash, replayed.view_hash)

    def holdings(self) -> tuple[int, int, int]:
        """Count processes, and the descriptors of the node and its fork server."""
        pid = self.node.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return (
            processes_below(pid),
            descriptors_of(pid),
            sum(descriptors_of(int(child)) for child in children),
        )

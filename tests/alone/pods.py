"""A node whose game servers are pods, when something goes wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.support.child_nodes import admin_of, shared_by_nodes, status_of
from tests.support.counters import Counter, players_of, stop_counting
from tests.support.cut import CuttableWay
from tests.support.pod_nodes import PodNodeCase
from tests.support.programs import short_folder
from tests.support.redis_servers import redis_for
from tests.support.roll_call import RollCall
from tests.system.test_node import Place, Twistd
from vinom.client.match import LONGEST_SILENCE, Match, MatchResult
from vinom.client.sdk import Client, connect
from vinom.fleet.gameserver.lease import LEASE_SECONDS, SHORTEST_LEASE
from vinom.fleet.kubernetes.objects import MATCH, OWNER
from vinom.game import Game, Table
from vinom.tools.commands.admin import AdminLine
from vinom.tools.commands.child_node import ChildNode, free_port

IS_FULL = os.environ.get("VINOM_CONTINUITY") == "full"


class Go(Struct, frozen=True):
    """Hang."""


class Standing(Struct, frozen=True):
    """Nothing has happened."""


class Hang(Game[Standing, Go]):
    """It hangs in a call that nothing interrupts."""

    name = "hang"
    actions = Go
    seats = (1, 1)
    durability = "none"

    def start(self, table: Table) -> Standing:
        return Standing()

    def act(self, s: Standing, seat: int, action: Go, now: float) -> Standing:
        return s if sum(range(10**15)) else Standing()

    def view(self, s: Standing, audience: object) -> Standing:
        return s


class PodTroubleTests(PodNodeCase):
    """Pods are evicted, refused, and outlive their node."""

    timeout = 240

    async def test_pod_is_evicted(self) -> None:
        """
        A match whose pod is asked to end is played to its end, and its node starts
        another pod.
        """
        node = await self.start("--warm=1")
        await self.warm(node, 1)

        def evict(match: Match) -> None:
            for one in self.kubelet.running.values():
                if one.name == playing[0]:
                    one.process.signalProcess("TERM")

        playing = [one["metadata"]["name"] for one in self.pods()]
        results = await self.play(node, evict)
        self.assertEqual([one.reason for one in results], ["finished"] * 4)
        await self.until(lambda: playing[0] not in str(self.pods()))
        await self.warm(node, 1)

    async def test_match_outlives_its_node(self) -> None:
        """
        A node is killed in the middle of a match. The pod plays on, dials the next
        node, which adopts it, and the match is played to its end.
        """
        place = Place(short_folder(self))
        config = self.configure()

        async def start() -> Twistd:
            node = Twistd(
                *place.arguments(),
                "--drain-seconds=0",
                # All four play one match, and the pod waits for the next node, however
                # slow this machine is.
                "--fill-seconds=600",
                "--orphan-seconds=120",
                f"--config={config}",
            )
            self.addCleanup(node.kill)
            await node.says(" serves ")
            return node

        def fleet() -> dict[str, Any]:
            found: dict[str, Any] = AdminLine(place.state_dir / "admin.sock").get(
                "status"
            )["fleet"]
            return found

        begun: Deferred[Match] = Deferred()
        node = await start()
        playing = Deferred.fromCoroutine(self.play(place, begun.callback, pace=1.5))
        match = await begun
        await self.until(lambda: match.view is not None)
        before = {one["metadata"]["uid"] for one in self.pods()}
        node.process.signalProcess("KILL")
        await node.ended
        again = await start()
        await again.says("has a link again")
        self.assertEqual(fleet()["rooms"], 1)
        results = await playing
        self.assertEqual([one.reason for one in results], ["finished"] * 4)
        await self.until(lambda: not fleet()["rooms"])
        await self.until(
            lambda: before.isdisjoint(one["metadata"]["uid"] for one in self.pods())
        )
        again.process.signalProcess("TERM")
        await again.ended
        self.assertEqual(self.pods(), [])

    async def test_pod_is_killed(self) -> None:
        """
        A pod is killed in the middle of a match. Another one of the warm pool goes on
        with it from its checkpoint, at its own address: all play on to the end, and
        nobody is shown an older state.
        """
        node = await self.start("--warm=2")
        await self.warm(node, 2)
        begun: Deferred[Match] = Deferred()
        playing = Deferred.fromCoroutine(self.play(node, begun.callback, pace=2.0))
        match = await begun
        versions: list[int] = []
        match.on_state(lambda one: versions.append(one.version))
        await self.until(lambda: len(versions) > 2)
        killed = await self.pod_of(match.match_id)
        at = versions[-1]
        self.kubelet.kill(killed)
        results = await playing
        self.assertEqual([one.reason for one in results], ["finished"] * 4)
        self.assertEqual(len({one.view_hash for one in results}), 1)
        self.assertEqual(versions, sorted(versions))
        self.assertGreater(versions[-1], at + 2)
        self.assertGreater(match.joins, 1)
        await self.until(lambda: killed not in str(self.pods()))
        # The dead pod had written what it had shown.
        await self.check_recording(node, results[0], 2)

    async def test_hangs_without_its_node(self) -> None:
        """
        A pod that hangs, and whose node was killed, ends when its lease is over.
        """
        node = await self.start(
            "--warm=1", "--game=tests.alone.pods:Hang", "--orphan-seconds=6"
        )
        await self.warm(node, 1)
        client: Client = await connect(
            reactor,  # type: ignore[arg-type]  # a module, for mypy
            node.host,
            node.port,
            name="ann",
            way="udp",
        )
        match = await client.queue(Hang.name)
        seen: Deferred[None] = Deferred()
        match.on_state(lambda _: None if seen.called else seen.callback(None))
        await seen
        match.act(Go())
        await deferLater(reactor, 0.3)  # type: ignore[arg-type]
        client.close()
        os.kill(node.pid, signal.SIGKILL)
        await self.until(lambda: not self.kubelet.running)

    async def test_machine_dies(self) -> None:
        """
        A machine dies with the pod of a match: the match goes on in another pod while
        its players still try to come back.
        """
        node = await self.start(
            "--warm=2", *(() if IS_FULL else ("--orphan-seconds=6",))
        )
        await self.warm(node, 2)
        begun: Deferred[Match] = Deferred()
        playing = Deferred.fromCoroutine(
            self.play(node, begun.callback, pace=2.0, timeout=LONGEST_SILENCE)
        )
        match = await begun
        lost = self.kubelet.named(await self.pod_of(match.match_id))
        self.kubelet.is_lost = True
        assert lost.process is not None
        lost.process.signalProcess("STOP")
        await self.until(lambda: status_of(node)["fleet"]["went_on"]["died"])
        self.kubelet.is_lost = False
        lost.process.signalProcess("KILL")
        results = await playing
        self.assertEqual([one.reason for one in results], ["finished"] * 4)


class CutLinkTests(PodNodeCase):
    """A network between the node and its pods that is cut, while players reach both."""

    timeout = 240

    async def begin(self, *arguments: str) -> tuple[ChildNode, list[Counter]]:
        """Let four players count in a pod."""
        link = free_port()
        self.way = CuttableWay(link)
        self.addCleanup(self.way.close)
        node = await self.start(
            "--warm=2",
            "--game=tests.support.roll_call:RollCall",
            f"--game-server-link=tls:127.0.0.1:{link}",
            f"--game-server-address=127.0.0.1:{self.way.port}",
            *arguments,
        )
        await self.warm(node, 2)
        return node, await players_of(self, node, way="udp")

    def playing(self, node: ChildNode, match_id: str) -> dict[str, str]:
        """The game servers that have a match, and in which stage they are."""
        return {
            name: one["stage"]
            for name, one in status_of(node)["fleet"]["game_servers"].items()
            if match_id in one["matches"]
        }

    async def count_on(self, players: list[Counter]) -> None:
        """Wait until the game has what the players say from now on, and check it."""
        said = [player.said for player in players]
        await self.until(
            lambda: all(
                player.heard > before
                for player, before in zip(players, said, strict=True)
            )
        )
        await stop_counting(self, players)

    async def end(self, node: ChildNode, players: list[Counter], parts: int) -> None:
        """End the match: its recording replays, and holds all that was said."""
        match = players[0].match
        admin = admin_of(node)
        admin.post(f"matches/{match.match_id}/end")
        result = await match.ended
        await self.until(lambda: not self.playing(node, match.match_id))
        await self.check_recording(node, result, parts, RollCall())

    async def test_longer_than_the_lease(self) -> None:
        """
        The link is cut for longer than the lease: the pod falls silent, and the match
        goes on in another one, once. Nothing that a player saw is taken back.
        """
        seconds = LEASE_SECONDS if IS_FULL else SHORTEST_LEASE
        node, players = await self.begin(f"--orphan-seconds={seconds}")
        match_id = players[0].match.match_id
        (before,) = self.playing(node, match_id)
        pod = self.kubelet.named(await self.pod_of(match_id))
        self.way.cut()
        await self.until(lambda: pod.has_ended)
        self.way.mend()
        await self.until(lambda: "listening" in self.playing(node, match_id).values())
        await self.count_on(players)
        (after,) = self.playing(node, match_id)
        self.assertNotEqual(after, before)
        went_on = status_of(node)["fleet"]["went_on"]
        self.assertEqual(sum(went_on.values()), 1, went_on)
        await self.end(node, players, 2)


class AnotherNodeTests(PodNodeCase):
    """Two nodes with one Redis and one cluster, of which one has a match in a pod."""

    timeout = 150

    async def setUp(self) -> None:
        await super().setUp()
        self.redis = redis_for(self)
        self.shared = (
            *shared_by_nodes(self, self.redis.url),
            "--lease-seconds=1",
            "--warm=1",
        )
        # By player: the versions that it saw.
        self.versions: list[int] = []

    async def start_both(self, *arguments: str, **pods: Any) -> list[ChildNode]:
        """Start two nodes; pods of each are sent the address of the other one."""
        links = [free_port(), free_port()]
        starts = [
            self.start(
                *self.shared,
                f"--game-server-any-node=127.0.0.1:{links[1 - number]}",
                *arguments,
                owner=f"node-{number + 1}",
                link=links[number],
                **pods,
            )
            for number in range(2)
        ]
        nodes = await gatherResults([Deferred.fromCoroutine(one) for one in starts])
        for node in nodes:
            await self.until(lambda node=node: status_of(node)["store"]["lease"])
            await self.warm(node, 1)
        return list(nodes)

    async def begin(self, node: ChildNode) -> tuple[Match, Deferred[list[MatchResult]]]:
        """Let four players begin a match at a node."""
        begun: Deferred[Match] = Deferred()
        playing = Deferred.fromCoroutine(self.play(node, begun.callback, pace=1.5))
        match = await begun
        match.on_state(lambda one: self.versions.append(one.version))
        await self.until(lambda: len(self.versions) > 2)
        return match, playing

    def with_match(self, node: ChildNode) -> dict[str, Any]:
        """The only game server of a node that has a match; empty without one."""
        servers = status_of(node)["fleet"]["game_servers"].values()
        return next((dict(one) for one in servers if one["matches"]), {})

    def pod_with(self, match_id: str) -> dict[str, Any]:
        return next(
            one
            for one in self.pods()
            if one["metadata"]["labels"].get(MATCH) == match_id
        )

    def results(self, node: ChildNode) -> list[Any]:
        admin = admin_of(node)
        return list(admin.get("results")["results"])

    def recordings(self, node: ChildNode) -> list[Path]:
        return [*(Path(node.state_dir) / "recordings").glob("*.vinomrec")]

    async def finish(
        self, node: ChildNode, pod: str, results: list[MatchResult]
    ) -> None:
        """Check what is kept of a match that is over, and where."""
        self.assertEqual([one.reason for one in results], ["finished"] * 4)
        self.assertEqual(len({one.view_hash for one in results}), 1)
        self.assertEqual(self.versions, sorted(self.versions))
        await self.until(lambda: not self.with_match(node))
        (kept,) = self.results(node)
        self.assertEqual(kept["result"]["match_id"], results[0].match_id)
        await self.until(lambda: pod not in str(self.pods()))
        # It was moved from the node that had the match, and nothing of it is missing.
        await self.check_recording(node, results[0], 1)

    async def test_node_is_killed(self) -> None:
        """
        A node is killed in mid-match and stays away. The pod goes on at the other node:
        the same process to the end, one result, and no version goes back.
        """
        node, other = await self.start_both()
        match, playing = await self.begin(node)
        pod = await self.pod_of(match.match_id)
        process = self.kubelet.named(pod)
        pid = self.with_match(node)["pid"]
        await node.kill()
        await self.until(lambda: self.with_match(other).get("stage") == "listening")
        self.assertEqual(self.with_match(other)["pid"], pid)
        self.assertFalse(process.has_ended)
        await self.until(
            lambda: (
                self.pod_with(match.match_id)["metadata"]["labels"][OWNER] == "node-2"
            )
        )
        seen = len(self.versions)
        await self.until(lambda: len(self.versions) > seen)
        await self.finish(other, pod, await playing)

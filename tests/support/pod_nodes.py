"""A node whose game servers are pods, for tests: real programs, a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import start_node, status_of
from tests.support.kubernetes_api.kubelet import Kubelet
from tests.support.kubernetes_api.objects import Change
from tests.support.kubernetes_api.server import PODS, ApiServer
from tests.support.match_bots import play_one
from tests.support.quick import QuickMaze
from vinom.client.match import Match, MatchResult
from vinom.client.sdk import Client, connect
from vinom.errors import Unreadable
from vinom.fleet.kubernetes.objects import MATCH
from vinom.game import Game
from vinom.play.recording import read_recording, replay
from vinom.tools.commands.child_node import ChildNode, free_port

GAME = f"{QuickMaze.__module__}:{QuickMaze.__name__}"

#: A node, as the file of its settings has it.
SETTINGS = """
game_server_link = "tls:127.0.0.1:{link}"
game = ["{game}"]
guests = "yes"
# All four play one match, however long it takes until the last of them has come.
fill_seconds = 600

[pods]
image = "vinom-gameserver"
kubeconfig = "{kubeconfig}"
namespace = "games"
owner = "{owner}"
proof = "{proof}"
grace_seconds = 10
labels = {{ "example.org/team" = "blue" }}
requests = {{ cpu = "100m", memory = "64Mi" }}
limits = {{ memory = "256Mi" }}
node_selector = {{ "example.org/pool" = "games" }}
"""


class PodNodeCase(TestCase):
    """What players and operators have of it."""

    timeout = 60

    async def setUp(self) -> None:
        self.server = ApiServer(reactor)
        await self.server.start()
        self.kubelet = Kubelet(self.server, reactor)
        self.addCleanup(self.server.stop)
        self.addCleanup(self.kubelet.stop)

    def configure(
        self,
        proof: str = "secret",
        owner: str = "node-1",
        link: int = 0,
    ) -> Path:
        """Write the settings of a node."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        kubeconfig = self.server.write_kubeconfig(folder / "kubeconfig")
        config = folder / "node.toml"
        config.write_text(
            SETTINGS.format(
                kubeconfig=kubeconfig,
                link=link or free_port(),
                owner=owner,
                game=GAME,
                proof=proof,
            )
        )
        return config

    async def start(self, *arguments: str, **pods: Any) -> ChildNode:
        return await start_node(self, f"--config={self.configure(**pods)}", *arguments)

    async def until(self, is_so: Any) -> None:
        while not is_so():
            await deferLater(reactor, 0.05)

    async def warm(self, node: ChildNode, count: int) -> None:
        await self.until(lambda: status_of(node)["fleet"]["servers"]["warm"] >= count)

    async def pod_of(self, match_id: str) -> str:
        """Wait until a pod is labelled with a match; returns its name."""

        def found() -> list[str]:
            return [
                str(one["metadata"]["name"])
                for one in self.pods()
                if one["metadata"]["labels"].get(MATCH) == match_id
            ]

        await self.until(lambda: len(found()) == 1)
        return found()[0]

    def pods(self) -> list[dict[str, Any]]:
        return self.server.objects.list(PODS)

    async def play(
        self, node: Any, seen: Any = None, pace: float = 10.0, timeout: float = 600.0
    ) -> list[MatchResult]:
        """Four players play one match."""
        ended: list[Deferred[MatchResult]] = []

        async def bring(number: int) -> None:
            client: Client = await connect(
                reactor, "127.0.0.1", node.port, name=f"bot-{number}", way="udp"
            )

            def found(match: Match) -> None:
                # A busy machine may take a minute to start the next node.
                match._seat._timeout = timeout
                ended.append(match.ended)
                if seen is not None and number == 0:
                    seen(match)

            await play_one(client, number, found, pace)

        await gatherResults([Deferred.fromCoroutine(bring(one)) for one in range(4)])
        return await gatherResults(ended)

    async def check_recording(
        self,
        node: Any,
        result: MatchResult,
        parts: int,
        game: Game[Any, Any] | None = None,
    ) -> None:
        """Play all parts of the recording of a match again: they lead to its end."""
        folder = Path(node.state_dir) / "recordings"

        def parts_there() -> list[Path]:
            return sorted(
                folder.glob(f"{result.match_id}*.vinomrec"),
                key=lambda path: (len(path.name), path.name),
            )

        def is_whole() -> bool:
            there = parts_there()
            if len(there) < parts:
                return False
            try:
                return read_recording(there[-1].read_bytes()).ending is not None
            except Unreadable:
                return False  # not even its header is there

        # Players see the end before the node has the last bytes of the recording, which
        # come over the control link of the pod.
        await self.until(is_whole)
        found = parts_there()
        self.assertEqual(len(found), parts)
        recordings = [read_recording(path.read_bytes()) for path in found]
        for recording in recordings:
            self.assertIsNone(replay(recording, game or QuickMaze()).differing)
        *before, last = recordings
        self.assertEqual([one.ending for one in before], [None] * (parts - 1))
        assert last.ending is not None
        self.assertEqual(last.ending.end.view_hash, result.view_hash)
        self.assertEqual(list(folder.glob(".*crash*")), [])

    async def check_match(self, node: ChildNode) -> None:
        labels: set[str] = set()

        def look(change: Change) -> None:
            labels.update(
                value
                for key, value in change.value["metadata"].get("labels", {}).items()
                if key == MATCH
            )

        self.server.objects.watchers.append(look)
        results = await self.play(node)
        self.assertEqual([one.reason for one in results], ["finished"] * 4)
        self.assertEqual(len({one.view_hash for one in results}), 1)
        self.assertEqual(labels, {results[0].match_id})
        await self.check_recording(node, results[0], 1)

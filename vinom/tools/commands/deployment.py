"""Several nodes of our own with a Redis of our own; any of them may be killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from vinom.tools.commands.child_node import ChildNode, NodeFailed, free_port
from vinom.tools.commands.redis_child import RedisChild

#: Names of nodes; there cannot be more.
NAMES = "ABCDE"
#: How long a killed node stays away, seconds.
_AWAY = 5.0
#: Shorter than the defaults, so that one sees soon what happens.
_TIMES = (
    "--lease-seconds=2",
    "--fill-seconds=2",
    # A node that starts again here has forgotten everything.
    "--orphan-seconds=6",
)


class RunningNode:
    """
    One of the nodes.

    :ivar name: one letter.
    :ivar page: URL of its page.
    :ivar state: ``serving``, ``starting`` or ``killed``.
    :ivar status: what it answered last, as ``vinom status``; likewise ``matches`` and
        ``rooms``.
    """

    def __init__(self, name: str, page: int, make: Callable[[], ChildNode]) -> None:
        """
        :param name: one letter.
        :param page: TCP port of its page.
        :param make: makes the process, at the same port each time.
        """
        self.name, self._make = name, make
        self.process = make()
        self.page = f"http://{self.process.host}:{page}/"
        self.state = "starting"
        self.forget()

    @property
    def address(self) -> str:
        """Of its lobby."""
        return f"{self.process.host}:{self.process.port}"

    def forget(self) -> None:
        """Forget what it answered."""
        self.status: dict[str, Any] = {}
        self.matches: list[dict[str, Any]] = []
        self.rooms: list[dict[str, Any]] = []

    async def start(self) -> None:
        """Start its process."""
        self.state = "starting"
        await self.process.start()
        self.state = "serving"

    async def start_again(self) -> None:
        """Clean up after the process that died, and start another."""
        await self.process.stop()
        self.process = self._make()
        await self.start()

    async def look(self) -> None:
        """Ask it what it does."""
        process = self.process
        pages = ("status", "matches", "rooms")
        found = [await process.ask(page) for page in pages]
        # Else it died, or its store is away: the next look knows more.
        if all(found) and process is self.process and self.state == "serving":
            self.status, self.matches = found[0], found[1]["matches"]
            self.rooms = found[2]["rooms"]


class Deployment:
    """
    Start it, watch it, and stop it.

    :ivar nodes: in the order of their names.
    :ivar redis: what ``INFO`` of Redis answered last.
    """

    def __init__(self, reactor: Any, count: int, executable: str) -> None:
        """
        :param reactor: starts the processes.
        :param count: number of nodes.
        :param executable: of redis-server.
        """
        self._reactor = reactor
        self.store = RedisChild(reactor, executable)
        self.redis: dict[str, str] = {}
        self.nodes = [self._node(name) for name in NAMES[:count]]
        self._is_stopping = False
        self._starting: set[Deferred[None]] = set()
        self._killed: set[ChildNode] = set()

    @property
    def serving(self) -> list[RunningNode]:
        """The nodes that serve players."""
        return [node for node in self.nodes if node.state == "serving"]

    async def start(self) -> None:
        """
        Start everything.

        :raises NodeFailed: something did not start.
        """
        await self.store.start()
        starts = [Deferred.fromCoroutine(node.start()) for node in self.nodes]
        try:
            await gatherResults(starts, consumeErrors=True)
        except FirstError as error:
            why = error.subFailure.value
            assert why is not None
            raise why from None

    async def stop(self) -> None:
        """Stop everything; files are removed."""
        self._is_stopping = True
        for starting in tuple(self._starting):
            starting.cancel()
        await gatherResults([node.process.stop() for node in self.nodes])
        await self.store.stop()

    def kill_one(self) -> RunningNode | None:
        """Kill a node that has players, at random, without a goodbye; not the last."""
        alive = [
            node
            for node in self.serving
            if not node.process.exited and node.process not in self._killed
        ]
        if len(alive) < 2:
            return None
        busy = [node for node in alive if node.status.get("players")]
        chosen = random.choice(busy or alive)
        # We are informed of its end a moment later.
        self._killed.add(chosen.process)
        os.kill(chosen.process.pid, signal.SIGKILL)
        return chosen

    def find_dead(self) -> list[RunningNode]:
        """Find the nodes that have died since the last call; each starts again soon."""
        dead = [node for node in self.serving if node.process.exited]
        for node in dead:
            node.state = "killed"
            node.forget()
            self._killed.discard(node.process)
            self._reactor.callLater(_AWAY, self._start_again, node)
        return dead

    async def look(self) -> None:
        """Ask Redis and all nodes what they do."""
        looks = [Deferred.fromCoroutine(node.look()) for node in self.serving]
        self.redis = await self.store.info()
        await gatherResults(looks)

    def _start_again(self, node: RunningNode) -> None:
        if self._is_stopping:
            return
        starting = Deferred.fromCoroutine(node.start_again())
        self._starting.add(starting)

        def failed(failure: Any) -> None:
            if not self._is_stopping:
                failure.trap(NodeFailed)
                node.state = "killed"
                self._reactor.callLater(_AWAY, self._start_again, node)

        starting.addErrback(failed)
        starting.addBoth(lambda _: self._starting.discard(starting))

    def _node(self, name: str) -> RunningNode:
        port, page = free_port(), free_port()
        arguments = (*self.store.for_nodes, "--warm=1", f"--http={page}", *_TIMES)
        return RunningNode(
            name, page, lambda: ChildNode(self._reactor, arguments, port=port)
        )


@implementer(IStreamClientEndpoint)
class Door:
    """
    Where one player connects: to the same node as before, else to the emptiest one.

    It stands for the balancer that a deployment has in front of its nodes.

    :ivar node: the node of the last attempt to connect.
    """

    def __init__(self, reactor: Any, deployment: Deployment, doors: list[Door]) -> None:
        """
        :param reactor: connects.
        :param deployment: has the nodes.
        :param doors: of all players.
        """
        self._reactor, self._deployment, self._doors = reactor, deployment, doors
        self.node: RunningNode | None = None
        self._lines: list[Any] = []

    @property
    def is_open(self) -> bool:
        """Is there a connection?"""
        self._lines = [line for line in self._lines if line.is_open]
        return bool(self._lines)

    def connect(self, factory: Any) -> Deferred[Any]:
        node = self._choose()
        if node is None:
            return fail(ConnectError(string="no node serves"))
        endpoint = TCP4ClientEndpoint(
            self._reactor, node.process.host, node.process.port
        )

        # Now: others who come at the same time choose other nodes.
        self.node = node

        def connected(line: Any) -> Any:
            self._lines.append(line)
            return line

        found: Deferred[Any] = endpoint.connect(factory)
        return found.addCallback(connected)

    def _choose(self) -> RunningNode | None:
        serving = [node for node in self._deployment.serving if not node.process.exited]
        if self.node in serving:
            return self.node
        players = [door.node for door in self._doors if door is not self]
        return min(serving, key=players.count, default=None)

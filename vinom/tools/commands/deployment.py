"""Several nodes of our own with a Redis of our own; any of them may be killed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from vinom.tools.commands.child_node import ChildNode, NodeFailed, RedisChild, free_port

#: Letters of nodes; there cannot be more.
LETTERS = "ABCDE"
#: How long a killed node stays away, seconds.
_AWAY = 5.0
#: Times shorter than the defaults, so that one sees soon what happens.
_ARGUMENTS = (
    "--warm=1",
    "--lease-seconds=2",
    "--fill-seconds=2",
    "--orphan-seconds=6",
)


class NamedNode:
    """
    One of the nodes.

    :ivar letter: its name in pictures.
    :ivar process: its process, the same object after it was started again.
    :ivar page: URL of its page.
    :ivar state: ``serving``, ``ending``, ``killed`` or ``starting``.
    :ivar status: what it answered last, as ``vinom status``; likewise ``matches`` and
        ``rooms``.
    """

    def __init__(
        self, reactor: Any, letter: str, arguments: Sequence[str] = ()
    ) -> None:
        """
        :param reactor: starts the process.
        :param letter: its name.
        :param arguments: more arguments of ``twistd vinom``.
        """
        port = free_port()
        self.letter = letter
        self.process = ChildNode(reactor, (*arguments, f"--http={port}"))
        self.process.name = f"node {letter}"
        self.page = f"http://{self.process.host}:{port}/"
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

    async def look(self) -> None:
        """Ask it what it does."""
        pages = ("status", "matches", "rooms")
        found = [await self.process.ask(page) for page in pages]
        # Otherwise it died, or its store is away: the next look finds out more.
        if all(found) and self.state == "serving":
            self.status, self.matches = found[0], found[1]["matches"]
            self.rooms = found[2]["rooms"]


class Deployment:
    """
    Start it, watch it, and stop it.

    :ivar nodes: in the order of their letters.
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
        arguments = (*self.store.for_nodes, *_ARGUMENTS)
        self.nodes = [
            NamedNode(reactor, letter, arguments) for letter in LETTERS[:count]
        ]
        self._is_stopping = False

    @property
    def serving(self) -> list[NamedNode]:
        """The nodes that serve players."""
        return [node for node in self.nodes if node.state == "serving"]

    async def start(self) -> None:
        """
        Start everything.

        :raises NodeFailed: something did not start.
        """
        await self.store.start()
        try:
            await gatherResults(
                [node.process.start() for node in self.nodes], consumeErrors=True
            )
        except FirstError as error:
            why = error.subFailure.value
            assert why is not None
            raise why from None
        for node in self.nodes:
            node.state = "serving"

    async def stop(self) -> None:
        """Stop everything; files are removed."""
        self._is_stopping = True
        await gatherResults([node.process.stop() for node in self.nodes])
        await self.store.stop()

    def kill_one(self) -> bool:
        """Kill a node, one with players if possible; false if only one serves."""
        serving = [node for node in self.serving if not node.process.exited]
        if len(serving) < 2:
            return False
        busy = [node for node in serving if node.status.get("players")]
        chosen = random.choice(busy or serving)
        # We are informed of its end a moment later.
        chosen.state = "ending"
        chosen.process.kill()
        return True

    def find_dead(self) -> list[NamedNode]:
        """Find the nodes that have died since the last call; each starts again soon."""
        dead = [
            node
            for node in self.nodes
            if node.process.exited and node.state in ("serving", "ending")
        ]
        for node in dead:
            node.state = "killed"
            node.forget()
            Deferred.fromCoroutine(self._start_again(node))
        return dead

    async def look(self) -> None:
        """Ask Redis and all nodes what they do."""
        looks = [Deferred.fromCoroutine(node.look()) for node in self.serving]
        self.redis = await self.store.info()
        await gatherResults(looks)

    async def _start_again(self, node: NamedNode) -> None:
        while True:
            await deferLater(self._reactor, _AWAY)
            if self._is_stopping:
                return
            node.state = "starting"
            try:
                await node.process.start_again()
            except NodeFailed:
                await node.process.kill()
                node.state = "killed"
            else:
                node.state = "serving"
                return


@implementer(IStreamClientEndpoint)
class BalancedEndpoint:
    """
    Connect one player: to the same node as before, else to the emptiest one.

    It stands for the balancer that a deployment has in front of its nodes.

    :ivar node: the node of the last attempt to connect.
    """

    def __init__(
        self, reactor: Any, deployment: Deployment, all_players: list[BalancedEndpoint]
    ) -> None:
        """
        :param reactor: connects.
        :param deployment: has the nodes.
        :param all_players: the endpoints of all players.
        """
        self._reactor, self._deployment = reactor, deployment
        self._all_players = all_players
        self.node: NamedNode | None = None
        self._connections: list[Any] = []

    @property
    def is_open(self) -> bool:
        """Is there a connection?"""
        self._connections = [one for one in self._connections if one.is_open]
        return bool(self._connections)

    def connect(self, factory: Any) -> Deferred[Any]:
        # At once: others who connect at the same time choose other nodes.
        node = self.node = self._choose()
        if node is None:
            return fail(ConnectError(string="no node serves"))

        def connected(connection: Any) -> Any:
            self._connections.append(connection)
            return connection

        host, port = node.process.host, node.process.port
        endpoint = TCP4ClientEndpoint(self._reactor, host, port)
        found: Deferred[Any] = endpoint.connect(factory)
        return found.addCallback(connected)

    def _choose(self) -> NamedNode | None:
        serving = [node for node in self._deployment.serving if not node.process.exited]
        if self.node in serving:
            return self.node
        players = [one.node for one in self._all_players if one is not self]
        return min(serving, key=players.count, default=None)

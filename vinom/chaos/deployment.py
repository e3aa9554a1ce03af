"""Nodes, and perhaps a Redis, started for this run; all of them can be killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from vinom.chaos.processes import (
    adopt_orphans,
    children_of,
    end_orphans,
    reap,
)
from vinom.commands.child_node import ChildNode
from vinom.commands.redis_child import RedisChild
from vinom.errors import Misconfigured
from vinom.keys.authority import Authority
from vinom.node.asking import AdminLine, NotDone

#: Warm game servers: as many as die between two checks, and some more.
_WARM = 4
#: All players have the address of this machine.
_ONE_ADDRESS = (
    "--guest-rate=1000000",
    "--guest-burst=1000000",
    "--connections-per-address=10000",
    "--rooms-per-address=1000000",
    "--places-per-address=1000000",
    "--matches-per-address=1000000",
)


class Deployment:
    """
    Start a deployment, kill parts of it, and stop it.

    :ivar nodes: the nodes; the same objects after they were killed and started again.
    :ivar is_serving: do all nodes serve players, as far as we know?
    """

    def __init__(
        self,
        reactor: Any,
        game: str,
        matches: int,
        redis: str,
        more: Sequence[str],
        nodes: int = 1,
    ) -> None:
        """
        :param reactor: starts the processes.
        :param game: ``package.module:Class``, or the name of an installed game.
        :param matches: number of matches at the same time.
        :param redis: path of a redis-server; empty for none.
        :param more: further arguments of ``twistd vinom``.
        :param nodes: how many; several share the Redis.
        """
        self._reactor = reactor
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-authority-"))
        self._own = set(children_of(os.getpid()))
        self._store = RedisChild(reactor, redis) if redis else None
        arguments = [
            f"--warm={_WARM}",
            "--fill-seconds=2",
            "--log-level=info",
            *_ONE_ADDRESS,
        ]
        if ":" in game:
            arguments.append(f"--game={game}")
        if self._store is not None:
            authority = self._folder / "authority"
            arguments += [
                f"--store={self._store.url}",
                f"--authority-certificate-file={authority / 'ca.pem'}",
                f"--authority-key-file={authority / 'ca.key'}",
                "--node-link=0",
            ]
        self.nodes = [
            ChildNode(
                reactor,
                [*arguments, *more],
                # A port that was used rests for a while.
                game_ports=3 * matches + 2 * _WARM,
            )
            for _ in range(nodes)
        ]
        self.is_serving = False

    @property
    def node(self) -> ChildNode:
        """The first one, to which players come."""
        return self.nodes[0]

    @property
    def recordings(self) -> list[Path]:
        """Where the nodes write recordings."""
        return [Path(node.state_dir) / "recordings" for node in self.nodes]

    async def start(self) -> None:
        """
        Start everything.

        :raises NodeFailed: something did not start.
        """
        adopt_orphans()
        if self._store is not None:
            # Nodes that share a store need one that is given to them.
            Authority.open(self._folder, "chaos.vinom", self._reactor.seconds)
            await self._store.start()
        for node in self.nodes:
            await node.start()
        self.is_serving = True

    async def stop(self) -> int:
        """Stop everything and remove files; returns how many processes were left."""
        self.is_serving = False
        for node in self.nodes:
            await node.stop()
        if self._store is not None:
            await self._store.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        return end_orphans(self._own)

    def look_after(self) -> None:
        """Collect processes that have exited; call it each second."""
        known = set(self._own)
        for one in (*self.nodes, self._store):
            if one is not None and one.transport is not None:
                known.add(int(one.transport.pid or 0))
        reap(known)

    async def ask(self, page: str, number: int = 0) -> dict[str, Any]:
        """Ask a node for a page of its admin API; empty if it does not answer."""
        line = AdminLine(Path(self.nodes[number].state_dir) / "admin.sock")
        try:
            found: dict[str, Any] = await deferToThread(line.get, page)
        except (Misconfigured, NotDone):
            return {}
        return found

    async def game_server_of(self, match_id: str) -> int | None:
        """Find the process that plays a match; ``None`` if none does at present."""
        # Of the nodes: the system need not show an ordinary user who has a port.
        for number in range(len(self.nodes)):
            fleet = (await self.ask("status", number)).get("fleet", {})
            for one in fleet.get("game_servers", {}).values():
                if match_id in one["matches"]:
                    return one["pid"] or None
        return None

    async def move(self, match_id: str) -> bool:
        """Move a match to another game server; returns whether the move has begun."""
        found = (await self.ask("matches")).get("matches", [])
        server = next((m["server"] for m in found if m["match_id"] == match_id), None)
        if not server:
            return False
        line = AdminLine(Path(self.node.state_dir) / "admin.sock")
        try:
            await deferToThread(line.post, f"servers/{server}/move")
        except (Misconfigured, NotDone):
            # It is over, or no other game server is ready.
            return False
        return True

    async def kill_node(self) -> None:
        """
        Kill the node, and start it again.

        :raises NodeFailed: it does not start again.
        """
        self.is_serving = False
        await self.node.kill()
        await self.node.start_again()
        self.is_serving = True

    async def restart_node(self, number: int = 0) -> None:
        """
        Stop a node, as for an upgrade, and start the next one.

        :raises NodeFailed: it does not start again.
        """
        self.is_serving = False
        await self.nodes[number].end()
        await self.nodes[number].start_again()
        self.is_serving = True

    async def kill_store(self) -> None:
        """
        Kill Redis, and start it again, empty.

        :raises NodeFailed: it does not start again.
        """
        assert self._store is not None
        await self._store.kill()
        await self._store.start_again()

"""Nodes, and perhaps a Redis, started for this run; all of them can be killed."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from vinom.errors import Misconfigured
from vinom.node.asking import NotDone
from vinom.tools.chaos.plan import Plan
from vinom.tools.commands.child_node import Child, ChildNode, RedisChild

#: Warm game servers: as many as die between two checks, and some more.
_WARM = 4
#: The rest of the arguments of ``twistd vinom``: all players have one address.
_ARGUMENTS = (
    f"--warm={_WARM}",
    "--fill-seconds=2",
    "--log-level=info",
    "--guest-rate=1000000",
    "--guest-burst=1000000",
    "--connections-per-address=10000",
    "--rooms-per-address=1000000",
    "--matches-per-address=1000000",
)
#: PR_SET_CHILD_SUBREAPER of prctl(2).
_SET_CHILD_SUBREAPER = 36


class Deployment:
    """
    Start a deployment, kill parts of it, and stop it.

    :ivar nodes: the same objects after they were killed and started again; players come
        to the first one.
    :ivar store: ``None`` if there is none.
    :ivar is_serving: do all of them run, as far as we know?
    """

    def __init__(self, reactor: Any, plan: Plan) -> None:
        """
        :param reactor: starts the processes.
        :param plan: the plan of the run.
        """
        self._own = set(children_of(os.getpid()))
        self.store = RedisChild(reactor, plan.redis) if plan.redis else None
        arguments = [*_ARGUMENTS, *plan.arguments]
        if ":" in plan.spec:
            arguments.append(f"--game={plan.spec}")
        if self.store is not None:
            arguments += self.store.for_nodes
        self.nodes = [
            # A port that was used rests for a while.
            ChildNode(reactor, arguments, game_ports=3 * plan.matches + 2 * _WARM)
            for _ in range(plan.nodes)
        ]
        self.is_serving = False

    @property
    def _children(self) -> list[Child]:
        return [*self.nodes, *([] if self.store is None else [self.store])]

    @property
    def recordings(self) -> list[Path]:
        """Where the nodes write recordings."""
        return [Path(node.state_dir) / "recordings" for node in self.nodes]

    async def start(self) -> None:
        """
        Start everything.

        :raises NodeFailed: something did not start.
        """
        # What a killed node leaves behind becomes our child, so that we can end it.
        with suppress(Exception):
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
        for child in reversed(self._children):
            await child.start()
        self.is_serving = True

    async def stop(self) -> int:
        """Stop everything and remove files; returns how many processes were left."""
        self.is_serving = False
        for child in self._children:
            await child.stop()
        left = set(children_of(os.getpid())) - self._own
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return len(left)

    def look_after(self) -> None:
        """Collect orphans that have exited; call it each second."""
        known = self._own | {
            int(child.transport.pid or 0)
            for child in self._children
            if child.transport is not None
        }
        for pid in set(children_of(os.getpid())) - known:
            with suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
                if state.rpartition(")")[2].split()[0] == "Z":
                    os.waitpid(pid, os.WNOHANG)

    async def game_server_of(self, match_id: str) -> int:
        """Find the process that plays a match; 0 if none does at present."""
        for node in self.nodes:
            if pid := await node.game_server_of(match_id):
                return pid
        return 0

    async def move(self, match_id: str) -> bool:
        """Move a match to another game server; returns whether the move has begun."""
        node = self.nodes[0]
        found = (await node.ask("matches")).get("matches", [])
        server = next((m["server"] for m in found if m["match_id"] == match_id), None)
        if not server:
            return False
        try:
            await deferToThread(node.admin.post, f"servers/{server}/move")
        except (Misconfigured, NotDone):
            # It is over, or no other game server is ready.
            return False
        return True

    async def replace(self, child: Child, is_asked: bool) -> None:
        """
        End a node or the store, and start it again.

        :param is_asked: is it asked to end, as for an upgrade, or killed?
        :raises NodeFailed: it does not start again.
        """
        self.is_serving = False
        await (child.end() if is_asked else child.kill())
        await child.start_again()
        self.is_serving = True


def children_of(pid: int) -> list[int]:
    """List the children of a process; none if it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text("ascii").split())
    return found

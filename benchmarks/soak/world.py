"""A node, crowds of bots that come and go, and trouble for both."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from benchmarks.machine import HERE, LOAD_CORE, Failed, pinned, private_memory
from benchmarks.node import Node
from benchmarks.soak.checks import Sample

GAME, SEATS = "maze", 4
#: Small, so that many matches begin and end.
OPTIONS = '{"rows": 5, "cols": 8, "minutes": 1}'
_VINOM = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"
#: What the network does to bots, one crowd after the other.
PROFILES: tuple[tuple[str, ...], ...] = (
    (),
    ("--loss=2", "--delay-ms=20", "--jitter-ms=5"),
    ("--loss=20", "--duplicate=10", "--reorder=10", "--delay-ms=100", "--jitter-ms=50"),
    ("--delay-ms=300", "--jitter-ms=300"),
    ("--loss=5", "--reorder=30", "--duplicate=30", "--delay-ms=10"),
)
#: Signals that strike game servers.
STRIKES = (signal.SIGKILL, signal.SIGSTOP)
#: Kinds of junk for game servers, and datagrams per second.
BURSTS = (("junk", 5000), ("hello", 2000), ("fragment", 2000), ("ticket", 1000))


@attrs.define
class Crowd:
    """Bots that play for a while, as ``vinom bots`` does."""

    process: subprocess.Popen[str]
    network: tuple[str, ...]

    @classmethod
    def start(
        cls, node: Node, players: int, seconds: float, network: tuple[str, ...]
    ) -> Crowd:
        """Start the bots."""
        command = [
            *(sys.executable, "-c", _VINOM, "bots", "--json"),
            f"--connect=127.0.0.1:{node.port}",
            f"--game={GAME}",
            f"--options={OPTIONS}",
            f"--players={players}",
            f"--seconds={seconds}",
            "--grace=90",
            *network,
        ]
        process = subprocess.Popen(
            pinned(LOAD_CORE, command),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            # Ctrl-C is for us; we stop them.
            start_new_session=True,
        )
        return cls(process, network)

    def report(self, timeout: float) -> dict[str, Any]:
        """
        Wait for the last of them, and return their report.

        :raises Failed: they do not end, or fail themselves.
        """
        try:
            said, complained = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise Failed(
                "bots do not end: a match ended and they were not informed"
            ) from None
        try:
            result: dict[str, Any] = json.loads(said.splitlines()[-1])
        except (IndexError, ValueError):
            raise Failed(f"bots failed: {complained.strip()[-600:]}") from None
        result["reasons"] = complained.strip()
        return result

    def end(self) -> None:
        """Stop them at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()


def sample(node: Node, at: float) -> Sample:
    """Take a sample of the node."""
    fleet = node.status()["fleet"]
    return Sample(
        at=at,
        memory=private_memory(node.pid),
        descriptors=node.descriptors,
        ports=sum(fleet[f"ports_{how}"] for how in ("free", "bound", "quarantined")),
        servers=len(fleet["game_servers"]),
    )


class Trouble:
    """
    Strike game servers and send junk to them, at random.

    :ivar struck: game servers that were killed or stopped while they had a match.
    """

    def __init__(self, node: Node, junkload: Path, chance: random.Random) -> None:
        self._node, self._junkload, self._chance = node, junkload, chance
        self.struck = 0
        self._burst: subprocess.Popen[bytes] | None = None

    def _played(self) -> Iterator[dict[str, Any]]:
        for server in self._node.status()["fleet"]["game_servers"].values():
            if server["matches"] and server["pid"] is not None:
                yield server

    def strike(self) -> str:
        """Kill or stop a game server that has a match; return what was done."""
        played = list(self._played())
        if not played:
            return "no game server to strike"
        server, how = self._chance.choice(played), self._chance.choice(STRIKES)
        try:
            os.kill(server["pid"], how)
        except ProcessLookupError:
            return "its match was over before it was struck"
        self.struck += len(server["matches"])
        return f"{how.name} to a game server"

    def burst(self, seconds: float) -> str:
        """Send junk to a game server that has a match; return which."""
        self.end()
        played = list(self._played())
        if not played:
            return "no game server to attack"
        server, (kind, rate) = self._chance.choice(played), self._chance.choice(BURSTS)
        where = "127.0.0.1", server["port"], "a" * 26 + ".x.game.vinom", server["pid"]
        words = [self._junkload, *where, kind, seconds, rate, 50]
        self._burst = subprocess.Popen(
            pinned(LOAD_CORE, [str(word) for word in words]),
            stdout=subprocess.DEVNULL,
            # It fails if the game server ends first, which is not an error.
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return f"{rate} {kind} per second"

    def end(self) -> None:
        """Stop sending."""
        if self._burst is not None:
            if self._burst.poll() is None:
                self._burst.kill()
            self._burst.wait()
            self._burst = None

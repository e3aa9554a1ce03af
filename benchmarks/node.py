"""A real node on the server's core, and matches on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from benchmarks.machine import (
    HERE,
    SERVER_CORE,
    Failed,
    descendants,
    owner_of_udp,
    pinned,
)
from vinom.errors import Misconfigured
from vinom.tools.commands.admin import AdminLine
from vinom.tools.commands.child_node import free_port, free_port_range

SEATS = 4


@attrs.frozen
class Match:
    """
    One match, as an outside matchmaker receives it.

    :ivar seats: for each, what the lobby would have sent its player.
    """

    match_id: str
    seats: tuple[dict[str, Any], ...]

    @property
    def port(self) -> int:
        """The port of its game server."""
        return int(self.seats[0]["port"])


class Node:
    """
    A node that runs during a ``with``.

    :param arguments: more arguments of ``twistd vinom``.
    :param ports: how many UDP ports it has.
    :param module: what is run; `benchmarks.instant_node` has no game servers.
    :param core: where it runs.
    """

    def __init__(
        self,
        *arguments: str,
        ports: int = 16,
        module: str = "twisted",
        core: int = SERVER_CORE,
    ) -> None:
        self._module, self._core = module, core
        self.port = free_port()
        first, last = free_port_range(ports)
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-bench-"))
        self.state_dir = self._folder / "state"
        self.log = self._folder / "log"
        self._arguments = (
            "--interface=127.0.0.1",
            f"--port={self.port}",
            f"--ports={first}-{last}",
            f"--state-dir={self.state_dir}",
            "--drain-seconds=0",
            "--token-seconds=600",
            # All clients have the address of this machine.
            "--guest-rate=1000000",
            "--rooms-per-address=1000000",
            "--matches-per-address=1000000",
            "--log-level=warn",
            # Limits are on, but high: each of our few clients stands for many.
            "--input-rate=100000",
            "--handshake-rate=100000",
            *arguments,
        )

    def __enter__(self) -> Node:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("VINOM_")}
        environ["PYTHONPATH"] = str(HERE.parent)
        module = [sys.executable, "-m", self._module, "vinom"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                pinned(self._core, [*module, *self._arguments]),
                cwd=HERE.parent,
                env=environ,
                stdout=log,
                stderr=log,
            )
        self._admin = AdminLine(self.state_dir / "admin.sock")
        try:
            self._await_start()
        except Failed:
            self._end()
            raise
        return self

    def _await_start(self) -> None:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                # The node opens this last.
                self.status()
                return
            except Misconfigured:
                time.sleep(0.05)
        raise Failed(f"the node does not start: {self.log.read_text()[-600:]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def admin(self) -> AdminLine:
        """Its admin API."""
        return self._admin

    @property
    def pid(self) -> int:
        """The node's own process."""
        return self._process.pid

    @property
    def descriptors(self) -> int:
        """The number of its open descriptors, which includes silent connections."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def has_ended(self) -> bool:
        """Is its process gone?"""
        return self._process.poll() is not None

    def status(self) -> dict[str, Any]:
        """Return its status."""
        result: dict[str, Any] = self._admin.get("status")
        return result

    def await_warm(self, warm: int) -> None:
        """
        Wait until this many game servers are ready.

        :raises Failed: they do not become ready in time.
        """
        give_up = time.monotonic() + 60
        while self.status()["fleet"]["servers"]["warm"] < warm:
            if time.monotonic() > give_up:
                raise Failed(f"{warm} game servers did not become warm in time")
            time.sleep(0.1)

    def start_match(self, players: int = SEATS, game: str = "roomecho") -> Match:
        """Start a match."""
        names = [{"name": f"p{number}"} for number in range(players)]
        result = self._admin.post("matches", {"game": game, "players": names})
        seats = tuple(seat["match_found"] for seat in result["seats"])
        return Match(result["match_id"], seats)

    def server_of(self, match: Match) -> int:
        """Find the process that its players are connected to."""
        return owner_of_udp(match.port, [self.pid, *descendants(self.pid)])

    def write_seats(self, matches: Sequence[Match]) -> Path:
        """Write what ``udpload`` reads: one seat per line."""
        path = self._folder / "seats"
        with path.open("w") as file:
            for match in matches:
                for seat in match.seats:
                    words = (seat[key] for key in ("host", "port", "server_name"))
                    print(*words, seat["token"], file=file)
        return path

"""
A node of which each process records what it calls, when it is asked to.

It is a plain ``twistd vinom``. The interpreter that runs it loads a ``sitecustomize``
of ours first, and so does its fork server, which looks for modules where the node does.

Nothing here imports the package that is measured: the same files measure trees whose
modules have other names and places.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.machine import HERE, SERVER_CORE, Failed, descendants, pinned
from benchmarks.trips.recorder import Event

#: The folder whose files count.
PACKAGE = HERE.parent / "vinom"
#: Longest wait for a process, seconds.
_TIMEOUT = 30.0
_PORTS = 64
_SITECUSTOMIZE = """\
from pathlib import Path
from benchmarks.trips.recorder import record_on_signal
record_on_signal(Path({package!r}), Path({folder!r}))
"""


class RecordedNode:
    """
    A node that runs during a ``with``.

    :param arguments: more arguments of ``twistd vinom``.
    :ivar port: of its lobby, for TCP.
    :ivar http: of its WebSockets.
    """

    def __init__(self, *arguments: str) -> None:
        self.port, self.http = _free_tcp_ports(2)
        first = _free_udp_ports(_PORTS)
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-trips-"))
        self._state_dir = self._folder / "state"
        self._log = self._folder / "log"
        self._records = self._folder / "records"
        self._arguments = (
            "--interface=127.0.0.1",
            f"--port={self.port}",
            f"--http={self.http}",
            f"--ports={first}-{first + _PORTS - 1}",
            f"--state-dir={self._state_dir}",
            "--drain-seconds=0",
            "--log-level=warn",
            *arguments,
        )

    def __enter__(self) -> RecordedNode:
        self._records.mkdir()
        (self._records / "sitecustomize.py").write_text(
            _SITECUSTOMIZE.format(package=str(PACKAGE), folder=str(self._records))
        )
        environ = {k: v for k, v in os.environ.items() if not k.startswith("VINOM_")}
        # Game servers write their records into our folder.
        environ["VINOM_WALL"] = "no"
        environ["PYTHONPATH"] = f"{self._records}{os.pathsep}{HERE.parent}"
        command = [sys.executable, "-m", "twisted", "vinom", *self._arguments]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                pinned(SERVER_CORE, command),
                cwd=HERE.parent,
                env=environ,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait("it does not start", self._is_up)
        except Failed:
            self._end()
            raise
        return self

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

    def await_warm(self, warm: int) -> None:
        """
        Wait until this many game servers are ready for a match.

        :raises Failed: they do not become ready in time.
        """
        self._wait(
            f"{warm} game servers did not become warm in time",
            lambda: self._status()["fleet"]["servers"]["warm"] >= warm,
        )

    def record(
        self, ask: Callable[[], tuple[int, int]]
    ) -> tuple[list[tuple[str, list[Event]]], int, int]:
        """
        Record all processes while *ask* runs.

        :param ask: sends a message and waits for its answers; returns both times.
        :returns: what `benchmarks.trips.counts.cut` takes.
        """
        roles = self._roles()
        for pid in roles:
            self._signal(pid, "started").unlink()
        # The signals have woken them: let them wait again.
        time.sleep(0.1)
        asked_at, answered_at = ask()
        # What they do after their last message counts too, until they wait again.
        time.sleep(0.1)
        recorded = []
        for pid, role in roles.items():
            path = self._signal(pid, "json")
            events = [Event(*fields) for fields in json.loads(path.read_text())]
            path.unlink()
            recorded.append((role, events))
        return recorded, asked_at, answered_at

    def _roles(self) -> dict[int, str]:
        """Return the kind of each process."""
        node = self._process.pid
        # Its children are fork servers, which are not a part of any trip, and theirs
        # are the game servers.
        servers = [pid for child in _children(node) for pid in descendants(child)]
        return {node: "node"} | dict.fromkeys(servers, "game server")

    def _signal(self, pid: int, report: str) -> Path:
        """Have a process start or end its recording, and wait until it has."""
        path = self._records / f"{pid}.{report}"
        os.kill(pid, signal.SIGUSR2)
        self._wait(f"process {pid} does not record", path.exists)
        return path

    def _is_up(self) -> bool:
        try:
            self._status()
        except OSError:
            return False
        return True

    def _status(self) -> Any:
        """Ask the admin socket, which is the last thing that a node opens."""
        with ExitStack() as stack:
            connection = HTTPConnection("localhost")
            stack.callback(connection.close)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(_TIMEOUT)
            connection.sock.connect(str(self._state_dir / "admin.sock"))
            # An older tree has no token, and asks for none.
            token = self._state_dir / "admin.token"
            bearer = f"Bearer {token.read_text().strip()}" if token.exists() else ""
            connection.request("GET", "/v1/status", headers={"Authorization": bearer})
            return json.loads(connection.getresponse().read())

    def _wait(self, what: str, is_done: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _TIMEOUT
        while not is_done():
            if self._process.poll() is not None or time.monotonic() > give_up:
                log = self._log.read_text(errors="replace")[-600:]
                raise Failed(f"the node failed, {what}: {log}")
            time.sleep(0.01)


def _children(pid: int) -> list[int]:
    return [
        int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def _free_tcp_ports(count: int) -> list[int]:
    """Find ports of the loopback that nobody has now."""
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in bound]


def _free_udp_ports(count: int) -> int:
    """Find this many ports in a row; return the first."""
    for _ in range(100):
        # Below the ports that the kernel gives out by itself (ip(7)).
        first = random.randrange(20_000, 32_700 - count)
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    one = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                    one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise Failed(f"no {count} free UDP ports in a row")

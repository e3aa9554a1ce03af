"""The processes of a run: a gateway, and back ends that are struck."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.request import Request, urlopen

import benchmarks
from benchmarks.machine import Failed
from vinom.net.streams.sockets import STUCK_SECONDS
from vinom.tools.commands.child_node import free_port

_ROOT = Path(benchmarks.__file__).resolve().parent.parent
#: The gateway waits too long for clients that do not read, for a run of seconds.
_TWISTD = """
from vinom.net.streams import sockets
sockets.STUCK_SECONDS = {stuck}
from twisted.scripts.twistd import run
run()
"""
_TOKEN = "a-token-of-the-operator"
#: A bound on starting and stopping, seconds.
_SECONDS = 30.0


def _until_open(port: int, process: subprocess.Popen[bytes], what: str) -> None:
    give_up = time.monotonic() + _SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        try:
            create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise Failed(f"{what} does not listen at {port}")


class Backend:
    """
    A back end in a separate process.

    :ivar name: its name in its HTTP answers.
    :ivar port: stays the same when it starts again.
    """

    def __init__(self, name: str) -> None:
        """:param name: its name."""
        self.name, self.port = name, free_port()
        self.begin()
        self.wait()

    @property
    def endpoint(self) -> str:
        """Its address in rules."""
        return f"127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start it; it listens a little later."""
        module = "benchmarks.soak.gateways.backend"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, self.name, str(self.port)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            # Its `StandardIO` would have ours not block, for good if it is killed.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        """Wait until it listens."""
        _until_open(self.port, self._process, self.name)

    def order(self, words: str) -> None:
        """Change its behaviour: see `benchmarks.soak.gateways.backend`."""
        assert self._process.stdin is not None
        self._process.stdin.write(words.encode() + b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Kill it, also if it is stopped."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """Stop it with SIGSTOP: its kernel still accepts connections and bytes."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue it."""
        self._process.send_signal(signal.SIGCONT)


class GatewayProcess:
    """
    A gateway in a separate process.

    :ivar port: for clients.
    :ivar folder: has its log, its rules and its access log.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        gateway_id: str = "g1",
        stuck: float = STUCK_SECONDS,
    ) -> None:
        """
        Start it, and wait until it serves.

        :param folder: exists.
        :param arguments: settings, including the rules.
        :param stuck: how long it lets a client read nothing, seconds.
        """
        self.port, self.folder, self._admin = free_port(), folder, free_port()
        token = folder / "token"
        token.write_text(_TOKEN)
        token.chmod(0o600)
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _TWISTD.format(stuck=stuck)),
                    *("-n", "--pidfile=", "vinom-gateway"),
                    f"--listen=tcp:{self.port}:interface=127.0.0.1:backlog=1024",
                    f"--admin=tcp:{self._admin}:interface=127.0.0.1",
                    f"--admin-token-file={token}",
                    f"--access-log={folder / 'access.log'}",
                    f"--gateway-id={gateway_id}",
                    "--new-connections=100000",
                    "--max-connections-per-address=100000",
                    *arguments,
                ],
                cwd=_ROOT,
                env=dict(os.environ, PYTHONPATH=str(_ROOT)),
                stdout=log,
                stderr=log,
            )
        try:
            _until_open(self.port, self._process, "the gateway")
        except Failed as error:
            self.kill()
            raise Failed(f"{error}: {self.log[-2000:]}") from None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it logged."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        """Did it crash?"""
        return self._process.poll() is not None

    def accesses(self) -> list[dict[str, Any]]:
        """Read the access log."""
        text = (self.folder / "access.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def get(self, page: str) -> str:
        """
        Fetch a page of the admin port.

        :raises OSError: it does not answer with 200.
        """
        asked = Request(
            f"http://127.0.0.1:{self._admin}/{page}",
            headers={"Authorization": f"Bearer {_TOKEN}"},
        )
        with urlopen(asked, timeout=_SECONDS) as answer:
            found: str = answer.read().decode()
            return found

    def status(self) -> dict[str, Any]:
        """Its status."""
        found: dict[str, Any] = json.loads(self.get("v1/status"))
        return found

    def metric(self, name: str) -> float:
        """Read a metric, with its labels; 0 if there is none."""
        for line in self.get("metrics").splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def stop(self) -> int:
        """End it by SIGTERM; returns its exit code."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def write_rules(path: Path, services: dict[str, Any]) -> None:
    """Write the file of rules: JSON's values of these kinds are TOML's."""
    lines = []
    for name, rule in services.items():
        lines.append(f"[services.{name}]")
        lines += [
            f'match = {{path = "{value}"}}'
            if key == "path"
            else f"{key} = {json.dumps(value)}"
            for key, value in rule.items()
        ]
    path.write_text("\n".join(lines) + "\n")

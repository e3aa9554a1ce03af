"""Servers of other projects that do the same, and how to start them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.machine import HERE, SERVER_CORE, Failed, Missing, build, pinned
from vinom.tools.commands.child_node import free_port, free_port_range


@attrs.frozen
class Colyseus:
    """
    Where Colyseus is, on this machine.

    :ivar node: a Node of 22 or newer.
    :ivar modules: the folder with its ``node_modules``.
    :ivar tls: the files of its certificate and key, in PEM, if it speaks TLS.
    """

    node: str
    modules: Path
    tls: tuple[Path, Path] | None = None

    @property
    def is_here(self) -> bool:
        """Can it be started?"""
        modules = self.modules / "node_modules" / "@colyseus"
        if not (modules / "uwebsockets-transport" / "package.json").exists():
            return False
        try:
            return not subprocess.run(
                [self.node, "--version"], capture_output=True
            ).returncode
        except OSError:
            return False

    def command(self, port: int) -> list[str]:
        """Return the command that starts it."""
        return [self.node, str(HERE / "peers" / "colyseus_server.mjs"), str(port)]

    def environ(self) -> dict[str, str]:
        """Return its environment variables."""
        environ = {"VINOM_PEER_MODULES": str(self.modules.resolve())}
        if self.tls is not None:
            names = "VINOM_PEER_CERTIFICATE", "VINOM_PEER_KEY"
            environ |= dict(zip(names, map(str, self.tls), strict=True))
        return environ


@attrs.frozen
class Pyenet:
    """
    ENet under Python: room echo, reliable and unencrypted.

    :ivar python: an interpreter that has it.
    """

    python: str

    @property
    def is_here(self) -> bool:
        """Can it be started, and can its load generator be built?"""
        ran = subprocess.run([self.python, "-c", "import enet"], capture_output=True)
        if ran.returncode:
            return False
        with tempfile.TemporaryDirectory(prefix="vinom-bench-") as folder:
            try:
                build("enetload", Path(folder), "enet")
            except Missing:
                return False
        return True

    def command(self, port: int) -> list[str]:
        """Return the command that starts it."""
        return [self.python, str(HERE / "peers" / "py_enet.py"), str(port)]

    def environ(self) -> dict[str, str]:
        """Return its environment variables."""
        return {}


@attrs.frozen
class Websockets:
    """The ``websockets`` package under asyncio; our own tests install it."""

    def command(self, port: int) -> list[str]:
        """Return the command that starts it."""
        return [sys.executable, str(HERE / "peers" / "py_websockets.py"), str(port)]

    def environ(self) -> dict[str, str]:
        """Return its environment variables."""
        return {}


@contextlib.contextmanager
def running(peer: Colyseus | Pyenet | Websockets) -> Iterator[tuple[int, int]]:
    """
    Run a peer; yield its port and its process.

    :raises Failed: it does not start in time.
    """
    port = free_port_range(1)[0] if isinstance(peer, Pyenet) else free_port()
    process = subprocess.Popen(
        pinned(SERVER_CORE, peer.command(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **peer.environ()},
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise Failed(f"{type(peer).__name__} does not start")
        yield port, process.pid
    finally:
        process.kill()
        process.wait()

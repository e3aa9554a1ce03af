"""Servers of others that do the same, and how they are started."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.machine import HERE, SERVER_CORE, Failed, pinned
from vinom.tap.child_node import free_port


@attrs.frozen
class Colyseus:
    """
    Where Colyseus is, on this machine.

    :ivar node: a Node of 22 or newer.
    :ivar modules: the folder with its ``node_modules``.
    """

    node: str
    modules: Path

    @property
    def is_here(self) -> bool:
        """Can it be started?"""
        found = self.modules / "node_modules" / "@colyseus" / "core" / "package.json"
        if not found.exists():
            return False
        try:
            return not subprocess.run(
                [self.node, "--version"], capture_output=True
            ).returncode
        except OSError:
            return False

    def command(self, port: int) -> list[str]:
        """How to start it."""
        return [self.node, str(HERE / "peers" / "colyseus_server.mjs"), str(port)]

    def environ(self) -> dict[str, str]:
        """What it reads beside that."""
        return {"VINOM_PEER_MODULES": str(self.modules.resolve())}


@attrs.frozen
class Websockets:
    """The ``websockets`` package under asyncio; our own tests install it."""

    def command(self, port: int) -> list[str]:
        """How to start it."""
        return [sys.executable, str(HERE / "peers" / "py_websockets.py"), str(port)]

    def environ(self) -> dict[str, str]:
        """What it reads beside that."""
        return {}


@contextlib.contextmanager
def running(peer: Colyseus | Websockets) -> Iterator[tuple[int, int]]:
    """
    Have a peer run; gives its port and its process.

    :raises Failed: it does not start.
    """
    port = free_port()
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

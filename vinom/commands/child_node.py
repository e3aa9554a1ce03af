"""A node of our own, as a child process with a temporary state directory."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

import vinom
from vinom.errors import VinomError

#: How long a node may take to listen, seconds.
_START_SECONDS = 20.0
#: How long a node may take to stop, seconds.
_STOP_SECONDS = 5.0
#: UDP ports for its game servers.
_PORTS = 32

# `python -m twisted`, in a session of its own: Ctrl-C is for us, who then stop the
# node when the players have left. Should we be killed, Linux sends it SIGTERM
# (PR_SET_PDEATHSIG of prctl(2) is 1).
_APART = """
import contextlib, ctypes, os, runpy
os.setsid()
with contextlib.suppress(Exception):
    ctypes.CDLL(None).prctl(1, 15)
runpy.run_module("twisted", run_name="__main__")
"""


class NodeFailed(VinomError):
    """The node did not start, or ended by itself; the message has its log's end."""


class ChildNode(ProcessProtocol):
    """
    Start a node on free ports of the loopback, and stop it.

    :param arguments: more of ``twistd vinom``'s.
    :ivar host: where its lobby listens.
    :ivar port: and on which port.
    :ivar state_dir: its temporary state directory; empty before the start.
    :ivar exited: is it gone?
    """

    transport: IProcessTransport

    def __init__(self, reactor: Any, arguments: Sequence[str] = ()) -> None:
        self._reactor, self._arguments = reactor, tuple(arguments)
        self.host, self.port = "127.0.0.1", free_port()
        self._log: deque[bytes] = deque(maxlen=40)
        self.state_dir = ""
        self._gone: list[Deferred[None]] = []
        self.exited = False
        self._is_spawned = False

    def start(self) -> Deferred[None]:
        """Start it; fires when its lobby listens, or fails with `NodeFailed`."""
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """Stop it; fires when it is gone and its files are removed."""
        return Deferred.fromCoroutine(self._stop())

    @property
    def pid(self) -> int:
        """Its process; of no use once it is gone."""
        return int(self.transport.pid)

    def log_end(self) -> str:
        """The last lines of its log."""
        text = b"".join(self._log).decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-12:])

    async def _start(self) -> None:
        self.state_dir = tempfile.mkdtemp(prefix="vinom-")
        first, last = free_port_range(_PORTS)
        command = [
            sys.executable,
            "-c",
            _APART,
            "vinom",
            f"--interface={self.host}",
            f"--port={self.port}",
            f"--ports={first}-{last}",
            f"--state-dir={self.state_dir}",
            "--drain-seconds=0",
            *self._arguments,
        ]
        self._is_spawned = True
        # However we end, it is not to be left behind.
        self._reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        self._reactor.spawnProcess(self, sys.executable, command, _environ())
        give_up = self._reactor.seconds() + _START_SECONDS
        while not await self._listens():
            if self.exited:
                raise NodeFailed(f"the node ended at once:\n{self.log_end()}")
            if self._reactor.seconds() > give_up:
                raise NodeFailed(f"the node does not listen:\n{self.log_end()}")
            await deferLater(self._reactor, 0.05)

    async def _listens(self) -> bool:
        endpoint = HostnameEndpoint(self._reactor, self.host, self.port)
        try:
            await endpoint.connect(Factory.forProtocol(_Knock))
        except Exception:
            return False
        return not self.exited

    async def _stop(self) -> None:
        if self._is_spawned and not self.exited:
            gone: Deferred[None] = Deferred()
            self._gone.append(gone)
            self._signal(signal.SIGTERM)
            kill = self._reactor.callLater(_STOP_SECONDS, self._signal, signal.SIGKILL)
            await gone
            if kill.active():
                kill.cancel()
        if self.state_dir:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def _signal(self, number: int) -> None:
        try:
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            return

    def outReceived(self, data: bytes) -> None:
        self._log.append(data)

    def errReceived(self, data: bytes) -> None:
        self._log.append(data)

    def processExited(self, reason: Failure) -> None:
        # Its own children may hold the pipes open a little longer.
        self.exited = True
        gone, self._gone = self._gone, []
        for waiting in gone:
            waiting.callback(None)


def _environ() -> dict[str, str]:
    """Make the child's environment of ours."""
    # What configures another node on this machine is not for this one.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("VINOM_")}
    # In the right order, should it fail.
    environ["PYTHONUNBUFFERED"] = "1"
    # In a checkout Twisted finds its plugins on the path only.
    root = Path(vinom.__file__).resolve().parent.parent
    if (root / "twisted").is_dir() and not (root / "twisted/__init__.py").exists():
        paths = [str(root), environ.get("PYTHONPATH", "")]
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environ


class _Knock(Protocol):
    """Find out whether somebody opens, and go away."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


def free_port() -> int:
    """Find a TCP port of the loopback that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def likely_port() -> int:
    """Find a free port of the loopback for a page: one that people know, if any."""
    for port in (8080, 8000, 8888):
        with socket.socket() as probe:
            # As servers do: what was closed a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return free_port()


def free_port_range(count: int) -> tuple[int, int]:
    """
    Find neighbouring UDP ports of the loopback that nobody uses right now.

    :raises NodeFailed: there are none to be found.
    """
    for _ in range(100):
        # Below the ports that the kernel gives out by itself (ip(7)).
        first = random.randrange(20000, 32700 - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return first, first + count - 1
    raise NodeFailed(f"no {count} free UDP ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

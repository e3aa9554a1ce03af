"""The node's side of its fork server: start it, send to it, notice its end."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IProcessTransport,
    IReactorFDSet,
    IReactorProcess,
    IReactorSocket,
    IReactorTime,
    IReadDescriptor,
)
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.buckets import TokenBucket
from vinom.base.reactor.alarm import Timer
from vinom.base.wall.enclosure import Enclosure
from vinom.fleet.local.forkserver import (
    LEASE_SECONDS,
    MESSAGE_LIMIT,
    NODE_DESCRIPTOR,
    Exited,
    NotStarted,
    Start,
    Started,
    encode,
)

#: Variables that a game server gets of its node's environment: where things are, and
#: nothing secret.
ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONHASHSEED",
    "COVERAGE_PROCESS_START",
    "COVERAGE_PROCESS_CONFIG",
)

#: Seconds after which a fork server that was asked to end is killed.
CLOSE_SECONDS = 5.0

#: Longest line of a game server's output that is logged in one piece, bytes.
LINE_LIMIT = 16 * 1024

#: Reports of a fork server.
Answer = Started | NotStarted | Exited

# The name that lines of game servers have always had in logs.
_log = Logger("vinom.fleet.local.forklink.ForkLink")

_from_fork_server: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


@attrs.frozen
class User:
    """A user of this machine, as whom game servers run."""

    name: str
    uid: int
    gid: int


class ILocalReactor(IReactorTime, IReactorFDSet, IReactorProcess, IReactorSocket):
    """What local processes use of a reactor."""


@implementer(IReadDescriptor)
class Readable:
    """Call a function whenever a descriptor has something to read."""

    def __init__(self, descriptor: int, ready: Callable[[], None]) -> None:
        """
        :param descriptor: what to watch; the caller closes it.
        :param ready: called when it can be read.
        """
        self._descriptor, self._ready = descriptor, ready

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        self._ready()

    def connectionLost(self, reason: Failure) -> None:
        # The other end is closed; the next read finds that.
        self._ready()

    def logPrefix(self) -> str:
        return "fleet"


@attrs.define(eq=False)
class _Lines:
    """Pass on the output of processes, line by line."""

    print_line: Callable[[str], None]
    _held: bytearray = attrs.field(factory=bytearray, init=False)

    def receive(self, data: bytes) -> None:
        self._held += data
        *lines, rest = self._held.split(b"\n")
        self._held = bytearray(rest)
        for line in lines:
            self._print(line)
        if len(self._held) > LINE_LIMIT:
            self.finish()

    def finish(self) -> None:
        if self._held:
            self._print(self._held)
            self._held = bytearray()

    def _print(self, line: bytes | bytearray) -> None:
        self.print_line(line.decode("utf-8", "replace").rstrip("\r"))


#: How much of a pipe is read at once, bytes.
_PIPE_BYTES = 16 * 1024

#: Lines of one game server that are logged, a second and at once, and the bytes that
#: count as one line: logging is work that every player of the node waits for.
PRINTED = TokenBucket(200, 2000)
_LINE_BYTES = 256
#: When it has printed too much, nothing is read of it for this long, seconds.
_PAUSE = 0.5


class PipedOutput:
    """The output of a game server, to its end; of too much a part is dropped."""

    def __init__(self, reactor: ILocalReactor, pipe: int, server_id: str) -> None:
        """
        Log what it prints.

        :param reactor: watches the pipe.
        :param pipe: closed here.
        :param server_id: whose it is.
        """
        os.set_blocking(pipe, False)
        self._reactor, self._pipe, self._server_id = reactor, pipe, server_id
        self._lines = _Lines(self._print)
        self._bucket = TokenBucket(PRINTED.rate, PRINTED.burst)
        self._dropped = 0
        self._reader = Readable(pipe, self._read)
        self._pause = Timer(self._reactor)
        self._is_open = True
        reactor.addReader(self._reader)

    def _read(self) -> None:
        if self._take() and self._dropped and not self._pause.is_running:
            self._reactor.removeReader(self._reader)
            self._pause.start(_PAUSE, self._go_on)

    def _take(self) -> bool:
        """Read once; returns whether there was something."""
        if not self._is_open:
            return False
        try:
            data = os.read(self._pipe, _PIPE_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._lines.receive(data)
        else:
            self._end()
        return bool(data)

    def _print(self, line: str) -> None:
        size = max(1.0, len(line) / _LINE_BYTES)
        if self._bucket.take(time.monotonic(), size):
            log_line(line)
        else:
            self._dropped += 1

    def _go_on(self) -> None:
        self._tell()
        self._reactor.addReader(self._reader)

    def _tell(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            _log.warn(
                "{count} lines that game server {server} printed were dropped: it may "
                "print {rate:g} a second",
                count=dropped,
                server=self._server_id,
                rate=PRINTED.rate,
            )

    def close(self) -> None:
        """Log what is there, and read no more."""
        # A pipe has room for that much.
        for _ in range(64):
            if not self._take():
                break
        self._end()

    def _end(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._lines.finish()
        self._tell()
        self._pause.cancel()
        self._reactor.removeReader(self._reader)
        os.close(self._pipe)


class _Output(ProcessProtocol):
    """The output of the fork server, and its end."""

    transport: IProcessTransport

    def __init__(self, print_line: Callable[[str], None]) -> None:
        """:param print_line: called with each line that they print."""
        self._lines = {1: _Lines(print_line), 2: _Lines(print_line)}
        self.ended: Deferred[None] = Deferred()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._lines[childFD].receive(data)

    def childConnectionLost(self, childFD: int) -> None:
        self._lines[childFD].finish()

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class ForkLink:
    """
    One run of the fork server.

    :ivar is_open: does it answer?
    """

    def __init__(
        self,
        reactor: ILocalReactor,
        arguments: list[str],
        environment: Mapping[str, str],
        answered: Callable[[Answer, tuple[int, ...]], None],
        gone: Callable[[], None],
        user: User | None = None,
    ) -> None:
        """
        :param reactor: runs it, and watches its socket.
        :param arguments: for `vinom.fleet.local.forkserver`.
        :param environment: ours; very little of it is passed on.
        :param answered: called with what it reports; with `Started` come a pidfd and a
            pipe, which are then the caller's to close.
        :param gone: called once, when it ended; its children may live on.
        :param user: as whom it runs; ``None`` for ours.
        """
        self._reactor, self._answered, self._gone = reactor, answered, gone
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._output = _Output(self._print)
        self._alarm = Timer(self._reactor)
        try:
            with theirs, open(os.devnull, "rb") as nothing:
                self._process = reactor.spawnProcess(
                    self._output,
                    sys.executable,
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "vinom.fleet.local.forkserver",
                        *arguments,
                    ],
                    child_environment(environment),
                    childFDs={
                        0: nothing.fileno(),
                        1: "r",
                        2: "r",
                        NODE_DESCRIPTOR: theirs.fileno(),
                    },
                    uid=None if user is None else user.uid,
                    gid=None if user is None else user.gid,
                )
        except OSError:
            self._socket.close()
            raise
        self.pid: int = self._process.pid
        self._reader = Readable(self._socket.fileno(), self._read)
        reactor.addReader(self._reader)
        self.is_open = True

    @property
    def ended(self) -> Deferred[None]:
        """The result comes when it and everything it started has ended."""
        return self._output.ended

    def start(self, start: Start) -> bool:
        """Request a game server; ``False`` if that is not possible now."""
        if not self.is_open:
            return False
        try:
            self._socket.send(encode(start), socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def close(self) -> Deferred[None]:
        """
        End it; the result comes when it and everything it started has ended.

        Processes that run longer than `CLOSE_SECONDS` are not waited for: they can only
        be some that were never reported to us.
        """
        self._stop_reading()
        self._alarm.start(CLOSE_SECONDS, self._insist)
        self._output.ended.addCallback(lambda _: self._alarm.cancel())
        return self._output.ended

    def leave(self) -> None:
        """Let go of it and of its children, which play on; it ends by itself."""
        self._stop_reading()
        self._process.loseConnection()

    def kill(self) -> None:
        """Kill a fork server that hangs; its children keep running."""
        with suppress(ProcessExitedAlready):
            self._process.signalProcess("KILL")

    def _read(self) -> None:
        while self.is_open:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._socket, MESSAGE_LIMIT, 2, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._stop_reading()
                self._gone()
                return
            self._answered(_from_fork_server.decode(data), tuple(descriptors))

    def _stop_reading(self) -> None:
        if self.is_open:
            self.is_open = False
            self._reactor.removeReader(self._reader)
            self._socket.close()

    def _insist(self) -> None:
        self.kill()
        # Close our ends of its pipes, which other processes may still hold.
        self._process.loseConnection()

    def _print(self, line: str) -> None:
        log_line(line)


def log_line(line: str) -> None:
    """Log what a game server printed."""
    _log.info("{line}", line=line)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Choose what a fork server and its children get of our variables."""
    known = {name: environment[name] for name in ENVIRONMENT if name in environment}
    # It must find exactly the modules that we would.
    known["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    known["PYTHONUNBUFFERED"] = "1"
    return known


def arguments(
    entry: str,
    preload: tuple[str, ...],
    settings: Mapping[str, Any],
    orphan_seconds: float,
    wall: Enclosure | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> list[str]:
    """Write the fork server's command line."""
    walled = [] if wall is None else [f"--wall={json.dumps(attrs.asdict(wall))}"]
    return [
        *walled,
        f"--entry={entry}",
        f"--preload={json.dumps(preload)}",
        f"--settings={json.dumps(dict(settings))}",
        f"--orphan-seconds={orphan_seconds}",
        f"--lease-seconds={lease_seconds}",
    ]

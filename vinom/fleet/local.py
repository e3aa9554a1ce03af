"""Game servers as processes of this machine, forked from a warm interpreter."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from vinom.errors import NoCapacity
from vinom.fleet.forklink import ForkLink, ILocalReactor, Readable, Told, arguments
from vinom.fleet.forkserver import ORPHAN_SECONDS, Exited, Start, Started
from vinom.model import Exit
from vinom.ports import IFleet

#: A fork server that does not answer hangs, seconds; the first answer waits
#: for everything that it loads.
START_SECONDS = 30.0

#: When the fleet closes, what does not end when asked to is killed, seconds.
STOP_SECONDS = 5.0

#: Least and most wait before a fork server is started again, seconds.
RESTART_SECONDS = (0.1, 5.0)

# How long a fork server may take to say how a process ended, seconds.
_STATUS_SECONDS = 1.0


@attrs.frozen
class GameServerProgram:
    """
    What is forked.

    :ivar entry: ``"package.module:function"``, called with the server's id and
        its settings.
    :ivar settings: JSON-like; no secrets.
    :ivar preload: what the fork server loads once for all: modules, or
        ``package.module:function`` of what to call with the settings.
    :ivar memory: limit on a process's address space, bytes.
    :ivar descriptors: limit on its open descriptors.
    :ivar orphan_seconds: when what its dead node left behind is killed.
    """

    entry: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    preload: tuple[str, ...] = ()
    memory: int = 512 * 1024 * 1024
    descriptors: int = 256
    orphan_seconds: float = ORPHAN_SECONDS


@attrs.define(eq=False)
class _Process:
    """
    One game server.

    :ivar started: fires with its pid; ``None`` when it did.
    :ivar pidfd: ``None`` until it runs.
    :ivar wish: the signal to send as soon as it runs.
    :ivar alarm: the fork server owes us an answer about it.
    """

    server_id: str
    exited: Callable[[Exit], None]
    started: Deferred[int] | None = None
    alarm: IDelayedCall | None = None
    pid: int = 0
    pidfd: int | None = None
    watch: Readable | None = None
    wish: signal.Signals | None = None

    def signal(self, number: signal.Signals) -> None:
        self.wish = number
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def calm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


@implementer(IFleet)
class LocalFleet:
    """
    Fork game servers, watch them by pidfd, and never lose one.

    The fork server is started with the first game server, and again when it
    dies; what it forked lives on.

    :param environment: ours; very little of it is passed on.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ILocalReactor,
        program: GameServerProgram,
        environment: Mapping[str, str],
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._reactor, self._program = reactor, program
        self._stop_seconds = stop_seconds
        self._environment = environment
        self._link: ForkLink | None = None
        self._dead_links: list[ForkLink] = []
        self._processes: dict[str, _Process] = {}
        self._restart: IDelayedCall | None = None
        self._restart_after = RESTART_SECONDS[0]
        self._closed: Deferred[None] | None = None
        self._is_closing_links = False
        self._insist: IDelayedCall | None = None

    @property
    def fork_server_pid(self) -> int | None:
        """The running fork server, for operators."""
        return self._link.pid if self._link is not None else None

    def start(self, server_id: str, exited: Callable[[Exit], None]) -> Deferred[int]:
        """
        Fork a game server; cancelling kills it.

        :raises NoCapacity: the system refuses, or the fork server died.
        """
        if server_id in self._processes:
            raise ValueError(f"game server {server_id} was started already")
        if self._closed is not None:
            return fail(NoCapacity("the fleet is closed"))
        if self._restart is not None:
            return fail(NoCapacity("the fork server is about to start again"))
        if self._link is None:
            self._launch()
        program = self._program
        start = Start(
            server_id, dict(program.settings), program.memory, program.descriptors
        )
        if self._link is None or not self._link.start(start):
            return fail(NoCapacity("the fork server cannot be asked now"))
        process = _Process(server_id, exited)
        process.alarm = self._reactor.callLater(START_SECONDS, self._hangs, process)
        self._processes[server_id] = process

        def give_up(_: Deferred[int]) -> None:
            process.started = None
            process.signal(signal.SIGKILL)

        process.started = Deferred(give_up)
        return process.started

    def stop(self, server_id: str, kill: bool = False) -> None:
        """Ask a game server to end, or make it."""
        process = self._processes.get(server_id)
        if process is not None:
            process.signal(signal.SIGKILL if kill else signal.SIGTERM)

    def close(self) -> Deferred[None]:
        """End everything; fires when it has ended."""
        if self._closed is None:
            self._closed = Deferred()
            if self._restart is not None:
                self._restart.cancel()
                self._restart = None
            self._signal_all(signal.SIGTERM)
            self._insist = self._reactor.callLater(self._stop_seconds, self._kill_all)
            self._check_closed()
        closed: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: closed.callback(None))
        return closed

    # The fork server.

    def _launch(self) -> None:
        self._restart = None
        program = self._program
        try:
            self._link = ForkLink(
                self._reactor,
                arguments(
                    program.entry,
                    program.preload,
                    program.settings,
                    program.orphan_seconds,
                ),
                self._environment,
                self._told,
                self._link_gone,
            )
        except OSError as error:
            self._log.error("fork server not started: {error}", error=error)
            self._launch_later()
        else:
            self._log.info("fork server is {pid}", pid=self._link.pid)

    def _launch_later(self) -> None:
        self._restart = self._reactor.callLater(self._restart_after, self._launch)
        self._restart_after = min(self._restart_after * 2, RESTART_SECONDS[1])

    def _link_gone(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._log.error("fork server {pid} died", pid=link.pid)
            # Its children still print through it.
            self._dead_links.append(link)
            link.ended.addCallback(lambda _: self._dead_links.remove(link))
        if self._closed is None:
            # First: whoever hears of a failure may ask again at once.
            self._launch_later()
        for process in tuple(self._processes.values()):
            if process.pidfd is None:
                self._not_started(process, "the fork server died")
        self._check_closed()

    def _hangs(self, process: _Process) -> None:
        process.alarm = None
        if self._link is not None:
            self._log.error("fork server {pid} hangs", pid=self._link.pid)
            self._link.kill()

    def _told(self, message: Told, pidfd: int | None) -> None:
        process = self._processes.get(message.server_id)
        if isinstance(message, Started):
            if process is None or pidfd is None:
                raise AssertionError(f"{message} was not asked for")
            self._started(process, message.pid, pidfd)
        elif process is None:
            # We gave up waiting for this.
            pass
        elif isinstance(message, Exited):
            status = message.status
            self._gone(
                process,
                Exit(process.pid, None, -status)
                if status < 0
                else Exit(process.pid, status),
            )
        else:
            self._not_started(process, message.why)

    # Their lives.

    def _started(self, process: _Process, pid: int, pidfd: int) -> None:
        self._restart_after = RESTART_SECONDS[0]
        process.calm()
        process.pid, process.pidfd = pid, pidfd
        process.watch = Readable(pidfd, lambda: self._ended(process))
        self._reactor.addReader(process.watch)
        if process.wish is not None:
            process.signal(process.wish)
        if process.started is not None:
            started, process.started = process.started, None
            started.callback(pid)

    def _not_started(self, process: _Process, why: str) -> None:
        del self._processes[process.server_id]
        process.calm()
        if process.started is not None:
            started, process.started = process.started, None
            started.errback(NoCapacity(why))
        self._check_closed()

    def _ended(self, process: _Process) -> None:
        """It is gone for sure; how, its parent will say if it can."""
        if process.pidfd is None or not _has_ended(process.pidfd):
            return  # Our own reactor stops.
        self._stop_watching(process)
        if self._link is not None:
            process.alarm = self._reactor.callLater(
                _STATUS_SECONDS, self._unexplained, process
            )
        else:
            self._unexplained(process)

    def _unexplained(self, process: _Process) -> None:
        process.alarm = None
        status: int | None = None
        number: int | None = None
        if process.pidfd is not None:
            # An orphan is ours to bury if we are process 1.
            with suppress(OSError):
                found = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOHANG)
                if found is not None and found.si_code == os.CLD_EXITED:
                    status = found.si_status
                elif found is not None:
                    number = found.si_status
        self._gone(process, Exit(process.pid, status, number))

    def _gone(self, process: _Process, how: Exit) -> None:
        del self._processes[process.server_id]
        process.calm()
        self._stop_watching(process)
        if process.pidfd is not None:
            os.close(process.pidfd)
            process.pidfd = None
        try:
            process.exited(how)
        except Exception:
            self._log.failure("exit of {pid} not dealt with", pid=process.pid)
        self._check_closed()

    def _stop_watching(self, process: _Process) -> None:
        if process.watch is not None:
            self._reactor.removeReader(process.watch)
            process.watch = None

    # The end.

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            process.signal(number)

    def _kill_all(self) -> None:
        self._insist = None
        self._signal_all(signal.SIGKILL)
        if self._link is not None and any(
            process.pidfd is None for process in self._processes.values()
        ):
            # It owes us processes and does not answer.
            self._link.kill()

    def _check_closed(self) -> None:
        if self._closed is None or self._is_closing_links or self._processes:
            return
        self._is_closing_links = True
        if self._insist is not None:
            self._insist.cancel()
            self._insist = None
        links = [*self._dead_links, *([self._link] if self._link else [])]
        self._link = None
        gatherResults([link.close() for link in links]).addCallback(
            lambda _: self._closed.callback(None) if self._closed else None
        )


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))

"""
Game servers as processes of this machine, forked from a warm interpreter.

Each gets a UDP port from one ring, in which no port is ever lost.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.errors import NoCapacity
from vinom.fleet.forklink import (
    Answer,
    ForkLink,
    ILocalReactor,
    Readable,
    User,
    arguments,
)
from vinom.fleet.forkserver import ORPHAN_SECONDS, Exited, Start, Started
from vinom.fleet.port_ring import GamePorts
from vinom.model import Addresses, Exit, ServerAddress
from vinom.ports import IFleet, IGameServer
from vinom.wall.enclosure import Enclosure
from vinom.wall.kernel import Peer

#: A fork server that takes longer than this to answer hangs, seconds; before its first
#: answer it loads its modules.
START_SECONDS = 30.0

#: When the fleet closes, processes that do not end within this are killed, seconds.
STOP_SECONDS = 5.0

#: Least and most wait before a fork server is started again, seconds.
RESTART_SECONDS = (0.1, 5.0)

# How long a fork server may take to report how a process ended, seconds.
_STATUS_SECONDS = 1.0


@attrs.frozen
class GameServerProgram:
    """
    The program of a game server.

    :ivar entry: ``"package.module:function"``, called with the server's id and
        its settings.
    :ivar settings: JSON-like; no secrets.
    :ivar preload: what the fork server loads once for all of them: modules, or
        ``package.module:function`` to call with the settings.
    :ivar memory: limit on a process's address space, bytes.
    :ivar descriptors: limit on its open descriptors.
    :ivar orphan_seconds: how long its game servers may outlive a dead node, seconds.
    :ivar wall: what the kernel is to refuse to them; ``None`` for nothing.
    :ivar user: as whom they run; ``None`` for the node's user.
    """

    entry: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    preload: tuple[str, ...] = ()
    memory: int = 512 * 1024 * 1024
    descriptors: int = 256
    orphan_seconds: float = ORPHAN_SECONDS
    wall: Enclosure | None = None
    user: User | None = None


@attrs.define(eq=False)
class _Process:
    """
    One game server.

    :ivar server: whose process it is.
    :ivar reached: gets the address; ``None`` once it has, or once nobody waits.
    :ivar reaching: gives it a port; cancelled when the process ends.
    :ivar alarm: rings if the fork server does not answer about it.
    :ivar pid: 0 until it runs.
    :ivar pidfd: ``None`` until it runs.
    :ivar dialed: the process that dialed before this one was known to run; or 0.
    :ivar watch: reports when it ends.
    :ivar signal_due: the signal to send as soon as it runs.
    """

    server: IGameServer
    reached: Deferred[ServerAddress] | None = None
    reaching: Deferred[None] | None = None
    alarm: IDelayedCall | None = None
    pid: int = 0
    pidfd: int | None = None
    dialed: int = 0
    watch: Readable | None = None
    signal_due: signal.Signals | None = None

    @property
    def server_id(self) -> str:
        return str(self.server.server_id)

    def signal(self, number: signal.Signals) -> None:
        self.signal_due = number
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
    Fork game servers, watch them by pidfd, and never lose one or its port.

    The fork server starts with the first game server, and again if it dies; the
    processes that it forked keep running.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ILocalReactor,
        program: GameServerProgram,
        ports: GamePorts,
        environment: Mapping[str, str],
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        """
        :param reactor: runs processes and watches descriptors; also the clock.
        :param program: what is forked.
        :param ports: where players reach game servers.
        :param environment: ours; only a few variables are passed on.
        :param stop_seconds: when the fleet closes, what does not end by then is
            killed.
        """
        self._reactor, self._program, self._ports = reactor, program, ports
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
        """The process id of the running fork server, for operators."""
        return self._link.pid if self._link is not None else None

    def pid_of(self, server_id: str) -> int | None:
        """The process id of a game server, for operators; ``None`` without one."""
        process = self._processes.get(server_id)
        return process.pid or None if process is not None else None

    def start(self, server: IGameServer) -> Deferred[ServerAddress]:
        """
        Fork a game server; the result comes when it has bound a port.

        Cancelling kills it.

        :raises NoCapacity: the system refused, the fork server died, or it ended.
        """
        server_id = server.server_id
        if server_id in self._processes:
            raise ValueError(f"game server {server_id} was started already")
        if self._closed is not None:
            return fail(NoCapacity("the fleet is closed"))
        if self._restart is not None:
            return fail(NoCapacity("the fork server is restarting"))
        if self._link is None:
            self._launch()
        program = self._program
        start = Start(
            server_id, dict(program.settings), program.memory, program.descriptors
        )
        if self._link is None or not self._link.start(start):
            return fail(NoCapacity("the fork server does not take requests now"))
        process = _Process(server)
        process.alarm = self._reactor.callLater(START_SECONDS, self._hangs, process)
        self._processes[server_id] = process

        def give_up(_: Deferred[ServerAddress]) -> None:
            process.reached = None
            process.signal(signal.SIGKILL)

        reached: Deferred[ServerAddress] = Deferred(give_up)
        process.reached = reached
        process.reaching = Deferred.fromCoroutine(self._reach(process))
        process.reaching.addErrback(self._not_reached, server_id)
        return reached

    async def _reach(self, process: _Process) -> None:
        where = await self._ports.reach(process.server)
        if process.reached is not None:
            reached, process.reached = process.reached, None
            reached.callback(where)

    def _not_reached(self, failure: Failure, server_id: str) -> None:
        # It has no port; the fleet kills it after `ServerTimeouts.bind`.
        if failure.check(CancelledError) is None:
            self._log.failure(
                "cannot give game server {server} a port", failure, server=server_id
            )

    def admits(self, server_id: str, pid: int) -> bool:
        """Is this the process that was forked for it?"""
        process = self._processes.get(server_id)
        if process is not None and process.pid == 0:
            # It may dial before the fork server reports that it runs; then we compare.
            process.dialed = pid
            return True
        return process is not None and process.pid == pid

    def is_child(self, peer: Peer) -> bool:
        """Is this a process of ours: the fork server, a game server, or its child?"""
        user = self._program.user
        if user is not None and peer.uid == user.uid:
            return True
        ours = {process.pid for process in self._processes.values()} - {0}
        links = [*self._dead_links, *([self._link] if self._link else [])]
        ours |= {link.pid for link in links}
        return not ours.isdisjoint(_ancestors(peer.pid))

    def addresses(self) -> Addresses:
        """Count the ports."""
        return self._ports.counts()

    def stop(self, server_id: str, kill: bool = False) -> None:
        """Ask a game server to end, or kill it."""
        process = self._processes.get(server_id)
        if process is not None:
            process.signal(signal.SIGKILL if kill else signal.SIGTERM)

    def close(self) -> Deferred[None]:
        """End all processes; the result comes when they have ended."""
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
                    program.wall,
                ),
                self._environment,
                self._answered,
                self._link_gone,
                program.user,
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
            # Its children still print through its pipes.
            self._dead_links.append(link)
            link.ended.addCallback(lambda _: self._dead_links.remove(link))
        if self._closed is None:
            # First: a caller may ask again as soon as its request fails.
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

    def _answered(self, message: Answer, pidfd: int | None) -> None:
        process = self._processes.get(message.server_id)
        if isinstance(message, Started):
            if process is None or pidfd is None:
                raise AssertionError(f"{message} was not asked for")
            self._started(process, message.pid, pidfd)
        elif process is None:
            # This answer comes too late; we have given up.
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

    # Processes.

    def _started(self, process: _Process, pid: int, pidfd: int) -> None:
        self._restart_after = RESTART_SECONDS[0]
        process.calm()
        process.pid, process.pidfd = pid, pidfd
        if process.dialed not in (0, pid):
            self._log.error(
                "process {other} dialed as game server {server}, which is {pid}",
                other=process.dialed,
                server=process.server_id,
                pid=pid,
            )
            process.signal(signal.SIGKILL)
        process.watch = Readable(pidfd, lambda: self._ended(process))
        self._reactor.addReader(process.watch)
        if process.signal_due is not None:
            process.signal(process.signal_due)

    def _not_started(self, process: _Process, why: str) -> None:
        del self._processes[process.server_id]
        process.calm()
        self._stop_reaching(process, why)
        self._check_closed()

    def _stop_reaching(self, process: _Process, why: str) -> None:
        """Free its port: players can no longer reach it."""
        if process.reaching is not None:
            reaching, process.reaching = process.reaching, None
            reaching.cancel()
        if process.reached is not None:
            reached, process.reached = process.reached, None
            reached.errback(NoCapacity(why))

    def _ended(self, process: _Process) -> None:
        """The process has ended; the fork server reports how, if it can."""
        if process.pidfd is None or not _has_ended(process.pidfd):
            return  # Our own reactor is stopping.
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
            # Orphans become our children if we are process 1.
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
        self._ports.give_back(process.server_id)
        try:
            process.server.ended(how)
        except Exception:
            self._log.failure(
                "failed to handle the exit of process {pid}", pid=process.pid
            )
        self._stop_reaching(process, "its process ended")
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
            # It was asked for processes and does not answer.
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


def _ancestors(pid: int) -> set[int]:
    """List a process and those that it descends from, as far as the kernel says."""
    found: set[int] = set()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        # The program's name before it may contain blanks and brackets.
        pid = int(stat.rpartition(")")[2].split()[1])
    return found

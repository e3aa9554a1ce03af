"""
Game servers as processes of this machine, forked from a warm interpreter.

Each gets a UDP port from one ring, in which no port is ever lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import (
    Deferred,
    fail,
    gatherResults,
    succeed,
)
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.model import ServerAddress
from vinom.base.reactor.alarm import Timer
from vinom.base.wall.enclosure import Enclosure
from vinom.base.wall.kernel import Peer
from vinom.errors import NoCapacity
from vinom.fleet.control.link import Arrived
from vinom.fleet.interfaces import IFleet, IGameServer
from vinom.fleet.local.forklink import (
    Answer,
    ForkLink,
    ILocalReactor,
    User,
    arguments,
)
from vinom.fleet.local.forkserver import (
    LEASE_SECONDS,
    ORPHAN_SECONDS,
    Exited,
    Start,
    Started,
)
from vinom.fleet.local.outliving import (
    clear_mailboxes,
    has_mailbox,
    make_mailbox,
)
from vinom.fleet.local.process import (
    HIDDEN,
    LocalProcess,
    ProcessMeans,
    ancestors_of,
    birth_of,
    has_exited,
)
from vinom.fleet.port_ring import GamePorts, RelayedPorts

#: A fork server that takes longer than this to answer hangs, seconds; before its first
#: answer it loads its modules.
START_SECONDS = 30.0

#: When the fleet closes, processes that do not end within this are killed, seconds.
STOP_SECONDS = 5.0

#: Least and most wait before a fork server is started again, seconds.
RESTART_SECONDS = (0.1, 5.0)

#: The variable that holds the id of a game server with a command.
SERVER_ID = "VINOM_SERVER_ID"


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
    :ivar lease_seconds: how much longer those with a match may.
    :ivar wall: what the kernel is to refuse to them; ``None`` for nothing.
    :ivar user: as whom they run; ``None`` for the node's user.
    :ivar command: a program to run instead of the entry point. It is told in variables
        of its environment what it needs to dial: see docs/protocol/game-servers.rst.
    :ivar environment: variables for that program.
    :ivar folder: where that program starts; empty for the node's.
    """

    entry: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    preload: tuple[str, ...] = ()
    memory: int = 512 * 1024 * 1024
    descriptors: int = 256
    orphan_seconds: float = ORPHAN_SECONDS
    lease_seconds: float = LEASE_SECONDS
    wall: Enclosure | None = None
    user: User | None = None
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = attrs.field(factory=dict)
    folder: str = ""


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
        ports: GamePorts | RelayedPorts,
        environment: Mapping[str, str],
        stop_seconds: float = STOP_SECONDS,
        mail: Path | None = None,
    ) -> None:
        """
        :param reactor: runs processes and watches descriptors; also the clock.
        :param program: what is forked.
        :param ports: where players reach game servers.
        :param environment: ours; only a few variables are passed on.
        :param stop_seconds: when the fleet closes, what does not end by then is
            killed.
        :param mail: folder of mailboxes; without it no later node reaches a game server
            of this one.
        """
        self._mail = None if mail is None else mail.absolute()
        #: Gets the links of game servers that were called; set before any is.
        self.arrived: Arrived | None = None
        self._reactor, self._program, self._ports = reactor, program, ports
        self.addresses, self.free = ports.counts, ports.free
        self._stop_seconds = stop_seconds
        self._environment = environment
        self._link: ForkLink | None = None
        self._dead_links: list[ForkLink] = []
        self._processes: dict[str, LocalProcess] = {}
        self._means = ProcessMeans(
            reactor, ports, self._mail, self._over, self._check_closed
        )
        self._restart = Timer(self._reactor)
        self._restart_after = RESTART_SECONDS[0]
        self._closed: Deferred[None] | None = None
        self.problem, self._cannot_launch, self._owes_start = "", False, False
        self._is_closing_links = self._has_released = False
        self._insist = Timer(self._reactor)

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
        if self._restart.is_running:
            return fail(NoCapacity("the fork server is restarting"))
        if self._link is None:
            self._launch()
        program = self._program
        start = Start(
            server_id,
            dict(program.settings),
            program.memory,
            program.descriptors,
            program.command,
            {**program.environment, SERVER_ID: server_id} if program.command else {},
            program.folder,
        )
        if self._link is None or not self._link.start(start):
            return fail(NoCapacity("the fork server does not take requests now"))
        process = LocalProcess(server, self._means, self._link)
        process.alarm = self._reactor.callLater(START_SECONDS, self._hangs, process)
        self._processes[server_id] = process
        return process.reach()

    def admits(self, server_id: str, pid: int, proof: bytes = b"") -> bool:
        """Is this the process that was forked for it?"""
        process = self._processes.get(server_id)
        if process is not None and process.pid == 0:
            # It may dial before the fork server reports that it runs; then we compare.
            process.dialed = pid
            return True
        return process is not None and process.pid == pid

    def welcome(self, server_id: str) -> bytes:
        """The system says which process dialed."""
        return b""

    def plays(self, server_id: str, match_ids: Sequence[str]) -> None:
        """Nobody looks at its processes for that."""

    def is_child(self, peer: Peer) -> bool:
        """Is this a process of ours: the fork server, a game server, or its child?"""
        user = self._program.user
        if user is not None and peer.uid == user.uid:
            return True
        if peer.pid and peer.uid == os.geteuid() and birth_of(peer.pid) == HIDDEN:
            # A process of our own user that hides as game servers do; without a number
            # it is of another PID namespace, such as a gateway's container.
            return True
        ours = {process.pid for process in self._processes.values()} - {0}
        links = [*self._dead_links, *([self._link] if self._link else [])]
        ours |= {link.pid for link in links}
        return not ours.isdisjoint(ancestors_of(peer.pid))

    def handle(self, server_id: str) -> str:
        """Name its process, and when that began; empty without one."""
        process = self._processes.get(server_id)
        return "" if process is None else process.handle

    def mailbox(self, server_id: str) -> tuple[int, ...]:
        """Make its mailbox; nothing if that is not possible."""
        if self._mail is None:
            return ()
        try:
            return (make_mailbox(self._mail, server_id),)
        except OSError as error:
            self._log.error(
                "game server {server} ends with this node, because it has no mailbox: "
                "{why}",
                server=server_id,
                why=str(error),
            )
            return ()

    def adopt(self, server: IGameServer, handle: str, where: ServerAddress) -> bool:
        """Watch a process that an earlier node started; ``False`` if it is gone."""
        server_id = server.server_id
        found = _read_handle(handle)
        if found is None or server_id in self._processes:
            return False
        pid, birth, mail = found
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        # In this order: what the descriptor stands for is what was born then.
        if not self._lives(server_id, found) or has_exited(pidfd):
            os.close(pidfd)
            return False
        self._ports.withhold(server_id, where.port)
        process = LocalProcess(server, self._means)
        process.birth, process.mail = birth, mail or self._mail
        self._processes[server_id] = process
        process.follow(pid, pidfd)
        return True

    def reaches(self, server_id: str, handle: str) -> Deferred[bool]:
        """
        Can this node go on with a game server that another one has started?

        Its node must have run as the same user, and this one see the same processes
        and files: in another container it is out of reach. The folder of the mailbox
        shows that no other user has made this up.
        """
        return succeed(self._reaches(server_id, handle))

    def _reaches(self, server_id: str, handle: str) -> bool:
        found = _read_handle(handle)
        if found is None or self._mail is None:
            return False
        mail = found[2] or self._mail
        return (
            is_own_folder(mail)
            and has_mailbox(mail, server_id)
            and self._lives(server_id, found)
        )

    def _lives(self, server_id: str, found: tuple[int, str, Path | None]) -> bool:
        """
        Is the process of a handle still the same one?

        By when it began; if the system hides that, by its mailbox, which no other
        process has.
        """
        pid, birth, mail = found
        now = birth_of(pid)
        if HIDDEN not in (birth, now):
            return birth == now
        mail = mail or self._mail
        return mail is not None and has_mailbox(mail, server_id)

    def call(self, server_id: str) -> None:
        """Send it one end of a new link, and a pipe for what it prints."""
        process = self._processes.get(server_id)
        if process is not None and self.arrived is not None:
            process.call(self.arrived)

    def release(self, server_id: str) -> None:
        """Watch a game server no more, which plays on at its port."""
        process = self._processes.pop(server_id, None)
        if process is not None:
            process.let_go()
            self._ports.set_aside(server_id)
            self._has_released = True

    def clear(self) -> None:
        """
        Look at what there is beside the game servers that are known by now: remove
        mailboxes of others, and find ports that other programs have.
        """
        if self._mail is not None:
            clear_mailboxes(self._mail, tuple(self._processes))
        if taken := self._ports.look():
            self._log.warn(
                "UDP ports of game servers that other programs have: {taken}; until "
                "they stop, or ports is set to another range, fewer matches fit",
                taken=", ".join(map(str, taken)),
            )

    def stop(self, server_id: str, kill: bool = False) -> None:
        """Ask a game server to end, or kill it."""
        process = self._processes.get(server_id)
        if process is not None:
            process.signal(signal.SIGKILL if kill else signal.SIGTERM)

    def close(self) -> Deferred[None]:
        """End all processes; the result comes when they have ended."""
        if self._closed is None:
            self._closed = Deferred()
            self._restart.cancel()
            self._signal_all(signal.SIGTERM)
            self._insist.start(self._stop_seconds, self._kill_all)
            self._check_closed()
        closed: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: closed.callback(None))
        return closed

    # The fork server.

    def _launch(self) -> None:
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
                    program.lease_seconds,
                ),
                self._environment,
                self._answered,
                self._link_gone,
                program.user,
            )
        except OSError as error:
            self._cannot_launch = True
            self.problem = (
                f"the fork server cannot be started ({error}): make sure that the "
                "node's user can run that program"
            )
            self._launch_later()
        else:
            if self._cannot_launch:
                self._cannot_launch, self.problem = False, ""
            self._log.info("fork server is {pid}", pid=self._link.pid)

    def _launch_later(self) -> None:
        self._restart.start(self._restart_after, self._launch)
        self._restart_after = min(self._restart_after * 2, RESTART_SECONDS[1])

    def _link_gone(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._log.error("fork server {pid} died", pid=link.pid)
            if self._owes_start:
                # Nor has the one before it.
                self.problem = (
                    "the fork server dies before it has started a game server: the "
                    "node's log has what it prints"
                )
            self._dead_links.append(link)
            link.ended.addCallback(lambda _: self._dead_links.remove(link))
        if self._closed is None:
            # First: a caller may ask again as soon as its request fails.
            self._launch_later()
        for process in tuple(self._processes.values()):
            if process.pidfd is None:
                self._owes_start = True
                process.over("the fork server died")
        self._check_closed()

    def _hangs(self, process: LocalProcess) -> None:
        process.alarm = None
        if self._link is not None:
            self._log.error("fork server {pid} hangs", pid=self._link.pid)
            self._link.kill()

    def _answered(self, message: Answer, descriptors: tuple[int, ...]) -> None:
        process = self._processes.get(message.server_id)
        if isinstance(message, Started):
            if process is None or len(descriptors) != 2:
                raise AssertionError(f"{message} was not asked for")
            self._restart_after = RESTART_SECONDS[0]
            self._owes_start, self.problem = False, ""
            process.started(message.pid, *descriptors)
        elif process is None:
            # This answer comes too late; we have given up.
            pass
        elif isinstance(message, Exited):
            process.exited(message.status)
        else:
            process.over(message.why)

    def _over(self, process: LocalProcess) -> None:
        del self._processes[process.server_id]

    # The end.

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            process.signal(number)

    def _kill_all(self) -> None:
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
        self._insist.cancel()
        links = [*self._dead_links, *([self._link] if self._link else [])]
        self._link = None
        if self._has_released:
            # What they wait for is their children's end.
            for link in links:
                link.leave()
            links = []
        gatherResults([link.close() for link in links]).addCallback(
            lambda _: self._closed.callback(None) if self._closed else None
        )


def _read_handle(handle: str) -> tuple[int, str, Path | None] | None:
    """
    Read the process of a handle, when it began, and the folder of its mailbox.

    Older ones have no folder: then it is the node's own.
    """
    pid, _, rest = handle.partition(" ")
    birth, _, mail = rest.partition(" /")
    if not (pid.isdecimal() and birth):
        return None
    return int(pid), birth, Path(f"/{mail}") if mail else None


def is_own_folder(folder: Path) -> bool:
    """Does this folder belong to the user that runs this node?"""
    try:
        return folder.is_dir() and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False

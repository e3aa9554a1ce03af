"""One game server as a process of this machine, and what the system says of others."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.model import Exit, ServerAddress
from vinom.errors import NoCapacity
from vinom.fleet.control.link import Arrived, ControlLink, ControlServer, LinkOwner
from vinom.fleet.control.messages import Ready
from vinom.fleet.interfaces import IGameServer
from vinom.fleet.local.forklink import ForkLink, ILocalReactor, PipedOutput, Readable
from vinom.fleet.local.outliving import post, remove_mailbox
from vinom.fleet.port_ring import GamePorts, RelayedPorts

#: Stands in a handle for when a process began, if the system does not say.
HIDDEN = "?"

#: How long a fork server may take to report how a process ended, seconds.
STATUS_SECONDS = 1.0


@attrs.frozen
class ProcessMeans:
    """
    What all processes of a fleet share.

    :ivar reactor: watches descriptors; also the clock.
    :ivar ports: where players reach them.
    :ivar mail: folder of this node's mailboxes; ``None``: they have none.
    :ivar over: called with each that has ended, before anybody is told.
    :ivar told: called when everybody was.
    """

    reactor: ILocalReactor
    ports: GamePorts | RelayedPorts
    mail: Path | None
    over: Callable[[LocalProcess], None]
    told: Callable[[], None]


class LocalProcess:
    """
    One game server: started, given a port, watched by pidfd, signalled, gone.

    :ivar server: whose process it is.
    :ivar alarm: rings if the fork server does not answer about it.
    :ivar pid: 0 until it runs.
    :ivar pidfd: ``None`` until it runs.
    :ivar dialed: the process that dialed before this one was known to run; or 0.
    :ivar birth: when it began: see `birth_of`.
    :ivar mail: folder of its mailbox.
    """

    _log = Logger()

    def __init__(
        self, server: IGameServer, means: ProcessMeans, link: ForkLink | None = None
    ) -> None:
        """
        :param server: whose process it is.
        :param means: what it needs.
        :param link: of its fork server; ``None`` if an earlier node started it.
        """
        self.server, self._means, self._link = server, means, link
        self.server_id = str(server.server_id)
        self.alarm: IDelayedCall | None = None
        self.pid = self.dialed = 0
        self.pidfd: int | None = None
        self.birth, self.mail = "", means.mail
        # Gets the address; `None` once it has, or once nobody waits.
        self._reached: Deferred[ServerAddress] | None = None
        self._reaching: Deferred[None] | None = None
        self._watch: Readable | None = None
        # What it prints; `None` if this node has not called it yet.
        self._output: PipedOutput | None = None
        # To send as soon as it runs.
        self._signal_due: signal.Signals | None = None

    def reach(self) -> Deferred[ServerAddress]:
        """
        Give it a port; the result comes when it has bound it.

        Cancelling kills it.

        :raises NoCapacity: it is over.
        """

        def give_up(_: Deferred[ServerAddress]) -> None:
            self._reached = None
            self.signal(signal.SIGKILL)

        reached = self._reached = Deferred(give_up)
        self._reaching = Deferred.fromCoroutine(self._reach())
        self._reaching.addErrback(self._not_reached)
        return reached

    async def _reach(self) -> None:
        where = await self._means.ports.reach(self.server)
        if self._reached is not None:
            reached, self._reached = self._reached, None
            reached.callback(where)

    def _not_reached(self, failure: Failure) -> None:
        # It has no port; the fleet kills it after `ServerTimeouts.bind`.
        if failure.check(CancelledError) is None:
            self._log.failure(
                "cannot give game server {server} a port",
                failure,
                server=self.server_id,
            )

    @property
    def handle(self) -> str:
        """Name it, and when it began, for a later node; empty if none can find it."""
        if self.mail is None or self.pidfd is None:
            return ""
        return f"{self.pid} {self.birth} {self.mail}"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, now or as soon as it runs."""
        self._signal_due = number
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def calm(self) -> None:
        """Nobody needs to wait for the fork server."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    def call(self, arrived: Arrived) -> None:
        """Send it one end of a new link, and a pipe for what it prints."""
        if self.mail is None:
            return
        reactor = self._means.reactor
        ours, theirs = socket.socketpair()
        reads, writes = os.pipe()
        # It would wait for us otherwise: see `vinom.fleet.local.forkserver`.
        os.set_blocking(writes, False)
        with ours, theirs:
            is_sent = post(self.mail, self.server_id, (theirs.fileno(), writes))
            os.close(writes)
            if not is_sent:
                os.close(reads)
                return

            def answered(ready: Ready, link: ControlLink) -> LinkOwner | None:
                # Nobody else can answer here.
                is_it = ready.server_id == self.server_id
                return arrived(ready, link) if is_it else None

            ours.setblocking(False)
            factory = ControlServer(reactor, answered, asks_who=False)
            reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
        self._print_to(reads)

    def _print_to(self, descriptor: int) -> None:
        if self._output is not None:
            self._output.close()
        self._output = PipedOutput(self._means.reactor, descriptor, self.server_id)

    # What happens to it.

    def started(self, pid: int, pidfd: int, output: int) -> None:
        """It runs."""
        self.calm()
        self._print_to(output)
        # Unless it has ended, in which case nobody asks.
        self.birth = birth_of(pid)
        if self.dialed not in (0, pid):
            self._log.error(
                "process {other} dialed as game server {server}, which is {pid}",
                other=self.dialed,
                server=self.server_id,
                pid=pid,
            )
            self._signal_due = signal.SIGKILL
        self.follow(pid, pidfd)
        if self._signal_due is not None:
            self.signal(self._signal_due)

    def follow(self, pid: int, pidfd: int) -> None:
        """Report when it ends."""
        self.pid, self.pidfd = pid, pidfd
        self._watch = Readable(pidfd, self._ended)
        self._means.reactor.addReader(self._watch)

    def _ended(self) -> None:
        """The process has ended; its fork server reports how, if it lives."""
        if self.pidfd is None or not has_exited(self.pidfd):
            return  # Our own reactor is stopping.
        self._stop_watching()
        if self._link is not None and self._link.is_open:
            self.alarm = self._means.reactor.callLater(
                STATUS_SECONDS, self._unexplained
            )
        else:
            self._unexplained()

    def _unexplained(self) -> None:
        self.alarm = None
        status: int | None = None
        number: int | None = None
        if self.pidfd is not None:
            # Orphans become our children if we are process 1.
            with suppress(OSError):
                found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
                if found is not None and found.si_code == os.CLD_EXITED:
                    status = found.si_status
                elif found is not None:
                    number = found.si_status
        self._gone(Exit(self.pid, status, number))

    def exited(self, status: int) -> None:
        """It has ended with this status; minus the number of a signal, if by one."""
        self._gone(
            Exit(self.pid, None, -status) if status < 0 else Exit(self.pid, status)
        )

    def _gone(self, how: Exit) -> None:
        self.let_go()
        self._means.ports.give_back(self.server_id, self.server.keeps_address)
        if self.mail is not None:
            remove_mailbox(self.mail, self.server_id)
        self.over("its process ended", how)

    def over(self, why: str, how: Exit | None = None) -> None:
        """
        It was not started, or has ended: players can no longer reach it.

        :param how: how it has ended.
        """
        self._means.over(self)
        self.calm()
        if how is not None:
            try:
                self.server.ended(how)
            except Exception:
                self._log.failure(
                    "failed to handle the exit of process {pid}", pid=self.pid
                )
        if self._reaching is not None:
            reaching, self._reaching = self._reaching, None
            reaching.cancel()
        if self._reached is not None:
            reached, self._reached = self._reached, None
            reached.errback(NoCapacity(why))
        self._means.told()

    def let_go(self) -> None:
        """Watch it no more."""
        self.calm()
        self._stop_watching()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._means.reactor.removeReader(self._watch)
            self._watch = None


def machine() -> str:
    """Name this run of this machine, and which processes this one sees there."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


@cache
def this_process() -> str:
    """Name this process for others of its machine: `has_ended`."""
    pid = os.getpid()
    return f"{machine()}\n{pid}\n{birth_of(pid)}"


def has_ended(process: str) -> bool:
    """Has a process of this machine ended? ``False`` if that cannot be seen."""
    there, _, rest = process.partition("\n")
    pid, _, birth = rest.partition("\n")
    if there != machine() or not pid.isdecimal():
        return False
    with suppress(PermissionError):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
    now = birth_of(int(pid))
    return HIDDEN not in (birth, now) and birth != now


def has_exited(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def birth_of(pid: int) -> str:
    """
    Write when a process began, for this machine's run: so it is one process for ever.

    :returns: `HIDDEN` if there is no such process, or the system does not say: where
        ``/proc`` is mounted with ``hidepid``, as by systemd's ``ProtectProc``, nobody
        sees a process that hides its memory, as game servers do.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return HIDDEN
    # proc(5): the 22nd field; the 2nd may contain blanks and brackets.
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"


def ancestors_of(pid: int) -> set[int]:
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

"""
The fork server: a warm interpreter from which game servers are forked.

Run by `vinom.fleet.local.fleet` as ``python -m vinom.fleet.local.forkserver``, with a
SOCK_SEQPACKET socket to its node as descriptor 3. Neither it nor a
process that it forks has a reactor or secrets at the time of the fork. Game servers
keep running when it dies. When its node dies it stays only for as long as game servers
may hang that no other node has adopted.

What a game server prints goes through a pipe to the node's log. The node may be gone,
and it reads only so much (`vinom.fleet.local.forklink.PipedOutput`); neither is to stop
a game that prints.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from mmap import MADV_DONTFORK, mmap
from typing import Any, NoReturn

import attrs
import msgspec
from msgspec import Struct
from setproctitle import setproctitle

from vinom.base.wall.enclosure import Enclosure, lower_limit, part
from vinom.fleet.local.outliving import ENDS, PLAYS_ON, make_page, use_page


class _Unfailing(io.RawIOBase):
    """Write to a descriptor whatever it takes now, and drop the rest."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._dropped = descriptor, 0

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = bytes(data)
        if self._dropped:
            # The first line is the end of one that was cut.
            told = f"\n{self._dropped} printed lines were dropped before this one\n"
            text = told.encode() + text
        try:
            sent = os.write(self._descriptor, text)
        except OSError:
            sent = 0
        if sent:
            self._dropped = 0
        self._dropped += text[sent:].count(b"\n")
        return len(data)


def print_without_fail(descriptor: int) -> io.TextIOWrapper:
    """Make a stream for a descriptor; no method fails, or waits if that does not."""
    raw: Any = _Unfailing(descriptor)
    return io.TextIOWrapper(
        raw, encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


#: Descriptor of the socket to the node.
NODE_DESCRIPTOR = 3

#: Longest message either way, bytes.
MESSAGE_LIMIT = 64 * 1024

#: When the node is dead, game servers without a match end by themselves within 5 s;
#: after this time those that hang are killed.
ORPHAN_SECONDS = 15.0
#: Those with a match play on for this long, if no other node adopts them.
LEASE_SECONDS = 45.0

# These must not be loaded before the fork: all children would share a reactor's
# descriptors.
_REACTOR = "twisted.internet.reactor"


class Start(Struct, frozen=True, tag="start"):
    """
    Fork a game server; answered by `Started` or `NotStarted`.

    :ivar settings: passed to the entry point, JSON-like.
    :ivar memory: limit on its address space, bytes; with a command, on its data, for
        some runtimes reserve address space by the gigabyte.
    :ivar descriptors: limit on its open descriptors.
    :ivar command: run this program instead; empty for the entry point.
    :ivar environment: variables for that program.
    :ivar folder: where that program starts; empty for ours.
    """

    server_id: str
    settings: dict[str, Any]
    memory: int
    descriptors: int
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    folder: str = ""


class Started(Struct, frozen=True, tag="started"):
    """The process runs; its pidfd comes with the message, and a pipe: its output."""

    server_id: str
    pid: int


class NotStarted(Struct, frozen=True, tag="not_started"):
    """The system refused to fork."""

    server_id: str
    why: str


class Exited(Struct, frozen=True, tag="exited"):
    """
    The process ended.

    :ivar status: as `os.waitstatus_to_exitcode` returns it; negative for a signal.
    """

    server_id: str
    pid: int
    status: int


_from_node = msgspec.json.Decoder(Start)
encode = msgspec.json.Encoder().encode


@attrs.frozen(eq=False)
class _Child:
    """A game server; *page* has how long it may outlive the node."""

    server_id: str
    pid: int
    page: mmap


@attrs.define(eq=False)
class ForkServer:
    """
    Fork on request, and report exits.

    :ivar node: socket to the node; ``None`` once the node is gone.
    :ivar entry: ``"package.module:function"``, called in the child with the
        server's id and its settings.
    :ivar is_walled: whether children are parted from one another too.
    :ivar lease_seconds: how long game servers with a match play on without a node.
    """

    node: socket.socket | None
    entry: str
    orphan_seconds: float = ORPHAN_SECONDS
    is_walled: bool = False
    lease_seconds: float = LEASE_SECONDS
    _children: dict[int, _Child] = attrs.field(factory=dict, init=False)
    _poll: select.poll = attrs.field(factory=select.poll, init=False)
    _kill_at: float = attrs.field(default=inf, init=False)
    _last_kill_at: float = attrs.field(default=inf, init=False)
    _is_lease_over: bool = attrs.field(default=False, init=False)

    def serve(self) -> None:
        """Serve until the node, and every child that is ours to watch, are gone."""
        if self.node is not None:
            self._poll.register(self.node, select.POLLIN)
        while self.node is not None or (self._children and not self._is_lease_over):
            for descriptor, _ in self._poll.poll(self._timeout()):
                if descriptor in self._children:
                    self._reap(descriptor)
                elif self.node is not None:
                    self._listen(self.node)
            if time.monotonic() >= self._kill_at:
                self._kill_orphans()

    def _timeout(self) -> float | None:
        """Return how long to wait for an event, milliseconds; ``None`` for any time."""
        if self._kill_at == inf:
            return None
        return max(0.0, self._kill_at - time.monotonic()) * 1000

    def _listen(self, node: socket.socket) -> None:
        try:
            message = node.recv(MESSAGE_LIMIT)
        except OSError:
            message = b""
        if message:
            self._start(_from_node.decode(message))
        else:
            self._node_gone()

    def _start(self, start: Start) -> None:
        page = make_page()
        try:
            reads, writes = os.pipe()
        except OSError as error:
            self._send(encode(NotStarted(start.server_id, str(error))))
            return
        try:
            pid = os.fork()
            if pid == 0:
                use_page(page)
                become_game_server(self.entry, start, self.is_walled, writes)
            pidfd = self._watch(pid)
        except OSError as error:
            os.close(reads)
            self._send(encode(NotStarted(start.server_id, str(error))))
            return
        finally:
            os.close(writes)
        # The next ones have no business with this page.
        page.madvise(MADV_DONTFORK)
        self._children[pidfd] = _Child(start.server_id, pid, page)
        self._poll.register(pidfd, select.POLLIN)
        self._send(encode(Started(start.server_id, pid)), pidfd, reads)
        os.close(reads)

    @staticmethod
    def _watch(pid: int) -> int:
        try:
            return os.pidfd_open(pid)
        except OSError:
            # Without a pidfd we could lose it, so we end it. It is still our child, so
            # the pid cannot belong to another process.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def _reap(self, pidfd: int) -> None:
        child = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        _, status = os.waitpid(child.pid, 0)
        os.close(pidfd)
        child.page.close()
        code = os.waitstatus_to_exitcode(status)
        self._send(encode(Exited(child.server_id, child.pid, code)))

    def _send(self, message: bytes, *descriptors: int) -> None:
        if self.node is None:
            return
        try:
            socket.send_fds(self.node, [message], descriptors)
        except OSError:
            self._node_gone()

    def _node_gone(self) -> None:
        if self.node is not None:
            self._poll.unregister(self.node)
            self.node.close()
            self.node = None
            self._kill_at = time.monotonic() + self.orphan_seconds
            self._last_kill_at = self._kill_at + self.lease_seconds

    def _kill_orphans(self) -> None:
        """Kill those that should have ended: first without a match, then all others."""
        is_last = self._kill_at == self._last_kill_at
        for pidfd, child in self._children.items():
            how = child.page[0]
            if how == ENDS or (how == PLAYS_ON and is_last):
                # Their exits wake the poll.
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self._is_lease_over = is_last
        self._kill_at = inf if is_last else self._last_kill_at


def become_game_server(
    entry: str, start: Start, is_walled: bool, output: int
) -> NoReturn:
    """
    Turn this freshly forked process into a game server, and never return.

    No code of the fork server may run in it again, so it ends with `os._exit`.

    :param entry: called with the server's id and its settings.
    :param start: what was asked for.
    :param is_walled: whether it is parted from its siblings.
    :param output: the pipe that it is to print to.
    """
    status = 1
    try:
        for standard in (1, 2):
            os.dup2(output, standard)
        # A program of somebody else's may not expect that; it waits if it must.
        os.set_blocking(output, bool(start.command))
        # Ctrl-C in a terminal is for the node, which drains.
        os.setsid()
        setproctitle(f"vinom game server {start.server_id}: starting")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.closerange(NODE_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))
        memory = resource.RLIMIT_DATA if start.command else resource.RLIMIT_AS
        lower_limit(memory, start.memory)
        lower_limit(resource.RLIMIT_NOFILE, start.descriptors)
        # Its memory holds tokens and a key.
        lower_limit(resource.RLIMIT_CORE, 0)
        if start.command:
            _become_program(start)
        if is_walled:
            part()
        module, _, function = entry.partition(":")
        main = getattr(importlib.import_module(module), function)
        gc.enable()
        main(start.server_id, start.settings)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _become_program(start: Start) -> NoReturn:
    """
    Replace this process by a game server's own program.

    :raises SystemExit: it cannot be run; the message says why.
    """
    # Python ignores these; other programs want to be told.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON")
    }
    try:
        if start.folder:
            os.chdir(start.folder)
        os.execvpe(start.command[0], start.command, ours | start.environment)
    except (OSError, ValueError) as error:
        sys.exit(f"game server {start.server_id}: cannot run {start.command}: {error}")


def preload(what: Sequence[str], settings: dict[str, Any]) -> None:
    """
    Load what every game server needs, so that they share its memory.

    A module that cannot be loaded is reported and skipped: the game server that
    needs it reports what it was needed for.

    :param what: modules, or ``package.module:function`` to call once with
        *settings*; it must leave no thread and no descriptor behind.
    :param settings: the settings of the game servers.
    :raises SystemExit: loading it installed a reactor.
    """
    for name in what:
        module, _, function = name.partition(":")
        try:
            loaded = importlib.import_module(module)
            if function:
                getattr(loaded, function)(settings)
        except Exception as error:
            print(f"cannot preload {name}: {error}", file=sys.stderr, flush=True)
        if _REACTOR in sys.modules:
            sys.exit(f"cannot preload {name}: it installs a reactor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the fork server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry", default="")
    parser.add_argument("--preload", type=json.loads, default=[])
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--orphan-seconds", type=float, default=ORPHAN_SECONDS)
    parser.add_argument("--lease-seconds", type=float, default=LEASE_SECONDS)
    parser.add_argument("--wall", type=json.loads, default=None)
    options = parser.parse_args(arguments)
    os.setsid()
    # The first call moves the environment, once for all children.
    setproctitle("vinom fork server")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Before games are loaded, which may keep these; children write to the same numbers.
    sys.stdout, sys.stderr = print_without_fail(1), print_without_fail(2)
    preload(options.preload, options.settings)
    if options.wall is not None:
        for what in Enclosure(**options.wall).enclose():
            print(f"game servers lack a wall: {what}", file=sys.stderr, flush=True)
    # Children share these pages until one of them writes to them; a later garbage
    # collection would write to all of them, also if it came between two forks.
    gc.disable()
    gc.collect()
    gc.freeze()
    node = socket.socket(fileno=NODE_DESCRIPTOR)
    is_walled = options.wall is not None
    ForkServer(
        node,
        options.entry,
        options.orphan_seconds,
        is_walled,
        options.lease_seconds,
    ).serve()


if __name__ == "__main__":
    main()

"""
The fork server: a warm interpreter from which game servers are forked.

Run by `vinom.fleet.local` as ``python -m vinom.fleet.forkserver``, with a
SOCK_SEQPACKET socket to its node as descriptor 3. Neither it nor a
process that it forks has a reactor or secrets at the time of the fork. It ends when its
node dies; game servers keep running when it dies.
"""

from __future__ import annotations

import argparse
import gc
import importlib
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
from typing import Any, NoReturn

import attrs
import msgspec
from msgspec import Struct

from vinom.wall.enclosure import Enclosure, lower_limit, part

#: Descriptor of the socket to the node.
NODE_DESCRIPTOR = 3

#: Longest message either way, bytes.
MESSAGE_LIMIT = 64 * 1024

#: When the node is dead, game servers end by themselves within 5 s; after this time
#: those that hang are killed.
ORPHAN_SECONDS = 15.0

# These must not be loaded before the fork: all children would share a reactor's
# descriptors.
_REACTOR = "twisted.internet.reactor"


class Start(Struct, frozen=True, tag="start"):
    """
    Fork a game server; answered by `Started` or `NotStarted`.

    :ivar settings: passed to the entry point, JSON-like.
    :ivar memory: limit on its address space, bytes.
    :ivar descriptors: limit on its open descriptors.
    """

    server_id: str
    settings: dict[str, Any]
    memory: int
    descriptors: int


class Started(Struct, frozen=True, tag="started"):
    """The process runs; its pidfd comes with the message."""

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


@attrs.define(eq=False)
class ForkServer:
    """
    Fork on request, and report exits.

    :ivar node: socket to the node; ``None`` once the node is gone.
    :ivar entry: ``"package.module:function"``, called in the child with the
        server's id and its settings.
    :ivar is_walled: whether children are parted from one another too.
    """

    node: socket.socket | None
    entry: str
    orphan_seconds: float = ORPHAN_SECONDS
    is_walled: bool = False
    _children: dict[int, tuple[str, int]] = attrs.field(factory=dict, init=False)
    _poll: select.poll = attrs.field(factory=select.poll, init=False)
    _kill_at: float = attrs.field(default=inf, init=False)

    def serve(self) -> None:
        """Serve until the node and every child are gone."""
        if self.node is not None:
            self._poll.register(self.node, select.POLLIN)
        while self.node is not None or self._children:
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
        try:
            pid = os.fork()
        except OSError as error:
            self._send(encode(NotStarted(start.server_id, str(error))))
            return
        if pid == 0:
            become_game_server(self.entry, start, self.is_walled)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            # Without a pidfd we could lose it, so we end it. It is still our child, so
            # the pid cannot belong to another process.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._send(encode(NotStarted(start.server_id, str(error))))
            return
        self._children[pidfd] = (start.server_id, pid)
        self._poll.register(pidfd, select.POLLIN)
        self._send(encode(Started(start.server_id, pid)), pidfd)

    def _reap(self, pidfd: int) -> None:
        server_id, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
        self._send(encode(Exited(server_id, pid, os.waitstatus_to_exitcode(status))))

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

    def _kill_orphans(self) -> None:
        self._kill_at = inf
        for pidfd in self._children:
            # Their exits wake the poll.
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def become_game_server(entry: str, start: Start, is_walled: bool) -> NoReturn:
    """
    Turn this freshly forked process into a game server, and never return.

    No code of the fork server may run in it again, so it ends with `os._exit`.

    :param entry: called with the server's id and its settings.
    :param start: what was asked for.
    :param is_walled: whether it is parted from its siblings.
    """
    status = 1
    try:
        # Ctrl-C in a terminal is for the node, which drains.
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.closerange(NODE_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))
        lower_limit(resource.RLIMIT_AS, start.memory)
        lower_limit(resource.RLIMIT_NOFILE, start.descriptors)
        # Its memory holds tokens and a key.
        lower_limit(resource.RLIMIT_CORE, 0)
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
    parser.add_argument("--entry", required=True)
    parser.add_argument("--preload", type=json.loads, default=[])
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--orphan-seconds", type=float, default=ORPHAN_SECONDS)
    parser.add_argument("--wall", type=json.loads, default=None)
    options = parser.parse_args(arguments)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
    ForkServer(node, options.entry, options.orphan_seconds, is_walled).serve()


if __name__ == "__main__":
    main()

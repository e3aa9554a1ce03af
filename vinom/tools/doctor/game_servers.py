"""``vinom doctor`` starts a game server as the node does, and ends it again."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from vinom.errors import Misconfigured
from vinom.fleet.local.forklink import Answer, arguments, child_environment
from vinom.fleet.local.forkserver import (
    MESSAGE_LIMIT,
    NODE_DESCRIPTOR,
    NotStarted,
    Start,
    Started,
)
from vinom.node.build import game_server_program
from vinom.node.settings import Settings
from vinom.tools.doctor.findings import Finding, Subject

_ABOUT = Subject("game servers")
#: How long one may take to open its link, seconds.
_DEADLINE = 30.0
#: How much of what it prints is read, bytes.
_PRINTED = 64 * 1024
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
# The fork server finds its node at a fixed descriptor, which only a shell can give it.
_SHELL = f'exec "$0" "$@" {NODE_DESCRIPTOR}<&0 </dev/null'


def examine_game_servers(settings: Settings) -> list[Finding]:
    """Start one game server, and wait for its link; nothing where pods play."""
    if settings.pods is not None:
        return []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vinom-") as folder:
        # With game_user, another user looks for the socket.
        os.chmod(folder, 0o711)
        with open(Path(folder, "output"), "w+") as output:
            try:
                problem = _try(settings, Path(folder, "control.sock"), output.fileno())
            except (Misconfigured, OSError) as error:
                problem = str(error)
            output.seek(0)
            printed = [line for line in output.read().splitlines() if line.strip()]
    if not problem:
        took = time.monotonic() - began
        return [_ABOUT.ok(f"one was started, and opened its link in {took:.1f} s")]
    last = f"; it printed: {printed[-1]}" if printed else ""
    return [
        _ABOUT.failure(
            f"none can be started: {problem}{last}",
            f"let {settings.game_user or 'the node'} run {sys.executable}; check the "
            "limits of memory and processes (server_memory_mb, TasksMax of the unit)",
        )
    ]


def _try(settings: Settings, control: Path, output: int) -> str:
    """Start one; returns why that does not work, or nothing."""
    program = game_server_program(settings, control)
    user, name = program.user, "doctor"
    fork = arguments(
        program.entry, program.preload, program.settings, 0.0, program.wall
    )
    start = Start(
        name, dict(program.settings), program.memory, program.descriptors, (), {}, ""
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket(socket.AF_UNIX) as node:
        node.bind(str(control))
        control.chmod(0o666)
        node.listen()
        command = [sys.executable, "-P", "-m", "vinom.fleet.local.forkserver", *fork]
        fork_server = subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, *command],
            stdin=theirs.fileno(),
            stdout=output,
            stderr=output,
            env=child_environment(os.environ),
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
        )
        theirs.close()
        pid, pipe = 0, -1
        try:
            with suppress(BrokenPipeError):
                ours.send(msgspec.json.encode(start))
            give_up = time.monotonic() + _DEADLINE
            while (left := give_up - time.monotonic()) > 0:
                ready = select.select([node, ours], [], [], left)[0]
                if node in ready:
                    return ""
                if ours not in ready:
                    break
                data, found = b"", list[int]()
                with suppress(ConnectionResetError):
                    data, found, _, _ = socket.recv_fds(ours, MESSAGE_LIMIT, 2)
                if not data:
                    return f"the fork server ended with status {fork_server.wait()}"
                match _answers.decode(data):
                    case Started(_, pid):
                        pidfd, pipe = found
                        os.close(pidfd)
                    case NotStarted(_, why):
                        return why
                    case ended:
                        return f"it ended with status {ended.status}"
            return f"it did not open its link within {_DEADLINE:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
            fork_server.kill()
            fork_server.wait()
            if pipe >= 0:
                os.set_blocking(pipe, False)
                with suppress(BlockingIOError):
                    os.write(output, os.read(pipe, _PRINTED))
                os.close(pipe)

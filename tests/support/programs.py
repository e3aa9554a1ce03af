"""
Child processes for tests: started, listened to, and made sure to be gone; and folders
for their sockets.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.needs import PACKAGES, path_of
from vinom.tools.commands.admin import AdminLine


class Program(ProcessProtocol):
    """
    A child process whose output is kept, and whose standard input is ours.

    :ivar output: what it printed.
    :ivar errors: what it printed to standard error.
    :ivar ended: fires with the exit code; ``None`` after a signal.
    """

    def __init__(self) -> None:
        self.output, self.errors = b"", b""
        self.ended: Deferred[int | None] = Deferred()
        self._awaited: list[tuple[bytes, Deferred[None]]] = []

    @property
    def text(self) -> str:
        """What it printed, as text."""
        return self.output.decode("utf-8", "replace")

    def printed(self, text: bytes) -> Deferred[None]:
        """Fires when it has printed *text*; fails when it ends before that."""
        deferred: Deferred[None] = Deferred()
        self._awaited.append((text, deferred))
        self._look()
        return deferred

    def outReceived(self, data: bytes) -> None:
        self.output += data
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.errors += data
        self._look()

    def processEnded(self, reason: Failure) -> None:
        awaited, self._awaited = self._awaited, []
        for text, deferred in awaited:
            deferred.errback(
                AssertionError(f"no {text!r} in {self.output!r} {self.errors!r}")
            )
        self.ended.callback(reason.value.exitCode)

    def _look(self) -> None:
        for text, deferred in list(self._awaited):
            if text in self.output or text in self.errors:
                self._awaited.remove((text, deferred))
                deferred.callback(None)


def start_program(
    test: TestCase, *command: str, environ: dict[str, str], **options: Any
) -> Program:
    """
    Start a program that is gone, at the latest, when *test* is over.

    :param command: a program of `PACKAGES`, or a path, and its arguments.
    """
    name = command[0]
    executable = path_of(name) if name in PACKAGES else name
    program = Program()
    process = reactor.spawnProcess(program, executable, command, environ, **options)

    def end() -> Deferred[int | None] | None:
        try:
            process.signalProcess("KILL")
        except ProcessExitedAlready:
            return None
        return program.ended

    test.addCleanup(end)
    return program


def start_foreign(test: TestCase, *command: str) -> Program:
    """Start somebody else's client, with a home of its own."""
    # Godot writes beneath its home.
    home = os.path.abspath(test.mktemp())
    os.mkdir(home)
    return start_program(
        test, *command, environ={"PATH": os.environ["PATH"], "HOME": home}
    )


def short_folder(test: SynchronousTestCase) -> Path:
    """Make a folder for sockets, whose names must be short; gone after the test."""
    folder = Path(tempfile.mkdtemp(prefix="vinom-"))
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


async def until_warm(state_dir: Path) -> None:
    """Wait until a node has a game server that waits for a match."""
    admin = AdminLine(state_dir / "admin.sock")
    while not admin.get("status")["fleet"]["servers"]["warm"]:
        await deferLater(reactor, 0.05)

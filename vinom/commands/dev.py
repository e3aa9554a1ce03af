"""``vinom dev package.module:Class``: play a game in a browser while you write it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.utils import getProcessOutputAndValue

from vinom.commands.child_node import ChildNode, NodeFailed, likely_port
from vinom.commands.dev_source import find_sources, look
from vinom.commands.foreground import run_in_foreground
from vinom.printable import say

#: Seconds between two looks at the files.
_PAUSE = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("game", metavar="PACKAGE.MODULE:CLASS", help="play this game")
    parser.add_argument(
        "--http",
        type=int,
        help="serve the page at this port (default: a free one, 8080 first)",
    )


def run(options: argparse.Namespace) -> int:
    """
    Serve the page until Ctrl-C.

    :returns: exit code.
    :raises Misconfigured: there is no such module.
    """
    sources = find_sources(options.game)
    http = options.http or likely_port()
    return run_in_foreground(
        lambda reactor: Workshop(reactor, options.game, sources, http)
    )


class LoudNode(ChildNode):
    """A node whose warnings and errors are printed at once."""

    _is_trouble = _is_stopping = False

    def stop(self) -> Deferred[None]:
        # The restart is intended: do not report rooms that end unfinished.
        self._is_stopping = True
        return super().stop()

    def outReceived(self, data: bytes) -> None:
        super().outReceived(data)
        if self._is_stopping:
            return
        for line in data.decode(errors="replace").splitlines():
            level = line.split(" ", 2)[1:2]
            if line[:4].isdecimal() and level:
                self._is_trouble = level[0] in ("warn", "error", "critical")
            if self._is_trouble:
                say(line, file=sys.stderr, flush=True)

    errReceived = outReceived


class Workshop:
    """
    A node with one game, restarted when the game's files change.

    If the game fails to load, the terminal and the page show the error, and the last
    working version keeps running.
    """

    def __init__(self, reactor: Any, spec: str, sources: Path, http: int) -> None:
        """
        :param reactor: runs it.
        :param spec: of the game: ``package.module:Class``.
        :param sources: what to watch: see `find_sources`.
        :param http: port of the page.
        """
        self._reactor, self._spec, self._sources = reactor, spec, sources
        self._http = http
        self._node: LoudNode | None = None
        self._build = 0
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-dev-"))
        self._notes = self._folder / "notes.json"
        self._seen = look(sources)
        self._is_busy = False
        self._over: Deferred[None] = Deferred()

    def run(self) -> Deferred[int]:
        """Serve the page; fires with the exit code."""
        return Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """End soon."""
        if not self._over.called:
            self._over.callback(None)

    async def _run(self) -> int:
        watching = LoopingCall(self._watch)
        watching.clock = self._reactor
        try:
            await self._rebuild()
            if self._node is None:
                return 1
            say(f"play in a browser: http://127.0.0.1:{self._http}/", flush=True)
            say(f"watching {self._sources}; press Ctrl-C to stop", flush=True)
            watching.start(_PAUSE)
            await self._over
        finally:
            if watching.running:
                watching.stop()
            while self._is_busy:
                await deferLater(self._reactor, 0.05)
            if self._node is not None:
                await self._node.stop()
            rmtree(self._folder, ignore_errors=True)
        return 0

    async def _watch(self) -> None:
        seen = look(self._sources)
        if seen == self._seen or self._over.called:
            return
        self._seen = seen
        await self._rebuild()

    async def _rebuild(self) -> None:
        self._is_busy = True
        try:
            name, wrong = await self._try()
            if wrong:
                say(wrong, file=sys.stderr, flush=True)
                self._write_note(self._spec, wrong)
                if self._node is None:
                    await self._begin([])
                return
            self._build += 1
            self._write_note(name, "")
            older, self._node = self._node, None
            if older is not None:
                await older.stop()
            if await self._begin([f"--game={self._spec}"]) and self._build > 1:
                say(f"{name}: now running version {self._build}", flush=True)
        finally:
            self._is_busy = False

    async def _try(self) -> tuple[str, str]:
        """Load it in a child process; returns its name, and the error if it failed."""
        out, errors, code = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "vinom.commands.dev_source", self._spec],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            reactor=self._reactor,
        )
        # The game may print too, on other lines.
        lines = out.decode(errors="replace").splitlines()
        return (lines or [""])[-1], errors.decode(
            errors="replace"
        ).strip() if code else ""

    async def _begin(self, arguments: list[str]) -> bool:
        node = LoudNode(
            self._reactor,
            [
                "--warm=0",
                f"--http={self._http}",
                f"--dev-notes={self._notes}",
                *arguments,
            ],
        )
        try:
            await node.start()
        except NodeFailed as error:
            say(f"vinom dev: {error}", file=sys.stderr, flush=True)
            await node.stop()
            return False
        self._node = node
        return True

    def _write_note(self, game: str, error: str) -> None:
        """Replace the note that the page reads, in one step."""
        notes = {"game": game, "build": self._build, "error": error}
        fresh = self._notes.with_suffix(".new")
        fresh.write_text(json.dumps(notes))
        fresh.replace(self._notes)

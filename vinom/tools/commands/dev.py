"""``vinom dev package.module:Class``: play a game in a browser while you write it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from vinom.base.limits.origins import read_origin_rule
from vinom.base.printable import say
from vinom.errors import Misconfigured
from vinom.node.edited import Notes
from vinom.node.settings import DEV_NOTES
from vinom.node.web.pages import check_site
from vinom.tools.commands.child_node import (
    LIKELY_PORTS,
    ChildNode,
    NodeFailed,
    free_port,
    likely_port,
)
from vinom.tools.commands.dev_source import (
    Loaded,
    breakpoints,
    changed_between,
    find_sources,
    look,
    look_at_pages,
    read_loaded,
)
from vinom.tools.commands.foreground import run_in_foreground

#: Seconds between two looks at the files.
_PAUSE = 0.1
#: Seconds after a save until the next one is prepared for.
_SPARE = 0.2


OPTIONS = """
game PACKAGE.MODULE:CLASS
             play this game
--http PORT  serve the page at this port (default: a free one, 8080 first)
--page DIR   serve this web site instead of Vinom's page; must have an index.html
--origin HOST[:PORT]...
             let web pages of this host connect too, such as localhost:5173; may be
             repeated
--no-guard   let calls into the game take any time in rooms, so that it can stop at a
             breakpoint(); the terminal is the debugger's then
"""


def run(options: argparse.Namespace) -> int:
    """
    Serve the page until Ctrl-C.

    :returns: exit code.
    :raises Misconfigured: there is no such module.
    """
    sources = find_sources(options.game)
    site = None if options.page is None else options.page.absolute()
    if site is not None:
        check_site(site)
    for origin in options.origin:
        try:
            read_origin_rule(origin)
        except ValueError as error:
            raise Misconfigured(f"--origin {error}") from None
    http = options.http or likely_port()
    if options.http is None and http != LIKELY_PORTS[0]:
        say(
            f"port {LIKELY_PORTS[0]} is taken by another program: using {http} instead",
            flush=True,
        )
    code, _ = run_in_foreground(
        lambda reactor: Workshop(
            reactor,
            options.game,
            sources,
            http,
            site,
            tuple(options.origin),
            is_guarded=not options.no_guard,
        )
    )
    return code


class _Trouble:
    """
    Prints the warnings and errors in a node's log at once.

    :ivar is_on: not while the node is stopped: a restart is intended, so rooms that end
        unfinished are not reported.
    """

    is_on = True
    _is_trouble = False

    def look(self, data: bytes) -> None:
        """Take some lines of the log."""
        for line in data.decode(errors="replace").splitlines() if self.is_on else ():
            level = line.split(" ", 2)[1:2]
            if line[:4].isdecimal() and level:
                # Reading a saved game takes longer than a turn should; a slow call of
                # the game has a line of its own.
                self._is_trouble = "TurnWatch" not in line and level[0] in (
                    "warn",
                    "error",
                    "critical",
                )
            if self._is_trouble:
                say(line, file=sys.stderr, flush=True)


class Workshop:
    """
    A node with one game, which takes over the game's rules when they are saved.

    Its rooms go on by them; open pages load themselves again when what they know of the
    game has changed, its board or the author's page. If the game fails to load, the
    terminal and the page show the error, and the last working version keeps running.
    """

    def __init__(
        self,
        reactor: Any,
        spec: str,
        sources: Path,
        http: int,
        site: Path | None = None,
        origins: Sequence[str] = (),
        is_guarded: bool = True,
    ) -> None:
        """
        :param reactor: runs it.
        :param spec: of the game: ``package.module:Class``.
        :param sources: what to watch: see `find_sources`.
        :param http: port of the page.
        :param site: folder of a page of the author's own.
        :param origins: hosts whose pages may connect.
        :param is_guarded: whether calls into the game that take too long are ended.
        """
        self._reactor, self._spec, self._sources = reactor, spec, sources
        self._http, self._site, self._is_guarded = http, site, is_guarded
        self._arguments = [f"--origin={origin}" for origin in origins]
        if site is not None:
            self._arguments.append(f"--page={site}")
        self._lobby = free_port()
        # The one that runs, and the one that was tried last.
        self._loaded = self._latest = Loaded()
        self._node: ChildNode | None = None
        self._trouble = _Trouble()
        self._build = self._of_pages = self._of_rules = 0
        self._spare: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-dev-"))
        self._notes = self._folder / "notes.json"
        # What was built last, and what the last look found.
        self._seen = self._looked = look(sources)
        self._pages = look_at_pages((), site)
        self._is_busy = False
        self._over: Deferred[None] = Deferred()

    def stop(self) -> None:
        """End soon."""
        if not self._over.called:
            self._over.callback(None)

    async def run(self) -> int:
        """Serve the page; returns the exit code."""
        watching = LoopingCall(self._watch)
        watching.clock = self._reactor
        try:
            await self._rebuild()
            if self._node is None:
                return int(not self._over.called)
            say(f"play in a browser: http://127.0.0.1:{self._http}/", flush=True)
            say(f"programs connect to 127.0.0.1 {self._lobby}", flush=True)
            self._say_watched()
            say("press Ctrl-C to stop", flush=True)
            watching.start(_PAUSE)
            await self._over
        finally:
            if watching.running:
                watching.stop()
            while self._is_busy:
                await deferLater(self._reactor, 0.05)
            if self._node is not None:
                await self._stop(self._node)
            if self._spare is not None:
                self._spare.communicate()
            rmtree(self._folder, ignore_errors=True)
        return 0

    async def _watch(self) -> None:
        if self._over.called:
            return
        seen = look(self._sources, self._loaded.modules)
        before, self._looked = self._looked, seen
        if seen != self._seen:
            if seen != before:
                # It is being written: a node would start once for each half, and pages
                # would load from one that is about to stop.
                return
            changed, self._seen = changed_between(self._seen, seen), seen
            if self._latest.is_of(changed):
                await self._rebuild()
                return
        pages = look_at_pages(self._loaded.files, self._site)
        if pages == self._pages:
            return
        is_smaller = len(pages) < len(self._pages)
        self._pages = pages
        # An editor that deletes a file to replace it will write it in a moment.
        if not is_smaller:
            self._reload_pages()

    def _note_modules(self) -> None:
        """Take the present state of modules that were not looked at as not changed."""
        known = {path for path, *_ in self._seen}
        now = look(self._sources, self._loaded.modules)
        fresh = [
            one for one in now if one[0] not in known and one[0] in self._loaded.modules
        ]
        self._seen = tuple(sorted([*self._seen, *fresh]))

    def _say_watched(self) -> None:
        """Tell the author what is watched, and where."""
        what = self._loaded.watched(self._sources.parent) or self._sources.name
        say(f"watching {what} in {self._sources.parent}", flush=True)

    def _reload_pages(self) -> None:
        """Let open pages load the board and the author's page again."""
        if not self._loaded.wrong:
            self._build += 1
            self._of_pages = self._build
            self._write_note(self._loaded.name, "")
            say(f"{self._loaded.name}: pages load its new files", flush=True)

    async def _rebuild(self) -> None:
        self._is_busy = True
        try:
            loaded = self._latest = await self._try()
            if self._over.called:
                return
            if loaded.wrong:
                say(loaded.wrong, file=sys.stderr, flush=True)
                self._write_note(self._spec, loaded.wrong)
                if self._node is None:
                    await self._begin([])
                return
            before, self._loaded = self._loaded, loaded
            self._note_modules()
            self._pages = look_at_pages(loaded.files, self._site)
            self._build += 1
            self._of_rules = self._build
            if loaded.facts != before.facts:
                self._of_pages = self._build
            name = loaded.name
            if self._node is not None and name == before.name:
                self._write_note(name, "", before.modules)
            else:
                older, self._node = self._node, None
                if older is not None:
                    await self._stop(older)
                # Not before: a page that reads it loads itself from the new node.
                self._write_note(name, "")
                if not await self._begin([f"--game={self._spec}"]):
                    return
            if self._build > 1:
                say(f"{name}: now running version {self._build}", flush=True)
                if loaded.modules != before.modules:
                    self._say_watched()
        finally:
            self._is_busy = False
            self._reactor.callLater(_SPARE, self._prepare)

    def _prepare(self) -> None:
        """Have a process ready for the next save: to start one takes half a second."""
        if self._spare is None and not self._over.called:
            self._spare = self._start_trial()

    async def _try(self) -> Loaded:
        """Load it in a child process."""
        done, self._spare = self._spare or self._start_trial(), None
        out, errors = await deferToThread(done.communicate, b"go\n")
        if done.returncode:
            # The game ended the process, or somebody else did.
            code = done.returncode
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            why = errors.decode(errors="replace").strip()
            return Loaded(
                wrong=why or f"{self._spec}: {how} ended the process that loaded it"
            )
        return read_loaded(out)

    def _start_trial(self) -> subprocess.Popen[bytes]:
        """Start a process that loads the game when it is told to."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-m", "vinom.tools.commands.dev_source", self._spec],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )

    async def _begin(self, arguments: list[str]) -> bool:
        self._trouble = _Trouble()
        node = ChildNode(
            self._reactor,
            [
                "--warm=0",
                f"--http={self._http}",
                *self._arguments,
                *arguments,
            ],
            # The same after each restart: programs reconnect to it.
            self._lobby,
            output=self._trouble.look,
        )
        if not self._is_guarded:
            node.environ = breakpoints()
        node.state_dir = tempfile.mkdtemp(prefix="vinom-")
        (Path(node.state_dir) / DEV_NOTES).symlink_to(self._notes)
        try:
            await node.start()
        except NodeFailed as error:
            say(f"vinom dev: {error}", file=sys.stderr, flush=True)
            await self._stop(node)
            return False
        self._node = node
        return True

    async def _stop(self, node: ChildNode) -> None:
        self._trouble.is_on = False
        await node.stop()

    def _write_note(self, game: str, error: str, modules: tuple[str, ...] = ()) -> None:
        """
        Replace the note that the node and the page read, in one step.

        :param modules: of the rules before, to be forgotten with those of the new ones.
        """
        notes = Notes(
            game,
            self._build,
            self._of_pages,
            self._of_rules,
            error,
            self._spec,
            tuple({*modules, *self._loaded.modules}),
            self._is_guarded,
        )
        fresh = self._notes.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(notes))
        fresh.replace(self._notes)

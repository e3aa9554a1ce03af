"""``vinom demo``: a node with its page, bots, and one of their matches drawn live."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from vinom.base.model import SEED_BYTES
from vinom.base.printable import say
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.load.bot import Bot, Habits
from vinom.client.load.crowd import Crowd
from vinom.client.load.tally import Tally
from vinom.client.match import Match
from vinom.client.sdk import Client, connect
from vinom.client.terminal.keys import WATCHING
from vinom.client.terminal.screen import (
    Keyboard,
    Screen,
    can_draw,
    has_colour,
    has_unicode,
)
from vinom.client.terminal.stage import Stage
from vinom.errors import Misconfigured
from vinom.game import Chance
from vinom.tools.commands.bots import describe
from vinom.tools.commands.child_node import ChildNode, NodeFailed, likely_port
from vinom.tools.commands.demo_nodes import NodesDemo
from vinom.tools.commands.deployment import NAMES
from vinom.tools.commands.foreground import run_in_foreground
from vinom.tools.commands.mischief import Mischief
from vinom.tools.commands.play import find_game
from vinom.tools.commands.redis_child import redis_executable

_NAMES = ("ann", "bob", "cleo", "dan", "eve", "finn", "gus", "hana")
#: Players who queue with equal options meet. With these, bots meet only each other;
#: one more bot waits with the default options for people.
_AMONG_BOTS = {"minutes": 3.0}
#: Pictures per second, and seconds between lines without a terminal.
_RATE, _PAUSE = 10, 1.0
#: Most moves per second of a bot that plays against a person.
_GENTLE = 2.5
#: How long to show the winners dancing, seconds.
_DANCE = 6.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--seconds",
        type=float,
        help="end this long after the node has started (default: at Ctrl-C)",
    )
    parser.add_argument(
        "--nodes",
        type=int,
        default=1,
        help="start this many nodes with a Redis, and show who is where; press n to "
        f"kill one (1; at most {len(NAMES)})",
    )
    parser.add_argument(
        "--players",
        type=int,
        help="let this many bots play with each other (4; with --nodes 8)",
    )
    parser.add_argument(
        "--pace",
        type=float,
        default=6.0,
        help="let each bot move this often per second (6)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="print lines of text, on a terminal too"
    )


def run(options: argparse.Namespace) -> int:
    """
    Show it.

    :returns: exit code: 0 unless no match started.
    :raises Misconfigured: an option is out of range.
    """
    if not 1 <= options.nodes <= len(NAMES):
        raise Misconfigured(f"--nodes {options.nodes} must be 1 to {len(NAMES)}")
    if options.players is None:
        options.players = 4 if options.nodes == 1 else len(_NAMES)
    if not 2 <= options.players <= len(_NAMES):
        raise Misconfigured(f"--players {options.players} must be 2 to {len(_NAMES)}")
    for flag, number in (("--pace", options.pace), ("--seconds", options.seconds)):
        if number is not None and not 0 < number < math.inf:
            raise Misconfigured(f"{flag} {number} must be a number above 0")
    draws = can_draw(sys.stdout, os.environ) and not options.plain
    screen = Screen(sys.stdout) if draws else None
    demos: list[Demo | NodesDemo] = []
    redis = redis_executable() if options.nodes > 1 else ""

    def build(reactor: Any) -> Demo | NodesDemo:
        if options.nodes > 1:
            names = _NAMES[: options.players]
            demos.append(NodesDemo(reactor, options, names, redis, screen))
        else:
            demos.append(Demo(reactor, options, screen))
        return demos[0]

    try:
        code = run_in_foreground(build)
    finally:
        for demo in demos:
            demo.give_back()
    for words in demos[0].last_words:
        say(words, file=sys.stderr)
    if demos[0].tally.started:
        # A bot waits until somebody plays with it, or for its party: that says nothing
        # of the server.
        waits = {"queue_to_match_ms": {"p50": None}}
        if options.nodes > 1:
            waits["match_to_joined_ms"] = {"p50": None}
        say(describe(demos[0].tally.report() | waits))
    return code


class Demo:
    """
    One demonstration.

    :ivar tally: what the bots measured.
    :ivar last_words: what went wrong, in lines to print at the end.
    """

    def __init__(
        self, reactor: Any, options: argparse.Namespace, screen: Screen | None
    ) -> None:
        """
        :param reactor: runs it.
        :param options: of the command line; see `add_arguments`.
        :param screen: to draw on; ``None`` prints lines.
        """
        self._reactor, self._screen = reactor, screen
        self._seconds, self._pace = options.seconds, options.pace
        self._names = _NAMES[: options.players]
        self._game = find_game("maze")[1]
        http = likely_port()
        self._node = ChildNode(reactor, ["--warm=2", f"--http={http}"])
        self._page = f"http://{self._node.host}:{http}/"
        self.tally = Tally()
        self.last_words: list[str] = []
        self._ours: set[str] = set()
        self._greeters: list[Bot] = []
        self._crowd: Crowd | None = None
        self._command = f"{_program()} play maze --connect 127.0.0.1:{self._node.port}"
        self._stage = Stage(
            reactor, self.tally, self._ours, self._command, page=self._page
        )
        self._mischief = Mischief(reactor, self._node, lambda: self._stage.shown)
        self._stage.keys, self._stage.notes = self._mischief.keys, self._mischief.notes
        self._chance = Chance(os.urandom(SEED_BYTES))
        self._over: Deferred[None] = Deferred()
        self._keyboard = Keyboard(reactor, self._press, WATCHING)
        self._is_stopping = False

    def run(self) -> Deferred[int]:
        """Show it; fires with the exit code."""
        return Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """End soon."""
        if not self._is_stopping:
            self._is_stopping = True
            self._over.callback(None)

    def give_back(self) -> None:
        """Give the terminal back; a second time does nothing."""
        self._keyboard.stop()
        if self._screen is not None:
            self._screen.leave()

    def _press(self, key: str) -> None:
        if key == "quit":
            self.stop()
        else:
            self._mischief.press(key)

    async def _run(self) -> int:
        try:
            await self._node.start()
            # On a terminal too, where it is visible again after the picture.
            say(f"play in a browser: {self._page}", flush=True)
            self._say(f"the lobby listens on 127.0.0.1:{self._node.port}")
            self._say(f"join from a second terminal: {self._command}")
            if not self._is_stopping:
                await self._show()
        except NodeFailed as error:
            self.last_words.append(f"vinom demo: {error}")
            return 1
        finally:
            await self._node.stop()
        if not self.tally.started:
            self.last_words.append("vinom demo: no match started; the node's log says:")
            self.last_words.append(self._node.log_end())
            return 1
        return 0

    async def _show(self) -> None:
        crowd = self._crowd = Crowd(
            self._reactor,
            [
                partial(self._bot, name, _AMONG_BOTS, self._pace, self._stage.add)
                for name in self._names
            ],
            self.tally,
        )
        done = crowd.run()
        self._greet()
        if self._screen is None:
            drawing = LoopingCall(self._stage.print_line, sys.stdout)
            pause = _PAUSE
        else:
            self._screen.enter()
            self._keyboard.start()
            drawing = LoopingCall(
                self._stage.draw,
                self._screen,
                colour=has_colour(os.environ),
                ascii_only=not has_unicode(sys.stdout),
            )
            pause = 1.0 / _RATE
        drawing.clock = self._reactor
        drawing.start(pause)
        end = None
        if self._seconds is not None:
            # From here on: the time that the node took to start does not count.
            end = self._reactor.callLater(self._seconds, self.stop)
        await self._over
        if end is not None and end.active():
            end.cancel()
        drawing.stop()
        self._keyboard.stop()
        for greeter in self._greeters:
            greeter.leave()
        crowd.leave()
        await done

    def _bot(self, name: str, options: Any, pace: float, watch: Any) -> Deferred[Bot]:
        _, self._chance = self._chance.draw()
        chance = self._chance.fork(name)

        def ready(client: Client) -> Bot:
            self._ours.add(client.identity.player_id)
            return Bot(
                self._reactor,
                client,
                "maze",
                self._game,
                Habits(options, pace, _DANCE),
                self.tally,
                chance,
                watch,
            )

        node = self._node
        return connect(
            self._reactor,
            node.host,
            node.port,
            name=name,
            datagram_filter=self._mischief.loss,
        ).addCallback(ready)

    def _greet(self) -> None:
        """Let one bot wait for a person; each person gets the next bot."""
        if self._is_stopping:
            return
        name = _NAMES[(len(self._names) + len(self._greeters)) % len(_NAMES)]

        def met(match: Match) -> None:
            self._stage.add(match)
            # It leaves after this match; the next bot waits already.
            self._greeters[-1].stop()
            self._greet()

        def begin(bot: Bot) -> Deferred[None]:
            self._greeters.append(bot)
            return bot.run()

        def failed(failure: Any) -> None:
            failure.trap(LobbyRefusal, LineLost)

        pace = min(self._pace, _GENTLE)
        self._bot(name, None, pace, met).addCallback(begin).addErrback(failed)

    def _say(self, words: str) -> None:
        if self._screen is None:
            say(words, flush=True)


def _program() -> str:
    """The command that starts this program: a path if the shell lacks the name."""
    called = Path(sys.argv[0])
    if called.name != "vinom" or shutil.which("vinom") == str(called.absolute()):
        return "vinom"
    return str(called)

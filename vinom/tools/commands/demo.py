"""``vinom demo``: nodes with their pages, bots, and what they play, drawn live."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from vinom.base.printable import say
from vinom.client.terminal.screen import WATCHING, Screen, can_draw
from vinom.tools.commands.bots import describe
from vinom.tools.commands.child_node import NodeFailed, redis_executable
from vinom.tools.commands.demo_maze import MazeDemo
from vinom.tools.commands.demo_nodes import LETTERS, NodesDemo
from vinom.tools.commands.foreground import run_in_foreground

_NAMES = ("ann", "bob", "cleo", "dan", "eve", "finn", "gus", "hana")
#: Seconds between two pictures, and between two lines without a terminal.
_PICTURE, _LINE = 0.1, 1.0


OPTIONS = f"""
--seconds SECONDS >0
               end this long after the node has started (default: at Ctrl-C)
--nodes N 1..{len(LETTERS)} = 1
               start this many nodes, at most {len(LETTERS)}, with a Redis, and show
               who is where; press n to kill one
--players N 2..{len(_NAMES)}
               let this many bots play with each other (4; with --nodes 8)
--pace RATE >0 = 6
               let each bot move this often per second
--plain        print lines of text, on a terminal too
"""


def run(options: argparse.Namespace) -> int:
    """
    Show it.

    :returns: exit code: 0 unless no match started.
    :raises Misconfigured: there is no Redis for several nodes.
    """
    nodes, players = options.nodes, options.players
    if players is None:
        players = 4 if nodes == 1 else len(_NAMES)
    draws = can_draw(sys.stdout, os.environ) and not options.plain
    screen = Screen(sys.stdout) if draws else None
    redis = redis_executable() if nodes > 1 else ""

    def build(reactor: Any) -> Demonstration:
        demo: MazeDemo | NodesDemo
        if nodes > 1:
            demo = NodesDemo(reactor, _NAMES[:players], options.pace, nodes, redis)
        else:
            demo = MazeDemo(reactor, _NAMES, players, options.pace)
        return Demonstration(reactor, demo, screen, options.seconds)

    try:
        code, ran = run_in_foreground(build)
    finally:
        if screen is not None:
            screen.leave()
    for words in ran.last_words:
        say(words, file=sys.stderr)
    tally = ran.tally
    if tally.started:
        # A bot waits until somebody plays with it, or for its party: that says nothing
        # of the server.
        waits = {"queue_to_match_ms": {"p50": None}}
        if nodes > 1:
            waits["match_to_joined_ms"] = {"p50": None}
        say(describe(tally.report() | waits))
    return code


class Demonstration:
    """
    Run a demo and show it until the user, or the time, ends it.

    :ivar tally: what the bots measured.
    :ivar last_words: what went wrong, in lines to print at the end.
    """

    def __init__(
        self,
        reactor: Any,
        demo: MazeDemo | NodesDemo,
        screen: Screen | None,
        seconds: float | None,
    ) -> None:
        """
        :param reactor: runs it.
        :param demo: what it shows.
        :param screen: to draw on; ``None`` prints lines.
        :param seconds: for how long, from when the nodes serve; ``None``: no limit.
        """
        self._reactor, self._demo, self._screen = reactor, demo, screen
        self._seconds = seconds
        self.tally = demo.tally
        self.last_words: list[str] = []
        self._over: Deferred[None] = Deferred()

    def stop(self) -> None:
        """End soon."""
        if not self._over.called:
            self._over.callback(None)

    def _press(self, key: str) -> None:
        if key == "quit":
            self.stop()
        else:
            self._demo.press(key)

    async def run(self) -> int:
        """Show it; returns the exit code."""
        try:
            # On a terminal too, where they are visible again after the picture.
            lines = await self._demo.start()
            if self._over.called:
                # Ctrl-C came first.
                return 0
            for line in lines:
                say(line, flush=True)
            await self._show()
        except NodeFailed as error:
            self.last_words.append(f"vinom demo: {error}")
            return 1
        finally:
            await self._demo.stop()
        if not self.tally.started:
            self.last_words.append("vinom demo: no match started; a node's log says:")
            self.last_words.append(self._demo.log_end())
            return 1
        return 0

    async def _show(self) -> None:
        def ended(result: Any) -> Any:
            self.stop()
            return result

        playing = Deferred.fromCoroutine(self._demo.play()).addBoth(ended)
        drawing = LoopingCall(self._draw)
        drawing.clock = self._reactor
        if self._screen is not None:
            self._screen.enter()
            self._screen.read_keys(self._reactor, self._press, WATCHING)
        pause = _LINE if self._screen is None else _PICTURE
        drawn = drawing.start(pause).addBoth(ended)
        end = None
        if self._seconds is not None:
            # From here on: the time that the nodes took to start does not count.
            end = self._reactor.callLater(self._seconds, self.stop)
        await self._over
        if end is not None and end.active():
            end.cancel()
        if drawing.running:
            drawing.stop()
        self._demo.leave()
        await playing
        await drawn

    def _draw(self) -> None:
        if self._screen is not None:
            self._screen.show(self._demo.compose(*self._screen.size()))
            return
        for line in self._demo.lines():
            say(line, flush=True)

"""``vinom demo``: nodes with their pages, bots, and what they play, drawn live."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from vinom.base.model import SEED_BYTES
from vinom.base.printable import say
from vinom.client.bots import Bot, Crowd, Habits, Tally
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.match import Match
from vinom.client.sdk import Client, connect
from vinom.client.terminal.play import scene_of
from vinom.client.terminal.scene import compose, headline
from vinom.client.terminal.screen import WATCHING, Canvas, Screen, can_draw
from vinom.game import Chance
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.play.game_loader import find_game
from vinom.tools.commands.bots import describe
from vinom.tools.commands.child_node import (
    ChildNode,
    NodeFailed,
    likely_port,
    redis_executable,
)
from vinom.tools.commands.demo_nodes import LETTERS, NodesDemo
from vinom.tools.commands.foreground import run_in_foreground

_NAMES = ("ann", "bob", "cleo", "dan", "eve", "finn", "gus", "hana")
#: Seconds between two pictures, and between two lines without a terminal.
_PICTURE, _LINE = 0.1, 1.0
#: Players who queue with equal options meet. With these, bots meet only each other;
#: one more bot waits with the default options for people.
_AMONG_BOTS = {"minutes": 3.0}
#: Most moves per second of a bot that plays against a person.
_GENTLE = 2.5
#: How long to show the winners dancing, seconds.
_DANCE = 6.0
#: Share of the bots' datagrams that are lost when asked for, in each direction.
_LOSS = 0.2


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


@attrs.define
class Killed:
    """
    A game process that was killed.

    :ivar match: the match that it played.
    :ivar version: version of the state that was shown at that time.
    :ivar at: when it was killed, on the reactor's clock.
    :ivar after: how long it took until a newer state came, seconds; ``None`` before
        that.
    """

    match: Match
    pid: int
    version: int
    at: float
    after: float | None = None

    def saw(self, now: float, match: Match) -> None:
        """Record a state that a bot saw."""
        if self.after is None and match.version > self.version:
            self.after = now - self.at

    def __str__(self) -> str:
        if self.after is not None:
            return f"resumed: {self.after:.2f} s"
        if self.match.outcome is not None:
            return "its match had ended: nothing was lost"
        return "the match was lost" if self.match.is_over else "waiting for play..."


class MazeDemo:
    """
    One demonstration, which `vinom.tools.commands.demo` runs and shows.

    It shows a match with a person, or else the newest one.

    :ivar tally: what the bots measured.
    :ivar bots: player ids of the bots.
    :ivar killed: the game process that was killed last, or why it could not be.
    """

    def __init__(
        self, reactor: Any, names: Sequence[str], players: int, pace: float
    ) -> None:
        """
        :param reactor: runs it.
        :param names: of bots.
        :param players: how many of them play with each other.
        :param pace: most moves per second of a bot.
        """
        self._reactor, self._names, self._pace = reactor, names, pace
        self._game = find_game("maze")[1]
        http = likely_port()
        self._node = ChildNode(reactor, ["--warm=2", f"--http={http}"])
        self._page = f"http://{self._node.host}:{http}/"
        self._command = f"{_program()} play maze --connect 127.0.0.1:{self._node.port}"
        self.tally = Tally()
        self._loss = Conditioner(reactor, Conditions(loss=_LOSS), "demo")
        self._loss.is_on = False
        self._chance = Chance(os.urandom(SEED_BYTES))
        self.bots: set[str] = set()
        self._waiting: list[Bot] = []
        self._crowd = Crowd(
            reactor,
            [
                partial(self._bot, name, _AMONG_BOTS, pace, self.add)
                for name in names[:players]
            ],
            self.tally,
        )
        self._next_name = players
        self._matches: dict[str, Match] = {}
        self._shown: Match | None = None
        self._frame, self._began = 0, reactor.seconds()
        self.killed: Killed | str | None = None
        self._is_killing = self._is_leaving = False

    async def start(self) -> list[str]:
        """Start the node."""
        await self._node.start()
        return [
            f"play in a browser: {self._page}",
            f"the lobby listens on 127.0.0.1:{self._node.port}",
            f"join from a second terminal: {self._command}",
        ]

    async def play(self) -> None:
        """Let bots play with each other, and one with each person who comes."""
        self._began = self._reactor.seconds()
        playing = self._crowd.run()
        self._wait_for_person()
        await playing

    def leave(self) -> None:
        """Let the bots leave now."""
        self._is_leaving = True
        for bot in self._waiting:
            bot.leave()
        self._crowd.leave()

    async def stop(self) -> None:
        """Stop the node."""
        await self._node.stop()

    def log_end(self) -> str:
        """The last lines of its log."""
        return self._node.log_end()

    # The bots.

    def _bot(self, name: str, options: Any, pace: float, found: Any) -> Deferred[Bot]:
        _, self._chance = self._chance.draw()
        chance = self._chance.fork(name)

        def ready(client: Client) -> Bot:
            self.bots.add(client.identity.player_id)
            habits = Habits("maze", self._game, options, pace, _DANCE)
            return Bot(self._reactor, client, habits, self.tally, chance, found)

        return connect(
            self._reactor,
            self._node.host,
            self._node.port,
            name=name,
            datagram_filter=self._loss,
        ).addCallback(ready)

    def _wait_for_person(self) -> None:
        """Let one bot wait for a person; each person gets the next bot."""
        if self._is_leaving:
            return
        name = self._names[self._next_name % len(self._names)]
        self._next_name += 1

        def met(match: Match) -> None:
            self.add(match)
            # It leaves after this match; the next bot waits already.
            self._waiting[-1].stop()
            self._wait_for_person()

        def begin(bot: Bot) -> Deferred[None]:
            self._waiting.append(bot)
            return bot.run()

        def failed(failure: Failure) -> None:
            failure.trap(LobbyRefusal, LineLost)

        pace = min(self._pace, _GENTLE)
        self._bot(name, None, pace, met).addCallback(begin).addErrback(failed)

    # The keys.

    def press(self, key: str) -> None:
        """Lose packets, or kill the process of the match that is shown."""
        if key == "loss":
            self._loss.is_on = not self._loss.is_on
        elif key == "kill" and not self._is_killing:
            self._is_killing = True
            Deferred.fromCoroutine(self._kill()).addBoth(self._end_kill)

    def _end_kill(self, result: Any) -> None:
        self._is_killing = False
        if isinstance(result, Failure):
            self.killed = result.getErrorMessage()

    async def _kill(self) -> None:
        match = self._shown
        if match is None or match.is_over:
            return
        pid = await self._node.game_server_of(match.match_id)
        if not pid:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        now = self._reactor.seconds
        killed = self.killed = Killed(match, pid, match.version, now())
        match.on_state(lambda seen: killed.saw(now(), seen))

    # The picture.

    def add(self, match: Match) -> None:
        """Add a match in which a bot has a seat; the view of one seat is enough."""
        self._matches.setdefault(match.match_id, match)

    def compose(self, width: int, height: int) -> Canvas:
        """Draw the match as it is now."""
        self._frame += 1
        match = self._choose()
        if match is None:
            picture = Canvas(height, width)
            picture.put(1, 2, "vinom demo")
            picture.put(3, 2, "the bots are taking their seats")
            return picture
        loss = "stops the loss" if self._loss.is_on else f"loses {_LOSS:.0%} of packets"
        scene = scene_of(
            match,
            self._reactor.seconds(),
            self._frame,
            you=None,
            title=f"vinom demo · {self._page}",
            keys=f"join: {self._command} · l {loss} · k kills the game process · "
            "Ctrl-C ends",
            notes=self._notes(),
        )
        return compose(scene, width, height)

    def lines(self) -> list[str]:
        """Describe the score of the match in one line."""
        match = self._choose()
        if match is None:
            return []
        now = self._reactor.seconds()
        rtt = "" if match.rtt is None else f", RTT {match.rtt * 1000:.1f} ms"
        score = headline(scene_of(match, now, 0))
        return [f"{now - self._began:5.1f} s  match {match.match_id[:8]}: {score}{rtt}"]

    def _notes(self) -> list[str]:
        tally = self.tally
        plural = "" if tally.finished == 1 else "es"
        notes = [f"{tally.finished} match{plural} played"]
        delay = tally.input_to_state.recent_ms()
        if delay is not None:
            notes.append(f"input→state {delay:.1f} ms")
        if self._loss.is_on:
            notes.append(f"{_LOSS:.0%} loss is on")
        if isinstance(self.killed, Killed):
            notes.append(f"killed {self.killed.pid}")
        return notes if self.killed is None else [*notes, str(self.killed)]

    def _choose(self) -> Match | None:
        for match_id in [m.match_id for m in self._matches.values() if m.is_over]:
            del self._matches[match_id]
        shown = self._shown
        seen = [m for m in self._matches.values() if m.view is not None]
        with_people = [m for m in seen if self._has_person(m)]
        if shown is not None and not shown.is_over:
            if self._has_person(shown) or not with_people:
                return shown
        elif not seen:
            # Keep the last picture of the last match until there is another.
            return shown
        self._shown = (with_people or seen)[-1]
        return self._shown

    def _has_person(self, match: Match) -> bool:
        return any(player.player_id not in self.bots for player in match.players)


def _program() -> str:
    """The command that starts this program: a path if the shell lacks the name."""
    called = Path(sys.argv[0])
    if called.name != "vinom" or shutil.which("vinom") == str(called.absolute()):
        return "vinom"
    return str(called)

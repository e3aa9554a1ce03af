"""``vinom replay FILE...``: play recordings again and compare their ends."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import msgspec

from vinom.base.model import MatchPlan
from vinom.base.printable import say
from vinom.client.terminal.scene import Scene, compose, headline
from vinom.client.terminal.screen import Canvas, Screen, can_draw
from vinom.errors import Misconfigured, Unreadable
from vinom.game import Game
from vinom.play.game_loader import load_game, load_games
from vinom.play.hosting.guarding import guard_games
from vinom.play.play import Play
from vinom.play.recording import Recording, ReplayResult, read_recording, replay

#: Longest pause between two things that happen, when watched, seconds.
_LONGEST_WAIT = 2.0


OPTIONS = """
files FILE...        replay these .vinomrec files
--game PACKAGE.MODULE:CLASS
                     replay with this class instead of the installed game
--watch              draw it while it plays
--speed RATE >0 = 1  with --watch: play this many times as fast
"""


def run(options: argparse.Namespace) -> int:
    """
    Replay, and print a comparison.

    If one of several files cannot be replayed, print why and continue with the next.

    :returns: exit code: 0 if all end as they were recorded, 1 if one does not, 2 if
        one of several could not be replayed.
    :raises Misconfigured: the only file, or its game, cannot be read.
    """
    named = None if options.game is None else load_game(options.game)
    codes = []
    for path in options.files:
        try:
            codes.append(_replay_file(path, named, options))
        except Misconfigured as error:
            if len(options.files) == 1:
                raise
            say(f"vinom replay: {error}", file=sys.stderr)
            codes.append(2)
    return max(codes)


def _replay_file(
    path: Path, named: Game[Any, Any] | None, options: argparse.Namespace
) -> int:
    try:
        recording = read_recording(path.read_bytes())
        game = named or game_of(recording)
        if options.watch:
            result = _watched(recording, game, sys.stdout, time.sleep, options.speed)
        else:
            result = replay(recording, game, guard=guard_games(logs_slow=False))
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from error
    except (Misconfigured, Unreadable) as error:
        raise Misconfigured(f"{path}: {error}") from error
    say(describe(recording, result))
    return 0 if result.differing is None else 1


#: What a replay that differs most often means.
_CHANGED = (
    "has the game's code changed since? Then raise its schema: a replay of an older "
    "recording is refused in words"
)


def describe(recording: Recording, result: ReplayResult) -> str:
    """Write the result of a replay for people, in a few lines."""
    plan, ending = recording.header.plan, recording.ending
    players, inputs = (
        f"{count} {what}{'s' * (count != 1)}"
        for count, what in (
            (len(plan.seats), "player"),
            (len(recording.inputs), "input"),
        )
    )
    lines = [
        f"{plan.match_id}: {plan.game}, {players}, {inputs}, "
        f"version {result.version} after {result.time:.1f} s"
    ]
    if ending is None:
        lines.append(
            "it has no end: the match is still running, or its process was killed"
        )
    else:
        lines.append(
            f"recorded end: {ending.end.reason}"
            + (f", view {ending.end.view_hash}" if ending.end.view_hash else "")
        )
    if result.fault is not None:
        fault = result.fault
        lines.append(f"the game failed: {type(fault).__qualname__}: {fault}")
    if result.differing is not None:
        lines.append(f"differs: {result.differing}")
        lines.append(_CHANGED)
    elif ending is not None:
        lines.append(f"the same end, with the same state {result.state_hash}")
    return "\n".join(lines)


def game_of(recording: Recording) -> Game[Any, Any]:
    """
    Find the installed game that was recorded.

    :raises Misconfigured: it is not installed.
    """
    name = recording.header.plan.game
    games = load_games()
    if name not in games:
        raise Misconfigured(
            f"the game {name!r} is not installed; name it with "
            f"--game package.module:Class"
        )
    return games[name]


def _watched(
    recording: Recording,
    game: Game[Any, Any],
    out: TextIO,
    sleep: Callable[[float], None],
    speed: float,
) -> ReplayResult:
    """Replay at the original pace, drawn on a terminal or printed as lines."""
    screen = Screen(out) if can_draw(out, os.environ) else None
    picture = Picture(recording.header.plan, game)
    guard = guard_games(logs_slow=False)
    shown_at = 0.0

    def watch(play: Play) -> None:
        nonlocal shown_at
        sleep(min((play.time - shown_at) / speed, _LONGEST_WAIT))
        shown_at = play.time
        if screen is None:
            say(picture.line(play), file=out, flush=True)
        else:
            screen.show(picture.draw(play, *screen.size()))

    if screen is None:
        return replay(recording, game, watch, guard)
    screen.enter()
    try:
        result = replay(recording, game, watch, guard)
        sleep(_LONGEST_WAIT)
    finally:
        screen.leave()
    return result


class Picture:
    """Shows the public view of a game: the maze drawn, others as text."""

    def __init__(self, plan: MatchPlan, game: Game[Any, Any]) -> None:
        """
        :param plan: of the recorded match.
        :param game: makes the views.
        """
        self._plan, self._game = plan, game
        self._setup: Any = None
        self._frame = 0

    def line(self, play: Play) -> str:
        """Write the current view in one line."""
        view = self._view(play)
        if self._plan.game == "maze":
            text = headline(self._scene(play, view))
        else:
            text = msgspec.json.encode(view).decode()
        return f"{play.time:8.2f} s  version {play.version}  {text}"

    def draw(self, play: Play, width: int, height: int) -> Canvas:
        """Draw the current view."""
        self._frame += 1
        view = self._view(play)
        if self._plan.game == "maze":
            return compose(self._scene(play, view), width, height)
        text = msgspec.json.format(msgspec.json.encode(view), indent=2).decode()
        canvas = Canvas(height, width)
        for row, line in enumerate([self.line(play), *text.split("\n")]):
            canvas.put(row, 0, line)
        return canvas

    def _view(self, play: Play) -> Any:
        """Make the view that a spectator would have decoded."""
        if self._setup is None:
            self._setup = msgspec.to_builtins(self._game.setup(play.state))
        audience = self._game.audience(play.state, None)
        return msgspec.to_builtins(self._game.view(play.state, audience))

    def _scene(self, play: Play, view: Any) -> Scene:
        return Scene(
            setup=self._setup,
            view=view,
            names=[seat.name for seat in self._plan.seats],
            time=play.time,
            title=f"vinom · replay of {self._plan.match_id}",
            frame=self._frame,
        )

"""``vinom check package.module:Class``: check a game for purity, replay and leaks."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import attrs

from vinom.check.trial import Finding, first_disagreement, try_game
from vinom.errors import Misconfigured
from vinom.game import Game
from vinom.game_loader import load_game, load_games, name_of
from vinom.hosting.guarding import guard_games
from vinom.printable import say, say_json

#: Any two different ones.
_HASH_SEEDS = ("1", "2")
#: Defaults: games per number of players, and for how long, seconds.
_GAMES, _SECONDS = 3, 10.0
#: When to print the progress for the first time, and how often then, seconds.
_QUIET, _BETWEEN = 2.0, 5.0

DESCRIPTION = """
Play a game with random actions, its bot, and players who disconnect and return,
making every call twice; once for every number of players (for large tables the
smallest five and the largest), then again with other seeds. The game must be pure
and its states frozen, no action may make it fail, it must end, its recording must
replay, also where sets are ordered differently, and its views must not leak.
Without --games and --seconds, play three games per number of players, or as many as
can begin within 10 seconds. Exit with 0 if nothing was found, else with 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = f"{parser.description}. {DESCRIPTION}"
    parser.add_argument(
        "game",
        metavar="PACKAGE.MODULE:CLASS",
        help="check this game, or the installed one of this name",
    )
    parser.add_argument(
        "--games",
        type=int,
        help="play this many games per number of players, however long it takes",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="start games with other seeds for this long; one game per number of "
        "players is always played",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="choose other random actions (0)"
    )


def run(
    options: argparse.Namespace, seconds: Callable[[], float] = time.monotonic
) -> int:
    """
    Check, and print the findings.

    :param seconds: the clock, in seconds from any beginning.
    :returns: exit code: 0 if nothing was found, 1 if something was.
    :raises Misconfigured: there is no such game, or an option is out of range.
    """
    most, within = _how_much(options)
    game = _find(options.game)
    findings: dict[str, Finding] = {}
    notes: list[str] = []
    steps = played = 0
    began = seconds()
    progress = _Progress(sys.stderr, seconds, began)
    # Each call is made twice there.
    guard = guard_games(2, logs_slow=False)
    sizes = _sizes(game)
    for seats, seed in _trials(sizes, most, options.seed):
        if played >= len(sizes) and seconds() - began >= within:
            break
        progress.show(f"{name_of(game)}: game {played + 1}, {seats} players")
        trial = try_game(game, name_of(game), seats, seed, guard)
        played += 1
        steps += len(trial.trace)
        for finding in trial.findings:
            findings.setdefault(_subject(finding), finding)
        notes += [note for note in trial.notes if note not in notes]
    if not findings:
        progress.show(f"{name_of(game)}: again, in two other processes")
        largest = sizes[-1]
        disagreement = _under_hash_seeds(
            options.game, largest, _seed_of(options.seed, 0, largest)
        )
        if disagreement:
            findings[_subject(disagreement)] = disagreement
    progress.clear()
    for finding in findings.values():
        when = f" [{finding.when}]" if finding.when else ""
        say(f"{finding.rule}: {finding.message}{when}")
    for note in notes:
        say(f"note: {note}")
    verdict = f"{len(findings)} to change" if findings else "ok"
    say(f"{name_of(game)}: {verdict} ({played} games, {steps} steps)")
    return 1 if findings else 0


def _how_much(options: argparse.Namespace) -> tuple[float, float]:
    """Read how many games per number of players to play, and for how long."""
    games, within = options.games, options.seconds
    if games is not None and games < 1:
        raise Misconfigured(f"--games {games} must be 1 or more")
    if within is not None and not 0 <= within < math.inf:
        raise Misconfigured(f"--seconds {within} must be 0 or more")
    if games is None and within is None:
        return _GAMES, _SECONDS
    return (
        math.inf if games is None else games,
        math.inf if within is None else within,
    )


@attrs.define
class _Progress:
    """
    Prints the progress: on a terminal at once, in one line that changes; elsewhere
    only if the check takes long, with a line every few seconds.
    """

    _out: TextIO
    _seconds: Callable[[], float]
    _shown_at: float
    _is_terminal: bool = attrs.field(init=False)
    _is_first: bool = True

    def __attrs_post_init__(self) -> None:
        self._is_terminal = self._out.isatty()

    def show(self, words: str) -> None:
        """Show the current step."""
        if self._is_terminal:
            # Back to the beginning of the line, and erase it.
            self._write(f"\r\x1b[K{words}")
            return
        now = self._seconds()
        if now - self._shown_at >= (_QUIET if self._is_first else _BETWEEN):
            self._shown_at, self._is_first = now, False
            self._write(f"{words}\n")

    def clear(self) -> None:
        """Erase the line on a terminal."""
        if self._is_terminal:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _find(spec: str) -> Game[Any, Any]:
    if ":" in spec:
        return load_game(spec)
    games = load_games()
    if spec not in games:
        raise Misconfigured(
            f"no installed game is called {spec!r}; give package.module:Class or one "
            f"of {', '.join(sorted(games))}"
        )
    return games[spec]


def _subject(finding: Finding) -> str:
    """Name what a finding is about: a hand that leaks is one subject, not each card."""
    words = finding.message
    if finding.rule == "leak":
        words = words.split(" ", 1)[0].partition("[")[0].partition(".")[0]
    return f"{finding.rule} {words}"


def _sizes(game: Game[Any, Any]) -> list[int]:
    """List the numbers of players to try, the largest last."""
    fewest, most = game.seats
    # For a game of a hundred players, its smallest tables and its largest suffice.
    return sorted({*range(fewest, min(most, fewest + 4) + 1), most})


def _trials(sizes: list[int], most: float, seed: int) -> Iterator[tuple[int, int]]:
    """List games to play: number of seats and seed; all sizes, then all again."""
    number = 0
    while number < most:
        for seats in sizes:
            yield seats, _seed_of(seed, number, seats)
        number += 1


def _seed_of(seed: int, number: int, seats: int) -> int:
    return (seed * 1_000_003 + number * 101 + seats) % (1 << 256)


def _under_hash_seeds(spec: str, seats: int, seed: int) -> Finding | None:
    """Trace one trial in two processes that order their sets differently."""
    # Let the children import everything that this process can.
    path = os.pathsep.join(sys.path)
    children = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, spec, str(seats), str(seed)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for hash_seed in _HASH_SEEDS
    ]
    # Wait for both, even if the first one fails.
    outputs = [child.communicate() for child in children]
    traces = []
    for child, (out, error) in zip(children, outputs, strict=True):
        if child.returncode:
            why = error.decode(errors="replace").strip().splitlines()
            return Finding("hash_seed", why[-1] if why else "the process failed")
        traces.append(json.loads(out.splitlines()[-1]))
    return first_disagreement(*traces)


def print_trace(arguments: list[str]) -> None:
    """Play one trial and print its trace as JSON; runs in a child process."""
    spec, seats, seed = arguments
    game = _find(spec)
    trial = try_game(game, name_of(game), int(seats), int(seed))
    # The game may print too, on other lines.
    say()
    say_json(trial.trace)


if __name__ == "__main__":
    print_trace(sys.argv[1:])

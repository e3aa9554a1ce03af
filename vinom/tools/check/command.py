"""``vinom check package.module:Class``: find what would break a game in play."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import attrs
from msgspec import structs

from vinom.base.printable import in_columns, say
from vinom.game import Game
from vinom.play.game_loader import find_game
from vinom.play.hosting.guarding import guard_games
from vinom.tools.check.line import Finding, Trial
from vinom.tools.check.shown import PLACES, Sightings
from vinom.tools.check.trial import first_disagreement
from vinom.tools.check.twin import check_twin
from vinom.tools.check.workers import Task, Workers, play_task

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
#: Defaults: games per number of players, and for how long, seconds.
_GAMES, _SECONDS = 3, 10.0
#: How long the two processes with other orders of sets may play, seconds.
_AGAIN = 1.5
#: Games are played in this process for so long; then in several, seconds.
_ALONE = 2.0
#: Most processes, unless ``--jobs`` says how many.
_MOST_JOBS = 8
#: Games per number of players, and steps of each, for the table of secrets.
_SECRET_GAMES, _SECRET_STEPS = 4, 400
#: When to print the progress for the first time, and how often then, seconds.
_QUIET, _BETWEEN = 2.0, 5.0

DESCRIPTION = """
Play a game with random actions, its bot, players who disconnect and return, leave and
join, and with options and loadouts drawn from their types; make every call twice, the
second time with a state that was stored and read. Do this once for every number of
players (for large tables the smallest five and the largest), then again with other
seeds. The game must be pure and its states frozen and storable, no action may make it
fail, it must end, it must not wait for players who left, its recording must replay,
also where sets are ordered differently, and nothing that it sends may leak. Without
--games and --seconds, play three games per number of players, or as many as can be
played within 10 seconds. Exit with 0 if nothing was found, else with 1.
"""


OPTIONS = """
game PACKAGE.MODULE:CLASS
              check this game, or the installed one of this name
--games N >=1
              play this many games per number of players, however long it takes
--seconds SECONDS >=0
              play for this long; every number of players gets a game, which is cut
              short if the time is over
--seed SEED = 0
              the seed of the first game of each number of players; the next game has
              the next seed
--jobs N >=1  play in this many processes (one per processor)
--twin FILE   play recordings through step(state, inputs, n, setup) of this JavaScript
              module as well, in Node.js, and compare what it returns with the game's
              states, tick by tick; nothing else is checked then
--recording FILE...
              with --twin: use this recording, in place of random games; repeatable
--secrets     print who is shown which field of the state, as a table to keep under
              version control, instead of the findings
"""


def run(
    options: argparse.Namespace, seconds: Callable[[], float] = time.monotonic
) -> int:
    """
    Check, and print the findings.

    :param seconds: the clock, in seconds from any beginning.
    :returns: exit code: 0 if nothing was found, 1 if something was.
    :raises Misconfigured: there is no such game.
    """
    # Games per number of players, and for how long.
    most = math.inf if options.games is None else options.games
    within = math.inf if options.seconds is None else options.seconds
    if most == within == math.inf:
        most, within = _GAMES, _SECONDS
    if options.twin:
        return _run_twin(options)
    check = _Check(options, *find_game(options.game), seconds)
    if options.secrets:
        return check.print_secrets()
    return check.run(most, within)


def _run_twin(options: argparse.Namespace) -> int:
    """Compare the game with its twin; returns the exit code."""
    name, game = find_game(options.game)
    seeds = range(options.seed, options.seed + (options.games or _GAMES))
    games = ((seats, seed) for seed in seeds for seats in _sizes(game))
    found, notes, what = check_twin(game, name, options.twin, options.recording, games)
    for line in (*found, *(f"note: {note}" for note in notes)):
        say(line)
    say(f"{name}: {'1 to change' if found else 'ok'} ({what})")
    return 1 if found else 0


class _Check:
    """One run of the command."""

    def __init__(
        self,
        options: argparse.Namespace,
        name: str,
        game: Game[Any, Any],
        seconds: Callable[[], float],
    ) -> None:
        """
        :param options: of the command line.
        :param name: of the game.
        :param game: that is checked.
        :param seconds: the clock.
        """
        self._spec, self._seed = options.game, options.seed
        self._name, self._game, self._seconds = name, game, seconds
        self._jobs = options.jobs or min(len(os.sched_getaffinity(0)), _MOST_JOBS)
        self._sizes = _sizes(game)
        self._began = seconds()
        self._progress = _Progress(sys.stderr, seconds, self._began)
        self._findings: dict[str, Finding] = {}
        self._notes: list[str] = []
        self._cut: set[int] = set()
        self._begun = self._played = self._steps = 0
        self._seen = Sightings()

    def run(self, most: float, within: float) -> int:
        """
        Check, and print the findings; returns the exit code.

        :param most: games per number of players.
        :param within: for how long, seconds.
        """
        self._play(self._tasks(most, within), within)
        if not self._findings:
            self._compare_processes(within)
        self._progress.clear()
        for finding in self._findings.values():
            when = f" [{finding.when}]" if finding.when else ""
            say(f"{finding.rule}: {finding.message}{when}")
        for name in self._seen.kept_apart():
            if name not in self._game.secret:
                self._notes.append(
                    f"each seat alone sees its own {name!r}: with secret = ({name!r},) "
                    f"this check tests that strictly"
                )
        for note in self._notes:
            say(f"note: {note}")
        if self._cut:
            say(f"note: {self._cut_short()}")
        count = len(self._findings)
        verdict = f"{count} to change" if count else "ok"
        say(f"{self._name}: {verdict} ({self._played} games, {self._steps} steps)")
        return 1 if count else 0

    def print_secrets(self) -> int:
        """Print the table of who is shown what; returns the exit code."""
        sizes = sorted({self._sizes[0], self._sizes[-1]})
        tasks = [
            Task(seats, self._seed + number, number % 2 == 1, None, _SECRET_STEPS)
            for number in range(_SECRET_GAMES)
            for seats in sizes
        ]
        self._play(iter(tasks), math.inf)
        self._progress.clear()
        say(f"{self._name}: who is shown which field of the state")
        say(in_columns([("field", "phase", *PLACES), *self._seen.table()]))
        return 0

    def _tasks(self, most: float, within: float) -> Iterator[Task]:
        """List games to play: all numbers of players, then all again."""
        number = 0
        while number < most:
            for index in range(len(self._sizes)):
                left = within - (self._seconds() - self._began)
                # However slow the game is: each number of players gets its share.
                needed = len(self._sizes) - index if number == 0 else 1
                if left <= 0 and number:
                    return
                share = None
                if left < math.inf:
                    share = max(left, 0.0) * min(self._jobs, needed) / needed
                yield self._task(number, index, share)
            number += 1

    def _task(self, number: int, index: int, seconds: float | None) -> Task:
        """Make a game; the same seed draws the same options, or takes the defaults."""
        seed = self._seed + number
        return Task(self._sizes[index], seed, (seed + index) % 2 == 1, seconds)

    def _play(self, tasks: Iterator[Task], within: float) -> None:
        """Play games: the first in this process, which most games need no longer."""
        # Each call is made twice there.
        guard = guard_games(2, logs_slow=False)
        alone = min(_ALONE, within / 4) if self._jobs > 1 else math.inf
        while self._seconds() - self._began < alone:
            task = next(tasks, None)
            if task is None:
                return
            self._show(task)
            self._note(task, play_task(self._game, task, guard, self._seconds))
        workers = Workers(self._spec, self._jobs)
        for task, trial in workers.play(tasks, self._show):
            self._note(task, trial)

    def _show(self, task: Task | None) -> None:
        """Show which game begins; ``None`` if the running ones go on."""
        if task is not None:
            self._begun += 1
            self._latest = f"game {self._begun}, {task.table}"
        self._progress.show(f"{self._name}: {self._latest}")

    def _note(self, task: Task, trial: Trial) -> None:
        """Keep what came of a game."""
        self._played += 1
        self._steps += trial.steps
        if trial.is_cut:
            self._cut.add(task.seats)
        for finding in trial.findings:
            self._findings.setdefault(_subject(finding), finding)
        self._notes += [note for note in trial.notes if note not in self._notes]
        self._seen.add(trial.seen)

    def _cut_short(self) -> str:
        sizes = ", ".join(map(str, sorted(self._cut)))
        return (
            f"games of {sizes} players were cut short, because the time was over; for "
            f"all of them take --games 1, or more --seconds"
        )

    def _compare_processes(self, within: float) -> None:
        """Play the largest game again, in two processes that order sets differently."""
        self._progress.show(f"{self._name}: again, in two other processes")
        # Both must play the same number of steps, so time can't be what ends them.
        took = self._seconds() - self._began
        most = 1_000_000
        if within < math.inf and took > 0 and self._steps:
            most = max(100, int(self._steps / took / self._jobs * _AGAIN))
        task = self._task(0, len(self._sizes) - 1, None)
        task = structs.replace(task, most_steps=most, is_traced=True)
        both = Workers(self._spec, 2).play(iter((task, task)), lambda _: None)
        one, other = (trial for _, trial in both)
        disagreement = first_disagreement(one.trace, other.trace)
        findings = [*one.findings, *other.findings]
        if disagreement is not None:
            findings.append(structs.replace(disagreement, when=task.where))
        for finding in findings:
            self._findings.setdefault(_subject(finding), finding)


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


def _subject(finding: Finding) -> str:
    """Name what a finding is about: a hand that leaks is one subject, not each card."""
    words = finding.message
    if finding.rule in ("left", "state", "tick"):
        return finding.rule
    if finding.rule == "fault":
        # The same fault at another time, or of another value.
        words = _NUMBER.sub("0", words)
    if finding.rule == "leak":
        words = words.split(" ", 1)[0].partition("[")[0].partition(".")[0]
    return f"{finding.rule} {words}"


def _sizes(game: Game[Any, Any]) -> list[int]:
    """List the numbers of players to try, the largest last."""
    fewest, most = game.seats
    # For a game of a hundred players, its smallest tables and its largest suffice.
    return sorted({*range(fewest, min(most, fewest + 4) + 1), most})

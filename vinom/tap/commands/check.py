"""``vinom check package.module:Class``: prove that a game is what a game must be."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from vinom.errors import Misconfigured
from vinom.game import Game
from vinom.rules.check import Finding, first_disagreement, try_game
from vinom.tap.games import load_game, load_games, name_of
from vinom.tap.patience import guard_games

#: Any two would do; what matters is that they are given and differ.
_HASH_SEEDS = ("1", "2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    parser.add_argument(
        "game",
        metavar="PACKAGE.MODULE:CLASS",
        help="the game to check, or the name of an installed one",
    )
    parser.add_argument(
        "--games", type=int, default=3, help="games per number of players (3)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="other seeds play other games (0)"
    )


def run(options: argparse.Namespace) -> int:
    """
    Check; 0 if nothing was found, 1 if something was.

    :raises Misconfigured: there is no such game.
    """
    if options.games < 1:
        raise Misconfigured("--games must be 1 or more")
    game = _find(options.game)
    findings: dict[str, Finding] = {}
    notes: list[str] = []
    steps = 0
    trials = _trials(game, options.games, options.seed)
    # Each call is made twice there.
    guard = guard_games(2, is_told=False)
    for seats, seed in trials:
        trial = try_game(game, name_of(game), seats, seed, guard)
        steps += len(trial.trace)
        for finding in trial.findings:
            findings.setdefault(_subject(finding), finding)
        notes += [note for note in trial.notes if note not in notes]
    if not findings:
        disagreement = _under_hash_seeds(options.game, *trials[-1])
        if disagreement:
            findings[_subject(disagreement)] = disagreement
    for finding in findings.values():
        when = f" [{finding.when}]" if finding.when else ""
        print(f"{finding.rule}: {finding.message}{when}")
    for note in notes:
        print(f"note: {note}")
    verdict = f"{len(findings)} to change" if findings else "ok"
    print(f"{name_of(game)}: {verdict} ({len(trials)} games, {steps} steps)")
    return 1 if findings else 0


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
    """What a finding is about: of a hand of cards that leaks, one card will do."""
    words = finding.message
    if finding.rule == "leak":
        words = words.split(" ", 1)[0].partition("[")[0].partition(".")[0]
    return f"{finding.rule} {words}"


def _trials(game: Game[Any, Any], games: int, seed: int) -> list[tuple[int, int]]:
    """List what is played: how many seats, which seed."""
    fewest, most = game.seats
    # Of a game for a hundred, its smallest tables and its largest will do.
    numbers = sorted({*range(fewest, min(most, fewest + 4) + 1), most})
    return [
        (seats, (seed * 1_000_003 + number * 101 + seats) % (1 << 64))
        for seats in numbers
        for number in range(games)
    ]


def _under_hash_seeds(spec: str, seats: int, seed: int) -> Finding | None:
    """Trace one trial in two processes that order their sets differently."""
    traces = []
    # What this process can import, the others can.
    path = os.pathsep.join(sys.path)
    for hash_seed in _HASH_SEEDS:
        done = subprocess.run(
            [sys.executable, "-m", __name__, spec, str(seats), str(seed)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=False,
        )
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().splitlines()
            return Finding("hash_seed", why[-1] if why else "the process failed")
        traces.append(json.loads(done.stdout.splitlines()[-1]))
    return first_disagreement(*traces)


def print_trace(arguments: list[str]) -> None:
    """Play one trial and print its trace as JSON; runs in a child process."""
    spec, seats, seed = arguments
    game = _find(spec)
    trial = try_game(game, name_of(game), int(seats), int(seed))
    # A game may print; what it printed is on another line.
    print()
    print(json.dumps(trial.trace))


if __name__ == "__main__":
    print_trace(sys.argv[1:])

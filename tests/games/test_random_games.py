"""
Games of random actions: none fails, each ends, every recording replays.

Of each game 10 are played, or as many as ``VINOM_GAMES`` says in the environment.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import tests
from tests.support.random_games import GAMES, random_game
from vinom.tools.check.trial import try_game

COUNT = int(os.environ.get("VINOM_GAMES", "10"))
#: Steps of a check; without the variable it is cut short.
MOST_STEPS = math.inf if "VINOM_GAMES" in os.environ else 100
#: The manual promises these: actions, deadlines and ticks until the first end. Of a
#: maze it promises five minutes, in which `RandomGame` acts once a second.
MOST_ACTIONS = {
    "arena": 20 * 15,
    "dice": 500,
    "maze": 500,
    "oldmaid": 500,
    "owedrahn": 1500,
    "tictactoe": 10,
}


class RandomGameTests(SynchronousTestCase):
    def test_play_and_replay(self) -> None:
        """
        With any actions, joins and leaves, a game ends within the actions that the
        manual promises, and its recording plays to the same end in processes that order
        their sets differently.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, most in MOST_ACTIONS.items():
            with (folder / name).open("wb") as file:
                for seed in range(COUNT):
                    played = random_game(name, seed).play()
                    self.assertLessEqual(played.actions, most, f"{name}, seed {seed}")
                    file.write(len(played.recording).to_bytes(4, "big"))
                    file.write(played.recording)
        one, other = (self.replay(folder, hash_seed) for hash_seed in ("1", "2"))
        self.assertEqual(set(one), set(GAMES))
        for name, result in one.items():
            self.assertEqual(result["games"], COUNT, name)
            self.assertEqual(result["differing"], [], name)
        self.assertEqual(one, other)

    def test_check(self) -> None:
        """
        ``vinom check`` has nothing to find or to remark, at the smallest tables
        and at the largest.
        """
        for name, kind in GAMES.items():
            game = kind()
            for seats in sorted(set(game.seats)):
                trial = try_game(game, name, seats, 2026, most_steps=MOST_STEPS)
                self.assertEqual(trial.findings, [], name)
                self.assertEqual(trial.notes, [], name)

    def replay(self, folder: Path, hash_seed: str) -> dict[str, dict[str, object]]:
        """Play all recordings again, in a process of its own."""
        root = Path(tests.__file__).resolve().parent.parent
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.random_games", str(folder.resolve())],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        results: dict[str, dict[str, object]] = json.loads(done.stdout)
        return results

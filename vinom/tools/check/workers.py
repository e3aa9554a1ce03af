"""
Play trials in several processes.

Each process reads tasks and writes results, one JSON document per line. A game that
takes its process down, or hangs it where nothing interrupts, is a finding.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Timer
from typing import Any

import attrs
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Game
from vinom.play.game_loader import find_game, name_of
from vinom.play.guard import Guard
from vinom.play.hosting.guarding import guard_games
from vinom.tools.check.line import Finding, Trial
from vinom.tools.check.trial import try_game

#: How much longer than its time a task may take before its process is killed, seconds.
SPARE = 15.0


class Task(Struct, frozen=True):
    """
    One trial to play.

    :ivar seats: number of players.
    :ivar seed: as on the command line.
    :ivar is_drawn: are options and loadouts drawn?
    :ivar seconds: when to cut it short; ``None`` for never.
    :ivar most_steps: of the trial.
    :ivar is_traced: does the result have its trace?
    """

    seats: int
    seed: int
    is_drawn: bool
    seconds: float | None = None
    most_steps: int = 1_000_000
    is_traced: bool = False

    @property
    def trial_seed(self) -> int:
        """The seed of the game itself, which also depends on the number of players."""
        return (self.seed * 1_000_003 + self.seats) % (1 << 256)

    @property
    def table(self) -> str:
        """Name its size, for the author."""
        return f"{self.seats} player{'' if self.seats == 1 else 's'}"

    @property
    def where(self) -> str:
        """Name what plays it again."""
        return f"seed {self.seed}, {self.table}"


def play_task(
    game: Game[Any, Any],
    task: Task,
    guard: Guard,
    seconds: Callable[[], float] = time.monotonic,
) -> Trial:
    """
    Play a trial in this process.

    :param game: the rules.
    :param task: what to play.
    :param guard: interrupts calls that take too long.
    :param seconds: the clock, in seconds from any beginning.
    """
    ends = None if task.seconds is None else seconds() + task.seconds
    trial = try_game(
        game,
        name_of(game),
        task.seats,
        task.trial_seed,
        guard,
        is_drawn=task.is_drawn,
        is_over=lambda: ends is not None and seconds() >= ends,
        most_steps=task.most_steps,
    )
    where = [task.where]
    if trial.options != "{}":
        where.append(f"options {trial.options}")
    trial.findings = [
        replace(one, when=", ".join([*where, *filter(None, [one.when])]))
        for one in trial.findings
    ]
    if not task.is_traced:
        trial.trace.clear()
    return trial


@attrs.define(eq=False)
class Workers:
    """
    Processes that play trials of one game.

    :ivar spec: the game.
    :ivar count: how many processes at most.
    """

    spec: str
    count: int
    _idle: SimpleQueue[subprocess.Popen[bytes]] = attrs.field(factory=SimpleQueue)
    _all: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    def play(
        self, tasks: Iterator[Task], watch: Callable[[Task | None], None]
    ) -> Iterator[tuple[Task, Trial]]:
        """
        Play tasks as processes are free.

        :param tasks: asked for the next one whenever a process is free.
        :param watch: called with each task that begins, and with ``None`` every second.
        """
        running: dict[Future[Trial], Task] = {}
        with ThreadPoolExecutor(self.count) as threads:
            try:
                while True:
                    while len(running) < self.count:
                        task = next(tasks, None)
                        if task is None:
                            break
                        watch(task)
                        # One more first: two tasks are played by two processes,
                        # however soon one of them is done.
                        is_new = len(self._all) < self.count or self._idle.empty()
                        process = self._start() if is_new else self._idle.get_nowait()
                        running[threads.submit(self._play, task, process)] = task
                    if not running:
                        return
                    done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
                    if not done:
                        watch(None)
            finally:
                self.stop()

    def stop(self) -> None:
        """End the processes, also those that still play."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._all.clear()

    def _play(self, task: Task, process: subprocess.Popen[bytes]) -> Trial:
        """Play one task in a process that is free; runs in a thread."""
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = None
        if task.seconds is not None:
            alarm = Timer(task.seconds + SPARE, process.kill)
            alarm.start()
        try:
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):
            line = b""
        finally:
            if alarm is not None:
                alarm.cancel()
        if not line:
            why = (
                f"the process that played it ended with exit code {process.wait()}; "
                f"a call may have taken too long where nothing can interrupt it"
            )
            return Trial([Finding("fault", why, task.where)])
        self._idle.put(process)
        return msgspec.json.decode(line, type=Trial)

    def _start(self) -> subprocess.Popen[bytes]:
        # Let it import everything that this process can.
        path = os.pathsep.join(sys.path)
        # Any two processes order their sets differently.
        hash_seed = str(len(self._all))
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, self.spec],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the program that reads their answers.
            start_new_session=True,
        )
        self._all.append(process)
        return process


def serve(spec: str) -> None:
    """Play tasks from standard input until it ends; runs in a child process."""
    # The game may print too, and nothing of that is a result.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    (_, game), guard = find_game(spec), guard_games(2, logs_slow=False)
    for line in sys.stdin.buffer:
        result = play_task(game, msgspec.json.decode(line, type=Task), guard)
        results.write(msgspec.json.encode(result) + b"\n")
        results.flush()


if __name__ == "__main__":
    serve(sys.argv[1])

"""How long players are away when the process of their match is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from benchmarks.figures import Figure, Size, of_runs
from benchmarks.machine import Failed
from benchmarks.node import Node
from tests.support.javascript import FOLDER, needs_javascript
from tests.support.needs import path_of
from tests.support.roll_call import RollCall
from vinom.client.bots import Samples
from vinom.tools.commands.child_node import free_port

Say = Callable[[str], None]

#: Matches of four players, and seconds of kills, one per second.
_MATCHES, _SECONDS = 8, 60.0
#: The same for vinom.js: matches, one after the other, and kills of each. A node gives
#: a match up whose processes die more than ten times a minute.
_JAVASCRIPT_MATCHES, _KILLS = 12, 8
_PROGRAM = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"


def continuity(size: Size, folder: Path, say: Say) -> list[Figure]:
    """Measure how long a killed game process, and a move, keep players away."""
    killed, moved, javascript = [], [], []
    for number in range(size.runs):
        say(f"continuity: run {number + 1} of {size.runs}")
        killed.append(_run(size, number, "gameserver"))
        moved.append(_run(size, number, "move"))
        javascript.append(_javascript(size))
    again = "process killed to all play again"
    still = "match moved, longest time without a state"
    return [
        of_runs(f"{again}, p50", "ms", killed, "p50", 500),
        of_runs(f"{again}, p99", "ms", killed, "p99", 1500),
        of_runs(f"{again}, vinom.js, p50", "ms", javascript, "p50", 500),
        of_runs(f"{again}, vinom.js, p99", "ms", javascript, "p99", 1500),
        of_runs(f"{still}, p50", "ms", moved, "p50"),
        of_runs(f"{still}, p99", "ms", moved, "p99", 250),
    ]


def _run(size: Size, seed: int, kind: str) -> dict[str, Any]:
    command = [
        *(sys.executable, "-c", _PROGRAM, "chaos", "--json", "--kill", kind),
        *("--matches", str(size.count(_MATCHES, 2)), "--seed", str(seed)),
        *("--minutes", str(size.seconds(_SECONDS, least=4.0) / 60)),
        *("--every", "1", "--grace", "5"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        report = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise Failed("vinom chaos did not end in 10 minutes") from None
    except ValueError:
        raise Failed(f"vinom chaos has no report: {done.stderr[-600:]}") from None
    if done.returncode:
        raise Failed(f"vinom chaos failed: {report}")
    found = {**report["pause_ms"].get(kind, {}), "strikes": report["strikes"]}
    if "p50" not in found:
        if size.is_full:
            raise Failed(f"no player was away in any match: {report}")
        # On a busy machine perhaps no player is back before the end.
        found |= {"p50": 0.0, "p99": 0.0, "note": "no player came back before the end"}
    return found


def _javascript(size: Size) -> dict[str, Any]:
    """Kill the processes of matches whose players are connected to the node."""
    try:
        needs_javascript()
    except SkipTest as error:
        return {"p50": 0.0, "p99": 0.0, "note": str(error)}
    pauses, http = Samples(), free_port()
    game = f"--game={RollCall.__module__}:{RollCall.__name__}"
    with Node(game, "--warm=2", f"--http={http}", ports=4) as node:
        for _ in range(size.count(_JAVASCRIPT_MATCHES, 1)):
            node.await_warm(2)
            _kill_while_counting(node, http, pauses, size.count(_KILLS, 2))
    return {**pauses.summary_ms()}


def _kill_while_counting(node: Node, http: int, pauses: Samples, kills: int) -> None:
    """
    Have four programs count, kill the process of their match, and check what they saw.

    :raises Failed: something is missing, doubled or went back.
    """
    command = [path_of("node"), str(FOLDER / "count.mjs"), str(http)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as counting:
        assert counting.stdin is not None
        assert counting.stdout is not None
        match_id = json.loads(counting.stdout.readline())["match"]
        for _ in range(kills):
            servers = node.status()["fleet"]["game_servers"].values()
            (pid,) = [one["pid"] for one in servers if match_id in one["matches"]]
            os.kill(pid, signal.SIGKILL)
            print("killed", file=counting.stdin, flush=True)
            pauses.add(json.loads(counting.stdout.readline())["ms"] / 1000.0)
            # The next process needs time to become warm.
            time.sleep(0.7)
        counting.stdin.close()
        seen = json.loads(counting.stdout.readline())["seen"]
    if any(
        one["wrong"] or one["outOfTurn"] or one["last"] < one["said"] for one in seen
    ):
        raise Failed(f"players of vinom.js saw wrong states: {seen}")

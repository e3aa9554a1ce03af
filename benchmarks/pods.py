"""Pods: how long matches wait for a pod of the warm pool."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Size
from benchmarks.machine import Failed, cpu_of

#: At once, and in all.
MATCHES, ALLOCATIONS = 100, 2000
_P99_BAR = 250.0
#: How long a round may take, seconds.
_PATIENCE = 120.0


def pods(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Measure allocation from the warm pool, 100 matches at once, and leftovers."""
    at_once = size.count(MATCHES)
    rounds = max(1, size.count(ALLOCATIONS) // MATCHES)
    runs = []
    for number in range(size.runs):
        say(f"pods: run {number + 1} of {size.runs}, {rounds} times {at_once} matches")
        runs.append(_run(rounds, at_once))
    middle = sorted(runs, key=lambda run: float(run["p99"]))[len(runs) // 2]
    return [
        Figure(
            f"allocation from the warm pool, {at_once} at once, p99",
            "ms",
            tuple(run["p99"] for run in runs),
            _P99_BAR,
            detail=middle,
        ),
        Figure("the same, median", "ms", tuple(run["p50"] for run in runs)),
        Figure(
            f"pods and addresses left over after {rounds * at_once} allocations",
            "",
            tuple(float(run["pods_left"] + run["addresses_bound"]) for run in runs),
            0.0,
        ),
        *(
            Figure(
                f"CPU of {who} for each pod: made, dialled in, allocated, ended",
                "ms CPU",
                tuple(run[key] for run in runs),
            )
            for who, key in (("the fleet", "fleet_ms"), ("the API server", "server_ms"))
        ),
    ]


def _run(rounds: int, at_once: int) -> dict[str, Any]:
    cluster = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pod_cluster"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    try:
        kubeconfig = cluster.stdout.readline().strip()
        before = cpu_of(cluster.pid)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.pod_fleet",
                kubeconfig,
                str(rounds),
                str(at_once),
            ],
            capture_output=True,
            text=True,
            timeout=_PATIENCE * rounds,
        )
        if done.returncode:
            raise Failed(f"the fleet of pods failed: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        cluster.stdin.write("?\n")
        cluster.stdin.flush()
        found["server_ms"] = 1000 * (cpu_of(cluster.pid) - before) / found["pods"]
        found["pods_left"] = int(cluster.stdout.readline())
        return found
    except subprocess.TimeoutExpired as error:
        raise Failed(
            f"the fleet of pods is not done after {error.timeout:g} s"
        ) from None
    finally:
        cluster.stdin.close()
        cluster.wait(60)

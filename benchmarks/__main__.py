"""``python -m benchmarks``: measure a real node on this machine."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks import (
    attacks,
    checkpoints,
    continuity,
    dense,
    draws,
    gateway,
    lobby,
    matching,
    memory,
    nodes,
    packed,
    play,
    pods,
    population,
    queue_cost,
    queue_pass,
    relay,
    rooms,
    several,
    sleeping,
    strangers,
    stuck,
)
from benchmarks.figures import Size
from benchmarks.machine import Failed, Missing, awake, describe
from benchmarks.peers import Colyseus, Pyenet
from benchmarks.tables import has_place, write_table
from benchmarks.trips.run import trips
from vinom.errors import VinomError

PARTS: dict[str, Any] = {
    "single": play.single,
    "saturation": play.saturation,
    "handshake": play.handshake,
    "checkpoints": checkpoints.checkpoints,
    "dense": dense.dense,
    "packed": packed.packed,
    "relay": relay.relay,
    "strangers": strangers.strangers,
    "attacks": attacks.attacks,
    "processes": memory.processes,
    "queueing": lobby.queueing,
    "queue_cost": queue_cost.queue_cost,
    "queue": queue_pass.queue,
    "population": population.population,
    "nodes": nodes.nodes,
    "matching": matching.matching,
    "several": several.several,
    "sleeping": sleeping.sleeping,
    "gateway": gateway.gateway,
    "pods": pods.pods,
    "continuity": continuity.continuity,
    "draws": draws.draws,
    "lines": memory.lines,
    "rooms": rooms.rooms,
    "stuck": stuck.stuck,
    "trips": trips,
}
#: Parts that measure pyenet too, if it is installed.
_BESIDE_PYENET = {"single", "saturation", "handshake", "dense", "strangers"}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure a real node on this machine: servers on core 0, load on "
        "core 1, CPU as the kernel counts it. Needs gcc and the headers of "
        "OpenSSL; libenet's for the comparison with pyenet.",
        epilog="parts: "
        + "; ".join(f"{name}: {part.__doc__}" for name, part in PARTS.items()),
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="what to measure; all of them"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="of each measurement (default 3)"
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="measure a hundredth of it, once: tests that it works, not how fast; "
        "a generator that is late is reported, and no failure",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        default=1,
        help="with --small: measure N parts at the same time (default 1)",
    )
    parser.add_argument(
        "--json", type=Path, help="also write one line per part to this file"
    )
    parser.add_argument(
        "--write",
        metavar="PAGE",
        type=Path,
        help="also put the figures that have a bar into this page "
        "(docs/performance.rst), for the parts that have a place there",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="also print each call of the part trips, in order: module:function",
    )
    parser.add_argument(
        "--peer-python",
        metavar="PROGRAM",
        default=sys.executable,
        help="an interpreter that has pyenet (default this one, if it has)",
    )
    parser.add_argument(
        "--peer-node",
        metavar="PROGRAM",
        default=os.environ.get("VINOM_PEER_NODE", "node"),
        help="a Node of 22 or newer, for Colyseus (default VINOM_PEER_NODE, or node)",
    )
    parser.add_argument(
        "--peer-modules",
        metavar="FOLDER",
        type=Path,
        default=Path(os.environ.get("VINOM_PEER_MODULES", ".")),
        help="where `npm install @colyseus/core@0.18 @colyseus/schema@5 "
        "@colyseus/uwebsockets-transport@0.18 uwebsockets-express@2` was run "
        "(default VINOM_PEER_MODULES, or here)",
    )
    options = parser.parse_args(argv)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    if options.jobs > 1 and not options.small:
        parser.error("--jobs is for --small: parts disturb each other")
    if options.write is not None:
        if options.small:
            parser.error("--small does not measure speed: leave out --write")
        try:
            page = options.write.read_text()
        except (OSError, UnicodeDecodeError) as error:
            parser.error(f"--write: {options.write} cannot be read: {error}")
        for name in options.parts:
            if not has_place(page, name):
                parser.error(f"--write: the page needs a line '.. measured: {name}'")
    return options


def _parts(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parts to run, ready to be called."""
    chosen = {name: PARTS[name] for name in options.parts or PARTS}
    if beside := _BESIDE_PYENET & chosen.keys():
        pyenet = Pyenet(options.peer_python)
        if pyenet.is_here:
            for name in beside:
                chosen[name] = functools.partial(chosen[name], pyenet=pyenet)
        else:
            print("pyenet is not installed: no comparison with it", file=sys.stderr)
    if "rooms" in chosen:
        colyseus = Colyseus(options.peer_node, options.peer_modules)
        if colyseus.is_here:
            chosen["rooms"] = functools.partial(rooms.rooms, colyseus=colyseus)
        else:
            print("Colyseus is not installed: no comparison with it", file=sys.stderr)
    if options.list and "trips" in chosen:
        chosen["trips"] = functools.partial(trips, show=print)
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Run the parts; the exit code is 1 if one could not be measured."""
    options = _arguments(argv)
    parts = _parts(options)
    if options.jobs == 1:
        failed = [name for name in parts if not _run(options, name, parts[name])]
        return int(bool(failed))
    with ProcessPoolExecutor(options.jobs) as pool:
        # From the end, where the longest parts are.
        running = [
            pool.submit(_run, options, name, parts[name]) for name in reversed(parts)
        ]
        return int(not all(done.result() for done in running))


def _run(options: argparse.Namespace, name: str, measure: Any) -> bool:
    """Measure one part and report it; could it be measured?"""
    size = Size(1, 0.01) if options.small else Size(options.runs)
    began, machine = time.monotonic(), describe()
    with tempfile.TemporaryDirectory(prefix="vinom-bench-") as folder:
        try:
            with awake() if size.is_full else nullcontext():
                figures = measure(
                    size,
                    Path(folder),
                    lambda text: print(f"... {text}", file=sys.stderr, flush=True),
                )
        except (Failed, VinomError) as error:
            is_skipped = options.small and isinstance(error, Missing)
            how = "skipped" if is_skipped else "failed"
            print(f"{name} {how}: {error}", flush=True)
            return is_skipped
    for figure in figures:
        print(figure.as_line(), flush=True)
    if options.write is not None:
        page = options.write.read_text()
        options.write.write_text(write_table(page, name, figures, machine))
    if options.json is not None:
        result = {
            "part": name,
            "seconds": round(time.monotonic() - began, 1),
            "small": options.small,
            "machine": machine,
            "figures": [figure.as_json() for figure in figures],
        }
        with options.json.open("a") as file:
            print(json.dumps(result), file=file)
    return True


if __name__ == "__main__":
    sys.exit(main())

"""
``python -m benchmarks.fuzz``: every target for a while, from its kept corpus.

Findings are written to the current directory and listed at the end. With ``--keep``
the corpora get new inputs that reach further, a few dozen at most.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from hashlib import sha1
from pathlib import Path

from benchmarks.fuzz.least import least
from benchmarks.fuzz.targets import TARGETS

CORPORA = Path(__file__).parent / "corpora"
#: Most inputs to keep for each target.
_KEPT = 40
#: Longest input, bytes: a datagram, a line.
_LONGEST = 2100


def _run(name: str, *arguments: str) -> int:
    """Run libFuzzer on one target; return its exit code."""
    program = [sys.executable, "-m", "benchmarks.fuzz.run", name]
    return subprocess.call([*program, f"-max_len={_LONGEST}", *arguments])


def _fuzz(name: str, seconds: int, keep: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        for number, seed in enumerate(TARGETS[name][1]):
            (work / f"seed{number}").write_bytes(seed)
        kept = CORPORA / name
        kept.mkdir(parents=True, exist_ok=True)
        code = _run(
            name,
            f"-max_total_time={seconds}",
            "-print_final_stats=1",
            "-verbosity=0",
            f"-artifact_prefix=fuzz-{name}-",
            str(work),
            str(kept),
        )
        if keep and not code:
            inputs = [
                file.read_bytes() for each in (kept, work) for file in each.iterdir()
            ]
            for old in kept.iterdir():
                old.unlink()
            for data in least(TARGETS[name][0], inputs, _KEPT):
                (kept / sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    return code


def main(argv: list[str] | None = None) -> int:
    """Fuzz; returns 1 if something was found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=__doc__
    )
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=600, help="each (default 600)")
    parser.add_argument("--keep", action="store_true", help="add to the corpora")
    options = parser.parse_args(argv)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(
            f"unknown targets: {', '.join(sorted(unknown))}; choose from "
            f"{', '.join(TARGETS)}"
        )
    bad = [
        name
        for name in options.targets or TARGETS
        if _fuzz(name, options.seconds, options.keep)
    ]
    print("findings: " + ", ".join(bad) if bad else "no findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

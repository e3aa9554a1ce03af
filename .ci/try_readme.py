"""Run the README's first command, as it stands there, on a clean copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Enough for a match to begin, also on a machine with much else to do.
SECONDS = 15

#: What a fresh clone would not have.
LEFTOVERS = (
    ".git",
    ".tox",
    ".venv",
    ".hypothesis",
    ".mypy_cache",
    ".ruff_cache",
    "_trial_temp*",
    "__pycache__",
    "*.egg-info",
    "build",
    "dist",
    "_build",
    "dropin.cache",
    "node_modules",
)


def main() -> int:
    """Copy, run for some seconds, tell."""
    copy = Path(sys.argv[1])
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFTOVERS))
    readme = (copy / "README.md").read_text(encoding="utf-8")
    command = next(
        line.strip() for line in readme.splitlines() if line.endswith("vinom demo")
    )
    # Nothing of the environment that runs us may help.
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }
    print(f"$ {command} --seconds {SECONDS}", flush=True)
    status = subprocess.run(
        ["/bin/sh", "-ec", f"{command} --seconds {SECONDS}"],
        cwd=copy,
        env=environ,
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode
    if status == 0:
        status = check_programs(copy, environ)
    shutil.rmtree(copy, ignore_errors=True)
    return status


def check_programs(copy: Path, environ: dict[str, str]) -> int:
    """Both programs work away from the checkout: the plugin came with the wheel."""
    binaries = copy / ".venv" / "bin"
    for program in (["twistd", "vinom", "--help"], ["vinom", "--help"]):
        done = subprocess.run(
            [binaries / program[0], *program[1:]],
            cwd=binaries,
            env=environ,
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode != 0 or b"vinom" not in done.stdout:
            print(f"{' '.join(program)} failed", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

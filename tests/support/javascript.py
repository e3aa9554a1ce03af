"""Node, and the packages of npm that tests of vinom.js and of the page need."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.needs import do_without, needs, path_of

FOLDER = Path(__file__).resolve().parent.parent / "javascript"
_PACKAGES = ("axe-core", "typescript", "ws")


def needs_javascript() -> None:
    """Skip the running test without Node or our packages of npm; see `needs`."""
    needs("node")
    # Tests of another process may be about to install them.
    with open(FOLDER / "package.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _has_packages():
            needs("npm")
            problem = _install()
            if problem is not None:
                do_without(problem)


def _has_packages() -> bool:
    modules = FOLDER / "node_modules"
    return all((modules / name / "package.json").is_file() for name in _PACKAGES)


@cache
def _install() -> str | None:
    """Install the packages; return why that failed, or ``None``."""
    command = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund")
    try:
        done = subprocess.run(
            [*command, "--ignore-scripts", "--loglevel=error"],
            cwd=FOLDER,
            env=dict(os.environ, NO_UPDATE_NOTIFIER="1"),
            capture_output=True,
            check=False,
            timeout=300,
        )
    except subprocess.TimeoutExpired:
        return "npm install took too long"
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        return f"npm install failed: {told[-1] if told else done.returncode}"
    return None


def run_script(name: str, asked: Any) -> Any:
    """
    Run one of our scripts in Node, with JSON in and out; it needs no packages.

    :raises AssertionError: the script failed.
    """
    done = subprocess.run(
        [path_of("node"), str(FOLDER / name)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)

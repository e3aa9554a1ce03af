"""Node, and the packages of npm that tests of vinom.js and of the page need."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from unittest import SkipTest

FOLDER = Path(__file__).resolve().parent.parent / "javascript"
_PACKAGES = ("axe-core", "typescript", "ws")


@cache
def why_no_javascript() -> str | None:
    """Install what is missing; says why that cannot be, ``None`` if all is there."""
    if shutil.which("node") is None:
        return "node is not installed"
    # Tests of another process may look for them at the same time.
    with open(FOLDER / "package.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install()


def _install() -> str | None:
    modules = FOLDER / "node_modules"
    if all((modules / name / "package.json").is_file() for name in _PACKAGES):
        return None
    if shutil.which("npm") is None:
        return "npm is not installed, and tests/javascript has no node_modules"
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

    :raises unittest.SkipTest: Node is not installed.
    :raises AssertionError: the script failed.
    """
    node = shutil.which("node")
    if node is None:
        raise SkipTest("node is not installed")
    done = subprocess.run(
        [node, str(FOLDER / name)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)

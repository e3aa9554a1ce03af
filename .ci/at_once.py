"""Run commands at the same time, and print what each wrote when it ends."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed


def run(command: str) -> tuple[int, str]:
    """Run one; return its exit code, and what it wrote."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as wrote:
        code = subprocess.call(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=wrote,
            stderr=subprocess.STDOUT,
        )
        wrote.seek(0)
        text = wrote.read().decode(errors="replace")
    took = time.monotonic() - began
    return code, f"$ {command}\n{text}exit code {code} after {took:.0f} s"


def main(commands: list[str]) -> int:
    """Run all; the exit code is 1 if one failed."""
    failed = 0
    with ThreadPoolExecutor(len(commands)) as pool:
        for done in as_completed([pool.submit(run, command) for command in commands]):
            code, report = done.result()
            print(report, flush=True)
            failed |= code != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

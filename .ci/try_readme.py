"""Run the README's commands, as they stand there, on a clean copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
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
        status = check_programs(copy, environ) or check_ways(copy, environ, readme)
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


def check_ways(copy: Path, environ: dict[str, str], readme: str) -> int:
    """Each command of the table serves; ports and folders are changed to free ones."""
    folder = copy / "ways"
    folder.mkdir()
    (folder / "token").write_text("t" * 32, encoding="utf-8")
    (folder / "token").chmod(0o600)
    (folder / "routes.toml").write_text(
        '[services.page]\nstrategy = "least_sessions"\n'
        'endpoints = ["127.0.0.1:8080"]\nmatch = {path = "/"}\n',
        encoding="utf-8",
    )
    commands = re.findall(r"^\|[^|]*\| `(twistd [^`]+)` \|", readme, re.MULTILINE)
    assert len(commands) == 4, commands
    for command in commands:
        port, *others = free_ports(8)
        swapped = {"9600": str(others[0]), "20000-20063": "46000-46003"}
        swapped |= {"8080": str(others[1]), "tcp:4600": f"tcp:{port}"}
        words = [swapped.get(word, word) for word in command.split()]
        if "vinom" in words:
            state = f"--state-dir={folder / 'state'}"
            words += [f"--port={port}", state, "--drain-seconds=0"]
        print("$", *words, flush=True)
        program = subprocess.Popen(
            [copy / ".venv" / "bin" / words[0], *words[1:]], cwd=folder, env=environ
        )
        try:
            until_served(program, port)
        finally:
            program.terminate()
        # twistd ends by the signal that it was sent, after a clean shutdown.
        if program.wait(30) not in (0, -signal.SIGTERM):
            print(f"{command}: exit status {program.returncode}", file=sys.stderr)
            return 1
    return 0


def free_ports(number: int) -> list[int]:
    """Find TCP ports that nobody has."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def until_served(program: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a program accepts connections."""
    give_up = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if program.poll() is not None or time.monotonic() > give_up:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())

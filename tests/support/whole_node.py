"""A real node for tests without a reactor, as those with browsers are."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import rmtree
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.ending import end
from vinom.tools.commands.child_node import free_port, free_port_range

#: The games of vinom, whether or not this installation knows all of them by name.
GAMES = (
    "arena:Arena",
    "dice:Dice",
    "maze:Maze",
    "oldmaid:OldMaid",
    "owedrahn:OweDrahn",
    "tictactoe:TicTacToe",
)
_PATIENCE = 60.0


def resident(pid: int) -> int:
    """Find how many bytes of memory a process has."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class WholeNode:
    """
    A node in a process of its own, with a page.

    :ivar http: the page's port.
    :ivar port: the lobby's, for TCP.
    :ivar state: its directory.
    """

    def __init__(self, *arguments: str, python: str = sys.executable) -> None:
        """
        :param arguments: more of the node's settings.
        :param python: runs the node, and its game servers.
        """
        self.http, self.port = free_port(), free_port()
        first, last = free_port_range(8)
        self.state = Path(tempfile.mkdtemp(prefix="vinom-"))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # until `stop`
        given = [
            "--interface=127.0.0.1",
            f"--port={self.port}",
            f"--ports={first}-{last}",
            f"--http={self.http}",
            f"--state-dir={self.state}",
            "--warm=0",
            "--drain-seconds=0",
            *(f"--game=vinom.games.{game}" for game in GAMES),
            *arguments,
        ]
        self._process = subprocess.Popen(
            [python, "-m", "twisted", "vinom", *self.changed(given)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                name: value
                for name, value in os.environ.items()
                if not name.startswith("VINOM_")
            }
            | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )

    def changed(self, arguments: list[str]) -> list[str]:
        """Change the settings, as what puts something in front of the node does."""
        return arguments

    def wait(self) -> None:
        """
        Wait until it serves.

        :raises AssertionError: it never does.
        """
        give_up = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                with urlopen(f"http://127.0.0.1:{self.http}/ready"):
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(f"the node does not serve:\n{self.log()}")

    @property
    def resident(self) -> int:
        """Bytes of memory that its process has."""
        return resident(self._process.pid)

    def log(self) -> str:
        """What it wrote so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        """End it without a goodbye; `stop` clears up."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it."""
        end(self._process)
        self._log.close()
        rmtree(self.state, ignore_errors=True)

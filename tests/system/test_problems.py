"""A node that sees what is wrong with itself says so: log, status, metrics, /ready."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from http.client import HTTPConnection
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority
from tests.support.programs import short_folder
from tests.support.redis_servers import redis_for
from tests.support.whole_node import WholeNode
from vinom.net.keys.authority import Authority
from vinom.tools.commands.admin import AdminLine

_VINOM = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"


def until(is_so: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something that will happen soon."""
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.1)


def status(node: WholeNode) -> dict[str, Any]:
    """What the node is doing."""
    found: dict[str, Any] = AdminLine(node.state / "admin.sock").get("status")
    return found


def metrics(node: WholeNode) -> str:
    """What Prometheus sees."""
    line = HTTPConnection("vinom")
    line.sock = socket.socket(socket.AF_UNIX)
    line.sock.connect(str(node.state / "admin.sock"))
    try:
        token = (node.state / "admin.token").read_text().strip()
        line.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        return line.getresponse().read().decode()
    finally:
        line.close()


def vinom(*arguments: str) -> str:
    """Run the command, and give what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", _VINOM, *arguments],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "COLUMNS": "1000",
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        },
    )
    return ran.stdout + ran.stderr


class NoGameServerTests(SynchronousTestCase):
    """A node whose game servers stop coming up, as after an update of Python."""

    def ready(self) -> tuple[int, bytes]:
        line = HTTPConnection("127.0.0.1", self.node.http, timeout=20)
        try:
            line.request("GET", "/ready")
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def kill(self) -> None:
        """End the fork server and what it has forked."""
        log = self.node.log()
        forked = status(self.node)["fleet"]["game_servers"].values()
        fork_server = int(re.findall(r"fork server is (\d+)", log)[-1])
        for pid in (fork_server, *(one["pid"] for one in forked if one["pid"])):
            os.kill(pid, signal.SIGKILL)

    def test_reported(self) -> None:
        """
        Its balancer, its operator and Prometheus see that it can start none, and why;
        and that it can again.
        """
        folder = short_folder(self)
        python = folder / "python"
        python.symlink_to(sys.executable)
        self.node = WholeNode("--warm=1", python=str(python))
        self.addCleanup(self.node.stop)
        self.node.wait()
        until(lambda: status(self.node)["fleet"]["servers"]["warm"])
        self.assertEqual(status(self.node).get("problems"), {})
        python.unlink()
        self.kill()
        until(lambda: self.ready() == (503, b'{"status":"no_game_server"}\n'))
        (why,) = status(self.node)["problems"].values()
        self.assertRegex(why, "cannot be started .*No such file")
        printed = vinom("status", f"--state-dir={self.node.state}")
        self.assertRegex(printed, f"problem +{re.escape(why)}\n")
        self.assertIn('vinom_problems{problem="game_servers"} 1.0', metrics(self.node))
        until(lambda: why in self.node.log())
        doctor = vinom("doctor", f"--state-dir={self.node.state}")
        self.assertRegex(doctor, r"warning +node +the fork server cannot be started")
        self.assertEqual(self.node.log().count(why), 1)
        bots = ("bots", "--game=tictactoe", "--players=2", "--seconds=6")
        played = vinom(*bots, f"--connect=127.0.0.1:{self.node.port}")
        self.assertIn("no game server", played)
        self.assertNotIn("raise --seconds", played)
        python.symlink_to(sys.executable)
        until(lambda: self.ready()[0] == 200)
        doctor = vinom("doctor", f"--state-dir={self.node.state}")
        self.assertRegex(doctor, r"ok +game servers +one was started")
        until(lambda: f"no longer: {why}" in self.node.log())


class StartedBadlyTests(SynchronousTestCase):
    """A node with an expired certificate, and no place for recordings."""

    def test_reported(self) -> None:
        """
        Its log has one line about each, its status says so while it lasts, and doctor
        and Prometheus see it.
        """
        folder = short_folder(self)
        leaf = authority().issue("localhost", ends=timedelta(hours=-1))
        (folder / "leaf.pem").write_bytes(leaf.certificate)
        (folder / "leaf.key").write_bytes(leaf.key)
        node = WholeNode(
            f"--tls-certificate-file={folder / 'leaf.pem'}",
            f"--tls-key-file={folder / 'leaf.key'}",
            "--guests=yes",
        )
        self.addCleanup(node.stop)
        node.wait()
        # Where the disk is full nothing can be written, either.
        (node.state / "recordings").write_bytes(b"")
        found = status(node)["problems"]
        self.assertRegex(found["certificates"], "lobby expired on 20.*SIGHUP")
        self.assertEqual(node.log().count(found["certificates"]), 1)
        players = [{"name": "ann"}, {"name": "bob"}]
        AdminLine(node.state / "admin.sock").post(
            "matches", {"game": "tictactoe", "players": players}
        )
        until(lambda: "recordings" in status(node)["problems"])
        why = status(node)["problems"]["recordings"]
        self.assertTrue(why.startswith("1 recordings have stopped"), why)
        until(lambda: why in node.log())
        self.assertIn("vinom_recordings_stopped_total 1.0", metrics(node))


class SharedStoreTests(SynchronousTestCase):
    """Two nodes with a Redis and two authorities; one machine's clock is wrong."""

    def setUp(self) -> None:
        self.folder = short_folder(self)
        self.redis = redis_for(self)
        Authority.open(self.folder, "game.vinom", time.time)
        self.shared = [
            f"--store={self.redis.url}",
            f"--authority-certificate-file={self.folder / 'authority' / 'ca.pem'}",
            f"--authority-key-file={self.folder / 'authority' / 'ca.key'}",
        ]

    def test_reported(self) -> None:
        """
        The first, which needed no authority alone, says that it has its own when there
        is another; and the one whose clock is wrong, by how much. Doctor finds both.
        """
        alone = WholeNode(self.shared[0])
        self.addCleanup(alone.stop)
        alone.wait()
        until(lambda: status(alone)["store"]["lease"])
        time.sleep(3.0)
        self.assertEqual(status(alone)["problems"], {})
        # Not even its own lease is there for a while.
        for _ in range(30):
            self.redis.command("FLUSHDB")
            time.sleep(0.1)
        self.assertNotIn("other nodes", alone.log())
        early = "import time; now = time.time; time.time = lambda: now() + 120"
        (self.folder / "sitecustomize.py").write_text(early)
        self.patch(sys, "path", [str(self.folder), *sys.path])
        wrong = WholeNode(*self.shared)
        self.addCleanup(wrong.stop)
        wrong.wait()
        until(lambda: "authority" in status(alone)["problems"])
        self.assertIn("authority of its own", status(alone)["problems"]["authority"])
        until(lambda: len(status(wrong)["problems"]) == 1)
        found = status(wrong)["problems"]
        self.assertRegex(found["clock"], r"1(19|20|21) s ahead of the store's")
        until(lambda: "authority of its own" in alone.log())
        self.assertEqual(alone.log().count("authority of its own"), 1)
        self.assertEqual(wrong.log().count("ahead of the store's"), 1)
        self.assertNotIn("ahead of the store's", alone.log())
        printed = vinom("doctor", f"--state-dir={wrong.state}", *self.shared)
        self.assertRegex(printed, r"failure +store clock +.*1(19|20|21) s ahead of")
        printed = vinom("doctor", f"--state-dir={alone.state}", self.shared[0])
        self.assertRegex(printed, r"warning +node link +")

"""Checkers of names and passwords, as an operator names them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.node.build import find_checkers, game_ports
from vinom.node.settings import Settings


class CheckerTests(SynchronousTestCase):
    """What ``--auth`` does."""

    def account(self, description: str, name: bytes, password: bytes) -> Any:
        (checker,) = find_checkers(Settings(auth=(description,)), lambda: 0.0)
        asked = maybeDeferred(checker.requestAvatarId, UsernamePassword(name, password))
        return self.successResultOf(asked)

    def test_file(self) -> None:
        """
        Players of a password file are let in.
        """
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("ann:secret\n")
        self.assertEqual(self.account(f"file:{path}", b"ann", b"secret"), b"ann")

    def test_file_of_another_folder(self) -> None:
        """
        A password file is the one that was found at the start, though twistd goes to
        another folder then (``--rundir``); its name may have a colon.
        """
        start = os.getcwd()
        self.addCleanup(os.chdir, start)
        folder = Path(self.mktemp())
        folder.mkdir()
        os.chdir(folder)
        Path("our:players").write_text("ann:secret\n")
        (checker,) = find_checkers(Settings(auth=("file:our:players",)), lambda: 0.0)
        os.chdir(start)
        asked = checker.requestAvatarId(UsernamePassword(b"ann", b"secret"))
        self.assertEqual(self.successResultOf(asked), b"ann")

    def test_memory(self) -> None:
        """
        Players named on the command line are let in.
        """
        self.assertEqual(self.account("memory:ann:pw:bob:b", b"bob", b"b"), b"bob")

    def test_mistakes(self) -> None:
        """
        A checker that cannot be used is named, and its argument is not shown.
        """
        for description, words in (
            ("nope:hunter2", "'nope' isn't a checker"),
            ("memory:hunter2", "--help-auth-type memory"),
            ("anonymous", "does not check names and passwords"),
        ):
            settings = Settings(auth=(description,))
            error = self.assertRaises(
                Misconfigured, find_checkers, settings, lambda: 0.0
            )
            self.assertIn(words, str(error))
            self.assertNotIn("hunter2", str(error))


class StartTests(SynchronousTestCase):
    """What a start costs, which players wait for after a node was killed."""

    def test_ports_of_others(self) -> None:
        """
        It finds the UDP ports that other programs have.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
            ports = game_ports(Settings(interface="127.0.0.1", ports=(port, port)))
            self.assertEqual(ports.look(), [port])

    def test_loads_what_it_uses(self) -> None:
        """
        A node on its own starts without what is for a Redis, pods or a relay.
        """
        code = "import sys, vinom.node.node; print(*sys.modules)"
        known = subprocess.check_output((sys.executable, "-c", code), text=True).split()
        self.assertIn("vinom.node.node", known)
        for unused in (
            "kubernetes",
            "txredisapi",
            "vinom.net.dtls.server",
            "vinom.fleet.gameserver.main",
            "vinom.fleet.relay.service",
        ):
            self.assertNotIn(unused, known)

"""Sockets and endpoints of a node, on the real machine."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.support.programs import short_folder
from vinom.errors import Misconfigured
from vinom.node.listening import listen_privately
from vinom.node.node import Node
from vinom.node.settings import Settings


class ListeningTests(TestCase):
    """Private sockets."""

    def setUp(self) -> None:
        self.folder = short_folder(self)
        self.path = self.folder / "control.sock"

    def listen(self) -> IListeningPort:
        port = listen_privately(reactor, self.path, Factory.forProtocol(Protocol))
        self.addCleanup(port.stopListening)
        return port

    def abandon(self, number: int) -> None:
        """Leave what a node leaves that was killed as process *number*."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.path))
        os.symlink(str(number), f"{self.path}.lock")

    def test_only_this_user(self) -> None:
        """
        Nobody else can open the socket.
        """
        self.listen()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    async def test_number_used_again(self) -> None:
        """
        A killed node starts again, even if its process number is now somebody's:
        in a container it is its own.
        """
        for number in (os.getpid(), os.getppid()):
            self.abandon(number)
            port = self.listen()
            self.assertEqual(os.readlink(f"{self.path}.lock"), str(os.getpid()))
            await maybeDeferred(port.stopListening)

    def test_killed_before_it_listened(self) -> None:
        """
        A lock without a socket keeps nobody out.
        """
        os.symlink(str(os.getppid()), f"{self.path}.lock")
        self.listen()

    def test_somebody_listens(self) -> None:
        """
        A node that lives keeps its socket.
        """
        self.listen()
        with self.assertRaises(Misconfigured) as caught:
            self.listen()
        self.assertIn("another node", str(caught.exception))
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.path))


class EndpointTests(TestCase):
    """Where ``--http`` and ``--admin`` may be."""

    async def test_no_endpoint(self) -> None:
        """
        An invalid endpoint ends the start in words, not with a traceback.
        """
        folder = short_folder(self)
        for wrong in ("tcp:99999999", "nothing:1", "tcp:x", "unix:"):
            node = Node(Settings(port=0, warm=0, http=wrong, state_dir=folder), reactor)
            error = self.assertRaises(SystemExit, node.startService)
            self.assertIsInstance(error.__cause__, Misconfigured)
            await node.stopService()
        # Twisted starts a site's clock before it binds, and leaves it running.
        clock: Any = reactor
        for call in clock.getDelayedCalls():
            call.cancel()

"""A node with few descriptors, and somebody who wants them all."""

from __future__ import annotations

import contextlib
import resource
import socket
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.whole_node import WholeNode
from vinom.commands.child_node import free_port
from vinom.node.asking import AdminLine

#: Of the node.
LIMIT = 320


class DescriptorTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="vinom-token-"))
        token = folder / "token"
        token.write_text("0123456789abcdef")
        self.addCleanup(folder.rmdir)
        self.addCleanup(token.unlink)
        self.admin = free_port()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
        try:
            self.node = WholeNode(
                f"--admin={self.admin}",
                f"--admin-token-file={token}",
                "--descriptor-reserve=64",
                "--admin-connections=32",
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.addCleanup(self.node.stop)
        self.node.wait()

    def flood(self, port: int, count: int) -> None:
        """Open connections, from several addresses, and send a part of a request."""
        for number in range(count):
            source = f"127.0.1.{number % 5 + 1}"
            try:
                made = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
                self.addCleanup(made.close)
                made.sendall(b"GET")
            except OSError:
                continue

    def hello(self) -> bytes:
        """Come as a player to the lobby; gives the answer's first bytes."""
        said = b'{"type":"hello","id":1,"data":{"protocol":1,"name":"ann"}}\n'
        for _ in range(20):
            with (
                contextlib.suppress(ConnectionError),
                socket.create_connection(("127.0.0.1", self.node.port), 10) as line,
            ):
                line.sendall(said)
                return line.recv(4096)
            # In the turn of the reactor in which a flood arrives there may be no room.
            time.sleep(0.05)
        raise AssertionError("the lobby is deaf")

    def test_admin_port(self) -> None:
        """
        Who takes all connections of the admin port takes none of the lobby's; nor
        does the operator's own socket go away.
        """
        self.flood(self.admin, LIMIT)
        self.assertIn(b'"welcome"', self.hello())
        self.assertNotIn("Traceback", self.node.log())

    def test_http(self) -> None:
        """
        Nor does who takes all of the page's port, from many addresses.
        """
        self.flood(self.node.http, LIMIT + 100)
        for _ in range(5):
            self.assertIn(b'"welcome"', self.hello())
        self.assertNotIn("Traceback", self.node.log())
        self.assertNotIn("EMFILE", self.node.log())
        status = AdminLine(self.node.state / "admin.sock").get("status")
        self.assertGreater(status["descriptors"]["closed_for_newcomers"], 0)

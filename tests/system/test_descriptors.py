"""A node and a gateway with few descriptors, and somebody who wants them all."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.support.programs import short_folder
from tests.support.whole_node import WholeNode
from tests.system.test_gateway import GatewayCase, all_of
from vinom.net.streams.packets import Kind, Packet, encode
from vinom.tools.commands.admin import AdminLine
from vinom.tools.commands.child_node import free_port

#: Of the node, and of the gateway.
LIMIT = 320


@contextlib.contextmanager
def few_descriptors() -> Iterator[None]:
    """Have processes that are started meanwhile have few descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class DescriptorTests(SynchronousTestCase):
    def setUp(self) -> None:
        token = short_folder(self) / "token"
        token.write_text("0123456789abcdef")
        self.admin = free_port()
        with few_descriptors():
            self.node = WholeNode(
                f"--admin={self.admin}",
                f"--admin-token-file={token}",
            )
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
        why = "raise LimitNOFILE"
        self.assertIn(why, status["problems"]["descriptors"])
        for _ in range(50):
            if why in self.node.log():
                break
            time.sleep(0.1)
        self.assertEqual(self.node.log().count(why), 1)


class GatewayDescriptorTests(GatewayCase):
    def test_sessions(self) -> None:
        """
        Nor do those who take all of a gateway's, by connections or by sessions of
        packets: others are served, and its operator too.
        """
        self.write_routes(lobby=self.rule(self.echo), echo=self.rule(self.echo, code=7))
        with few_descriptors():
            self.start("--new-connections=1000")
        opening = encode(Packet(Kind.OPEN, service_type=7))
        for number in range(LIMIT):
            source = f"127.0.1.{number % 2 + 1}", 0
            with contextlib.suppress(OSError):
                line = socket.create_connection(("127.0.0.1", self.port), 10, source)
                self.addCleanup(line.close)
                line.sendall(opening * 50 if number < 20 else b"{")
        for _ in range(5):
            self.until(self.is_served)
        self.assertIsNotNone(self.get("ready"))
        self.assertNotIn("Traceback", self.log.read_text())
        self.assertNotIn("EMFILE", self.log.read_text())

    def is_served(self) -> bool:
        """Does somebody else reach a back end?"""
        with contextlib.suppress(ConnectionError):
            line = self.connect()
            line.sendall(b"{}\n")
            return all_of(line, 3) == b"{}\n"
        return False

"""`vinom demo`, without a node."""

from __future__ import annotations

import sys
from argparse import Namespace
from io import StringIO

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from vinom.tools.commands.cli import main
from vinom.tools.commands.demo import Demo


class SlowNode:
    """A node that has yet to start."""

    host, port = "127.0.0.1", 4600

    def __init__(self) -> None:
        self.serves: Deferred[None] = Deferred()

    def start(self) -> Deferred[None]:
        return self.serves

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def log_end(self) -> str:
        return ""


class DemoTests(SynchronousTestCase):
    def test_slow_start(self) -> None:
        """
        A demo is shown for as long as was asked, however long its node took to start.
        """
        reactor, node = MemoryReactorClock(), SlowNode()
        demo = Demo(reactor, Namespace(seconds=5.0, players=4, pace=6.0), None)
        self.patch(demo, "_node", node)
        self.patch(sys, "stdout", StringIO())
        self.addCleanup(demo.stop)
        demo.run()
        reactor.advance(60.0)
        node.serves.callback(None)
        reactor.advance(1.0)
        # Four that play with each other, and one for a guest.
        self.assertEqual(len(reactor.tcpClients), 5)
        self.assertEqual({client[1] for client in reactor.tcpClients}, {4600})

    def test_too_many_nodes(self) -> None:
        """
        A number of nodes that cannot be drawn is refused, with the limits.
        """
        errors = StringIO()
        self.patch(sys, "stderr", errors)
        for number in ("0", "6"):
            self.assertEqual(main(["demo", "--nodes", number]), 2)
            self.assertIn(f"--nodes {number} must be 1 to 5", errors.getvalue())

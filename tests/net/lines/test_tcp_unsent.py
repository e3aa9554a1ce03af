"""Whether all that was sent on a line has left, with Twisted's own buffer."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.ears import Ear
from vinom.net.lines.tcp import LineProtocol, Lines


class Writers:
    """A reactor in which nobody ever gets to write."""

    def addWriter(self, writer: Any) -> None:
        """It has to wait."""

    addReader = removeReader = removeWriter = addWriter


class Pipe(FileDescriptor):
    """
    A connection whose system takes a limited number of bytes.

    :ivar space: how many it still takes.
    """

    def __init__(self) -> None:
        super().__init__(Writers())
        self.connected, self.space, self.taken = 1, 0, b""

    def writeSomeData(self, data: bytes) -> int:
        count = min(self.space, len(data))
        self.space -= count
        self.taken += bytes(data[:count])
        return count

    def take(self, space: int) -> None:
        """Take up to *space* bytes of what waits."""
        self.space = space
        self.doWrite()


class UnsentTests(SynchronousTestCase):
    """`LineProtocol.has_unsent`."""

    def open(self) -> None:
        self.line = LineProtocol(Lines(Ear, Clock()), "127.0.0.1", False, 0.0)
        self.pipe = Pipe()
        self.line.makeConnection(self.pipe)

    def test_little_waits(self) -> None:
        """
        What waits for its system is unsent, however little, until all of it is taken.
        """
        self.open()
        self.assertFalse(self.line.has_unsent)
        self.line.send(b"{}")
        self.assertTrue(self.line.has_unsent)
        self.pipe.take(2)
        self.assertTrue(self.line.has_unsent)
        self.assertFalse(self.line.is_behind)
        self.pipe.take(1)
        self.assertEqual(self.pipe.taken, b"{}\n")
        self.assertFalse(self.line.has_unsent)

    def test_lost(self) -> None:
        """
        That is still known when the connection is lost.
        """
        for space, has_unsent in ((2, True), (3, False)):
            self.open()
            self.line.send(b"{}")
            self.pipe.take(space)
            self.pipe.connectionLost(Failure(ConnectionLost()))
            self.line.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(self.line.has_unsent, has_unsent)

    def test_after_the_end(self) -> None:
        """
        What is sent on a line that is being closed was not sent.
        """
        self.open()
        self.line.send(b"{}")
        self.pipe.take(3)
        self.pipe.loseConnection = lambda: None
        self.line.close()
        self.assertFalse(self.line.has_unsent)
        self.line.send(b"{}")
        self.assertTrue(self.line.has_unsent)
        self.line.connectionLost(Failure(ConnectionLost()))

    def test_under_a_wrapper(self) -> None:
        """
        What lies between, as TLS does, hides nothing.
        """
        self.line = LineProtocol(Lines(Ear, Clock()), "127.0.0.1", False, 0.0)
        self.pipe = Pipe()
        wrapper = ProtocolWrapper(WrappingFactory(None), self.line)
        wrapper.makeConnection(self.pipe)
        self.line.send(b"{}")
        self.assertTrue(self.line.has_unsent)
        self.pipe.take(3)
        self.assertFalse(self.line.has_unsent)

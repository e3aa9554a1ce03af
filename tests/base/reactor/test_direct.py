"""Connections that are read without the reactor's steps in between."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.base.reactor.test_turns import TurningReactor
from tests.support.turns import reads_directly
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd, TurnWatch


class Taker:
    """Keeps what it is given; chokes on ``!``."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.is_aborted = False

    def dataReceived(self, data: bytes) -> None:
        if data == b"!":
            raise ValueError("not this")
        self.taken.append(data)

    def abort(self) -> None:
        self.is_aborted = True


class DirectReadsTests(SynchronousTestCase):
    """`DirectReads`, on a pair of sockets."""

    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.ours.setblocking(False)
        self.number, self.taker = self.ours.fileno(), Taker()
        self.direct = DirectReads()
        self.direct.add(self.number, self.ours.recv, self.taker)

    def test_bytes(self) -> None:
        """
        What a client sends arrives.
        """
        self.theirs.send(b"hello")
        self.assertTrue(reads_directly(self.direct, self.number))
        self.assertEqual(self.taker.taken, [b"hello"])

    def test_left_to_the_reactor(self) -> None:
        """
        Nothing to read, the end, errors and unknown descriptors are the reactor's.
        """
        self.assertFalse(reads_directly(self.direct, self.number))
        self.theirs.close()
        self.assertFalse(reads_directly(self.direct, self.number))
        self.ours.close()
        self.assertFalse(reads_directly(self.direct, self.number))
        self.direct.remove(self.number)
        self.assertFalse(reads_directly(self.direct, self.number))
        self.direct.remove(self.number)
        self.assertEqual((len(self.direct), self.taker.taken), (0, []))

    def test_end(self) -> None:
        """
        Who wants to know of the end itself learns of it once all that came is read;
        its mistakes cost one connection.
        """
        ends: list[str] = []
        for is_bad in (False, True):
            self.direct.add(
                self.number,
                self.ours.recv,
                self.taker,
                lambda is_bad=is_bad: ends.append("end") if not is_bad else 1 / 0,
            )
            if not is_bad:
                self.theirs.send(b"hello")
                self.assertFalse(ends)
                self.theirs.shutdown(socket.SHUT_WR)
                self.assertTrue(reads_directly(self.direct, self.number))
                self.assertEqual((self.taker.taken, ends), ([b"hello"], []))
            self.assertTrue(reads_directly(self.direct, self.number))
        self.assertEqual((ends, self.taker.is_aborted), (["end"], True))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.direct.remove(self.number)
        self.assertFalse(reads_directly(self.direct, self.number))

    def test_failure(self) -> None:
        """
        A mistake of ours costs one connection, and is logged.
        """
        self.theirs.send(b"!")
        self.assertTrue(reads_directly(self.direct, self.number))
        self.assertTrue(self.taker.is_aborted)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_turns(self) -> None:
        """
        The reactor gets no event for what was read directly; all others it gets.
        """
        reactor = TurningReactor()
        watch = TurnWatch(reactor.seconds)
        poller = reactor._poller
        watch.start(reactor, self.direct, TurnEnd(reactor))
        self.addCleanup(watch.stop)
        read: list[int] = []
        for number in (self.number, self.number + 1):
            reader = reactor.reads(number, 0.0)
            reader.do = lambda number=number: read.append(number)
        self.theirs.send(b"hello")
        poller.answers = [
            [(self.number, 1), (self.number + 1, 1)],
            # Its end comes with the bytes, or nothing has come.
            [(self.number, 17)],
            [(self.number, 1)],
        ]
        reactor.turn()
        self.assertEqual((self.taker.taken, read), ([b"hello"], [self.number + 1]))
        reactor.turn()
        reactor.turn()
        self.assertEqual(read, [self.number + 1, self.number, self.number])

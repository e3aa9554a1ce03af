"""What a connection speaks by its first bytes, and lines of text."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import (
    AccumulatingProtocol,
    StringTransportWithDisconnection,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.reactor.waits import Waits
from vinom.net.frames import LineReader, LineTooLong
from vinom.net.lines.proxied import Sniffing
from vinom.net.lines.sniff import Spoken, sniff
from vinom.net.streams.packets import Kind, Packet, encode

EXAMPLES = {
    b'{"type":"hello"}\n': Spoken.LINES,
    b"\r\n{}": Spoken.LINES,
    b"\n": Spoken.LINES,
    b" {}": Spoken.LINES,
    b"\x16\x03\x01\x02\x00\x01": Spoken.TLS,
    b"GET / HTTP/1.1\r\n": Spoken.HTTP,
    b"M-SEARCH * HTTP/1.1\r\n": Spoken.HTTP,
    b"UPDATEREDIRECTREF /x HTTP/1.1\r\n": Spoken.HTTP,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": Spoken.HTTP,
    # Of an address that may not say so, it is a strange request.
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n": Spoken.HTTP,
    encode(Packet(Kind.OPEN)): Spoken.PACKETS,
    b"\xf5VX": Spoken.OTHER,
    b"\xf5x": Spoken.OTHER,
    b"get / HTTP/1.1\r\n": Spoken.OTHER,
    b"GET\t/": Spoken.OTHER,
    b"A" * 21: Spoken.OTHER,
    b"SSH-2.0-x\r\n": Spoken.OTHER,
    b"\x00": Spoken.OTHER,
}


def answers(data: bytes) -> list[Spoken]:
    """Sniff at all beginnings of *data*; list what was found, without "more bytes"."""
    found = [sniff(data[:size]) for size in range(len(data) + 1)]
    return [one for one in found if one is not None]


class SniffTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """
        Each protocol is known by its first bytes, of however many pieces they come in.
        """
        for data, spoken in EXAMPLES.items():
            self.assertEqual(set(answers(data)), {spoken}, data)

    @given(st.binary(max_size=40))
    def test_anything(self, data: bytes) -> None:
        """
        No more than 20 bytes are ever held, and no later byte changes an answer.
        """
        found = answers(data)
        self.assertLessEqual(len(set(found)), 1)
        if len(data) > 20:
            self.assertIsNotNone(sniff(data[:21]))


class SniffingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.chosen: list[Spoken] = []
        self.ended: list[tuple[Any, bool]] = []
        self.served: AccumulatingProtocol | None = AccumulatingProtocol()

    def connect(self) -> tuple[Sniffing, StringTransportWithDisconnection]:
        """Make a connection."""
        transport = StringTransportWithDisconnection()
        transport.abortConnection = lambda: transport.loseConnection()
        sniffing = Sniffing(
            self.choose,
            lambda reason, is_overdue: self.ended.append((reason, is_overdue)),
            Waits(self.clock),
            self.clock.seconds() + 5.0,
        )
        transport.protocol = sniffing
        sniffing.makeConnection(transport)
        return sniffing, transport

    def choose(self, spoken: Spoken) -> AccumulatingProtocol | None:
        """Choose what serves."""
        self.chosen.append(spoken)
        return self.served

    def test_every_split(self) -> None:
        """
        What takes the connection over gets every byte, whatever the pieces.
        """
        for data, spoken in EXAMPLES.items():
            for cut in range(1, len(data)):
                self.chosen, self.served = [], AccumulatingProtocol()
                _, transport = self.connect()
                transport.protocol.dataReceived(data[:cut])
                transport.protocol.dataReceived(data[cut:])
                self.assertEqual(self.chosen, [spoken])
                self.assertEqual(self.served.data, data)
                self.assertIs(transport.protocol, self.served)
        self.clock.advance(6.0)
        self.assertEqual(self.ended, [])

    def test_silence(self) -> None:
        """
        A connection that sends nothing by which it is known is closed after 5 s, also
        if it sends a byte now and then.
        """
        sniffing, transport = self.connect()
        self.clock.advance(4.0)
        sniffing.dataReceived(b"G")
        self.clock.advance(0.9)
        self.assertTrue(transport.connected)
        self.clock.advance(0.1)
        self.assertFalse(transport.connected)
        self.assertEqual([late for _, late in self.ended], [True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_early(self) -> None:
        """
        A connection that is lost before it was known leaves nothing behind.
        """
        sniffing, _ = self.connect()
        sniffing.connectionLost(Failure(ConnectionLost()))
        self.assertEqual([late for _, late in self.ended], [False])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_serves(self) -> None:
        """
        A protocol that nothing serves is closed at once.
        """
        self.served = None
        sniffing, transport = self.connect()
        sniffing.dataReceived(b"SSH-2.0-x\r\n")
        self.assertFalse(transport.connected)
        self.assertEqual(len(self.ended), 1)


def drain(reader: LineReader) -> list[bytes]:
    lines = []
    while (line := reader.next_line()) is not None:
        lines.append(line)
    return lines


class LineReaderTests(SynchronousTestCase):
    """Cutting."""

    def test_any_split(self) -> None:
        """
        Lines arrive whole however the network cuts the stream.
        """
        wire = b'{"a":1}\r\n\n  \r\n{"b":2}\n\r\nlast\n'
        for first in range(len(wire)):
            for second in range(first, len(wire)):
                reader = LineReader(10)
                lines = []
                for part in (wire[:first], wire[first:second], wire[second:]):
                    reader.receive(part)
                    lines += drain(reader)
                self.assertEqual(lines, [b'{"a":1}', b'{"b":2}', b"last"])

    def test_longest_line(self) -> None:
        """
        A line of exactly the limit is taken, with either line end.
        """
        for end in (b"\n", b"\r\n"):
            reader = LineReader(5)
            reader.receive(b"12345")
            self.assertIsNone(reader.next_line())
            for byte in end:
                self.assertIsNone(reader.next_line())
                reader.receive(bytes([byte]))
            self.assertEqual(reader.next_line(), b"12345")

    def test_too_long(self) -> None:
        """
        A byte more is refused, whether or not its end ever comes; what came before the
        mistake still counts.
        """
        for wire in (b"123456\n", b"123456\r\n", b"1234567", b"1234567890"):
            reader = LineReader(5)
            reader.receive(b"ok\n" + wire)
            self.assertEqual(reader.next_line(), b"ok")
            self.assertRaises(LineTooLong, reader.next_line)

    @settings(max_examples=200, deadline=None)
    @given(some.lists(some.binary(max_size=12), max_size=20))
    def test_never_more_than_the_limit(self, parts: list[bytes]) -> None:
        """
        With any input, a line is within its limit and holds no line end.
        """
        reader = LineReader(8)
        for part in parts:
            reader.receive(part)
            try:
                lines = drain(reader)
            except LineTooLong:
                return
            for line in lines:
                self.assertLessEqual(len(line), 8)
                self.assertNotIn(b"\n", line)

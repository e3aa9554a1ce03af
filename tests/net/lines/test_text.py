"""Lines out of a byte stream."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.lines.text import LineReader, LineTooLong


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
        A byte more is refused, whether or not its end ever comes.
        """
        for wire in (b"123456\n", b"123456\r\n", b"1234567"):
            reader = LineReader(5)
            reader.receive(wire)
            self.assertRaises(LineTooLong, reader.next_line)

    def test_good_lines_before_a_bad_one(self) -> None:
        """
        What came before the mistake still counts.
        """
        reader = LineReader(5)
        reader.receive(b"ok\n1234567890")
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

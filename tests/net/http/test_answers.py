"""Answers of back ends, written anew for clients, and frames that are passed on."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Close, Frame, Opcode

from vinom.net.http.answers import FrameRelay, close_frame
from vinom.net.http.exchange import Exchange
from vinom.net.http.head import BadMessage, check_head

_GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
_SHAKE = _GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
_SWITCHES = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#: Of a back end: the content, and whether its connection may serve another request.
GOOD: dict[bytes, tuple[bytes, bool]] = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi": (b"hi", True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!": (b"hi", False),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi": (b"hi", True),
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n": (b"", True),
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi": (b"hi", False),
    _CHUNKED[:-2] + b"Connection: close\r\n\r\n0\r\n\r\n": (b"", False),
    _CHUNKED + b"2;a=b\r\nhi\r\n0\r\nA: b\r\n\r\n": (b"hi", True),
    _CHUNKED + b"1\r\na\r\n" * 3000 + b"0\r\n\r\n": (b"a" * 3000, True),
    b"HTTP/1.1 200 OK\r\n\r\nup to the end": (b"up to the end", False),
    b"HTTP/1.0 404 \r\n\r\nold": (b"old", False),
    b"HTTP/1.1 204 None\r\nContent-Length: 2\r\n\r\n": (b"", True),
    b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n": (b"", True),
    b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n": (
        b"",
        True,
    ),
}
BAD = (
    b"",
    b"\r\n\r\n",
    b"nothing of the kind\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\nA: b\n\n",
    b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    _CHUNKED + b"z\r\n",
    _CHUNKED + b"2\r\nhi\r\n",
    _SWITCHES,
)


def answered(data: bytes, size: int, asked: bytes = _GET) -> tuple[bytes, Exchange]:
    """Read an answer in pieces, up to the end of the back end's connection."""
    exchange = Exchange(check_head(asked), 10)
    out, start = b"", 0
    while not (exchange.is_answered or exchange.is_upgraded):
        out += exchange.take_answer(data[start : start + size])
        start += size
    return out, exchange


class AnswerTests(SynchronousTestCase):
    def test_good(self) -> None:
        """
        A client gets the content in one form, however a back end frames it, and however
        it is cut; what is left of an answer never comes before the next one.
        """
        for data, (content, is_reusable) in GOOD.items():
            for size in (1, 7, 100_000):
                out, exchange = answered(data, size)
                body = out.rpartition(b"\r\n\r\n" if content else b"-")[2]
                if b"chunked" in out:
                    body = out.partition(b"\r\n\r\n")[2]
                    self.assertTrue(body.endswith(b"0\r\n\r\n"))
                    body = b"".join(body.split(b"\r\n")[1:-3:2])
                if content:
                    self.assertEqual(body, content, data[:99])
                if b"hi!" not in data or size > 100:
                    self.assertEqual(exchange.is_reusable, is_reusable, data[:99])

    def test_bad(self) -> None:
        """
        What is no answer, or half of one, is none to the client, however it is cut.
        """
        for data in BAD:
            for size in (1, 7, 100_000):
                with self.assertRaises(BadMessage, msg=repr(data[:99])):
                    answered(data, size)

    def test_upgrade(self) -> None:
        """
        The answer that begins a WebSocket passes with its headers, also behind another
        one; what came behind it is the first of its frames.
        """
        hints = b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"
        for before in (b"", hints):
            for size in (1, 7, 1000):
                out, exchange = answered(
                    before + _SWITCHES + b"\x81\x02hi", size, _SHAKE
                )
                self.assertIn(b"Sec-WebSocket-Accept: x\r\n", out)
                self.assertTrue(b"\x81\x02hi".startswith(exchange.behind))
                self.assertTrue(out.endswith(b"\r\n\r\n" + exchange.behind))

    @given(some.binary(max_size=60), some.integers(0, 60))
    def test_any_bytes(self, junk: bytes, at: int) -> None:
        """
        Whatever comes is read or refused, and nothing else.
        """
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        with contextlib.suppress(BadMessage):
            answered(good[:at] + junk + good[at:], 1000)


SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]
BACK = close_frame(1012, "back")


def frames(sizes: list[int], is_masked: bool = False) -> list[bytes]:
    """Write frames."""
    return [
        Frame(Opcode.BINARY, bytes(size)).serialize(mask=is_masked) for size in sizes
    ]


class FrameRelayTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """
        The end of a frame is found however the stream is cut, and nowhere else.
        """
        wire = frames([0, 3, 126, 0, 1])
        whole = b"".join(wire)
        ends = {sum(map(len, wire[:count])) for count in range(len(wire) + 1)}
        for first in range(len(whole)):
            for second in (first, first + 1, first + 2, (first + len(whole)) // 2):
                found = FrameRelay()
                found.pass_on(whole[:first])
                self.assertEqual(found.is_between, first in ends, first)
                found.pass_on(whole[first:second])
                self.assertEqual(found.is_between, min(second, len(whole)) in ends)
                self.assertEqual(found.pass_on(whole[second:]), whole[second:])
                self.assertTrue(found.is_between)

    def test_close_behind_a_frame(self) -> None:
        """
        A frame that has begun is finished, in any split, then the close frame follows;
        nothing else is sent behind it.
        """
        wire = frames([0, 3, 126, 0, 1])
        whole = b"".join(wire)
        ends = [sum(map(len, wire[:count])) for count in range(len(wire) + 1)]
        for start in range(len(whole) + 1):
            end = min(end for end in ends if end >= start)
            for step in (1, 2, 3, 50, len(whole)):
                found = FrameRelay()
                sent = found.pass_on(whole[:start]) + found.close(BACK)
                for at in range(start, len(whole), step):
                    sent += found.pass_on(whole[at : at + step])
                self.assertEqual(sent, whole[:end] + BACK)
                self.assertEqual(found.close(BACK), b"")
                self.assertTrue(found.is_closing)

    @given(
        some.lists(some.sampled_from(SIZES), max_size=4),
        some.booleans(),
        some.lists(some.integers(0, 300_000), max_size=5),
    )
    def test_sizes(self, sizes: list[int], is_masked: bool, cuts: list[int]) -> None:
        """
        Short and long frames are followed, masked and not.
        """
        whole = b"".join(frames(sizes, is_masked))
        found, before = FrameRelay(), 0
        for cut in [*sorted(cuts), len(whole)]:
            found.pass_on(whole[before:cut])
            before = max(before, cut)
        self.assertTrue(found.is_between)
        self.assertFalse(found.is_closing)

    def test_close(self) -> None:
        """
        A close frame is noticed, in any split, and none of ours follows it; ours is one
        that clients can read.
        """
        wire = frames([5])[0] + close_frame(1012, "come back" * 50)
        for cut in range(len(wire)):
            found = FrameRelay()
            found.pass_on(wire[:cut])
            found.pass_on(wire[cut:])
            self.assertTrue(found.is_closing)
            self.assertTrue(found.is_between)
            self.assertEqual(found.close(BACK), b"")
        found = FrameRelay()
        found.pass_on(wire[:8])
        found.close(BACK)
        self.assertEqual(found.pass_on(wire[8:]), wire[8:])
        content = close_frame(1012, "x" + "\u00e9" * 100)
        self.assertEqual(len(content), 2 + content[1])
        close = Close.parse(content[2:])
        self.assertEqual((close.code, close.reason), (1012, "x" + "\u00e9" * 61))

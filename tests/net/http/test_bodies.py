"""Bodies of requests: what could be read in two ways is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.http.exchange import Body
from vinom.net.http.head import BadMessage

#: Chunked bodies that are refused, and the status.
BAD: dict[bytes, int] = {
    b"zz\r\n": 400,
    b"\r\n": 400,
    b"-1\r\n": 400,
    b"0x1\r\na\r\n": 400,
    b" 1\r\na\r\n": 400,
    b"1_0\r\n": 400,
    b"1\na\r\n": 400,
    b"1\r\r\na\r\n": 400,
    b"1;a\x00b\r\na\r\n": 400,
    b"1;a\rb\r\na\r\n": 400,
    b"1;" + b"x" * 5000: 400,
    b"1;" + b" " * 4000 + b"\n": 400,
    b"1\r\nab\r\n": 400,
    b"1\r\na\n\n": 400,
    b"1\r\na0\r\n\r\n": 400,
    b"0\r\n\n": 400,
    b"0\r\nno field\r\n\r\n": 400,
    b"0\r\nA : b\r\n\r\n": 400,
    b"0\r\nA: b\n\r\n": 400,
    b"0\r\n" + b"A: b\r\n" * 200: 431,
    b"f4241\r\n": 413,
    b"f" * 15 + b"\r\n": 413,
    b"f" * 16 + b"\r\n": 400,
    b"1\r\na\r\n" * 3000: 400,
}


def read(body: Body, data: bytes, sizes: list[int]) -> tuple[bytes, int]:
    """Read in pieces of these sizes; gives the content, and what it took."""
    content, taken, start = b"", 0, 0
    for size in [*sizes, len(data)]:
        piece = data[start : start + size]
        start += len(piece)
        more, at = body.take(b"--" + piece, 2)
        content += more
        taken += at - 2
    return content, taken


class BodyTests(SynchronousTestCase):
    @given(
        some.lists(some.binary(min_size=1, max_size=40), max_size=6),
        some.lists(some.integers(0, 30), max_size=12),
        some.sampled_from([b"", b"A: b\r\n", b"A:\r\nB: c;d\r\n"]),
    )
    def test_any_split(
        self, chunks: list[bytes], sizes: list[int], trailers: bytes
    ) -> None:
        """
        The content comes out however it is cut into chunks and reads; what is behind it
        is left.
        """
        sent = b"".join(b'%X;x="1"\r\n%b\r\n' % (len(one), one) for one in chunks)
        sent += b"000\r\n" + trailers + b"\r\n"
        whole = b"".join(chunks)
        for data, body in (
            (sent, Body(10**6, is_chunked=True)),
            (whole, Body(10**6, len(whole))),
        ):
            found = read(body, data + b"GET /", sizes)
            self.assertEqual(found, (whole, len(data)))
            self.assertTrue(body.is_whole)

    def test_malformed(self) -> None:
        """
        A malformed body, or one that is too long, is refused wherever it is cut.
        """
        for data, status in BAD.items():
            for size in (1, 2, 7, len(data)):
                body = Body(10**6, is_chunked=True)
                error = self.assertRaises(
                    BadMessage, read, body, data, [size] * (len(data) // size)
                )
                self.assertEqual(error.status, status, data[:40])
        for limit in (0, 5):
            error = self.assertRaises(BadMessage, Body, limit, 6)
            self.assertEqual(error.status, 413)

    @given(some.binary(max_size=60))
    def test_any_bytes(self, junk: bytes) -> None:
        """
        Whatever comes is read or refused, and nothing else.
        """
        for data in (junk, b"3\r\nabc\r\n" + junk, b"0\r\n" + junk):
            try:
                Body(10**6, is_chunked=True).take(data, 0)
            except BadMessage as error:
                self.assertIn(error.status, (400, 413, 431))

"""Heads of requests: what could be read in two ways is refused."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.http.exchange import Exchange
from vinom.net.http.head import BadMessage, Target, check_head, find_head

GOOD = b"GET /a/b?c=%20 HTTP/1.1\r\nHost: Game.example:80\r\nX-A: 1\r\n\r\n"

#: Headers for which a request is refused, the status, and a word of the reason.
HEADERS: dict[str, tuple[bytes, int, str]] = {
    "both lengths": (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        400,
        "not both",
    ),
    "two lengths": (b"Content-Length: 4\r\nContent-Length: 5", 400, "once"),
    "one length twice": (b"Content-Length: 4\r\ncontent-length: 4", 400, "once"),
    "two lengths in one line": (b"Content-Length: 4, 4", 400, "one number"),
    "signed length": (b"Content-Length: +4", 400, "one number"),
    "hexadecimal length": (b"Content-Length: 0x4", 400, "one number"),
    "endless length": (b"Content-Length: %b" % (b"9" * 30), 400, "one number"),
    "two codings": (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        400,
        "once",
    ),
    "another coding": (b"Transfer-Encoding: gzip, chunked", 501, "chunked"),
    "a hidden coding": (b"Transfer-Encoding: xchunked", 501, "chunked"),
    "a vertical tab": (b"Transfer-Encoding: \x0bchunked", 400, "NAME: VALUE"),
    "bare LF in a header": (b"X: a\nContent-Length: 5", 400, "CR and LF"),
    "bare CR": (b"X: a\rContent-Length: 5", 400, "CR and LF"),
    "NUL": (b"X: a\0b", 400, "NUL"),
    "a folded line": (b"X: a\r\n Content-Length: 5", 400, "next line"),
    "a blank before the colon": (b"Content-Length : 5", 400, "NAME: VALUE"),
    "a line without a colon": (b"Content-Length", 400, "NAME: VALUE"),
    "a second host": (b"Host: b", 400, "one Host"),
    "too many lines": (b"\r\n".join([b"A: b"] * 101), 431, "lines"),
}
#: Targets for which it is, with the status 400, and a word of the reason.
TARGETS: dict[str, tuple[bytes, str]] = {
    "another host in the target": (b"http://b/", "the same host"),
    "two blanks": (b" /", "first line"),
    "a relative target": (b"a", "must be a path"),
    "a fragment": (b"/a#b", "encoded"),
    "dots": (b"/a/../b", "a segment . or .."),
    "encoded dots": (b"/a/%2e%2E/b", "a segment . or .."),
    "dots encoded twice": (b"/a/%252e%252e/b", "a segment . or .."),
    "dots between backslashes": (b"/a\\..\\b", "a segment . or .."),
    "dots before an encoded slash": (b"/a/..%2fb", "a segment . or .."),
    "dots with a parameter": (b"/a/..;x=1/b", "a segment . or .."),
}
#: Whole requests that are refused, the status, and a word of the reason.
SMUGGLED: dict[str, tuple[bytes, int, str]] = {
    **{
        name: (b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % lines, status, words)
        for name, (lines, status, words) in HEADERS.items()
    },
    **{
        name: (b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target, 400, words)
        for name, (target, words) in TARGETS.items()
    },
    "a coding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "HTTP/1.0",
    ),
    "bare LF": (b"GET / HTTP/1.1\nHost: h\n\n\r\n\r\n", 400, "CR and LF"),
    "a blank line first": (b"\r\n" + GOOD, 400, "first line"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "one Host"),
    "a list of hosts": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "Host must be"),
    "a host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "Host must be"),
    "another version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400, "first line"),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400, "first line"),
    "a tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "CONNECT"),
}


def read(data: bytes) -> Target:
    """Read a request that comes at once."""
    end = find_head(data)
    assert end
    Exchange(target := check_head(data[:end]), 10**6)
    return target


class HeadTests(SynchronousTestCase):
    def test_any_split(self) -> None:
        """
        A head ends at its empty line, however much of what follows is there.
        """
        wire = GOOD + b"rest"
        for cut in range(len(wire)):
            end = len(GOOD) + 2 if cut >= len(GOOD) else 0
            self.assertEqual(find_head(b"--" + wire[:cut], 2), end)
            # Nor does it matter how much was searched before.
            for searched in range(min(cut, len(GOOD)) if end else cut):
                found = find_head(b"--" + wire[:cut], 2, searched=searched)
                self.assertEqual(found, end, (cut, searched))

    def test_what_is_asked(self) -> None:
        """
        Path, host and port are what rules and back ends need, in each form of a target.
        """
        for given_target, target, path in (
            (b"/a/b?c=%20", b"/a/b?c=%20", "/a/b"),
            (b"http://Game.example:80/a?b", b"/a?b", "/a"),
            (b"http://game.example:80?b", b"/?b", "/"),
            (b"/%7Bid%7D/..a/b..?../x", b"/%7Bid%7D/..a/b..?../x", "/%7Bid%7D/..a/b.."),
        ):
            found = read(GOOD.replace(b"/a/b?c=%20", given_target))
            self.assertEqual(
                (found.method, found.target, found.path, found.host),
                (b"GET", target, path, "game.example"),
            )
        self.assertEqual(read(GOOD).authority, b"Game.example:80")
        found = read(b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n")
        self.assertEqual((found.path, found.host), ("/", "[::1]"))
        found = read(b"GET /x HTTP/1.0\r\n\r\n")
        self.assertEqual((found.authority, found.host), (b"", ""))

    def test_two_readings(self) -> None:
        """
        A request that two programs could read differently is refused.
        """
        for name, (request, status, words) in SMUGGLED.items():
            error = self.assertRaises(BadMessage, read, request)
            self.assertEqual(error.status, status, name)
            self.assertIn(words, str(error), name)

    def test_refused_in_any_split(self) -> None:
        """
        They are refused however they come: no cut makes one of them good.
        """
        for name, (request, _, _) in SMUGGLED.items():
            for cut in range(1, len(request)):
                with self.assertRaises(BadMessage, msg=f"{name} at {cut}"):
                    end = find_head(request[:cut]) or find_head(request)
                    assert end
                    Exchange(check_head(request[:end]), 10**6)

    def test_too_long(self) -> None:
        """
        A head above the limit is refused, also before it ends; one at the limit is not.
        """
        for whole in (GOOD, b"X" * 2000):
            error = self.assertRaises(BadMessage, find_head, whole, 0, len(GOOD) - 1)
            self.assertEqual(error.status, 431)
        self.assertEqual(find_head(GOOD + b"x" * 2000, 0, len(GOOD)), len(GOOD))

    @given(some.binary(max_size=200), some.integers(0, 60))
    @example(b"\r\n\r\n", 0)
    @example(b"\n", 14)
    def test_any_bytes(self, junk: bytes, at: int) -> None:
        """
        Whatever comes is read or refused, and nothing else; and what is read has one
        host and no line of its own making.
        """
        wire = GOOD[:at] + junk + GOOD[at:]
        try:
            end = find_head(wire)
            if not end:
                return
            target = check_head(wire[:end])
            exchange = Exchange(target, 10**6)
        except BadMessage as error:
            self.assertIn(error.status, (400, 405, 413, 431, 501))
            return
        out = exchange.write_request(target.fields)
        self.assertEqual(out.count(b"\n"), len(target.fields) + 2)
        self.assertEqual(out.count(b"\r"), out.count(b"\r\n"))
        self.assertLessEqual(len(exchange.values(b"host")), 1)

"""The public port over TLS, on sockets: read directly, and sent at once."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import ip_network

from tests.support.front_doors import FrontDoorCase, get
from tests.support.tls_clients import DATA, MemoryClient
from tests.support.turns import reads_directly
from tests.support.websockets import frame
from vinom.net.lines.proxied import ProxiedFactory


class SecureVisitor:
    """
    A TLS client at a front door, over sockets.

    :ivar client: its TLS.
    :ivar transport: the server's end of its connection.
    """

    def __init__(
        self, tests: FrontDoorCase, first: bytes = b"", request: bytes = b""
    ) -> None:
        self._tests, self.client = tests, MemoryClient()
        self.socket, self.transport = tests.accept()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if first:
            self.socket.send(first)
            self.transport.doRead()
        # Not before there is a WebSocket.
        self.is_direct = False
        self.send(self.client.shake())
        self.client.connection.bio_write(self.take())
        self.send(self.client.shake() + self.client.data(request or get()))
        self.is_direct = not (first or request)

    def send(self, data: bytes) -> None:
        """Send bytes; the server reads them, and a turn ends."""
        self.socket.send(data)
        direct = self._tests.websockets.direct
        read = reads_directly(direct, self.transport.fileno())
        self._tests.assertEqual(read, self.is_direct)
        if not read:
            self.transport.doRead()
        self._tests.clock.advance(0)

    def take(self) -> bytes:
        """Take what the server sent."""
        taken = b""
        with contextlib.suppress(BlockingIOError):
            while piece := self.socket.recv(65536):
                taken += piece
        return taken

    def listen(self) -> bytes:
        """Take it, and send what TLS answers; gives what was sent, and forgets it."""
        answer = self.client.hear(self.take())
        if answer:
            self.send(answer)
        told, self.client.received = self.client.received, b""
        return told

    @property
    def has_unsent(self) -> bool:
        """Does something wait in the transport?"""
        return bool(self.transport.dataBuffer or self.transport._tempDataBuffer)


class DirectTlsTests(FrontDoorCase):
    """TLS over sockets: read without the reactor, and sent at once."""

    def visit(self, first: bytes = b"") -> SecureVisitor:
        """Somebody opens a WebSocket."""
        visitor = SecureVisitor(self, first)
        while visitor.has_unsent:
            visitor.transport.doWrite()
        self.assertIn(b"HTTP/1.1 101 ", visitor.listen())
        return visitor

    def test_one_record(self) -> None:
        """
        The messages of a turn are read directly, and all that a turn sends leaves at
        once, in one record.
        """
        self.serve_tls()
        visitor = self.visit()
        for size in (1, 2, 3):
            data = b"".join(frame(1, b"1") for _ in range(size))
            visitor.send(visitor.client.data(data))
            self.assertFalse(visitor.has_unsent)
            sent = visitor.take()
            self.assertEqual(sent[0], DATA)
            self.assertEqual(int.from_bytes(sent[3:5], "big") + 5, len(sent))
            visitor.client.hear(sent)
            told, visitor.client.received = visitor.client.received, b""
            self.assertEqual(told[2:], b"[%b]" % b",".join([b"1"] * size))

    def test_key_updates(self) -> None:
        """
        A client may update its keys, and ask the server to update its own, at any
        time: play goes on.
        """
        self.serve_tls()
        visitor = self.visit()
        for is_asked in (True, False, True):
            visitor.send(visitor.client.update(is_asked))
            # OpenSSL's answer goes before the next data (RFC 8446, 4.6.3).
            self.assertEqual(visitor.take(), b"")
            visitor.send(visitor.client.data(frame(1, b"7")))
            self.assertEqual(visitor.listen(), b"\x81\x03[7]")
            self.assertIsNone(visitor.client.error)

    def test_slow_reader(self) -> None:
        """
        What does not fit waits, in order, with the keys that it was sealed with, also
        if the client updates them meanwhile; the line goes on when all was taken.
        """
        self.serve_tls()
        visitor = self.visit()
        (echo,) = self.echoes
        sent = b""
        while not echo.line.is_behind:
            message = b'"%d%b"' % (len(sent), b"x" * 50_000)
            echo.line.send(message)
            self.clock.advance(0)
            sent += b"[%b]" % message
        visitor.send(visitor.client.update(True))
        echo.line.send(b"1")
        echo.line.send(b"2")
        told = b""
        while visitor.has_unsent or echo.line.is_behind:
            told += visitor.listen()
            visitor.transport.doWrite()
            self.clock.advance(0)
        told += visitor.listen()
        self.assertIsNone(visitor.client.error)
        self.assertTrue(told.endswith(b"\x81\x05[1,2]"))
        self.assertEqual(told.count(b"x"), sent.count(b"x"))
        self.assertEqual(echo.times_caught_up, 1)
        visitor.send(visitor.client.data(frame(1, b"3")))
        self.assertEqual(visitor.listen(), b"\x81\x03[3]")

    def test_answers_that_nobody_reads(self) -> None:
        """
        Nor can a client that reads nothing fill our memory with what TLS itself
        answers: beyond the bound of all that waits it is cut off.
        """
        self.serve_tls()
        visitor = self.visit()
        (echo,) = self.echoes
        while not echo.line.is_behind:
            echo.line.send(b'"%b"' % (b"x" * 50_000))
            self.clock.advance(0)
        most = self.websockets.bounds.most_unsent_bytes
        held = len(visitor.transport.dataBuffer)
        for _ in range(2 * most // 1000):
            if echo.line._is_closing:
                break
            # As OpenSSL would, to a message of its own.
            visitor.transport.protocol._outlet(bytes(1000))
        self.assertEqual(self.websockets.errors["too_slow"], 1)
        waiting = sum(map(len, visitor.transport._tempDataBuffer))
        self.assertLess(len(visitor.transport.dataBuffer) - held + waiting, 2 * most)
        visitor.transport.reactor.advance(0)
        self.assertFalse(visitor.transport.connected)
        self.assertTrue(echo.is_lost)

    def test_goodbye(self) -> None:
        """
        A conversation that ends is closed by WebSocket's frame, then by TLS's message.
        """
        self.serve_tls()
        visitor = self.visit()
        visitor.send(visitor.client.data(frame(8, b"\x03\xe8")))
        self.assertEqual(visitor.listen(), b"\x88\x02\x03\xe8")
        self.assertTrue(visitor.client.is_closed)
        self.assertTrue(self.echoes[0].is_lost)

    def test_behind_a_proxy(self) -> None:
        """
        Behind a proxy's header TLS is the same: what is sent leaves at once.
        """
        self.serve_tls()
        self.wrapped = ProxiedFactory(self.wrapped, [ip_network("127.0.0.0/8")])
        visitor = self.visit(b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n")
        self.assertEqual(self.echoes[0].line.host, "203.0.113.7")
        visitor.send(visitor.client.data(frame(1, b"1")))
        self.assertFalse(visitor.has_unsent)
        self.assertEqual(visitor.listen(), b"\x81\x03[1]")

    def test_pages(self) -> None:
        """
        A page over TLS is answered, also many times on one connection, and that may
        become a WebSocket in the end.
        """
        self.serve_tls()
        visitor = SecureVisitor(self, request=get("/no"))
        told = b""
        for request in (get("/no"), get()):
            while visitor.has_unsent:
                visitor.transport.doWrite()
            told += visitor.listen()
            visitor.send(visitor.client.data(request))
        while visitor.has_unsent:
            visitor.transport.doWrite()
        told += visitor.listen()
        self.assertEqual(told.count(b"HTTP/1.1 404 "), 2)
        self.assertEqual(told.count(b"HTTP/1.1 101 "), 1)
        visitor.is_direct = True
        visitor.send(visitor.client.data(frame(1, b"1")))
        self.assertFalse(visitor.has_unsent)
        self.assertEqual(visitor.listen(), b"\x81\x03[1]")

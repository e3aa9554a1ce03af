"""Requests that do not come to an end."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.web.answers import Asked, Folder, Health, QuietSite

HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


class SlowRequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def connect(self) -> StringTransport:
        """Connect; the server's end is the transport's ``protocol``."""
        clock: Any = self.clock
        pages = Folder(health=Health(), echo=Asked("POST", lambda body: len(body)))
        site = QuietSite(pages, clock)
        transport: Any = StringTransport()
        transport.protocol = site.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return transport

    def drip(self, sent: bytes, limit: float) -> tuple[float, bytes]:
        """Send one byte per second; gives when the server closed, and its answer."""
        transport: Any = self.connect()
        for byte in sent[:-1]:
            if transport.disconnecting:
                break
            transport.protocol.dataReceived(bytes([byte]))
            self.clock.advance(1.0)
        self.assertTrue(transport.disconnecting)
        self.assertLessEqual(self.clock.seconds(), limit)
        # A peer that does not close its end is cut off soon.
        self.clock.advance(2.0)
        self.assertTrue(transport.disconnected)
        transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return self.clock.seconds(), transport.value()

    def test_head(self) -> None:
        """
        One byte per second as a request's line, or as a header, ends after ten.
        """
        for sent in (HEAD, b"GET /" + b"a" * 500):
            self.setUp()
            _, answer = self.drip(sent, 10.0)
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)

    def test_body(self) -> None:
        """
        So does one byte per second of a body, or of its chunks, thirty after the head.
        """
        for more in (
            b"Content-Length: 900\r\n\r\n" + b"x" * 900,
            b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100,
        ):
            self.setUp()
            head, _, body = (HEAD + more).partition(b"\r\n\r\n")
            transport: Any = self.connect()
            transport.protocol.dataReceived(head + b"\r\n\r\n")
            for byte in body:
                if not transport.disconnecting:
                    transport.protocol.dataReceived(bytes([byte]))
                    self.clock.advance(1.0)
            self.assertIn(b" 408 ", transport.value())
            self.assertLessEqual(self.clock.seconds(), 30.0)
            self.clock.advance(2.0)
            self.assertTrue(transport.disconnected)

    def test_kept_alive(self) -> None:
        """
        Requests that come whole are answered however many they are, with pauses, in
        pieces and several at once; between them a connection may wait for a minute.
        """
        transport: Any = self.connect()
        whole = HEAD + b"Content-Length: 2\r\n\r\nok"
        for cut in range(len(whole)):
            transport.protocol.dataReceived(whole[:cut])
            self.clock.advance(5.0)
            transport.protocol.dataReceived(whole[cut:])
            self.clock.advance(25.0)
        transport.protocol.dataReceived(whole * 3)
        self.clock.advance(0.0)
        self.clock.advance(59.0)
        self.assertEqual(transport.value().count(b" 200 "), len(whole) + 3)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(2.0)
        self.assertTrue(transport.disconnecting)

    def test_second_request(self) -> None:
        """
        The deadline holds for every request of a connection, also for one that began
        behind another.
        """
        whole = HEAD + b"Content-Length: 2\r\n\r\nok"
        for first in (whole, whole + b"GET /he"):
            transport: Any = self.connect()
            transport.protocol.dataReceived(first)
            for _ in range(10):
                self.clock.advance(1.0)
                transport.protocol.dataReceived(b"a")
            self.clock.advance(1.0)
            self.assertTrue(transport.disconnecting)
            self.assertIn(b" 408 ", transport.value())

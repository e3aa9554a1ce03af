"""Lobby lines over TCP, in memory."""

from __future__ import annotations

from socket import socketpair
from typing import Any

from OpenSSL import crypto
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.support.certificates import authority, new_authority
from tests.support.ears import Ear
from tests.support.hellos import long_hello
from tests.support.logged import watch_log
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Misconfigured
from vinom.net.frames import HELLO_LIMIT
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.sniff import write_proxy_header
from vinom.net.lines.tcp import LineFactory, LineProtocol, Lines
from vinom.net.lines.tls import ReloadableTls, server_options


class Socket:
    """The options that were set."""

    def __init__(self) -> None:
        self.options: dict[int, int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[option] = value


@implementer(ITCPTransport)
class TCPTransport(StringTransport):
    """What a TCP connection can do beyond bytes."""

    is_half_closed = False

    def __init__(self) -> None:
        super().__init__()
        self.socket = Socket()

    def loseWriteConnection(self) -> None:
        self.is_half_closed = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getTcpNoDelay(self) -> bool:
        return self.no_delay

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled

    def getTcpKeepAlive(self) -> bool:
        return self.keep_alive

    def getHandle(self) -> Socket:
        return self.socket


class Polite(Ear):
    """Only listens, and closes at "bye"."""

    def received(self, message: bytes) -> None:
        super().received(message)
        if message == b"bye":
            self.line.send(b"farewell")
            self.line.close()


class LineCase(SynchronousTestCase):
    """One port and its connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ears: list[Ear] = []
        self.open_port()

    def open_port(self, **facts: Any) -> None:
        self.lines = Lines(self.open_ear, self.clock, **facts)
        self.factory = LineFactory(self.lines)

    def open_ear(self, line: LineProtocol) -> Ear:
        ear = Polite(line)
        self.ears.append(ear)
        return ear

    def connect(self, host: str = "127.0.0.1") -> tuple[Any, TCPTransport]:
        kind = IPv6Address if ":" in host else IPv4Address
        protocol = self.factory.buildProtocol(kind("TCP", host, 5))
        transport = TCPTransport()
        protocol.makeConnection(transport)
        return protocol, transport


class PlainTests(LineCase):
    """Plain lines."""

    def test_empty_lines(self) -> None:
        """
        A few empty lines mean nothing; without end they are messages, and so bounded.
        """
        protocol, _ = self.connect()
        protocol.dataReceived((b"\r\n" * 10 + b"{}\n") * 3)
        self.assertEqual(self.ears[0].heard, [b"{}"] * 3)
        protocol.dataReceived(b"\n" * 1000)
        self.assertGreater(len(self.ears[0].heard), 900)

    def test_too_long(self) -> None:
        """
        A message above the limit is answered with the limit, and the line ends.
        """
        self.open_port(bounds=LineBounds(limit=20))
        protocol, transport = self.connect()
        protocol.dataReceived(b"{}\n")
        self.ears[0].line.admitted()
        protocol.dataReceived(b"x" * 22)
        self.assertEqual(self.ears[0].heard, [b"{}"])
        self.assertIn(b'"code":"too_long"', transport.value())
        self.assertIn(b'"limit":20', transport.value())
        self.assertTrue(transport.is_half_closed)

    def test_long_hello(self) -> None:
        """
        A hello of 8 KB with a token arrives, however it is cut; nothing else does.
        """
        hello = long_hello(HELLO_LIMIT)
        for cut in (1, 2048, 2049, HELLO_LIMIT - 1, HELLO_LIMIT):
            self.open_port()
            self.ears.clear()
            protocol, transport = self.connect()
            for part in (hello[:cut], hello[cut:] + b"\n{}\n"):
                protocol.dataReceived(part)
            self.assertEqual(self.ears[0].heard, [hello, b"{}"])
        for other in (
            long_hello(HELLO_LIMIT + 1),
            long_hello(3000).replace(b"hello", b"hallo"),
            long_hello(3000).replace(b"token", b"taken"),
            b'{"type":"hello","data":{"protocol":1,"name":"%b"}}' % (b"x" * 3000),
            b"x" * 2049,
        ):
            protocol, transport = self.connect()
            protocol.dataReceived(other + b"\n")
            self.assertEqual(self.ears[-1].heard, [])
            self.assertIn(b'"code":"too_long"', transport.value())
            self.assertIn(b'"limit":2048', transport.value())

    def test_no_long_line_after_the_hello(self) -> None:
        """
        Once a player is known, no more than the limit is kept for its next message.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(b"{}\n")
        self.ears[0].line.admitted()
        protocol.dataReceived(long_hello(3000)[:2050])
        self.assertIn(b'"code":"too_long"', transport.value())

    def test_lost(self) -> None:
        """
        The conversation is informed once that its line is gone, and no timer stays.
        """
        protocol, _ = self.connect()
        protocol.dataReceived(b"x")
        protocol.connectionLost()
        self.assertTrue(self.ears[0].is_lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_last_words_arrive(self) -> None:
        """
        A line closes gently: the last message is sent, what comes late is read
        and ignored, and a peer that stays is cut off after 2 s.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(b"bye\nmore\n")
        self.assertEqual(transport.value(), b"farewell\n")
        self.assertTrue(transport.is_half_closed)
        self.assertFalse(transport.disconnecting)
        self.assertIsNone(transport.producer)
        protocol.dataReceived(b"late\n")
        self.assertEqual(self.ears[0].heard, [b"bye"])
        self.ears[0].line.send(b"no more")
        self.assertEqual(transport.value(), b"farewell\n")
        self.clock.advance(2.0)
        self.assertTrue(transport.disconnected)

    def test_peer_that_does_not_read(self) -> None:
        """
        A client that does not read is not read any more, and is cut off after a while.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(b"x")
        transport.producer.pauseProducing()
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(19.0)
        transport.producer.resumeProducing()
        self.assertEqual(transport.producerState, "producing")
        self.clock.advance(100.0)
        self.assertFalse(transport.disconnected)
        transport.producer.pauseProducing()
        self.clock.advance(20.0)
        self.assertTrue(transport.disconnected)

    def test_behind(self) -> None:
        """
        What a game sends to a client that does not read can wait until it reads.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(b"x")
        line = self.ears[0].line
        self.assertFalse(line.is_behind)
        transport.producer.pauseProducing()
        self.assertTrue(line.is_behind)
        self.assertEqual(self.ears[0].times_caught_up, 0)
        transport.producer.resumeProducing()
        self.assertFalse(line.is_behind)
        self.assertEqual(self.ears[0].times_caught_up, 1)

    def test_too_slow(self) -> None:
        """
        A client that does not read 256 messages, or 256 KB of them, is sent the reason
        and closed.
        """
        for message, most in ((b"{}", 256), (b"x" * 2**15, 8)):
            self.ears.clear()
            self.open_port()
            protocol, transport = self.connect()
            protocol.dataReceived(b"x")
            line = self.ears[0].line
            for _ in range(2):
                transport.producer.pauseProducing()
                for _ in range(most):
                    line.send(message)
                transport.producer.resumeProducing()
            self.assertFalse(transport.is_half_closed)
            transport.producer.pauseProducing()
            for _ in range(most + 1):
                line.send(message)
            self.assertTrue(transport.is_half_closed)
            *_, last, end = transport.value().split(b"\n")
            self.assertIn(b'"code":"too_slow"', last)
            self.assertEqual(end, b"")
            self.assertEqual(self.lines.errors["too_slow"], 1)

    def test_half_closed(self) -> None:
        """
        A client that sends no more is answered before it is cut off, and not kept for
        long if no answer comes; a line that ends is closed as soon as the peer's half
        is.
        """
        protocol, transport = self.connect()
        self.assertTrue(IHalfCloseableProtocol.providedBy(protocol))
        protocol.dataReceived(b"slow\n")
        protocol.readConnectionLost()
        self.assertTrue(self.ears[0].is_heard_out)
        self.clock.advance(4.9)
        self.assertFalse(transport.disconnecting or transport.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(transport.disconnected)
        protocol, transport = self.connect()
        protocol.dataReceived(b"bye\n")
        # Which Twisted does when the last word is sent.
        protocol.writeConnectionLost()
        protocol.readConnectionLost()
        self.assertTrue(transport.disconnecting)
        self.assertFalse(self.ears[1].is_heard_out)
        self.clock.advance(2.0)
        self.assertTrue(transport.disconnected)

    def test_half_closed_before_a_word(self) -> None:
        """
        A client that sends nothing and closes its half is gone at once; one that was
        refused gets the reason first, and neither leaves a timer.
        """
        for host, said in (("127.0.0.1", b""), ("192.0.2.1", b"{}\n")):
            protocol, transport = self.connect(host)
            if said:
                protocol.dataReceived(said)
            protocol.readConnectionLost()
            self.assertTrue(transport.disconnecting)
            protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.ears, [])

    def test_silent_connection(self) -> None:
        """
        A connection that never sends a byte is sent the reason, and is cut off.
        """
        protocol, transport = self.connect()
        self.clock.advance(10.0)
        self.assertIn(b'"code":"timeout"', transport.value())
        self.assertTrue(transport.is_half_closed)
        protocol.dataReceived(b"late")
        self.assertEqual(self.ears, [])
        self.clock.advance(2.0)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.lines.connections), 0)

    def test_slow_start_costs_time(self) -> None:
        """
        The time for a hello runs from the connection, not from the first byte.
        """
        self.clock.advance(5.0)
        protocol, _ = self.connect()
        self.clock.advance(9.0)
        protocol.dataReceived(b"{")
        self.assertEqual(self.ears[0].line.opened_at, 5.0)

    def test_death_is_noticed(self) -> None:
        """
        The kernel looks after quiet peers, who may wait for long.
        """
        _, transport = self.connect()
        self.assertTrue(transport.keep_alive)
        self.assertTrue(transport.no_delay)
        self.assertIn(15, transport.socket.options.values())

    def test_plain_only_from_this_machine(self) -> None:
        """
        From elsewhere a plain line is refused in words, unless it is allowed.
        """
        for host in ("192.0.2.1", "2001:db8::1"):
            self.open_port()
            protocol, transport = self.connect(host)
            protocol.dataReceived(b'{"type":"ping"}\n')
            protocol.dataReceived(b"more\n")
            self.assertIn(b'"code":"plaintext_refused"', transport.value())
            self.assertTrue(transport.is_half_closed)
            self.assertEqual(self.ears, [])
            self.clock.advance(2.0)
            self.assertTrue(transport.disconnected)
        self.open_port(allow_plaintext=True)
        protocol, _ = self.connect("192.0.2.1")
        protocol.dataReceived(b"hi\n")
        self.assertEqual(self.ears[0].heard, [b"hi"])

    def test_header_of_an_unknown_proxy(self) -> None:
        """
        A gateway, or its operator, reads which setting lacks it.
        """
        logged = watch_log(self)
        header = write_proxy_header("192.0.2.1", 5, "127.0.0.1", 4600)
        for number, sent in enumerate((header, b"PROXY TCP4 192.0.2.1 "), 1):
            self.open_port()
            protocol, transport = self.connect()
            protocol.dataReceived(sent)
            self.assertIn(b"set proxy to its sender, 127.0.0.1", transport.value())
            self.assertEqual((self.ears, len(logged)), ([], 2 * number))

    def test_a_flood_does_not_fill_the_log(self) -> None:
        """
        Refused connections are logged, but no more than one line per second for long.
        """
        logged = watch_log(self)
        self.open_port(bounds=LineBounds(per_network=0))
        for _ in range(100):
            self.connect()
        self.assertEqual(logged, ["refused 127.0.0.1: too_many_connections"] * 20)
        self.clock.advance(1.0)
        self.connect()
        self.assertEqual(len(logged), 21)

    def test_too_many_connections(self) -> None:
        """
        One network gets its share of connections and no more, until one closes.
        """
        self.open_port(bounds=LineBounds(per_network=2), allow_plaintext=True)
        first, _ = self.connect("2001:db8::1")
        self.connect("2001:db8::2")
        refused, transport = self.connect("2001:db8::3")
        refused.dataReceived(b"hi\n")
        self.assertIn(b'"code":"too_many_connections"', transport.value())
        self.assertEqual(self.ears, [])
        _, other = self.connect("192.0.2.1")
        self.assertEqual(other.value(), b"")
        refused.connectionLost()
        first.connectionLost()
        _, again = self.connect("2001:db8::3")
        self.assertEqual(again.value(), b"")
        self.assertEqual(self.lines.errors, {"too_many_connections": 1})


class TLSClient(Protocol):
    """The peer's side of a TLS line."""

    def connectionMade(self) -> None:
        self.heard = b""
        self.reason: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason


class TLSTests(LineCase):
    """TLS on the same port."""

    def setUp(self) -> None:
        super().setUp()
        leaf = authority().issue("lobby.game.vinom")
        self.certificate, self.key = leaf.certificate, leaf.key
        self.open_port(tls=ReloadableTls(self.certificate, self.key))

    def join(self, host: str = "192.0.2.1") -> None:
        self.server, self.near = self.connect(host)
        self.client = TLSClient()
        factory = TLSMemoryBIOFactory(
            optionsForClientTLS(
                "lobby.game.vinom", Certificate.loadPEM(authority().anchor)
            ),
            True,
            Factory.forProtocol(lambda: self.client),
            self.clock,
        )
        self.outer = factory.buildProtocol(None)
        self.far = StringTransport()
        self.outer.makeConnection(self.far)

    def pump(self, size: int = 1 << 20) -> None:
        """Carry bytes both ways, in parts of *size*, until it is quiet."""
        self.clock.advance(0)
        while self.near.value() or self.far.value():
            for source, sink in ((self.far, self.server), (self.near, self.outer)):
                data = source.value()
                source.clear()
                for start in range(0, len(data), size):
                    sink.dataReceived(data[start : start + size])
            self.clock.advance(0)

    def test_tls_is_recognised(self) -> None:
        """
        A TLS client is served from anywhere, with any splits; and a person with netcat
        on the same port.
        """
        for size in (1, 7, 1 << 20):
            self.ears.clear()
            self.join()
            self.pump(size)
            self.client.transport.write(b'{"a":1}\nbye\n')
            self.pump(size)
            self.assertEqual(self.ears[0].heard, [b'{"a":1}', b"bye"])
            self.assertEqual(self.client.heard, b"farewell\n")
            self.assertTrue(self.near.disconnecting)
            self.server.connectionLost()
            self.assertTrue(self.ears[0].is_lost)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        plain, _ = self.connect()
        plain.dataReceived(b"hi\n")
        self.assertEqual(self.ears[-1].heard, [b"hi"])

    def send_junk(self) -> None:
        """Send what begins like TLS: it ends its own connection."""
        self.server.dataReceived(b"\x16" + b"\0" * 50)
        self.assertTrue(self.near.disconnecting or self.near.disconnected)
        self.server.connectionLost()
        self.assertTrue(self.ears[-1].is_lost)

    def test_failed_handshakes_are_logged(self) -> None:
        """
        A handshake that fails leaves a line in the log, but a flood of them no more
        than one per second; clients that hang up leave none.
        """
        logged = watch_log(self)
        self.join()
        self.pump()
        self.server.connectionLost()
        self.join()
        self.server.connectionLost()
        self.assertEqual(logged, [])
        for _ in range(100):
            self.join()
            self.send_junk()
        self.assertEqual(len(logged), 20)
        self.clock.advance(1.0)
        self.join()
        self.send_junk()
        self.assertEqual(len(logged), 21)
        for line in logged:
            self.assertTrue(line.startswith("TLS with 192.0.2.1 failed: "), line)

    def test_bad_files(self) -> None:
        """
        A certificate and key that do not work together are named at the start.
        """
        other = new_authority().issue("lobby.game.vinom").key
        for certificate, key in (
            (b"", self.key),
            (self.certificate, b"junk"),
            (b"junk", self.key),
            (self.certificate, other),
        ):
            error = self.assertRaises(Misconfigured, server_options, certificate, key)
            self.assertIn("tls_certificate_file must hold", str(error))
            self.assertNotIn("[", str(error))

    def test_new_certificate(self) -> None:
        """
        A certificate that is replaced is seen by the next line; the one that is
        open goes on, and one that cannot be used replaces nothing.
        """
        tls = ReloadableTls(self.certificate, self.key)
        self.open_port(tls=tls)
        self.join()
        self.pump()
        first, client, near, server, outer, far = (
            self.client,
            self.client.transport.getPeerCertificate(),
            self.near,
            self.server,
            self.outer,
            self.far,
        )
        self.assertRaises(Misconfigured, tls.use, self.certificate, b"junk")
        renewed = authority().issue("lobby.game.vinom")
        before = tls.fingerprint
        tls.use(renewed.certificate, renewed.key)
        self.assertNotEqual(tls.fingerprint, before)
        self.join()
        self.pump()
        peer = self.client.transport.getPeerCertificate()
        self.assertEqual(
            peer.digest("sha256").replace(b":", b"").lower()[:16].decode(),
            tls.fingerprint,
        )
        self.assertNotEqual(peer.digest("sha256"), client.digest("sha256"))
        self.near, self.server, self.outer, self.far = near, server, outer, far
        first.transport.write(b'{"a":1}\n')
        self.pump()
        self.assertEqual(self.ears[0].heard, [b'{"a":1}'])
        self.assertGreater(tls.expires_at, tls.begins_at)

    def test_chain(self) -> None:
        """
        Intermediate certificates are sent along.
        """
        options = server_options(self.certificate, self.key)
        self.assertEqual(len(options.extraCertChain), 1)
        self.assertIsInstance(options.extraCertChain[0], crypto.X509)


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


class DirectTests(SynchronousTestCase):
    """Lines on sockets, which the reactor only helps."""

    def setUp(self) -> None:
        self.clock, self.direct = Clock(), DirectReads()
        ours, self.peer = socketpair()
        self.addCleanup(self.peer.close)
        self.addCleanup(ours.close)
        for one in (ours, self.peer):
            one.setblocking(False)
        turn_end = TurnEnd(self.clock)
        lines = Lines(Polite, self.clock, turn_end=turn_end, direct=self.direct)
        self.line = LineProtocol(lines, "127.0.0.1", False, 0.0)
        self.pipe = Connection(ours, self.line, Writers())
        self.pipe.connected = 1
        self.line.makeConnection(self.pipe)

    def test_one_turn(self) -> None:
        """
        The messages of a turn are sent together when it ends.
        """
        self.line.send(b"1")
        self.line.send(b"2")
        self.assertTrue(self.line.has_unsent)
        self.assertRaises(BlockingIOError, self.peer.recv, 100)
        self.clock.advance(0)
        self.assertEqual(self.peer.recv(100), b"1\n2\n")
        self.assertFalse(self.line.has_unsent)

    def test_no_room(self) -> None:
        """
        What the socket does not take is sent later, and nothing before it.
        """
        sent, came = b"", b""
        for number in range(8):
            message = b"%d" % number * 60_000
            self.line.send(message)
            self.clock.advance(0)
            sent += message + b"\n"
        self.assertTrue(self.line.has_unsent)
        while len(came) < len(sent):
            came += self.peer.recv(1 << 20)
            self.pipe.doWrite()
        self.assertEqual(came, sent)
        self.assertFalse(self.line.has_unsent)

    def test_close(self) -> None:
        """
        A line closes after its messages, in the same turn too.
        """
        self.line.dataReceived(b"bye\n")
        self.pipe.doWrite()
        self.assertEqual(self.peer.recv(100), b"farewell\n")
        self.assertEqual(self.peer.recv(100), b"")

    def test_lost(self) -> None:
        """
        What was not sent before the end is unsent; and nobody reads its socket then.
        """
        self.assertEqual(len(self.direct), 1)
        self.line.send(b"1")
        self.line.connectionLost(Failure(ConnectionLost()))
        self.clock.advance(0)
        self.assertTrue(self.line.has_unsent)
        self.assertEqual(len(self.direct), 0)
        self.assertRaises(BlockingIOError, self.peer.recv, 100)

    def test_gone_in_between(self) -> None:
        """
        A peer that is gone when a turn ends is no mistake: the reactor finds it.
        """
        self.peer.close()
        self.line.send(b"1")
        self.clock.advance(0)
        self.assertTrue(self.line.has_unsent)

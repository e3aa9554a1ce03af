"""Our two UDP ports on real sockets, over IPv4 and IPv6."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from tests.support.certificates import authority, leaf
from tests.support.dtls import DOMAIN, LABEL
from vinom.base.model import Ticket
from vinom.net.dtls.admission import Address, Admission
from vinom.net.dtls.channel import Connected, Disconnected, Received
from vinom.net.dtls.client import ClientEvent, DtlsClient
from vinom.net.dtls.client_port import ClientPort
from vinom.net.dtls.port import (
    DatagramPort,
    IDatagramFilter,
    Pass,
    socket_of,
    widen_receive_buffer,
)
from vinom.net.dtls.server import DtlsServer, ServerEvent


class Deaf:
    """A filter that passes nothing on."""

    longest_hold = 0.0

    def __init__(self) -> None:
        self.heard = 0

    def incoming(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        self.heard += 1

    def outgoing(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        pass_on(datagram, address)


class DatagramTests(TestCase):
    """A player's socket and a game server's."""

    timeout = 20

    def serve(
        self,
        interface: str,
        receive_buffer: int = 0,
        worn: IDatagramFilter | None = None,
    ) -> int:
        admission = Admission(DOMAIN, time.time())
        admission.add_ticket(Ticket(LABEL, "m1", 0, time.time() + 60))
        server = DtlsServer(leaf(DOMAIN).served(), admission)
        port = DatagramPort(
            reactor, server, self.echo, worn, receive_buffer=receive_buffer
        )
        self.server = port
        self.left: Deferred[None] = Deferred()
        try:
            listening = reactor.listenUDP(0, port, interface=interface)
        except CannotListenError as error:
            raise SkipTest(f"no loopback address {interface}") from error
        self.addCleanup(listening.stopListening)
        return int(listening.getHost().port)

    def echo(self, events: list[ServerEvent]) -> None:
        for event in events:
            if isinstance(event, Received):
                self.server.send(event.association, event.payload)
            elif isinstance(event, Disconnected):
                self.left.callback(None)

    def send_twenty(
        self, port: int, datagram: bytes, host: str = "127.0.0.1"
    ) -> socket.socket:
        """Send a burst to our port, and have it look once; returns the sender."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        other = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(other.close)
        other.connect((host, port))
        for _ in range(20):
            other.send(datagram)
        self.server.transport.doRead()
        return other

    async def until(self, met: Callable[[], bool]) -> None:
        """Let the reactor run until something is so; at most until the test's end."""
        while not met():
            await deferLater(reactor, 0.005)

    def dial(self, host: str, port: int) -> ClientPort:
        client = DtlsClient(f"{LABEL}.{DOMAIN}", authority().anchor, time.time())
        self.connected: Deferred[None] = Deferred()
        self.echoed: Deferred[bytes] = Deferred()
        self.refused: Deferred[None] = Deferred()
        line = ClientPort(reactor, client, host, port, self.deliver, self.refuse)
        listening = reactor.listenUDP(0, line, interface="::" if ":" in host else "")
        self.addCleanup(listening.stopListening)
        return line

    def deliver(self, events: list[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, Connected):
                self.connected.callback(None)
            elif isinstance(event, Received):
                self.echoed.callback(event.payload)

    def refuse(self) -> None:
        if not self.refused.called:
            self.refused.callback(None)

    async def play(self, host: str) -> None:
        line = self.dial(host, self.serve(host))
        await self.connected
        payload = b"x" * 1163
        line.send(payload)
        line.flush()
        self.assertEqual(await self.echoed, payload)
        line.close()
        await self.left
        self.assertEqual(self.server.unsendable, 0)

    async def test_ipv4(self) -> None:
        """
        A player connects, sends, is answered, and leaves, over IPv4.
        """
        await self.play("127.0.0.1")

    async def test_ipv6(self) -> None:
        """
        The same over IPv6.
        """
        await self.play("::1")

    async def test_nobody_there(self) -> None:
        """
        A player whose game server is gone is informed at once, not after seconds.
        """
        port = self.serve("127.0.0.1")
        await self.server.transport.stopListening()
        self.dial("127.0.0.1", port)
        await self.refused

    def test_room_for_bursts(self) -> None:
        """
        A game port has as much room for what waits as the kernel grants, and never
        less than every socket has.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            usual = widen_receive_buffer(other, 0)
            granted = widen_receive_buffer(other, 2 * usual)
        self.serve("127.0.0.1", receive_buffer=2 * usual)
        bound = socket_of(self.server.transport)
        assert bound is not None
        self.assertEqual(widen_receive_buffer(bound, 0), granted)
        self.assertEqual(widen_receive_buffer(bound, 1000), granted)
        self.assertGreaterEqual(granted, usual)

    def test_what_waits_is_taken_together(self) -> None:
        """
        A burst is read in one turn, however many datagrams it has; so none of them
        waits for the answers to those before it.
        """
        port = self.serve("127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.connect(("127.0.0.1", port))
            for _ in range(20):
                other.send(b"junk")
            # Twisted reads the first one.
            self.server.datagramReceived(b"junk", other.getsockname())
        bound = socket_of(self.server.transport)
        assert bound is not None
        self.assertRaises(BlockingIOError, bound.recv, 100)

    def test_answered_at_once(self) -> None:
        """
        A datagram is answered before the reactor does anything else.
        """
        port = self.serve("127.0.0.1")
        client = DtlsClient(f"{LABEL}.{DOMAIN}", authority().anchor, time.time())
        client.start(time.time())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.settimeout(5)
            other.connect(("127.0.0.1", port))
            for datagram in client.take_datagrams():
                other.send(datagram)
            self.server.transport.doRead()
            self.assertGreater(len(other.recv(2048, socket.MSG_DONTWAIT)), 0)

    async def test_empty_datagrams(self) -> None:
        """
        A sender of empty datagrams costs one turn for all of them.
        """
        port = self.serve("127.0.0.1")
        turns: list[float] = []
        self.patch(self.server, "_turned", lambda took, now: turns.append(took))
        self.send_twenty(port, b"")
        self.assertEqual(turns, [])
        await self.until(lambda: bool(turns))
        self.assertEqual(len(turns), 1)
        self.assertEqual(self.server._server.datagrams_in, 20)

    async def test_nothing_but_empty_datagrams(self) -> None:
        """
        A sender who goes on does not keep the server from other work: it reads a
        limited number at once, and the rest later.
        """
        port = self.serve("127.0.0.1")
        self.server._reads_left = 5
        other = self.send_twenty(port, b"")
        self.assertEqual(self.server._server.datagrams_in, 0)
        self.assertEqual(len(self.server._strangers), 6)
        await self.until(lambda: self.server._server.datagrams_in == 20)
        other.send(b"junk")
        await self.until(lambda: self.server._server.datagrams_in == 21)

    async def test_nothing_but_short_datagrams(self) -> None:
        """
        Over IPv6, where Twisted reads all of them, the same holds for any datagrams.
        """
        port = self.serve("::1")
        self.server._reads_left = 5
        self.send_twenty(port, b"x", "::1")
        self.assertEqual(len(self.server._strangers), 5)
        await self.until(lambda: self.server._server.datagrams_in == 20)

    async def test_filter_that_keeps_everything(self) -> None:
        """
        The same holds for a port with a filter, however much that passes on.
        """
        deaf = Deaf()
        port = self.serve("127.0.0.1", worn=deaf)
        self.server._reads_left = 5
        self.send_twenty(port, b"x")
        self.assertEqual(deaf.heard, 5)
        await self.until(lambda: deaf.heard == 20)

    def test_failure_in_a_burst(self) -> None:
        """
        A datagram that finds a fault of ours costs what came with it, not the port.
        """
        port = self.serve("127.0.0.1")
        turns: list[float] = []
        self.patch(self.server, "_turned", lambda took, now: turns.append(took))
        usual = self.server._server.receive_play
        faults = [ArithmeticError("a fault")]

        def receive_play(datagram: bytes, address: Address, now: float) -> bool:
            if faults:
                raise faults.pop()
            return usual(datagram, address, now)

        self.patch(self.server._server, "receive_play", receive_play)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.connect(("127.0.0.1", port))
            for count in (1, 2):
                other.send(b"junk")
                self.server.transport.doRead()
                self.assertEqual(len(turns), count)
        self.assertEqual(len(self.flushLoggedErrors(ArithmeticError)), 1)

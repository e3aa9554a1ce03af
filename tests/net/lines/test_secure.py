"""TLS read and written directly, beside Twisted's own: the same events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as some
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf
from tests.support.tls_clients import MemoryClient
from vinom.net import openssl
from vinom.net.lines.secure import over_tls
from vinom.net.lines.tls import HttpTls, ReloadableTls, why_tls_failed

_ISSUED = leaf("game.example")
_TLS = ReloadableTls(_ISSUED.certificate, _ISSUED.key)

#: What a client does, in order: it sends so much, or what the server's protocol reacts
#: to, updates its keys, says goodbye, or sends a record that is broken.
STEPS = some.lists(
    some.one_of(
        some.integers(1, 40),
        some.sampled_from([16384, 9000, "echo", "big", "bye", "abort", "pull"]),
        some.sampled_from(["update", "ask", "close", "broken"]),
    ),
    max_size=8,
)
VERSIONS = some.sampled_from([SSL.TLS1_3_VERSION, SSL.TLS1_2_VERSION])
#: The sizes of the pieces, again and again.
CUTS = some.lists(
    some.one_of(some.integers(1, 12), some.integers(13, 3000), some.just(1 << 20)),
    min_size=1,
    max_size=5,
)


class Producing:
    """A producer that writes once, when it is asked for more, and then ends."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def pauseProducing(self) -> None:
        self._visit.events.append("paused")

    def resumeProducing(self) -> None:
        self._visit.events.append("resumed")

    def stopProducing(self) -> None:
        self._visit.events.append("stopped")


class Visit(Protocol):
    """A server's protocol that notes what it is told, and does what data says."""

    transport: Any

    def __init__(self) -> None:
        self.events: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)
        if data == b"echo":
            self.transport.write(data)
        elif data == b"big":
            self.transport.writeSequence([b"b" * 40_000, b"i" * 3, b"g" * 70_000])
        elif data == b"pull":
            self.transport.registerProducer(Producing(self), True)
            self.transport.loseConnection()
            self.transport.write(b"still")
            self.transport.unregisterProducer()
            self.transport.write(b"never")
        elif data == b"bye":
            self.transport.write(data)
            self.transport.loseConnection()
            self.transport.write(b"never")
        elif data == b"abort":
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append((type(reason.value).__name__, why_tls_failed(reason)))


@attrs.define
class World:
    """
    One client at one server.

    :ivar is_direct: the server's TLS is ours, not Twisted's.
    :ivar is_quick: it uses what pyOpenSSL has inside.
    """

    is_direct: bool
    version: int = SSL.TLS1_3_VERSION
    tls: Any = attrs.field(factory=lambda: HttpTls(_TLS))
    first: Sequence[bytes] = ()
    clock: Any = attrs.field(factory=Clock)
    visit: Visit = attrs.field(factory=Visit)
    transport: Any = attrs.field(factory=StringTransport)
    client: MemoryClient = attrs.field(init=False)
    server: Any = attrs.field(init=False)
    is_over: bool = False

    def __attrs_post_init__(self) -> None:
        self.client = MemoryClient(self.version)
        factory = over_tls(
            self.tls,
            Factory.forProtocol(lambda: self.visit),
            self.clock,
            self.is_direct,
        )
        if not self.is_direct:
            # The other collects what a turn writes, and forgets it if the client
            # closes in that turn.
            factory.protocol = TLSMemoryBIOProtocol
        self.server = factory.buildProtocol(None)
        self.server.makeConnection(self.transport)
        for data in self.first:
            self.visit.transport.write(data)

    def feed(self, data: bytes, cuts: Sequence[int] = (1 << 20,)) -> None:
        """The server gets bytes, in pieces."""
        number = 0
        while data and not self.is_over:
            size = cuts[number % len(cuts)]
            number += 1
            self.server.dataReceived(data[:size])
            data = data[size:]
            self.clock.advance(0)
            if self.transport.disconnecting or self.transport.disconnected:
                self.hang_up()

    def hang_up(self) -> None:
        """The connection is over, as the reactor reports it."""
        if not self.is_over:
            self.is_over = True
            self.server.connectionLost(Failure(ConnectionDone()))
            self.clock.advance(0)

    def listen(self) -> bytes:
        """The client gets what was sent; gives what it answers."""
        sent = self.transport.value()
        self.transport.clear()
        return self.client.hear(sent)

    def run(self, steps: Sequence[Any], cuts: Sequence[int], is_polite: bool) -> Any:
        """
        Shake hands and do all the steps; the first come with the handshake's end.

        :param is_polite: the client sends after it got what the server sent last.
        """
        client = self.client
        self.feed(client.shake(), cuts)
        flight = self.transport.value()
        self.transport.clear()
        client.connection.bio_write(flight)
        finished = client.shake()
        if self.version == SSL.TLS1_2_VERSION:
            # Its server ends the handshake.
            self.feed(finished, cuts)
            self.listen()
            finished = b""
        held = finished
        for step in steps:
            held += self._do(step)
            if is_polite:
                self.feed(held, cuts)
                held = b""
                self.listen()
        self.feed(held, cuts)
        self.listen()
        was_open = not self.is_over
        self.hang_up()
        self.listen()
        return was_open, self.visit.events, client.received, client.is_closed

    def _do(self, step: Any) -> bytes:
        client = self.client
        if step == "update":
            return client.update(False)
        if step == "ask":
            return client.update(True)
        if step == "close":
            return client.close()
        if step == "broken":
            return client.data(b"broken", True)
        return client.data(b"d" * step if isinstance(step, int) else step.encode())


class EqualTests(SynchronousTestCase):
    """`SecureTransport` and Twisted's own."""

    @settings(max_examples=100, deadline=None)
    @given(STEPS, CUTS, some.booleans(), VERSIONS)
    @example(["ask", 10, "ask", "echo"], [1 << 20], True, SSL.TLS1_3_VERSION)
    @example([5, 6, "close", 7], [1 << 20], False, SSL.TLS1_3_VERSION)
    @example(["bye", "close"], [7], True, SSL.TLS1_2_VERSION)
    def test_same_events(
        self, steps: list[Any], cuts: list[int], is_polite: bool, version: int
    ) -> None:
        """
        Whatever a client does, and however the network cuts it, a server's protocol is
        told the same, and the client gets the same.
        """
        found = [
            World(is_direct, version).run(steps, cuts, is_polite)
            for is_direct in (True, False)
        ]
        self.assertEqual(*found)

    @settings(max_examples=30, deadline=None)
    @given(STEPS, CUTS, VERSIONS)
    def test_without_the_inside(
        self, steps: list[Any], cuts: list[int], version: int
    ) -> None:
        """
        A pyOpenSSL that has other names inside serves players all the same.
        """
        found = []
        for is_quick in (True, False):
            self.patch(openssl, "_has_names", is_quick)
            found.append(World(True, version).run(steps, cuts, False))
        self.assertEqual(*found)


class LargeTests(SynchronousTestCase):
    def test_large(self) -> None:
        """
        A page of megabytes arrives whole, by either way.
        """
        data = b"".join(n.to_bytes(4, "big") for n in range(300_000))
        for is_quick in (True, False):
            self.patch(openssl, "_has_names", is_quick)
            world = World(True)
            world.visit.dataReceived = (  # type: ignore[method-assign]  # of this one
                lambda _, world=world: world.visit.transport.write(data)
            )
            world.run([1], [1 << 20], True)
            self.assertEqual(world.client.received, data)


class BeginningTests(SynchronousTestCase):
    """Before and during the handshake."""

    def test_written_early(self) -> None:
        """
        What a server writes before the handshake is done arrives after it.
        """
        for is_direct in (True, False):
            world = World(is_direct, first=[b"wel", b"come"])
            world.run([], [100], True)
            self.assertEqual(world.client.received, b"welcome")

    def test_nobody_speaks(self) -> None:
        """
        Those who connect and send nothing cost no memory of OpenSSL's, and their end
        is no failure of TLS.
        """
        world = World(True)
        self.assertIsNone(world.server.getHandle())
        world.hang_up()
        self.assertEqual(world.visit.events, [("ConnectionLost", None)])

    def test_closed_before_it(self) -> None:
        """
        A server that closes before the handshake is done hangs up at once.
        """
        for is_direct in (True, False):
            world = World(is_direct)
            world.feed(world.client.shake()[:20])
            world.visit.transport.loseConnection()
            self.assertTrue(world.transport.disconnected or world.transport.aborting)

    def test_no_tls(self) -> None:
        """
        A request in the clear ends with OpenSSL's own words for it, as with Twisted's.
        """
        for is_direct in (True, False):
            world = World(is_direct)
            world.feed(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(world.visit.events, [("Error", "http request")])

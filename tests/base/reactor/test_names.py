"""Host names that are looked up once for many connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from vinom.gateway.dialing import (
    FRESH_SECONDS,
    LOOKUP_SECONDS,
    LOST_SECONDS,
    STALE_SECONDS,
    RememberedNames,
)


@implementer(IHostnameResolver)
class SlowResolver:
    """A DNS server that answers when the test says so, or at once."""

    def __init__(self) -> None:
        self.asked: list[IResolutionReceiver] = []
        self.at_once: Sequence[str] | None = None

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.asked.append(resolutionReceiver)
        if self.at_once is not None:
            self.answer(*self.at_once)

    def answer(self, *hosts: str) -> None:
        """Answer the newest question; without addresses it fails."""
        for host in hosts:
            self.asked[-1].addressResolved(IPv4Address("TCP", host, 80))
        self.asked[-1].resolutionComplete()


@implementer(IResolutionReceiver)
class Connection:
    """Whoever connects: what it is sent."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.is_complete = False

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self.resolution = resolutionInProgress

    def addressResolved(self, address: Any) -> None:
        assert not self.is_complete
        self.hosts.append(address.host)

    def resolutionComplete(self) -> None:
        assert not self.is_complete
        self.is_complete = True


class RememberedNamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.dns = Clock(), SlowResolver()
        self.names = RememberedNames(self.dns, self.clock)
        verifyObject(IHostnameResolver, self.names)

    def connect(self, host: str = "node", port: int = 80) -> Connection:
        """Look a name up, as a connection does."""
        connection = Connection()
        self.names.resolveHostName(connection, host, port)
        return connection

    def test_one_question(self) -> None:
        """
        Many connections to one name ask once, and all get the answer; later ones get it
        without asking.
        """
        first, second = self.connect(), self.connect()
        self.assertEqual(len(self.dns.asked), 1)
        self.assertFalse(first.is_complete)
        self.dns.answer("192.0.2.1", "192.0.2.2")
        third = self.connect()
        for one in (first, second, third):
            self.assertTrue(one.is_complete)
            self.assertEqual(one.hosts, ["192.0.2.1", "192.0.2.2"])
        self.assertEqual(len(self.dns.asked), 1)
        self.connect("other")
        self.assertEqual(len(self.dns.asked), 2)

    def test_asked_again(self) -> None:
        """
        After five seconds a name is looked up again, while connections go on to the
        addresses that were known; then they go to the new ones.
        """
        self.dns.at_once = ["192.0.2.1"]
        self.assertEqual(self.connect().hosts, ["192.0.2.1"])
        self.dns.at_once = None
        self.clock.advance(FRESH_SECONDS)
        for _ in range(2):
            self.assertEqual(self.connect().hosts, ["192.0.2.1"])
        self.assertEqual(len(self.dns.asked), 2)
        self.dns.answer("192.0.2.9")
        self.assertEqual(self.connect().hosts, ["192.0.2.9"])

    def test_server_is_away(self) -> None:
        """
        While the DNS server does not answer, or knows nothing, connections go on to the
        last addresses: for an hour.
        """
        self.dns.at_once = ["192.0.2.1"]
        self.connect()
        self.dns.at_once = []
        for _ in range(3):
            self.clock.advance(FRESH_SECONDS)
            self.assertEqual(self.connect().hosts, ["192.0.2.1"])
        self.clock.advance(STALE_SECONDS)
        gone = self.connect()
        self.assertTrue(gone.is_complete)
        self.assertEqual(gone.hosts, [])

    def test_first_answer_is_late(self) -> None:
        """
        A connection waits three seconds for the first look-up of a name, and fails
        then; the late answer serves the next ones.
        """
        early = self.connect()
        self.clock.advance(LOOKUP_SECONDS)
        self.assertTrue(early.is_complete)
        self.assertEqual(early.hosts, [])
        self.dns.answer("192.0.2.1")
        self.assertEqual(self.connect().hosts, ["192.0.2.1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unknown_name(self) -> None:
        """
        A name that has no address fails at once, and is looked up again the next time.
        """
        self.dns.at_once = []
        unknown = self.connect()
        self.assertTrue(unknown.is_complete)
        self.assertEqual(unknown.hosts, [])
        self.dns.at_once = ["192.0.2.1"]
        self.assertEqual(self.connect().hosts, ["192.0.2.1"])

    def test_answer_never_comes(self) -> None:
        """
        A look-up that hangs for good does not keep its name from being looked up again.
        """
        self.dns.at_once = ["192.0.2.1"]
        self.connect()
        self.dns.at_once = None
        self.clock.advance(FRESH_SECONDS)
        self.connect()
        self.clock.advance(LOST_SECONDS - 1)
        self.connect()
        self.assertEqual(len(self.dns.asked), 2)
        self.clock.advance(1)
        self.connect()
        self.assertEqual(len(self.dns.asked), 3)
        self.dns.answer("192.0.2.9")
        self.assertEqual(self.connect().hosts, ["192.0.2.9"])

    def test_impossible_name(self) -> None:
        """
        A name that cannot be asked for fails at once, each time, and hurts no other.
        """

        def refuse(*_: Any) -> None:
            raise UnicodeError("label too long")

        self.patch(self.dns, "resolveHostName", refuse)
        for _ in range(2):
            unknown = self.connect("a" * 70)
            self.assertTrue(unknown.is_complete)
            self.assertEqual(unknown.hosts, [])

    def test_bound(self) -> None:
        """
        Names are not remembered without end: the one that was used longest ago goes.
        """
        self.dns.at_once = ["192.0.2.1"]
        for number in range(4097):
            self.connect(f"n{number}")
        self.connect("n4096")
        self.assertEqual(len(self.dns.asked), 4097)
        self.connect("n0")
        self.assertEqual(len(self.dns.asked), 4098)

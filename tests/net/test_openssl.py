"""OpenSSL's memory: pyOpenSSL's methods, and the short way around them."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support.dtls_pair import connected
from vinom.net.dtls.records import cut_datagrams
from vinom.net.openssl import DirectMemory, Memory, memory_of


class MemoryContract:
    """What a channel asks of either way; mixed into one TestCase per way."""

    make: Any

    def open_both(self) -> tuple[Memory, Memory]:
        client, server = connected()
        return self.make(client), self.make(server)

    def test_a_payload_arrives(self: Any) -> None:
        """
        The other end opens what one end seals, for any bytes.
        """
        one, other = self.open_both()
        for payload in (b"a", b"\0" * 50, bytes(range(256)) * 4):
            one.seal(payload)
            other.put(one.take())
            self.assertEqual(other.open(), payload)

    def test_several_records_at_once(self: Any) -> None:
        """
        Records that come in one datagram are opened one by one, in order.
        """
        one, other = self.open_both()
        one.seal(b"first")
        one.seal(b"second")
        other.put(one.take())
        self.assertEqual([other.open(), other.open()], [b"first", b"second"])
        self.assertRaises(SSL.WantReadError, other.open)

    def test_one_record(self: Any) -> None:
        """
        A datagram of one record is opened in one go; a copy of it opens nothing.
        """
        one, other = self.open_both()
        for payload in (b"a", bytes(range(256)) * 4):
            one.seal(payload)
            datagram = one.take()
            self.assertEqual(other.open_one(datagram), payload)
            self.assertRaises(SSL.WantReadError, other.open_one, datagram)

    def test_sealed_in_one_go(self: Any) -> None:
        """
        A payload is sealed and taken out in one go, with what waited before it.
        """
        one, other = self.open_both()
        for payload in (b"a", bytes(range(256)) * 4):
            self.assertEqual(other.open_one(one.seal_one(payload)), payload)
        long = [bytes([number]) * 1000 for number in range(20)]
        for payload in long[:-1]:
            one.seal(payload)
        opened = []
        for datagram in cut_datagrams(one.seal_one(long[-1]), 1200):
            other.put(datagram)
            opened.append(other.open())
        self.assertEqual(opened, long)

    def test_nothing_there(self: Any) -> None:
        """
        Having nothing to open or to send does no harm.
        """
        one, _ = self.open_both()
        self.assertEqual(one.take(), b"")
        self.assertRaises(SSL.WantReadError, one.open)

    def test_much_at_once(self: Any) -> None:
        """
        More than a buffer holds is handed out whole.
        """
        one, other = self.open_both()
        for number in range(80):
            one.seal(bytes([number]) * 1000)
        opened = []
        for datagram in cut_datagrams(one.take(), 1200):
            other.put(datagram)
            opened.append(other.open())
        self.assertEqual([each[0] for each in opened], list(range(80)))
        self.assertEqual(one.take(), b"")

    def test_forged(self: Any) -> None:
        """
        A record that was changed on the way is never opened.
        """
        one, other = self.open_both()
        one.seal(b"yes")
        record = bytearray(one.take())
        record[-1] ^= 1
        other.put(bytes(record))
        self.assertRaises(SSL.WantReadError, other.open)
        one.seal(b"go on")
        other.put(one.take())
        self.assertEqual(other.open(), b"go on")

    def test_goodbye(self: Any) -> None:
        """
        The peer's close_notify is distinguished from silence, and nothing can be sealed
        after our own.
        """
        client, server = connected()
        one, other = self.make(client), self.make(server)
        client.shutdown()
        other.put(one.take())
        self.assertRaises(SSL.ZeroReturnError, other.open)
        self.assertRaises(SSL.Error, one.seal, b"late")
        self.assertRaises(SSL.Error, one.seal_one, b"late")


class MethodsTests(MemoryContract, SynchronousTestCase):
    make = Memory


class DirectMemoryTests(MemoryContract, SynchronousTestCase):
    make = DirectMemory

    def test_it_is_used(self) -> None:
        """
        The installed pyOpenSSL has the private names that we use; if this fails, play
        continues, at a third more CPU for each input.
        """
        self.assertIsInstance(memory_of(connected()[0]), DirectMemory)

    def test_another_pyopenssl(self) -> None:
        """
        A pyOpenSSL that keeps its things elsewhere is used by its own methods.
        """

        class Other:
            """No attribute of it is known."""

        other: Any = Other()
        self.assertIs(type(memory_of(other)), Memory)

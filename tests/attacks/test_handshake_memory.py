"""The memory of a real game server, while somebody with tickets begins handshakes."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority
from tests.support.game_process import GameProcess
from tests.support.ledger import IS_FULL
from tests.support.programs import short_folder
from vinom.net.dtls.client import DtlsClient

#: What the game server may grow under the attack, bytes.
BAR = 8 << 20
#: Handshakes that are tried.
COUNT = 900 if IS_FULL else 240
#: Other addresses that each begin one.
MANY = 250


def fragments(long: int) -> Iterator[bytes]:
    """Datagrams of messages that announce *long* bytes, then of early records."""
    for first in (2, 7):
        yield b"".join(fragment(number, long) for number in range(first, first + 6))
    early = b"\x16\xfe\xfd\0\1" + bytes(5)
    for start in range(0, 100, 50):
        yield b"".join(
            early + bytes([number]) + b"\0\x01x" for number in range(start, start + 50)
        )


def fragment(number: int, size: int) -> bytes:
    """A record with one byte of a message."""
    body = b"\x10" + size.to_bytes(3) + number.to_bytes(2) + bytes(3) + b"\0\0\1x"
    return b"\x16\xfe\xfd\0\0" + bytes(5) + bytes([number]) + b"\0\x0d" + body


class HandshakeMemoryTests(SynchronousTestCase):
    """A player in a match, with tickets as many as it asks the lobby for."""

    if sys.platform != "linux":
        skip = "reads /proc"

    def setUp(self) -> None:
        self.server = GameProcess(short_folder(self))
        self.addCleanup(self.server.stop)
        for number in range(12):
            # What every first handshake makes, such as OpenSSL's tables.
            self.assertTrue(
                self.shake(
                    self.server.add_ticket(number, number), f"127.9.0.{number + 1}"
                )
            )

    def open(self, host: str) -> socket.socket:
        """A socket of one address."""
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(opened.close)
        opened.bind((host, 0))
        opened.connect(("127.0.0.1", self.server.port))
        opened.settimeout(0.5)
        return opened

    def shake(self, name: str, host: str, patience: float = 5.0) -> bool:
        """Finish a handshake, and say goodbye."""
        peer = self.open(host)
        client = DtlsClient(name, authority().anchor, time.monotonic())
        client.start(time.monotonic())
        give_up = time.monotonic() + patience
        while not client.is_open and time.monotonic() < give_up:
            for datagram in client.take_datagrams():
                peer.send(datagram)
            with contextlib.suppress(TimeoutError):
                client.receive(peer.recv(4096), time.monotonic())
            client.alarm(time.monotonic())
        was_open = client.is_open
        client.close(time.monotonic())
        for datagram in client.take_datagrams():
            peer.send(datagram)
        return was_open

    def begin(self, name: str, peer: socket.socket, patience: float = 0.05) -> bool:
        """
        Begin a handshake and send everything OpenSSL would reserve memory for.

        :param patience: how long to wait for an answer to the hello, seconds: short
            where many hellos are expected to get none.
        """
        client = DtlsClient(name, authority().anchor, 0.0)
        client.start(0.0)
        peer.send(client.take_datagrams()[0])
        try:
            client.receive(peer.recv(4096), 0.0)
            peer.send(client.take_datagrams()[0])
            peer.settimeout(patience)
            flight = peer.recv(4096)
        except (TimeoutError, IndexError):
            return False
        for long in (98_000, 4_096):
            for datagram in fragments(long):
                peer.send(datagram)
        return flight[0] == 22

    def test_one_address(self) -> None:
        """
        With seats in many matches and ever new tickets, announced messages of 98 kB and
        records that come too early, one address makes a game server grow by less than
        8 MB; another player gets in meanwhile.
        """
        before = self.server.resident
        most = begun = 0
        name = ""
        for number in range(COUNT):
            if number % 4 == 0:
                name = self.server.add_ticket(100 + number, number // 4)
            peer = self.open("127.0.0.1")
            begun += self.begin(name, peer)
            peer.close()
            most = max(most, self.server.resident - before)
        self.assertGreater(begun, 90)
        self.assertLess(most, BAR)
        other = self.server.add_ticket(10_000, 1)
        self.assertTrue(self.shake(other, "127.9.0.100"))

    def test_many_addresses(self) -> None:
        """
        Whatever handshakes of many addresses took is back soon after they are over.
        """
        before = self.server.resident
        begun = 0
        for number in range(MANY):
            if number % 64 == 0:
                name = self.server.add_ticket(100 + number, number)
            peer = self.open(f"127.8.0.{number + 1}")
            peer.settimeout(10.0)
            begun += self.begin(name, peer, 10.0)
            peer.close()
        self.assertEqual(begun, MANY)
        self.assertGreater(self.server.resident - before, BAR)
        # Ten seconds for a handshake, and one until memory is returned; the rest is
        # for a machine that is busy.
        give_up = time.monotonic() + 30.0
        while self.server.resident - before > BAR // 2 and time.monotonic() < give_up:
            time.sleep(0.25)
        self.assertLess(self.server.resident - before, BAR // 2)

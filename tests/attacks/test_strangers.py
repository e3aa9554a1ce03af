"""What those who were not admitted can make a game server do: next to nothing."""

from __future__ import annotations

import random
import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from tests.support.dtls import DOMAIN, LABEL, Net
from tests.support.hellos import client_hello, openssl_hello
from tests.support.ledger import IS_FULL, Ledger
from vinom.net.dtls.admission import Address
from vinom.net.dtls.records import NOT_ASSOCIATED

ANN: Address = ("192.0.2.1", 4000)
NAME = f"{LABEL}.{DOMAIN}".encode()
#: Hellos without a cookie; as many as the issue asks for, or a twentieth.
HELLOS = 100_000 if IS_FULL else 5_000


def some_address(chance: random.Random) -> Address:
    """Somewhere in the world."""
    host = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
    return host, chance.randrange(1, 65536)


class StrangerCase(SynchronousTestCase):
    """A game server that one player is expected by."""

    def setUp(self) -> None:
        self.ledger = Ledger(self)
        self.net = Net()
        self.server = self.net.server
        self.chance = random.Random(1)

    def send(self, datagram: bytes, address: Address = ANN) -> list[bytes]:
        """Give the server a datagram; returns what it sends, to whomever."""
        self.server.receive(datagram, address, self.net.now)
        sent = self.server.take_datagrams()
        for answer, to in sent:
            # Nobody can be made to receive more than was sent in its name.
            self.assertEqual(to, address)
            self.assertLessEqual(len(answer), len(datagram))
        self.assertLessEqual(len(sent), 1)
        return [answer for answer, _ in sent]

    def assert_nothing_made(self) -> None:
        self.assertEqual(self.ledger.take(), {})
        self.assertEqual(len(self.server.associations), 0)
        self.assertEqual(self.server.handshakes, 0)
        self.assertEqual(self.server.take_events(), [])


class JunkTests(StrangerCase):
    """Datagrams that begin nothing."""

    def test_random_records(self) -> None:
        """
        Records of every type and epoch, out of nothing, are answered with nothing; but
        for what looks like a payload: a shorter alert says that nobody is known here.
        """
        for kind in range(256):
            for epoch in (0, 1, 65535):
                body = self.chance.randbytes(40)
                record = (
                    bytes((kind,))
                    + b"\xfe\xfd"
                    + epoch.to_bytes(2)
                    + bytes(6)
                    + len(body).to_bytes(2)
                    + body
                )
                is_payload = kind == 23 and epoch != 0
                self.assertEqual(self.send(record), [NOT_ASSOCIATED] * is_payload)
                self.assertLess(len(NOT_ASSOCIATED), len(record))
        self.assert_nothing_made()

    def test_payloads(self) -> None:
        """
        Payloads of nobody's connection, in the names of all the world: only few are
        answered, each with less than was sent, and nothing is kept.
        """
        record = b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\x28" + bytes(40)
        answers = []
        for _ in range(5000):
            answers += self.send(record, some_address(self.chance))
        self.assertLessEqual(len(answers), 200)
        self.assertTrue(self.net.admission.pressure.is_high)
        self.net.now += 0.5
        self.assertEqual(self.send(record), [])
        self.assert_nothing_made()
        self.net.advance(10.0)
        self.net.connect(address=ANN)

    def test_oversized_hellos(self) -> None:
        """
        A hello longer than any real one earns nothing; a long one no long answer.
        """
        for size in (500, 1400, 2000, 4000, 60_000):
            hello = client_hello(extensions=bytes(size))
            answers = self.send(hello)
            self.assertEqual([len(answer) for answer in answers], [60][: size < 2000])
        self.assert_nothing_made()


class CookieTests(StrangerCase):
    """Hellos of addresses that are not proven."""

    def test_many_hellos(self) -> None:
        """
        Hellos without a cookie, from all over the world: no answer is longer than
        its request, no association comes of it, and no memory is taken.
        """
        _, real = openssl_hello(NAME.decode())
        hellos = [real, client_hello(NAME), client_hello(None)]
        sources = [some_address(self.chance) for _ in range(1000)]

        def flood(count: int) -> int:
            answers = 0
            for number in range(count):
                if number % 1000 == 0:
                    self.net.now += 0.3
                    self.server.alarm(self.net.now)
                answers += len(self.send(hellos[number % 3], sources[number % 1000]))
            return answers

        flood(1000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        grown = []
        for _ in range(2):
            before = tracemalloc.get_traced_memory()[0]
            answers = flood(HELLOS // 2)
            grown.append(tracemalloc.get_traced_memory()[0] - before)
        # Two KB are less than one byte for each. What is kept of each hello shows both
        # times; a table of the coverage that is measured grows once.
        self.assertLess(min(grown), 2048)
        self.assertEqual(self.server.datagrams_out, self.answered)
        self.assertGreater(answers, 0)
        self.assert_nothing_made()
        self.assertIsNone(self.server._farewells.deadline())
        self.assertEqual(len(self.server._agenda), 0)
        self.net.advance(10.0)
        self.net.connect(address=ANN)

    @property
    def answered(self) -> int:
        return self.net.admission.outcomes["cookie_asked"]

    def test_one_network_asks_on(self) -> None:
        """
        Of one network few hellos are answered while it floods us: nobody is
        drowned in our answers by somebody who pretends to be him.
        """
        hello = client_hello(b"z" * 26 + NAME[26:])
        answers = 0
        for number in range(5000):
            answers += len(self.send(hello, (f"192.0.2.{number % 250}", 1)))
        self.assertLessEqual(answers, 1000)
        self.assertTrue(self.net.admission.pressure.is_high)
        self.net.now += 1.0
        answers = sum(len(self.send(hello)) for _ in range(1000))
        self.assertLessEqual(answers, 40)
        # An attacker who has seen a player's ticket gets a few more answers.
        answers = sum(len(self.send(client_hello(NAME))) for _ in range(1000))
        self.assertLessEqual(answers, 8)
        self.assert_nothing_made()

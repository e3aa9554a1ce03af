"""Associations after their handshake: payloads, silence, goodbyes."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support.dtls import BEGINNING, Net, connect_plain, exchange
from vinom.net.dtls.admission import Address
from vinom.net.dtls.association import Farewells
from vinom.net.dtls.channel import LONGEST_DATAGRAM, Connected, Disconnected, Received
from vinom.net.dtls.client import DtlsClient
from vinom.net.dtls.records import NOT_ASSOCIATED

ANN: Address = ("192.0.2.1", 4000)
BOB: Address = ("192.0.2.2", 4000)


class PlayCase(SynchronousTestCase):
    """One server, one client, connected."""

    def setUp(self) -> None:
        self.net = Net()
        self.client = self.net.connect()
        (self.association,) = self.net.server.associations
        self.net.server_events.clear()
        self.net.client_events[ANN].clear()

    def sealed(self, *payloads: bytes) -> list[bytes]:
        """Records of the client, each in a separate datagram."""
        datagrams = []
        for payload in payloads:
            self.client.send(payload)
            datagrams += self.client.take_datagrams()
        return datagrams

    def receive(self, datagram: bytes) -> None:
        self.net.receive(datagram, ANN)

    def payloads(self) -> list[bytes]:
        """What the server got since the last call."""
        self.net.run()
        events, self.net.server_events = self.net.server_events, []
        return [event.payload for event in events if isinstance(event, Received)]

    def client_payloads(self) -> list[bytes]:
        """What the client got since the last call."""
        self.net.run()
        events = self.net.client_events[ANN]
        self.net.client_events[ANN] = []
        return [event.payload for event in events if isinstance(event, Received)]


class PayloadTests(PlayCase):
    """Records, whole, once each, from the right peer."""

    def test_both_ways(self) -> None:
        """
        What one end sends the other one gets, in the order sent.
        """
        self.client.send(b"one")
        self.client.send(b"two")
        self.net.server.send(self.association, b"three")
        self.net.server.send(self.association, b"four")
        self.net.run()
        self.assertEqual(self.payloads(), [b"one", b"two"])
        self.assertEqual(self.client_payloads(), [b"three", b"four"])

    def test_sent_together(self) -> None:
        """
        Short payloads that are sent together share a datagram; long ones fill more.
        """
        self.net.server.send(self.association, b"one", b"two")
        ((datagram, address),) = self.net.server.take_datagrams()
        self.assertEqual(address, ANN)
        self.client.receive(datagram, self.net.now)
        self.assertEqual(self.client_payloads(), [b"one", b"two"])
        long = b"x" * 700
        self.net.server.send(self.association, long, long, long)
        datagrams = self.net.server.take_datagrams()
        self.assertEqual([len(d) <= 1200 for d, _ in datagrams], [True] * 3)
        for datagram, _ in datagrams:
            self.client.receive(datagram, self.net.now)
        self.assertEqual(self.client_payloads(), [long] * 3)

    def test_sent_alone(self) -> None:
        """
        Payloads that are sent alone arrive as others do; one that no record can
        carry is the sender's mistake, however it is sent, and costs nobody the
        connection.
        """
        peer, send_each = self.association, self.net.server.send_each
        most = peer.max_payload
        send_each([(peer, b"one"), (peer, b"x" * most)])
        for wrong in (b"", b"x" * (most + 1)):
            self.assertRaises(ValueError, send_each, [(peer, wrong)])
            self.assertRaises(ValueError, self.net.server.send, peer, wrong)
            self.assertRaises(ValueError, self.client.send, wrong)
        send_each([(peer, b"two")])
        self.net.run()
        self.assertEqual(self.client_payloads(), [b"one", b"x" * most, b"two"])

    def test_sent_alone_to_nobody(self) -> None:
        """
        What is sent to a peer that is gone goes nowhere.
        """
        self.net.server.close(self.association, self.net.now)
        self.net.server.take_datagrams()
        self.assertEqual(self.association.max_payload, 0)
        self.net.server.send_each([(self.association, b"late")])
        self.assertEqual(self.net.server.take_datagrams(), [])

    def test_many_datagrams_of_one_turn(self) -> None:
        """
        However much one turn sends, all of it leaves.
        """
        payloads = [bytes((number,)) * 1000 for number in range(100)]
        for payload in payloads:
            self.net.server.send(self.association, payload)
            self.client.send(payload)
        self.assertEqual(self.payloads(), payloads)
        self.assertEqual(self.client_payloads(), payloads)

    def test_longest_payload(self) -> None:
        """
        The longest payload still makes a datagram that the path carries.
        """
        size = self.association.max_payload
        self.assertEqual(size, self.client.max_payload)
        self.assertGreater(size, 1100)
        (datagram,) = self.sealed(b"x" * size)
        self.assertLessEqual(len(datagram), 1200)
        self.receive(datagram)
        self.assertEqual(self.payloads(), [b"x" * size])

    def test_several_records_in_a_datagram(self) -> None:
        """
        All records of a datagram count, even with other bytes between them.
        """
        one, two, three = self.sealed(b"one", b"two", b"three")
        junk = b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\x20" + b"j" * 32
        self.receive(one + two + junk + three)
        self.assertEqual(self.payloads(), [b"one", b"two", b"three"])

    def test_any_order_once_each(self) -> None:
        """
        Records may overtake each other; a copy of one is dropped.
        """
        one, two, three = self.sealed(b"one", b"two", b"three")
        for datagram in (three, one, three, two, one, two):
            self.receive(datagram)
        self.assertEqual(self.payloads(), [b"three", b"one", b"two"])
        self.assertEqual(self.net.server.figures["dropped_unreadable"], 3)

    def test_every_changed_byte(self) -> None:
        """
        A record that was tampered with is dropped, and so is a part of one; the next
        one is fine.
        """
        (good,) = self.sealed(b"transfer 1 point")
        for place in range(len(good)):
            changed = bytearray(good)
            changed[place] ^= 1
            self.receive(bytes(changed))
            self.receive(good[:place])
        self.assertEqual(self.payloads(), [])
        self.receive(good)
        self.assertEqual(self.payloads(), [b"transfer 1 point"])

    def test_other_peoples_records(self) -> None:
        """
        A record counts only from the address whose association sealed it.
        """
        self.net.connect(address=BOB)
        (good,) = self.sealed(b"move")
        self.net.server.receive(good, BOB, self.net.now)
        self.net.server.receive(good, ("192.0.2.9", 1), self.net.now)
        self.assertEqual(self.payloads(), [])
        self.assertEqual(self.net.admission.outcomes["not_associated"], 1)

    def test_oversized(self) -> None:
        """
        Datagrams that no path of ours carries are not looked at.
        """
        self.receive(b"\x17" * (LONGEST_DATAGRAM + 1))
        self.receive(b"")
        self.assertEqual(self.net.server.figures["dropped_size"], 2)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=100), max_size=5), st.integers(20, 23))
    def test_anything(self, junk: list[bytes], kind: int) -> None:
        """
        No bytes from a player's address do harm to its association, before its first
        payload or after it.
        """
        for datagram in (*junk, *self.sealed(b"first"), *junk):
            for epoch in (b"\0\0", b"\0\1"):
                head = bytes((kind,)) + b"\xfe\xfd" + epoch + bytes(5) + b"\x63"
                self.receive(datagram)
                self.receive(head + len(datagram).to_bytes(2) + datagram)
                self.client.receive(head + datagram, self.net.now)
        self.net.server.take_datagrams()
        self.client.take_datagrams()
        self.assertEqual(self.payloads(), [b"first"])
        self.client.send(b"fine")
        self.assertEqual(self.payloads(), [b"fine"])
        self.net.server.send(self.association, b"fine")
        self.assertEqual(self.client_payloads(), [b"fine"])

    def test_no_renegotiation(self) -> None:
        """
        A client that asks for a second handshake gets none and stays connected.
        """
        connection = connect_plain(self.net, BOB)
        (event,) = self.net.server_events
        assert isinstance(event, Connected)
        connection.renegotiate()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        hello = exchange(self.net, connection, BOB)
        # Encrypted, and no application data: it did ask.
        self.assertEqual((hello[0], hello[4]), (22, 1))
        self.assertTrue(event.association.is_open)
        self.assertEqual(self.net.server.figures["handshake_begun"], 2)

    def test_openssl_cannot_any_more(self) -> None:
        """
        An association that OpenSSL gave up on ends; nothing is raised at the game.
        """
        self.association.channel.connection.shutdown()
        self.net.server.send(self.association, b"state")
        self.client._channel.connection.shutdown()
        self.client.send(b"input")
        self.assertEqual(
            self.net.server.take_events(), [Disconnected(self.association, "failed")]
        )
        self.assertEqual(
            self.client.take_events(), [Disconnected(self.client, "failed")]
        )

    def test_asks_again_for_the_last_flight(self) -> None:
        """
        Once the client has spoken, nobody gets our last flight out of us again.
        """
        flight = [d for sender, d in self.net.sent if sender == "client"][-1]
        self.net.now += 1
        self.receive(flight)
        self.assertEqual(len(self.net.server.take_datagrams()), 1)
        # Copies are spoofed easily, so they are answered now and then only.
        self.receive(flight)
        self.assertEqual(self.net.server.take_datagrams(), [])
        self.client.send(b"I have it")
        self.net.run()
        self.net.now += 1
        self.receive(flight)
        self.assertEqual(self.net.server.take_datagrams(), [])


class GoodbyeTests(PlayCase):
    """How associations end."""

    def test_server_closes(self) -> None:
        """
        The client learns at once that the server has closed, and answers.
        """
        self.net.server.close(self.association, self.net.now)
        self.net.run()
        self.assertEqual(
            self.net.client_events[ANN], [Disconnected(self.client, "closed")]
        )
        self.assertEqual(self.net.server_events, [])
        self.assertEqual(len(self.net.server.associations), 0)
        kinds = [(sender, datagram[0]) for sender, datagram in self.net.sent[-2:]]
        self.assertEqual(kinds, [("server", 21), ("client", 21)])

    def test_client_closes(self) -> None:
        """
        The server learns at once that a player has left, and answers.
        """
        self.client.close(self.net.now)
        self.net.run()
        self.assertEqual(
            self.net.server_events, [Disconnected(self.association, "closed")]
        )
        self.assertEqual(self.net.client_events[ANN], [])
        self.assertEqual(len(self.net.server.associations), 0)
        self.assertEqual(self.net.sent[-1][0], "server")
        self.assertIsNone(self.client.deadline())

    def test_last_words_come_first(self) -> None:
        """
        What was sent before the goodbye arrives before it.
        """
        self.net.server.send(self.association, b"result")
        self.net.server.close(self.association, self.net.now)
        self.net.run()
        self.assertEqual(
            self.net.client_events[ANN],
            [Received(self.client, b"result"), Disconnected(self.client, "closed")],
        )
        other = self.net.connect(address=BOB)
        other.send(b"bye")
        other.close(self.net.now)
        self.net.run()
        kinds = [type(event) for event in self.net.server_events]
        self.assertEqual(kinds, [Connected, Received, Disconnected])

    def test_after_the_end(self) -> None:
        """
        Nothing is sent to or believed from a peer that is gone.
        """
        self.net.server.close(self.association, self.net.now)
        self.net.server.close(self.association, self.net.now)
        self.net.server.send(self.association, b"late")
        self.assertEqual(len(self.net.server.take_datagrams()), 1)
        self.client.close(self.net.now)
        self.client.close(self.net.now)
        self.client.send(b"late")
        self.assertEqual(len(self.client.take_datagrams()), 1)
        self.client.receive(b"\x17", self.net.now)
        self.client.alarm(self.net.now)
        self.assertEqual(self.client.take_events(), [])

    def test_lost_goodbye_is_repeated(self) -> None:
        """
        A client that keeps sending after a lost goodbye gets it again.
        """
        self.net.server.close(self.association, self.net.now)
        self.net.server.take_datagrams()
        (datagram,) = self.sealed(b"are you there?")
        self.receive(datagram)
        self.receive(datagram)
        ((goodbye, address),) = self.net.server.take_datagrams()
        self.assertEqual(address, ANN)
        self.client.receive(goodbye, self.net.now)
        self.net.run()
        self.assertEqual(
            self.net.client_events[ANN], [Disconnected(self.client, "closed")]
        )
        # The client's answer ended it: it is as unknown as anybody.
        self.net.now += 1
        self.receive(datagram)
        self.assertEqual(self.net.server.take_datagrams(), [(NOT_ASSOCIATED, ANN)])

    def test_goodbyes_are_forgotten(self) -> None:
        """
        The memory of those who left lasts five seconds; then they are as unknown as
        anybody.
        """
        self.net.server.close(self.association, self.net.now)
        self.net.server.take_datagrams()
        self.assertEqual(self.net.server.deadline(), BEGINNING + 5)
        self.net.now += 5
        self.net.server.alarm(self.net.now)
        self.assertIsNone(self.net.server.deadline())
        self.receive(self.sealed(b"are you there?")[0])
        self.assertEqual(self.net.server.take_datagrams(), [(NOT_ASSOCIATED, ANN)])

    def test_fatal_alert(self) -> None:
        """
        A client that gives up in the middle, encrypted, is gone at once.
        """
        connection = connect_plain(self.net, BOB)
        (event,) = self.net.server_events
        self.net.server_events.clear()
        connection.renegotiate()
        for _ in range(3):
            with contextlib.suppress(SSL.Error):
                connection.do_handshake()
            exchange(self.net, connection, BOB)
        self.assertEqual(
            self.net.server_events, [Disconnected(event.association, "failed")]
        )
        self.assertEqual(list(self.net.server.associations), [self.association])

    def test_idle_client(self) -> None:
        """
        A player who sends nothing for half a minute is disconnected.
        """
        self.net.losing = lambda sender, number, datagram: sender == "client"
        self.net.advance(29.0)
        self.assertTrue(self.association.is_open)
        self.net.advance(1.0)
        self.assertEqual(
            self.net.server_events, [Disconnected(self.association, "idle")]
        )

    def test_idle_server(self) -> None:
        """
        A client whose server vanished without a word learns it too.
        """
        del self.net.clients[ANN]
        self.client.alarm(self.net.now + 29.9)
        self.assertTrue(self.client.is_open)
        self.client.alarm(self.net.now + 30)
        self.assertEqual(self.client.take_events(), [Disconnected(self.client, "idle")])

    def test_talking_keeps_alive(self) -> None:
        """
        A player who sends something now and then stays.
        """
        for _ in range(10):
            self.net.advance(20.0)
            self.client.send(b"ping")
            self.net.server.send(self.association, b"pong")
            self.net.run()
        self.assertEqual(len(self.payloads()), 10)
        self.assertTrue(self.association.is_open)
        self.assertTrue(self.client.is_open)

    def test_forgeries_keep_nobody_alive(self) -> None:
        """
        Datagrams that anybody could send don't count as a sign of life.
        """
        (old,) = self.sealed(b"recorded earlier")
        self.receive(old)
        for _ in range(30):
            self.net.advance(1.0)
            self.receive(old)
            self.receive(b"\x17\xfe\xfd junk")
            self.client.receive(b"\x17\xfe\xfd junk", self.net.now)
        self.net.advance(0.1)
        self.assertFalse(self.association.is_open)
        self.assertFalse(self.client.is_open)

    def test_nothing_stays(self) -> None:
        """
        After many players came and went, nothing is left of them.
        """
        for number in range(50):
            client: DtlsClient = self.net.connect(address=(f"192.0.2.{number}", 7))
            if number % 2:
                client.close(self.net.now)
            self.net.run()
        self.net.advance(40.0)
        server = self.net.server
        self.assertEqual(len(server.associations), 0)
        self.assertEqual(server.handshakes, 0)
        self.assertIsNone(server.deadline())
        self.assertEqual(len(server._agenda), 0)

    def test_alarm_costs_little(self) -> None:
        """
        However much a player sends, its place in the agenda is one or two.
        """
        for _ in range(100):
            self.net.advance(0.1)
            self.client.send(b"input")
            self.net.run()
        self.assertLessEqual(len(self.net.server._agenda), 3)


class FarewellTests(SynchronousTestCase):
    """The memory of last words."""

    def test_bounded(self) -> None:
        """
        However many leave at once, a limited number is remembered.
        """
        farewells = Farewells(limit=3)
        for number in range(5):
            farewells.keep(("192.0.2.1", number), [b"bye"], 0.0)
        self.assertEqual(len(farewells), 3)
        self.assertEqual(farewells.repeat(("192.0.2.1", 1), 1.0), [])
        self.assertEqual(farewells.repeat(("192.0.2.1", 4), 1.0), [b"bye"])

    def test_not_too_often(self) -> None:
        """
        Copies are sent at most ten times per second, even to a peer that asks for more.
        """
        farewells = Farewells()
        farewells.keep(ANN, [b"bye"], 0.0)
        said = [farewells.repeat(ANN, at / 100) for at in range(20)]
        self.assertEqual(sum(map(len, said)), 2)

    def test_comes_back_and_leaves_again(self) -> None:
        """
        An address that ends twice is remembered by its latest end.
        """
        farewells = Farewells(lifetime=5.0)
        farewells.keep(ANN, [b"one"], 0.0)
        farewells.keep(BOB, [b"bob"], 1.0)
        farewells.keep(ANN, [b"two"], 2.0)
        farewells.expire(6.5)
        self.assertEqual(farewells.repeat(BOB, 6.5), [])
        self.assertEqual(farewells.repeat(ANN, 6.5), [b"two"])
        self.assertEqual(farewells.repeat(ANN, 7.0), [])

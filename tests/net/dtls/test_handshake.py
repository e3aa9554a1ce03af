"""Handshakes of our client and server, on good networks and bad ones."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import (
    Leaf,
    authority,
    leaf,
    new_authority,
    signing_key,
)
from tests.support.dtls import (
    DOMAIN,
    LABEL,
    Net,
    connect_plain,
    losing_first_flight,
    make_ticket,
)
from tests.support.hellos import client_hello, cookie_in
from tests.support.ledger import IS_FULL, Ledger
from vinom.errors import Misconfigured
from vinom.net.dtls.admission import Address
from vinom.net.dtls.channel import (
    ChannelBroken,
    Connected,
    Disconnected,
    DtlsChannel,
    Received,
)
from vinom.net.dtls.client import DtlsClient
from vinom.net.dtls.context import ServerCertificates, server_context
from vinom.net.dtls.records import RECORD_HEADER, is_client_hello
from vinom.net.dtls.server import DtlsServer

ANN: Address = ("192.0.2.1", 4000)
BOB: Address = ("192.0.2.2", 4000)

#: What anybody can send under anybody's address: "handshake failure", fatal.
SPOOFED_ALERT = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"


class HandshakeTests(SynchronousTestCase):
    """From the first hello to the first payload."""

    def assert_plays(self, net: Net, address: Address = ANN) -> None:
        """Both ends are connected and receive each other's payloads."""
        client = net.clients[address]
        self.assertTrue(client.is_open, net.client_events[address])
        (association,) = (a for a in net.server.associations if a.address == address)
        client.send(b"to the server")
        net.server.send(association, b"to the client")
        net.run()
        self.assertIn(Received(association, b"to the server"), net.server_events)
        self.assertIn(Received(client, b"to the client"), net.client_events[address])

    def test_connects(self) -> None:
        """
        A player with a ticket is connected, as the one the ticket was made for. A
        client that shows no ticket may connect too; the token decides later.
        """
        net = Net()
        client = net.connect()
        self.assertEqual(net.client_events[ANN], [Connected(client)])
        (event,) = net.server_events
        assert isinstance(event, Connected)
        self.assertEqual(event.association.ticket, make_ticket())
        self.assertEqual(event.association.address, ANN)
        self.assert_plays(net)
        self.assertEqual(net.server.handshakes, 0)
        connect_plain(net, BOB)
        event = net.server_events[-1]
        assert isinstance(event, Connected)
        self.assertIsNone(event.association.ticket)

    def test_unknown_ticket(self) -> None:
        """
        A stranger gets no handshake, and no OpenSSL object is made for it.
        """
        net = Net()
        net.add_client(server_name=f"{'z' * 26}.{DOMAIN}")
        net.advance(5.0)
        self.assertEqual(net.server.figures["handshake_begun"], 0)
        self.assertGreater(net.admission.outcomes["unknown_ticket"], 3)
        net.advance(5.0)
        (event,) = net.client_events[ANN]
        assert isinstance(event, Disconnected)
        self.assertEqual(event.reason, "timeout")

    def test_loss_of_each_datagram(self) -> None:
        """
        Whichever one datagram of the handshake is lost, play begins within a second.
        """
        net = Net()
        net.connect()
        count = {
            sender: sum(each == sender for each, _ in net.sent)
            for sender in ("client", "server")
        }
        for sender, total in count.items():
            for lost in range(total):
                net = Net()
                net.losing = lambda who, number, _datagram, sender=sender, lost=lost: (
                    (who, number) == (sender, lost)
                )
                net.add_client()
                net.run()
                net.advance(0.9)
                self.assert_plays(net)

    def test_loss_of_each_flight_three_times(self) -> None:
        """
        Three losses in a row of the same flight delay play, and no more.
        """
        for sender, first in (
            ("client", 0),
            ("server", 0),
            ("client", 1),
            ("server", 1),
            ("client", 2),
            ("server", 2),
        ):
            net = Net()
            net.losing = lambda who, number, _datagram, sender=sender, first=first: (
                who == sender and first <= number < first + 3
            )
            net.add_client()
            net.run()
            net.advance(3.0)
            self.assert_plays(net)

    def test_final_flight_lost_to_openssl(self) -> None:
        """
        The server's last flight is kept until the client has proved to have it.

        The client repeats the very bytes it sent, which OpenSSL's server takes for
        a replay and would leave unanswered.
        """
        net = Net()
        finals = 0

        def losing(sender: str, _number: int, datagram: bytes) -> bool:
            nonlocal finals
            finals += sender == "server" and datagram[0] == 20
            return sender == "server" and datagram[0] == 20 and finals < 4

        net.losing = losing
        client = net.add_client()
        net.run()
        self.assertEqual([type(e) for e in net.server_events], [Connected])
        self.assertFalse(client.is_open)
        net.advance(3.0)
        self.assertEqual(finals, 4)
        self.assert_plays(net)

    def test_bad_network(self) -> None:
        """
        A network that loses a fifth of all datagrams only delays play.
        """
        # Fixed seeds: about one in 60,000 loses so much that the timeout comes first.
        for seed in range(200):
            chance = random.Random(seed)
            net = Net()
            net.losing = lambda *_, chance=chance: chance.random() < 0.2
            client = net.add_client()
            net.run()
            net.advance(9.9)
            self.assertTrue(client.is_open, f"seed {seed}")

    def test_duplicates(self) -> None:
        """
        A network that delivers everything twice changes nothing.
        """
        net = Net()
        client = net.add_client()
        for _ in range(10):
            for datagram in client.take_datagrams():
                for _ in range(2):
                    net.server.receive(datagram, ANN, net.now)
            for datagram, _ in net.server.take_datagrams():
                for _ in range(2):
                    client.receive(datagram, net.now)
        net.run()
        self.assertEqual([type(e) for e in net.server_events], [Connected])
        self.assertEqual([type(e) for e in net.client_events[ANN]], [Connected])
        self.assertEqual(net.server.figures["handshake_begun"], 1)
        self.assert_plays(net)

    def test_reordered_flight(self) -> None:
        """
        A flight whose datagrams overtake each other is put in order.
        """
        net = Net(mtu=300)
        client = net.add_client(mtu=300)
        for _ in range(10):
            for datagram in reversed(client.take_datagrams()):
                net.server.receive(datagram, ANN, net.now)
            flight = net.server.take_datagrams()
            for datagram, _ in reversed(flight):
                client.receive(datagram, net.now)
        net.run()
        self.assert_plays(net)

    def test_flights_are_cut_to_the_mtu(self) -> None:
        """
        No datagram of a handshake is longer than the path carries.
        """
        net = Net(mtu=400)
        net.connect(mtu=400)
        server = [datagram for sender, datagram in net.sent if sender == "server"]
        self.assertGreater(len(server), 4)
        for _, datagram in net.sent:
            self.assertLessEqual(len(datagram), 400)
        # Each one begins with a record: no border got lost in the memory BIO.
        for datagram in server:
            self.assertIn(datagram[0], (20, 22))
        self.assert_plays(net)

    def test_first_resend_is_ours(self) -> None:
        """
        An unanswered hello is repeated after 250 ms, then less and less often.
        """
        net = Net()
        net.losing = lambda sender, number, datagram: True
        net.add_client()
        net.run()
        counts = []
        for _ in range(8):
            net.advance(0.25)
            counts.append(len(net.sent))
        self.assertEqual(counts, [2, 2, 3, 3, 3, 3, 4, 4])

    def test_gives_up(self) -> None:
        """
        A handshake that gets nowhere ends on both sides, and leaves nothing.
        """
        net = Net()
        # The client's third flight never arrives.
        net.losing = lambda sender, number, datagram: number >= 2
        net.add_client()
        net.run()
        self.assertEqual(net.server.handshakes, 1)
        net.advance(10.1)
        self.assertEqual(net.server.handshakes, 0)
        self.assertEqual(net.server.figures["handshake_timeout"], 1)
        self.assertEqual(net.server_events, [])
        self.assertIsNone(net.server.deadline())
        (event,) = net.client_events[ANN]
        assert isinstance(event, Disconnected)
        self.assertEqual(event.reason, "timeout")
        self.assertIsNone(net.clients[ANN].deadline())

    def test_too_many_handshakes(self) -> None:
        """
        Those who begin and never finish make way for those who come.
        """
        net = Net(max_handshakes=3)
        net.losing = lambda sender, number, datagram: (
            datagram[0] == 22 and len(datagram) in range(100, 200)
        )
        for number in range(5):
            net.add_client((f"192.0.2.{number}", 1))
            net.run()
        self.assertEqual(net.server.handshakes, 3)
        self.assertEqual(net.server.figures["handshake_evicted"], 2)
        net.losing = lambda sender, number, datagram: False
        net.connect(address=BOB)
        self.assert_plays(net, BOB)

    def test_answer_after_more_than_a_second(self) -> None:
        """
        A player whose answer takes longer than OpenSSL's own timer gets in, whichever
        datagram of the handshake is the slow one.
        """
        slow = self.begun()
        # OpenSSL reads the real clock, and nothing else can make its timer expire.
        time.sleep(1.1)
        for number, net in enumerate(slow):
            net.run()
            self.assert_plays(net)
            self.assertEqual(net.server.figures["handshake_begun"], 1, number)

    def test_timer_expires_just_before_a_read(self) -> None:
        """
        The timer may also expire between the step that forgets it and the read. Then
        OpenSSL sends the flight before once more, in front of the next one; a player
        gets in all the same.
        """
        self.patch(DtlsChannel, "_forget_timeout", lambda channel: None)
        slow = self.begun()
        time.sleep(1.1)
        for net in slow:
            net.run()
            net.advance(2.0)
            self.assert_plays(net)

    def begun(self) -> list[Net]:
        """Begin handshakes, each a flight further than the one before."""
        slow = [Net() for _ in range(4)]
        for number, net in enumerate(slow):
            client = net.add_client()
            for at in range(number):
                self.pass_on(net, client, at)
        return slow

    def pass_on(self, net: Net, client: DtlsClient, number: int) -> None:
        """Carry one flight: the client's if *number* is even, else the server's."""
        if number % 2:
            for datagram, _ in net.server.take_datagrams():
                client.receive(datagram, net.now)
        else:
            for datagram in client.take_datagrams():
                net.server.receive(datagram, ANN, net.now)

    def test_repeated_hello_asks_for_our_flight(self) -> None:
        """
        A client that missed our flight gets the same one, not a second handshake.
        """
        net = Net()
        net.losing = losing_first_flight()
        client = net.add_client()
        net.run()
        (flight,) = (datagram for _, datagram in net.sent[3:4])
        hello = net.sent[2][1]
        self.assertTrue(is_client_hello(hello))
        net.server.receive(hello, ANN, net.now)
        # Not more often than ten times per second: it may be an observer's doing.
        self.assertEqual(net.server.take_datagrams(), [])
        net.now += 0.1
        for _ in range(3):
            net.server.receive(hello, ANN, net.now)
        self.assertEqual(net.server.take_datagrams(), [(flight, ANN)])
        self.assertEqual(net.server.figures["handshake_begun"], 1)
        client.receive(flight, net.now)
        net.run()
        self.assert_plays(net)

    def test_endless_handshake(self) -> None:
        """
        However many datagrams a peer sends in the middle of its handshake, they
        cost the others nothing later on.
        """
        net = Net()
        net.losing = lambda sender, number, datagram: (
            sender == "client" and number > 1 and len(datagram) > 100
        )
        net.add_client()
        net.run()
        self.assertEqual(net.server.handshakes, 1)
        for number in range(200):
            # A piece of a message that is never whole.
            piece = b"\x10\0\x04\0\0\x02" + number.to_bytes(3) + b"\0\0\x01x"
            header = b"\x16\xfe\xfd\0\0" + (1000 + number).to_bytes(6)
            datagram = header + len(piece).to_bytes(2) + piece
            net.server.receive(datagram, ANN, net.now)
            net.now += 0.001
        self.assertEqual(net.server.handshakes, 1)
        self.assertLessEqual(len(net.server._agenda), 3)

    def test_another_hello_begins_again(self) -> None:
        """
        A client that starts again in the middle of a handshake gets through. Nobody
        who can send in its name ends a handshake that has just begun.
        """
        net = Net()
        net.losing = lambda sender, number, datagram: len(datagram) > 400
        net.add_client()
        net.run()
        net.begin(ANN)
        self.assertEqual(net.server.figures["dropped_hello_too_soon"], 1)
        self.assertEqual(net.server.figures["handshake_replaced"], 0)
        net.advance(0.5)
        net.losing = lambda sender, number, datagram: False
        net.add_client()
        net.run()
        self.assertEqual(net.server.figures["handshake_replaced"], 1)
        self.assert_plays(net)

    def test_spoofed_alert(self) -> None:
        """
        An alert that anybody could have sent ends nothing, at either end, ever.
        """
        net = Net()
        client = net.add_client()
        for _ in range(10):
            client.receive(SPOOFED_ALERT, net.now)
            for datagram in client.take_datagrams():
                net.server.receive(SPOOFED_ALERT, ANN, net.now)
                net.server.receive(datagram, ANN, net.now)
                net.server.receive(SPOOFED_ALERT, ANN, net.now)
            for datagram, _ in net.server.take_datagrams():
                client.receive(SPOOFED_ALERT + datagram, net.now)
        net.run()
        self.assert_plays(net)

    def test_hello_meant_for_a_live_association(self) -> None:
        """
        A player whose game was restarted on the same port gets in again.

        The old association stays until the new handshake is finished.
        """
        net = Net()
        client = net.connect()
        (old,) = net.server.associations
        net.advance(0.5)
        # The new game's third flight is on its way.
        again = net.add_client()
        for _ in range(2):
            for datagram in again.take_datagrams():
                net.server.receive(datagram, ANN, net.now)
            for datagram, _ in net.server.take_datagrams():
                again.receive(datagram, net.now)
        client.send(b"still here")
        for datagram in client.take_datagrams():
            net.server.receive(datagram, ANN, net.now)
        net.run()
        kinds = [type(event) for event in net.server_events]
        self.assertEqual(kinds, [Connected, Received, Disconnected, Connected])
        self.assertIn(Received(old, b"still here"), net.server_events)
        self.assertIn(Disconnected(old, "replaced"), net.server_events)
        self.assertFalse(old.is_open)
        self.assertEqual(len(net.server.associations), 1)
        self.assert_plays(net)

    def test_late_copy_of_a_hello(self) -> None:
        """
        A hello that took the long way round does not disturb what it began.
        """
        net = Net()
        net.connect()
        begun = net.server.figures["handshake_begun"]
        for sender, datagram in list(net.sent):
            if sender == "client":
                net.server.receive(datagram, ANN, net.now)
        net.run()
        self.assertEqual(net.server.figures["handshake_begun"], begun)
        self.assert_plays(net)

    def test_cookie_key_changes_mid_handshake(self) -> None:
        """
        OpenSSL's client, which hangs when asked twice, is not asked twice.
        """
        net = Net()
        net.admission.add_ticket(make_ticket(lifetime=1000.0))
        net.now += 299.9
        client = net.add_client()
        (hello,) = client.take_datagrams()
        net.server.receive(hello, ANN, net.now)
        ((answer, _),) = net.server.take_datagrams()
        net.now += 0.2
        client.receive(answer, net.now)
        net.run()
        self.assert_plays(net)

    def test_payload_overtakes_the_last_flight(self) -> None:
        """
        A state that arrives before the handshake's last flight is not lost.
        """
        net = Net()
        client = net.add_client()
        for _ in range(2):
            for datagram in client.take_datagrams():
                net.server.receive(datagram, ANN, net.now)
            for datagram, _ in net.server.take_datagrams():
                client.receive(datagram, net.now)
        for datagram in client.take_datagrams():
            net.server.receive(datagram, ANN, net.now)
        (flight,) = net.server.take_datagrams()
        (association,) = net.server.associations
        net.server.send(association, b"state")
        (state,) = net.server.take_datagrams()
        client.receive(state[0], net.now)
        client.receive(flight[0], net.now)
        self.assertEqual(
            client.take_events(), [Connected(client), Received(client, b"state")]
        )

    def test_broken_server(self) -> None:
        """
        A server whose handshake makes no sense is given up at once.
        """
        net = Net()
        client = net.add_client()
        client.take_datagrams()
        message = b"\x02\0\0\4\0\0\0\0\0\0\0\4junk"
        head = b"\x16\xfe\xfd" + bytes(8) + len(message).to_bytes(2)
        client.receive(head + message, net.now)
        self.assertEqual(client.take_events(), [Disconnected(client, "failed")])

    def test_no_hello(self) -> None:
        """
        What OpenSSL does not take for a hello begins nothing.
        """
        certificate = leaf(DOMAIN)
        context = server_context(certificate.certificate, certificate.key)
        channel = DtlsChannel(context, 1200)
        self.assertRaises(ChannelBroken, channel.open_as_server, b"hello", 0.0)
        self.assertEqual(channel.resend_due(1.0), [])

    def test_old_versions(self) -> None:
        """
        A client that speaks DTLS 1.0 only gets no association.
        """
        net = Net()
        hello = bytearray(client_hello(f"{LABEL}.{DOMAIN}".encode()))
        hello[25:27] = b"\xfe\xff"
        net.server.receive(bytes(hello), ANN, net.now)
        ((answer, _),) = net.server.take_datagrams()
        again = bytearray(
            client_hello(
                f"{LABEL}.{DOMAIN}".encode(), cookie_in(answer), message_number=1
            )
        )
        again[25:27] = b"\xfe\xff"
        net.server.receive(bytes(again), ANN, net.now)
        self.assertEqual(net.server.take_datagrams(), [])
        self.assertEqual(net.server.figures["handshake_failed"], 1)


class CorruptionTests(SynchronousTestCase):
    """What a bad line or an attacker in between makes of a handshake."""

    #: Words of admission for datagrams that it leaves unanswered.
    DROPPED = (
        "junk",
        "bad_hello",
        "bad_cookie",
        "unknown_server_name",
        "unknown_ticket",
    )

    def setUp(self) -> None:
        self.ledger = Ledger(self)
        self.net = Net()
        self.net.admission.add_ticket(make_ticket(lifetime=1e6))
        self.net.connect(address=BOB)
        self.ends: Counter[str] = Counter()

    def begin(self, flip: int, address: Address) -> tuple[int, bool]:
        """
        Begin a handshake whose *flip*-th byte on the wire is another.

        :returns: how many bytes were on the wire, and whether the changed datagram
            was only lost: our admission dropped it, or its record was encrypted.
        """
        net = self.net
        client = net.add_client(address=address)
        seen, is_lost = 0, False

        def corrupt(datagram: bytes) -> bytes:
            nonlocal seen, is_lost
            place = flip - seen
            seen += len(datagram)
            if not 0 <= place < len(datagram):
                return datagram
            is_lost = is_encrypted(datagram, place)
            changed = bytearray(datagram)
            changed[place] ^= 0x55
            return bytes(changed)

        for _ in range(8):
            for datagram in client.take_datagrams():
                dropped, changed = self.dropped, corrupt(datagram)
                net.server.receive(changed, address, net.now)
                is_lost |= changed != datagram and self.dropped > dropped
            for datagram, to in net.server.take_datagrams():
                self.assertEqual(to, address)
                client.receive(corrupt(datagram), net.now)
        net.run()
        return seen, is_lost

    @property
    def dropped(self) -> int:
        outcomes = self.net.admission.outcomes
        return sum(outcomes[word] for word in self.DROPPED)

    def assert_plays(self, address: Address, why: str) -> None:
        """Both ends receive each other's payloads, and nothing else."""
        net, client = self.net, self.net.clients[address]
        (association,) = (a for a in net.server.associations if a.address == address)
        self.assertEqual(association.ticket, make_ticket(lifetime=1e6), why)
        net.server_events.clear()
        net.client_events[address].clear()
        client.send(b"ping")
        net.server.send(association, b"pong")
        net.run()
        self.assertEqual(net.server_events, [Received(association, b"ping")], why)
        heard = net.client_events[address]
        self.assertEqual(heard, [Received(client, b"pong")], why)

    def wait(self, seconds: int, why: str) -> None:
        """Let time pass while Bob plays."""
        for _ in range(seconds // 10):
            self.net.advance(10.0)
            self.assert_plays(BOB, why)

    def hang_up(self, address: Address) -> None:
        client = self.net.clients.pop(address)
        client.close(self.net.now)
        for datagram in client.take_datagrams():
            self.net.server.receive(datagram, address, self.net.now)
        self.net.run()

    def assert_harmless(self, flip: int, address: Address) -> int:
        """
        A handshake with a changed byte ends well or ends; what it cost is bounded,
        nothing is left of it, and Bob notices nothing.
        """
        net, why = self.net, f"byte {flip} of the handshake"
        self.ledger.take()
        before = net.server.datagrams_out
        total, is_lost = self.begin(flip, address)
        net.advance(1.0)
        client = net.clients[address]
        if is_lost:
            self.assertTrue(client.is_open, f"{why}: not repeated")
            self.ends["repeated"] += 1
        elif client.is_open:
            self.ends["unharmed"] += 1
        if client.is_open:
            self.assert_plays(address, why)
        else:
            self.ends["failed"] += 1
            # The timeouts of both ends, and of a server that has finished.
            self.wait(40, why)
            ends = [type(event) for event in net.client_events[address]]
            self.assertEqual(ends, [Disconnected], why)
        made = self.ledger.take()
        self.assertLessEqual(made.get("channels", 0), 2, why)
        self.assertNotIn("signatures", made, why)
        # Flights repeated for ten seconds, and what Bob was sent meanwhile.
        self.assertLessEqual(net.server.datagrams_out - before, 24, why)
        if not client.is_open:
            self.assert_nothing_left(why)
            # A client that tries again gets in.
            net.connect(address=address)
            self.assert_plays(address, why)
        self.hang_up(address)
        self.assert_nothing_left(why)
        self.assert_plays(BOB, why)
        return total

    def assert_nothing_left(self, why: str) -> None:
        """The server has no association but Bob's."""
        server = self.net.server
        self.assertEqual([a.address for a in server.associations], [BOB], why)
        self.assertEqual(server.handshakes, 0, why)

    def test_some_byte_of_the_handshake(self) -> None:
        """
        It ends in the intended handshake, or in none; then nothing is left of it, and
        the client can try again. If we or DTLS detect the changed byte, it has the
        effect of a lost datagram. A player who is connected meanwhile keeps playing.
        """
        total = self.assert_harmless(1 << 20, ANN)
        # Each run has other bytes; a failure names the one.
        step = 1 if IS_FULL else 13
        for flip in range(random.randrange(step), total, step):
            # The ticket's tries from one address are limited.
            address = (f"10.0.{flip // 250}.{flip % 250 + 1}", 4000)
            self.assert_harmless(flip, address)
        # Nor do their alarms stay.
        self.wait(40, "in the end")
        self.assertLessEqual(len(self.net.server._agenda), 2)
        self.assertIsNone(self.net.server._farewells.deadline())
        for end in ("repeated", "failed"):
            self.assertGreater(self.ends[end], total // step // 20, self.ends)
        # Few: the cookie covers the whole hello.
        self.assertGreater(self.ends["unharmed"], 0, self.ends)


def is_encrypted(datagram: bytes, place: int) -> bool:
    """Is this byte in a record that was sealed?"""
    start = 0
    while True:
        end = start + RECORD_HEADER + int.from_bytes(datagram[start + 11 : start + 13])
        if place < end:
            return datagram[start + 3 : start + 5] != b"\0\0"
        start = end


class TrustTests(SynchronousTestCase):
    """A client plays only on the server that it asked for."""

    def assert_refuses(self, net: Net, **options: object) -> None:
        client = net.add_client(**options)  # type: ignore[arg-type]  # passed on
        net.run()
        (event,) = net.client_events[ANN]
        self.assertEqual(event, Disconnected(client, "certificate"))
        self.assertFalse(client.is_open)
        client.send(b"secret")
        net.run()
        self.assertFalse([e for e in net.server_events if isinstance(e, Received)])

    def serve(self, certificate: Leaf) -> Net:
        net = Net()
        net.server = DtlsServer(certificate.served(), net.admission)
        return net

    def test_not_believed(self) -> None:
        """
        Neither somebody else's authority is believed, nor a certificate that has
        expired or is for tomorrow.
        """
        self.assert_refuses(Net(), anchor=new_authority().anchor)
        name = f"*.{DOMAIN}"
        for issued in (
            authority().issue(name, ends=timedelta(hours=-1)),
            authority().issue(name, begins=timedelta(hours=1)),
        ):
            self.assert_refuses(self.serve(issued))

    def test_other_name(self) -> None:
        """
        Another game server of the same node is not the one we asked for.
        """
        other = leaf("s2.game.vinom")
        net = self.serve(other)
        self.assert_refuses(net)
        # It gets the alert, and forgets the client at once.
        self.assertFalse(net.server.associations)

    def test_bad_pem(self) -> None:
        """
        An operator gets an error if certificate and key do not belong together.
        """
        good, other = leaf(DOMAIN), leaf("s2.game.vinom")
        for certificate, key in (
            (b"", good.key),
            (good.certificate, b""),
            (good.certificate, other.key),
            (good.certificate, signing_key()[0]),
        ):
            self.assertRaises(Misconfigured, ServerCertificates, certificate, key)
        self.assertRaises(Misconfigured, DtlsClient, "a.b.c", b"no anchor", 0.0)

"""What somebody can do who sees a player's datagrams and can send in its name."""

from __future__ import annotations

import weakref

from twisted.trial.unittest import SynchronousTestCase

from tests.support.dtls import DOMAIN, LABEL, Net, losing_first_flight, make_ticket
from tests.support.game_net import PORT, GameNet, GamePlayer
from tests.support.hellos import client_hello, cookie_in, extension, server_name
from tests.support.ledger import Ledger
from vinom.net.dtls.admission import Address
from vinom.net.dtls.records import RECORD_HEADER
from vinom.net.packets.player import Joined

ANN: Address = ("192.0.2.1", 4000)
NAME = f"{LABEL}.{DOMAIN}".encode()


class SpoofedNet(GameNet):
    """A game server, and an observer who can send in one player's name."""

    def __init__(self) -> None:
        super().__init__()
        self.victim: Address = ("", 0)
        self._thieves: set[Address] = set()
        self._carry = self.reactor.carry
        self.reactor.carry = self._spoof  # type: ignore[method-assign]  # on purpose

    def _spoof(self, sender: Address, datagram: bytes, to: Address) -> None:
        self._carry(self.victim if sender in self._thieves else sender, datagram, to)
        if to == self.victim:
            for thief in self._thieves:
                self._carry(sender, datagram, thief)

    @property
    def next_address(self) -> Address:
        """What the next player will have."""
        return ("192.0.2.1", self.reactor._next + 1)

    def thief(self, seat: int, token: str | None = None) -> GamePlayer:
        """
        Begin a handshake in the victim's name, with the ticket of any seat.

        :param token: for its JOIN; without it there is none.
        """
        self._thieves = {self.next_address}
        thief = self.player(seat, token=token)
        thief.is_silent = token is None
        return thief

    def restarted(self, resume: bytes | None = None) -> GamePlayer:
        """The victim's program is started again, on the same port."""
        self.reactor.sockets.pop(self.victim, None)
        at, self.reactor._next = self.reactor._next, self.victim[1] - 1
        player = self.player(0) if resume is None else self.resumed(0, resume)
        self.reactor._next = at
        return player


class ReplacementTests(SynchronousTestCase):
    """A living association, and newer handshakes at its address."""

    def setUp(self) -> None:
        self.net = SpoofedNet()
        self.net.open()
        self.net.victim = self.net.next_address
        self.ann = self.net.player(0)
        self.bob = self.net.player(1)
        self.net.run(0.5)
        self.assertEqual(len(self.ann.of(Joined)), 1)

    def assert_plays(self, player: GamePlayer, word: str) -> None:
        """A player's actions arrive, and states come back."""
        player.say(word)
        self.net.run(0.2)
        self.assertTrue(player.lines[-1].endswith(f"0 {word}"), player.lines)

    def test_finished_handshakes(self) -> None:
        """
        Somebody finishes handshakes in a player's name again and again, with the
        player's ticket or with its own: the player notices nothing.
        """
        for number in range(12):
            thief = self.net.thief(number % 2)
            self.net.run(0.3)
            self.assertIsNotNone(thief.link, number)
            self.assert_plays(self.ann, f"word{number}")
            thief.close()
            self.net.run(2.0)
        self.net.run(10.0)
        self.assertEqual(self.ann.lost, [])
        self.assertEqual(self.net.seat_changes, [(0, "joined"), (1, "joined")])
        self.assertEqual(self.net.associations, 2)

    def test_one_newer_at_most(self) -> None:
        """
        However many handshakes are finished in a player's name, one is kept beside
        the player's own.
        """
        for number in range(6):
            thief = self.net.thief(number % 2)
            self.net.run(0.7)
            self.assertIsNotNone(thief.link)
            self.assertLessEqual(self.net.associations, 3)
        self.assertEqual(self.ann.lost, [])

    def test_restarted(self) -> None:
        """
        A player whose program was started again on the same port gets in with a
        token and, once more, with its resume token.
        """
        again = self.net.restarted()
        self.net.run(0.5)
        self.assert_plays(again, "again")
        self.net.run(1.0)
        once_more = self.net.restarted(again.resume)
        self.net.run(0.5)
        self.assert_plays(once_more, "more")
        self.assertEqual(2, self.net.associations)

    def test_restarted_under_attack(self) -> None:
        """
        It gets in also while somebody finishes handshakes in its name as fast as it
        can, with all tickets that it has seen and its own: the tries of a seat end.
        """
        again = self.net.restarted()
        times = 0
        while not again.of(Joined) and times < 60:
            self.net.thief(times % 2)
            self.net.run(0.25)
            times += 1
            if again.lost:
                again = self.net.restarted()
        self.assertEqual(len(again.of(Joined)), 1, times)
        self.assert_plays(again, "here")

    def test_thief_with_a_seat(self) -> None:
        """
        A player of another seat cannot end the connection by joining in the
        player's name, as long as the player plays.
        """
        thief = self.net.thief(1, token=self.net.token(1))
        self.net.run(0.5)
        self.assertEqual(thief.rejections, ["busy"])
        self.assert_plays(self.ann, "mine")
        self.net.run(10.0)
        self.assertEqual(self.ann.lost, [])
        self.assertEqual(self.net.seat_changes, [(0, "joined"), (1, "joined")])

    def test_new_match_on_the_same_port(self) -> None:
        """
        A player of another seat gets in from an address whose last player is gone.
        """
        self.net.reactor.sockets.pop(self.net.victim)
        self.ann.is_silent = True
        self.net.run(3.5)
        at, self.net.reactor._next = self.net.reactor._next, self.net.victim[1] - 1
        bob = self.net.player(1)
        self.net.reactor._next = at
        self.net.run(0.5)
        self.assertEqual(len(bob.of(Joined)), 1)
        self.assertEqual(bob.rejections, [])

    def test_noise_in_its_name(self) -> None:
        """
        Neither forged records nor pieces of handshakes in its name end a connection,
        while a second one is there.
        """
        self.net.thief(1)
        self.net.run(0.3)
        for kind in (20, 21, 22, 23):
            for epoch in (b"\0\0", b"\0\1", b"\0\2"):
                record = bytes((kind,)) + b"\xfe\xfd" + epoch + bytes(5) + b"\x09\0\x10"
                for junk in (bytes(16), b"\2" * 16):
                    self.net.reactor.carry(
                        self.net.victim, record + junk, ("192.0.2.7", PORT)
                    )
        self.net.run(0.2)
        self.assert_plays(self.ann, "fine")


class LockOutTests(SynchronousTestCase):
    """Hellos in a player's name, before its own handshake."""

    def setUp(self) -> None:
        self.ledger = Ledger(self)
        self.net = Net()

    def send(self, datagram: bytes) -> list[bytes]:
        self.net.server.receive(datagram, ANN, self.net.now)
        return [sent for sent, _ in self.net.server.take_datagrams()]

    def test_seen_cookie(self) -> None:
        """
        A cookie that was seen is of no use with a hello that is changed anywhere, not
        even in its extensions: the player's tries are all left.
        """
        groups = extension(10, b"\0\2\0\x17")
        (answer,) = self.send(client_hello(extensions=server_name(NAME) + groups))
        cookie = cookie_in(answer)
        again = client_hello(
            cookie=cookie, extensions=server_name(NAME) + groups, message_number=1
        )
        body = RECORD_HEADER + 12
        place = again.index(cookie)
        for at in (*range(body, place), *range(place + len(cookie), len(again))):
            changed = bytearray(again)
            changed[at] ^= 1
            self.assertEqual(self.send(bytes(changed)), [])
        nobody_has = extension(10, b"\0\2\x99\x99")
        for _ in range(50):
            spoofed = client_hello(
                cookie=cookie,
                extensions=server_name(NAME) + nobody_has,
                message_number=1,
            )
            self.assertEqual(self.send(spoofed), [])
        self.assertEqual(self.ledger.take(), {})
        self.net.connect(address=ANN)

    def fail_hellos(self, name: str | None, count: int) -> None:
        """Send whole hellos that nobody can agree on; they get no alert."""
        for number in range(count):
            random = number.to_bytes(32)
            (answer,) = self.send(client_hello(name, random=random, suites=b"\0\x2f"))
            spoofed = client_hello(
                name, cookie_in(answer), random, suites=b"\0\x2f", message_number=1
            )
            self.assertEqual(self.send(spoofed), [])
        self.assertEqual(self.net.server.figures["handshake_failed"], count)

    def test_failing_hellos(self) -> None:
        """
        Somebody who also sees our answers sends whole hellos that nobody can agree on,
        with a player's name or without one: the player's tries are given back, and it
        gets no alert.
        """
        for name, count in ((NAME, 60), (None, 20)):
            self.setUp()
            self.fail_hellos(name, count)
            self.assertEqual(self.net.server.handshakes, 0)
            self.assertEqual(self.net.server.take_events(), [])
            self.assertEqual(self.net.admission.outcomes["no_server_name"], 0)
            self.net.connect(address=ANN)

    def test_many_failing_hellos(self) -> None:
        """
        Each costs us an OpenSSL object, so many of them are a flood.
        """
        for number in range(1000):
            random = number.to_bytes(32)
            for answer in self.send(client_hello(NAME, random=random, suites=b"\0/")):
                self.send(
                    client_hello(
                        NAME, cookie_in(answer), random, suites=b"\0/", message_number=1
                    )
                )
        self.assertTrue(self.net.admission.pressure.is_high)
        self.assertLess(self.ledger.take()["channels"], 200)

    def test_no_alert_in_a_handshake(self) -> None:
        """
        A message that makes no sense ends a handshake; nobody gets an alert for it,
        which some clients would believe.
        """
        self.net.begin(ANN)
        self.assertEqual(self.net.server.handshakes, 1)
        message = b"\x10\0\0\4\0\2\0\0\0\0\0\4junk"
        record = b"\x16\xfe\xfd" + bytes(8) + len(message).to_bytes(2) + message
        self.assertEqual(self.send(record), [])
        self.assertEqual(self.net.server.figures["handshake_failed"], 1)


class MemoryTests(SynchronousTestCase):
    """What handshakes that go nowhere leave behind."""

    def setUp(self) -> None:
        self.ledger = Ledger(self)
        self.returned = 0
        self.net = Net(return_memory=self.give_back)  # type: ignore[arg-type]  # passed on
        self.names = []
        for seat in range(1, 41):
            for number in range(8):
                label = f"s{seat:02d}n{number}".ljust(26, "z")
                self.net.admission.add_ticket(make_ticket(label, seat=seat))
                self.names.append(f"{label}.{DOMAIN}")

    def give_back(self) -> None:
        self.returned += 1

    def test_tries_of_one_address(self) -> None:
        """
        One address begins 100 handshakes, and then 10 per second, however many
        tickets it has. Another address still gets in.
        """
        for port, name in enumerate(self.names):
            self.net.begin(("198.51.100.7", port + 1), name)
        self.assertEqual(self.ledger.take()["channels"], 100)
        self.assertEqual(self.net.admission.outcomes["too_many_handshakes"], 220)
        self.net.connect(address=ANN)
        self.net.now += 1.0
        for port, name in enumerate(self.names[200:]):
            self.net.begin(("198.51.100.7", port + 1), name)
        self.assertEqual(self.ledger.take()["channels"], 11)

    def test_tries_over_all_tickets_of_a_seat(self) -> None:
        """
        Of these a seat has eight, and one more every two seconds, however often its
        player asks the lobby for a new ticket: a player cannot spend those of others
        behind its router.
        """
        for number in range(100):
            label = f"again{number:03d}".ljust(26, "z").replace("0", "a")
            self.net.admission.add_ticket(make_ticket(label, seat=1))
            self.net.begin(("198.51.100.7", number + 1), f"{label}.{DOMAIN}")
        self.assertEqual(self.ledger.take(), {"channels": 8})
        self.net.connect(address=("198.51.100.7", 4000))

    def test_unfinished(self) -> None:
        """
        A quarter of these may be unfinished at once; the oldest gives way, and the
        handshakes of other addresses stay.
        """
        self.net.begin(ANN)
        for port, name in enumerate(self.names[:60]):
            self.net.begin(("198.51.100.7", port + 1), name)
        self.assertEqual(self.net.server.handshakes, 26)
        self.assertEqual(self.net.server.figures["handshake_evicted"], 35)
        self.assertTrue(self.net.server.is_known(ANN))

    def test_many_addresses_are_bounded(self) -> None:
        """
        Somebody with more addresses than we remember locks nobody out.
        """
        self.net.admission.SOURCES = 16  # type: ignore[misc]  # of this one only
        for number, name in enumerate(self.names[:100]):
            self.net.begin((f"198.51.100.{number + 1}", 1), name)
        self.assertEqual(len(self.net.admission._sources), 16)
        self.net.connect(address=ANN)

    def test_freed_at_once(self) -> None:
        """
        OpenSSL's memory is freed when a handshake gives way, fails or times out, not
        when it would have been due.
        """
        refs = []
        for number in range(30):
            address = ("198.51.100.7", number + 1)
            self.net.begin(address, self.names[number])
            newcomer = self.net.server._handshaking.get(address)
            assert newcomer is not None
            refs.append(weakref.ref(newcomer))
            del newcomer
        self.assertEqual([ref() is None for ref in refs], [True] * 5 + [False] * 25)
        self.net.advance(10.0)
        self.assertEqual(self.net.server.handshakes, 0)
        self.assertEqual({ref() for ref in refs}, {None})

    def test_returned(self) -> None:
        """
        Soon after many were given up, what was freed goes back to the system.
        """
        for number in range(15):
            self.net.begin(("198.51.100.7", number + 1), self.names[number])
        self.net.advance(12.1)
        self.assertEqual(self.returned, 0)
        self.net.begin(("198.51.100.7", 1), self.names[20])
        self.net.advance(12.1)
        self.assertEqual(self.returned, 1)
        self.assertIsNone(self.net.server.deadline())

    def test_fragments_of_no_client(self) -> None:
        """
        Pieces of messages that no client sends do not reach OpenSSL, and the
        handshake goes on.
        """
        client = self.net.add_client(address=ANN)
        self.net.losing = losing_first_flight()
        self.net.run()
        for number in range(2, 13):
            for size in (4097, 98_000, (1 << 24) - 1):
                self.net.server.receive(piece(number, size), ANN, self.net.now)
        for number in range(6, 13):
            self.net.server.receive(piece(number, 100), ANN, self.net.now)
        figures = self.net.server.figures
        self.assertEqual(figures["dropped_not_of_a_client"], 40)
        self.net.advance(2.0)
        self.assertTrue(client.is_open)

    def test_short_records(self) -> None:
        """
        Records too short to have been sealed end neither a handshake nor a connection:
        some versions of OpenSSL give up when they see one.
        """
        client = self.net.add_client(address=ANN)
        self.net.losing = losing_first_flight()
        self.net.run()
        for size in range(24):
            record = b"\x16\xfe\xfd\0\1" + bytes(6) + size.to_bytes(2) + bytes(size)
            self.net.receive(record * 2, ANN)
        self.net.advance(3.0)
        self.assertTrue(client.is_open)
        client.send(b"plays")
        self.net.run()
        for kind in (20, 21, 22, 23):
            for size in range(24):
                head = bytes((kind,)) + b"\xfe\xfd\0\1" + bytes(5) + b"\x09"
                record = head + size.to_bytes(2) + bytes(size)
                for datagram in (record, record * 2):
                    self.net.receive(datagram, ANN)
        self.assertTrue(self.net.server.is_known(ANN))
        self.net.run()
        self.assertTrue(client.is_open)

    def test_early_records(self) -> None:
        """
        OpenSSL would keep a hundred encrypted records that come too early, so it gets
        four; the handshake goes on.
        """
        client = self.net.add_client(address=ANN)
        self.net.losing = losing_first_flight()
        self.net.run()
        newcomer = self.net.server._handshaking.get(ANN)
        assert newcomer is not None
        for number in range(50):
            record = b"\x16\xfe\xfd\0\1" + number.to_bytes(6) + b"\0\x30" + bytes(48)
            self.net.server.receive(record * 3, ANN, self.net.now)
        self.assertEqual(newcomer.channel._early, 0)
        self.net.advance(3.0)
        self.assertTrue(client.is_open)


def piece(number: int, size: int) -> bytes:
    """One byte of a key exchange that announces *size* bytes."""
    fragment = b"\x10" + size.to_bytes(3) + number.to_bytes(2) + bytes(3)
    fragment += b"\0\0\1x"
    head = b"\x16\xfe\xfd\0\0" + (1000 + number).to_bytes(6)
    return head + len(fragment).to_bytes(2) + fragment

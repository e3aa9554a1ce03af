"""Tests of vinom.net.dtls.records: what strangers send, read without harm."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support.hellos import (
    client_hello,
    cookie_in,
    extension,
    in_record,
    openssl_hello,
    server_name,
)
from vinom.errors import PeerError
from vinom.net.dtls.records import (
    ALERT,
    RECORD_HEADER,
    client_records,
    cut_datagrams,
    hello_verify_request,
    is_client_hello,
    is_one_record,
    parse_client_hello,
    random_of,
    without_plaintext_alerts,
    without_short_records,
)

NAME = b"abcdefghijklmnopqrstuvwxyz.s1.game.vinom"


def record(kind: int, body: bytes, epoch: int = 0) -> bytes:
    """One record, number 7."""
    head = bytes((kind,)) + b"\xfe\xfd" + epoch.to_bytes(2) + (7).to_bytes(6)
    return head + len(body).to_bytes(2) + body


records = st.builds(
    record,
    st.sampled_from([20, 21, 22, 23]),
    st.binary(max_size=300),
    st.integers(0, 1),
)
hellos = st.builds(
    client_hello,
    name=st.none() | st.binary(min_size=1, max_size=255),
    cookie=st.binary(max_size=255),
    random=st.binary(min_size=32, max_size=32),
    session=st.binary(max_size=32),
    suites=st.integers(1, 50).map(lambda n: b"\xc0\x2b" * n),
    record_number=st.integers(0, (1 << 48) - 1),
    message_number=st.integers(0, 2),
)


class ClientHelloTests(SynchronousTestCase):
    """The only message of a stranger that is looked into."""

    def test_every_field(self) -> None:
        """
        What admission decides by is found where it is, among any other extensions.
        """
        around = extension(10, b"\0\2\0\x17")
        for extensions in (None, around + server_name(NAME) + around):
            hello = parse_client_hello(
                client_hello(
                    NAME,
                    b"cookie",
                    b"R" * 32,
                    b"session",
                    extensions=extensions,
                    record_number=258,
                )
            )
            self.assertEqual(hello.read_server_name(), NAME)
            self.assertEqual(hello.cookie, b"cookie")
            self.assertEqual(hello.random, b"R" * 32)
            self.assertEqual(hello.sequence, b"\0\0\0\0\1\2")

    def test_parameters(self) -> None:
        """
        A cookie cannot be carried over to another hello: only the second hello, which
        has it, asks for the same as the first.
        """
        hellos = [
            client_hello(NAME),
            client_hello(NAME, random=b"R" * 32),
            client_hello(NAME, session=b"s"),
            client_hello(NAME, suites=b"\xc0\x2b"),
            client_hello(b"z" + NAME[1:]),
            client_hello(extensions=server_name(NAME) + extension(10, b"\0\2\0\x17")),
        ]
        wishes = [parse_client_hello(hello).parameters for hello in hellos]
        self.assertEqual(len(set(wishes)), 6)
        second = parse_client_hello(client_hello(NAME, b"c" * 32, record_number=1))
        self.assertEqual(second.parameters, wishes[0])

    def test_without_server_name(self) -> None:
        """
        A client that cannot send a server name is understood all the same.
        """
        for hello in (
            client_hello(),
            client_hello(extensions=b""),
            client_hello(extensions=extension(23, b"")),
        ):
            self.assertIsNone(parse_client_hello(hello).read_server_name())

    def test_every_cut_is_refused(self) -> None:
        """
        A hello that ends early is refused wherever it ends, also if record and message
        claim that all is there; and nothing travels behind one.
        """
        whole = client_hello(NAME, b"cookie")
        body = whole[25:]
        # The extensions as a whole may be left out.
        without = len(client_hello(None, b"cookie")[25:])
        for hello in (
            *(whole[:end] for end in range(len(whole))),
            *(in_record(body[:end]) for end in range(len(body)) if end != without),
            whole + b"\0",
            in_record(body + b"\0"),
        ):
            self.assert_refused(hello)

    def test_not_a_plain_dtls_hello(self) -> None:
        """
        Other records, other messages, TLS and encrypted hellos are refused; so is a
        part of a hello, which would have to be remembered.
        """
        whole = client_hello(NAME)
        for place, value in ((0, 23), (1, 3), (4, 1), (13, 2), (25, 3)):
            changed = bytearray(whole)
            changed[place] = value
            self.assert_refused(bytes(changed))
        for field in (slice(14, 17), slice(19, 22), slice(22, 25)):
            changed = bytearray(whole)
            changed[field] = (int.from_bytes(whole[field]) + 1).to_bytes(3)
            self.assert_refused(bytes(changed))

    def assert_refused(self, hello: bytes) -> None:
        with self.assertRaises(PeerError, msg=hello):
            parse_client_hello(hello).read_server_name()

    def test_odd_lengths_are_refused(self) -> None:
        """
        Lists that cannot be are refused.
        """
        name = server_name(NAME)
        for hello in (
            client_hello(session=b"s" * 33),
            client_hello(suites=b""),
            client_hello(suites=b"\xc0"),
            client_hello(extensions=name + name),
            client_hello(extensions=server_name(b"")),
            client_hello(extensions=server_name(b"n" * 256)),
            client_hello(extensions=extension(0, b"")),
            client_hello(extensions=extension(0, b"\0\0")),
            client_hello(extensions=extension(0, b"\0\4\1\0\1n")),
            client_hello(extensions=extension(0, b"\0\4\0\0\1nn")),
            client_hello(extensions=extension(0, b"\0\5\0\0\1nn")),
        ):
            self.assert_refused(hello)

    @given(st.binary(max_size=400))
    def test_anything(self, datagram: bytes) -> None:
        """
        No bytes at all make the parser fail in another way.
        """
        is_client_hello(datagram)
        random_of(datagram)
        try:
            parse_client_hello(datagram).read_server_name()
        except PeerError:
            return

    @given(hellos, st.integers(0), st.integers(1, 255))
    def test_anything_like_a_hello(self, hello: bytes, place: int, flip: int) -> None:
        """
        Nor does a hello with one byte changed.
        """
        changed = bytearray(hello)
        changed[place % len(hello)] ^= flip
        try:
            parse_client_hello(bytes(changed)).read_server_name()
        except PeerError:
            return

    def test_openssl_says_it_this_way(self) -> None:
        """
        The first message of OpenSSL's client is read.
        """
        _, hello = openssl_hello("a.s1.game.vinom")
        self.assertTrue(is_client_hello(hello))
        parsed = parse_client_hello(hello)
        self.assertEqual(parsed.read_server_name(), b"a.s1.game.vinom")
        self.assertEqual(parsed.cookie, b"")
        self.assertEqual(random_of(hello), parsed.random)


class HelloVerifyRequestTests(SynchronousTestCase):
    """The one answer that strangers get."""

    @given(hellos)
    def test_never_longer_than_the_hello(self, hello: bytes) -> None:
        """
        Nobody can use us to send a victim more than he sends himself.
        """
        parsed = parse_client_hello(hello)
        answer = hello_verify_request(parsed.sequence, b"c" * 32)
        self.assertLess(len(answer), len(hello))

    def test_openssl_understands(self) -> None:
        """
        OpenSSL's client says hello again with our cookie and nothing else changed.
        """
        connection, first = openssl_hello("a.s1.game.vinom")
        hello = parse_client_hello(first)
        answer = hello_verify_request(hello.sequence, b"c" * 32)
        self.assertEqual(cookie_in(answer), b"c" * 32)
        connection.bio_write(answer)
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        second = parse_client_hello(connection.bio_read(2048))
        self.assertEqual(second.cookie, b"c" * 32)
        self.assertEqual(second.parameters, hello.parameters)


class DatagramTests(SynchronousTestCase):
    """Records in datagrams, out of OpenSSL and into it."""

    @given(st.lists(records, min_size=1), st.integers(100, 1200))
    def test_cut_keeps_everything(self, flight: list[bytes], mtu: int) -> None:
        """
        Cutting loses no byte, cuts no record and fills datagrams.
        """
        datagrams = cut_datagrams(b"".join(flight), mtu)
        self.assertEqual(b"".join(datagrams), b"".join(flight))
        borders = set()
        place = 0
        for each in flight:
            borders.add(place)
            place += len(each)
        place = 0
        for datagram in datagrams:
            self.assertIn(place, borders)
            self.assertTrue(len(datagram) <= mtu or is_one_record(datagram))
            place += len(datagram)
        for one, two in itertools.pairwise(datagrams):
            size = RECORD_HEADER + int.from_bytes(two[11:13])
            self.assertGreater(len(one) + size, mtu)

    @given(st.lists(records), st.binary(max_size=12))
    def test_plaintext_alerts_go(self, flight: list[bytes], tail: bytes) -> None:
        """
        Only what anybody could have forged to end a handshake is left out.
        """
        kept = [
            r
            for r in flight
            if (r[0] != ALERT if r[3:5] == b"\0\0" else len(r) >= RECORD_HEADER + 24)
        ]
        self.assertEqual(
            without_plaintext_alerts(b"".join(flight) + tail), b"".join(kept)
        )

    @given(st.lists(records), st.binary(max_size=12))
    def test_short_records_go(self, flight: list[bytes], tail: bytes) -> None:
        """
        Encrypted records that are shorter than a seal are left out; the others stay.
        """
        for shortest in (16, 24):
            kept = [
                r
                for r in flight
                if r[3:5] == b"\0\0" or len(r) >= RECORD_HEADER + shortest
            ]
            found = without_short_records(b"".join(flight) + tail, shortest)
            self.assertEqual(found, b"".join(kept))

    @given(st.binary(max_size=300))
    def test_any_datagram(self, datagram: bytes) -> None:
        """
        Bytes that aren't records do no harm.
        """
        kept = without_plaintext_alerts(datagram)
        self.assertLessEqual(len(kept), len(datagram))

    def test_one_record(self) -> None:
        """
        One record is distinguished from two and from a part of one.
        """
        one = record(23, b"payload")
        self.assertTrue(is_one_record(one))
        self.assertFalse(is_one_record(one + one))
        self.assertFalse(is_one_record(one[:-1]))


def fragment(
    kind: int = 16,
    size: int = 4,
    number: int = 2,
    offset: int = 0,
    part: bytes = b"yes!",
) -> bytes:
    """A handshake message, or a part of it."""
    return (
        bytes((kind,))
        + size.to_bytes(3)
        + number.to_bytes(2)
        + offset.to_bytes(3)
        + len(part).to_bytes(3)
        + part
    )


class ClientRecordsTests(SynchronousTestCase):
    """What of a client's handshake reaches OpenSSL."""

    def assert_kept(self, datagram: bytes) -> None:
        self.assertEqual(client_records(datagram), (datagram, []))

    def assert_dropped(self, datagram: bytes) -> None:
        self.assertEqual(client_records(datagram), (b"", []), datagram)

    def test_what_clients_send(self) -> None:
        """
        Each message of a client passes, whole or in parts, several in one record or
        in one datagram.
        """
        for kind in (1, 11, 15, 16, 20):
            for number in range(6):
                self.assert_kept(record(22, fragment(kind, number=number)))
        self.assert_kept(record(22, fragment(11, 4096, 2, 4092)))
        both = fragment(11) + fragment(16, number=3)
        self.assert_kept(record(22, both))
        self.assert_kept(record(22, fragment(11)) + record(22, fragment(16, number=3)))
        self.assert_kept(record(20, b"\1"))

    def test_what_no_client_sends(self) -> None:
        """
        A message that is too long, has too high a number or is a server's is dropped;
        so is a part beyond its message.
        """
        for bad in (
            fragment(size=4097),
            fragment(size=0xFFFFFF),
            fragment(number=6),
            fragment(number=0xFFFF),
            fragment(size=4, offset=1),
            fragment(size=3),
            fragment(offset=0xFFFFFF),
            *(fragment(kind) for kind in range(256) if kind not in (1, 11, 15, 16, 20)),
        ):
            self.assert_dropped(record(22, bad))
            # Nor hidden behind good ones, in one record.
            self.assert_dropped(record(22, fragment() + bad))
            self.assert_dropped(record(22, bad + fragment()))
            # In one datagram the good record passes.
            good = record(22, fragment())
            self.assertEqual(client_records(good + record(22, bad)), (good, []))
            self.assertEqual(client_records(record(22, bad) + good), (good, []))

    def test_other_plaintext_records(self) -> None:
        """
        Plaintext alerts and payloads, empty records, and signals to change the cipher
        that are not the one there is: anybody could have sent them.
        """
        for kind, body in (
            (21, b"\2\x28"),
            (23, b"hello"),
            (22, b""),
            (20, b""),
            (20, b"\2"),
            (20, b"\1\1"),
            (24, b"x"),
        ):
            self.assert_dropped(record(kind, body))

    def test_encrypted(self) -> None:
        """
        Encrypted records are handed out apart, if they are long enough to have been
        sealed; there is only one epoch of them.
        """
        first, second = record(22, b"sealed" * 4, 1), record(23, b"sealed too" * 4, 1)
        plain = record(22, fragment())
        self.assertEqual(
            client_records(plain + first + second), (plain, [first, second])
        )
        for epoch in (2, 3, 0xFFFF):
            self.assert_dropped(record(22, b"sealed" * 4, epoch))
        for size in range(24):
            self.assert_dropped(record(22, bytes(size), 1))

    def test_every_cut(self) -> None:
        """
        A datagram that is cut loses the record that is cut, and nothing else.
        """
        first, second = record(22, fragment(11)), record(22, fragment(number=3))
        sealed = record(22, b"sealed" * 4, 1)
        whole = first + second + sealed
        for cut in range(len(whole)):
            plain = first + second if cut >= len(first + second) else first
            plain = plain if cut >= len(first) else b""
            self.assertEqual(client_records(whole[:cut]), (plain, []))
        for cut in range(len(both := fragment(11) + fragment())):
            expected = record(22, both[:cut])
            if cut == len(fragment(11)):
                self.assert_kept(expected)
            else:
                self.assert_dropped(expected)

    @given(st.binary(max_size=200))
    def test_any_datagram(self, datagram: bytes) -> None:
        """
        Any bytes are read without harm, and nothing is made up.
        """
        plain, sealed = client_records(datagram)
        for each in (plain, *sealed):
            self.assertLessEqual(len(each), len(datagram))

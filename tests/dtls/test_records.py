"""Tests of vinom.dtls.records: what strangers send, read without harm."""

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
from vinom.dtls.records import (
    ALERT,
    RECORD_HEADER,
    cut_datagrams,
    hello_verify_request,
    is_client_hello,
    is_one_record,
    parse_client_hello,
    random_of,
    without_plaintext_alerts,
)
from vinom.errors import PeerError

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
        What admission decides by is found where it is.
        """
        hello = parse_client_hello(
            client_hello(NAME, b"cookie", b"R" * 32, b"session", record_number=258)
        )
        self.assertEqual(hello.read_server_name(), NAME)
        self.assertEqual(hello.cookie, b"cookie")
        self.assertEqual(hello.random, b"R" * 32)
        self.assertEqual(hello.sequence, b"\0\0\0\0\1\2")

    def test_parameters_leave_out_cookie_and_extensions(self) -> None:
        """
        The second hello, which has a cookie, asks for the same as the first.
        """
        first = parse_client_hello(client_hello(NAME))
        second = parse_client_hello(client_hello(NAME, b"c" * 32, record_number=1))
        self.assertEqual(first.parameters, second.parameters)

    def test_parameters_tell_wishes_apart(self) -> None:
        """
        A cookie cannot be carried over to another hello.
        """
        hellos = [
            client_hello(NAME),
            client_hello(NAME, random=b"R" * 32),
            client_hello(NAME, session=b"s"),
            client_hello(NAME, suites=b"\xc0\x2b"),
        ]
        self.assertEqual(
            len({parse_client_hello(hello).parameters for hello in hellos}), 4
        )

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

    def test_other_extensions_around(self) -> None:
        """
        The server name is found among any other extensions.
        """
        around = extension(10, b"\0\2\0\x17")
        hello = client_hello(extensions=around + server_name(NAME) + around)
        self.assertEqual(parse_client_hello(hello).read_server_name(), NAME)

    def test_every_cut_is_refused(self) -> None:
        """
        A hello that ends early is refused wherever it ends.
        """
        whole = client_hello(NAME, b"cookie")
        for end in range(len(whole)):
            with self.assertRaises(PeerError):
                parse_client_hello(whole[:end])

    def test_every_cut_of_the_body_is_refused(self) -> None:
        """
        The same when record and message claim that all is there.
        """
        body = client_hello(NAME, b"cookie")[25:]
        # The extensions as a whole may be left out.
        without = len(client_hello(None, b"cookie")[25:])
        for end in range(len(body)):
            if end != without:
                with self.assertRaises(PeerError):
                    parse_client_hello(in_record(body[:end])).read_server_name()

    def test_more_than_a_hello_is_refused(self) -> None:
        """
        Nothing travels behind a hello.
        """
        body = client_hello(NAME)[25:]
        for hello in (client_hello(NAME) + b"\0", in_record(body + b"\0")):
            with self.assertRaises(PeerError):
                parse_client_hello(hello)

    def test_fragments_are_refused(self) -> None:
        """
        A hello in fragments would have to be remembered; it is not.
        """
        whole = bytearray(client_hello(NAME))
        for field in (slice(14, 17), slice(19, 22), slice(22, 25)):
            changed = whole.copy()
            changed[field] = (int.from_bytes(whole[field]) + 1).to_bytes(3)
            with self.assertRaises(PeerError):
                parse_client_hello(bytes(changed))

    def test_not_a_plain_dtls_hello(self) -> None:
        """
        Other records, other messages, TLS and encrypted hellos are refused.
        """
        whole = client_hello(NAME)
        for place, value in ((0, 23), (1, 3), (4, 1), (13, 2), (25, 3)):
            changed = bytearray(whole)
            changed[place] = value
            with self.assertRaises(PeerError):
                parse_client_hello(bytes(changed))

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
            with self.assertRaises(PeerError):
                parse_client_hello(hello).read_server_name()

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
        kept = [r for r in flight if not (r[0] == ALERT and r[4] == 0)]
        self.assertEqual(
            without_plaintext_alerts(b"".join(flight) + tail), b"".join(kept)
        )

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

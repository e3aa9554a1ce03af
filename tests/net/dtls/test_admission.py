"""Tests of vinom.net.dtls.admission: what a stranger can make us do, and cookies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.dtls import BEGINNING, DOMAIN, LABEL, make_ticket, seeded
from tests.support.hellos import client_hello, cookie_in, extension, in_record
from vinom.base.limits.pressure import Rate
from vinom.fleet.gameserver.main import GameServerSettings
from vinom.net.dtls.admission import (
    COOKIE_LENGTH,
    Address,
    Admission,
    Admit,
    Answer,
    CookieKey,
    CookieKeys,
    Drop,
    StrangerPolicy,
    Verdict,
)
from vinom.net.dtls.records import NOT_ASSOCIATED
from vinom.node.settings import SOURCES

NAME = f"{LABEL}.{DOMAIN}".encode()
ANN: Address = ("192.0.2.1", 4000)


def make(**policy: Rate) -> Admission:
    """Admission of a game server that expects one player."""
    return expecting(StrangerPolicy(**policy))  # type: ignore[arg-type]  # those fit


def expecting(policy: StrangerPolicy) -> Admission:
    """Make the same with any limits."""
    admission = Admission(DOMAIN, BEGINNING, entropy=seeded(), policy=policy)
    admission.add_ticket(make_ticket())
    return admission


def knock(
    admission: Admission,
    name: bytes | None = NAME,
    address: Address = ANN,
    now: float = BEGINNING,
    random: bytes = b"r" * 32,
) -> Verdict:
    """Say hello, and hello again with the cookie."""
    asked = admission.judge(client_hello(name, random=random), address, now)
    assert isinstance(asked, Answer), asked
    cookie = cookie_in(asked.datagram)
    again = client_hello(name, cookie, random, record_number=1, message_number=1)
    return admission.judge(again, address, now)


class AdmissionTests(SynchronousTestCase):
    """From anybody's datagram to a handshake, or not."""

    def assert_admitted(self, verdict: Verdict) -> None:
        self.assertIsInstance(verdict, Admit)

    def test_ticket(self) -> None:
        """
        A player whose ticket was added gets in, and its ticket identifies it.
        """
        verdict = knock(make())
        assert isinstance(verdict, Admit)
        self.assertEqual(verdict.ticket, make_ticket())
        self.assertEqual(verdict.hello.random, b"r" * 32)

    def test_junk(self) -> None:
        """
        A datagram that isn't a ClientHello is dropped and counted.
        """
        admission = make()
        for datagram in (b"", b"\x17", b"GET / HTTP/1.1\r\n\r\n", b"\x16" * 13):
            self.assertEqual(admission.judge(datagram, ANN, BEGINNING), Drop("junk"))
        self.assertEqual(admission.outcomes["junk"], 4)

    def test_payload_of_nobody(self) -> None:
        """
        A payload of an association that does not exist is answered, so that a player
        of a process that was replaced comes back soon; the answer is shorter.
        """
        admission = make()
        record = b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\x20" + bytes(32)
        verdict = admission.judge(record, ANN, BEGINNING)
        self.assertEqual(verdict, Answer(NOT_ASSOCIATED, "not_associated"))
        self.assertLess(len(NOT_ASSOCIATED), len(record))
        for other in (record[:20], b"\x17\xfe\xff" + record[3:], record[:-1]):
            self.assertEqual(admission.judge(other, ANN, BEGINNING), Drop("junk"))
        self.assertEqual(admission.outcomes, {"not_associated": 1, "junk": 3})

    def test_bad_hello(self) -> None:
        """
        A hello that is cut, stretched or in fragments is dropped and counted.
        """
        admission = make()
        whole = client_hello(NAME)
        for datagram in (whole[:-1], whole + b"x", in_record(b"\xfe\xfd")):
            self.assertEqual(
                admission.judge(datagram, ANN, BEGINNING), Drop("bad_hello")
            )

    def test_cookie_is_asked_of_anybody(self) -> None:
        """
        The first hello is answered without looking at its ticket or remembering it; the
        answer has the record's number, or strict clients would drop it.
        """
        admission = make()
        for name in (NAME, b"z" * 26 + NAME[26:], None):
            hello = client_hello(name, record_number=77)
            answer = admission.judge(hello, ANN, BEGINNING)
            assert isinstance(answer, Answer)
            self.assertLess(len(answer.datagram), len(hello))
            self.assertEqual(int.from_bytes(answer.datagram[5:11]), 77)
        self.assertEqual(admission.outcomes["cookie_asked"], 3)

    def test_cookie_from_elsewhere(self) -> None:
        """
        A cookie is of no use to another address, port, family or hello, nor to one
        whose number OpenSSL could not continue from.
        """
        admission = make()
        asked = admission.judge(client_hello(NAME), ANN, BEGINNING)
        assert isinstance(asked, Answer)
        cookie = cookie_in(asked.datagram)
        hello = client_hello(NAME, cookie, message_number=1)
        for sent, address in (
            (hello, ("192.0.2.2", 4000)),
            (hello, ("192.0.2.1", 4001)),
            (hello, ("192.0.2.14", 0)),
            (hello, ("::ffff:192.0.2.1", 4000)),
            (client_hello(NAME, cookie, random=b"x" * 32, message_number=1), ANN),
            *((client_hello(NAME, cookie, message_number=n), ANN) for n in (0, 2, 3)),
        ):
            self.assertEqual(
                admission.judge(sent, address, BEGINNING), Drop("bad_cookie")
            )
        self.assert_admitted(admission.judge(hello, ANN, BEGINNING))

    def test_cookie_key_changes_meanwhile(self) -> None:
        """
        A player whose two hellos fall on both sides of a new key gets in.
        """
        admission = make()
        asked = admission.judge(client_hello(NAME), ANN, BEGINNING)
        assert isinstance(asked, Answer)
        hello = client_hello(NAME, cookie_in(asked.datagram), message_number=1)
        admission.rotate_cookies(BEGINNING)
        self.assert_admitted(admission.judge(hello, ANN, BEGINNING))
        late = BEGINNING + 900
        self.assertEqual(admission.judge(hello, ANN, late), Drop("bad_cookie"))

    def test_names(self) -> None:
        """
        A ticket counts under this server's own name only. Names are compared as DNS
        does, since some stacks change their case; a proven address without a ticket
        costs two look-ups.
        """
        admission = make()
        self.assert_admitted(knock(admission, NAME.upper()))
        other_ticket = b"z" * 26 + NAME[26:]
        self.assertEqual(knock(admission, other_ticket), Drop("unknown_ticket"))
        for name in (
            LABEL.encode(),
            DOMAIN.encode(),
            f"{LABEL}.s2.game.vinom".encode(),
            f"{LABEL}x.{DOMAIN}".encode(),
            f"{LABEL[:-1]}.{DOMAIN}".encode(),
            NAME + b".",
            b"\xff" * 40,
        ):
            self.assertEqual(knock(admission, name), Drop("unknown_server_name"))

    def test_expired_ticket(self) -> None:
        """
        An old ticket is refused, half a minute of clock skew allowed.
        """
        admission = make()
        self.assert_admitted(knock(admission, now=BEGINNING + 89.9))
        late = BEGINNING + 90
        self.assertEqual(knock(admission, now=late), Drop("expired_ticket"))
        self.assertEqual(admission.tickets, 0)
        self.assertEqual(knock(admission, now=late), Drop("unknown_ticket"))

    def test_match_over(self) -> None:
        """
        The tickets of a match go with it, and no others.
        """
        admission = make()
        other = "b" * 26
        admission.add_ticket(make_ticket(other, match_id="m2"))
        admission.remove_match("m1")
        admission.remove_match("never was")
        self.assertEqual(knock(admission), Drop("unknown_ticket"))
        self.assert_admitted(knock(admission, f"{other}.{DOMAIN}".encode()))

    def test_too_many_of_one_address(self) -> None:
        """
        An observer who replays a ticket gets a few handshakes, then one a while.
        """
        admission = make(tries=Rate(0.5, 3))
        for _ in range(3):
            self.assert_admitted(knock(admission))
        self.assertEqual(knock(admission), Drop("too_many_handshakes"))
        # Another port is the same source, and so is the address in IPv6's clothes.
        for address in ((ANN[0], 9), (f"::ffff:{ANN[0]}", 9)):
            verdict = knock(admission, address=address)
            self.assertEqual(verdict, Drop("too_many_handshakes"))
        self.assert_admitted(knock(admission, now=BEGINNING + 2))
        self.assertEqual(
            knock(admission, now=BEGINNING + 2), Drop("too_many_handshakes")
        )

    def test_never_per_ticket_alone(self) -> None:
        """
        An observer who spends its share locks nobody else out.
        """
        admission = make(tries=Rate(0.0, 1))
        for number in range(Admission.ADDRESSES * 3):
            self.assert_admitted(knock(admission, address=(f"10.0.0.{number}", 1)))
        self.assert_admitted(knock(admission))

    def test_memory_is_bounded(self) -> None:
        """
        However many addresses show a ticket, few are remembered.
        """
        admission = make()
        for number in range(200):
            knock(admission, address=(f"10.0.0.{number}", 1))
        (shown,) = admission._shown.values()
        self.assertEqual(len(shown.seat.tries), Admission.ADDRESSES)

    def test_ipv6_network_is_one(self) -> None:
        """
        The 2^64 addresses of one subscriber have one share, not each their own.
        """
        admission = make(tries=Rate(0.0, 1))
        self.assert_admitted(knock(admission, address=("2001:db8::1", 1)))
        self.assertEqual(
            knock(admission, address=("2001:db8::ffff:2", 1)),
            Drop("too_many_handshakes"),
        )
        self.assert_admitted(knock(admission, address=("2001:db8:0:1::1", 1)))

    def test_ipv6_networks_of_one_owner(self) -> None:
        """
        An owner of many networks, a /48, has four times the handshakes of one address,
        however many it moves through; others keep their own.
        """
        admission = make(handshakes=Rate(1.0, 10.0))

        def count(now: float) -> int:
            verdicts = [
                knock(admission, address=(f"2001:db8:1:{number:x}::1", 1), now=now)
                for number in range(200)
            ]
            return sum(isinstance(verdict, Admit) for verdict in verdicts)

        self.assertEqual(count(BEGINNING), 40)
        self.assertEqual(count(BEGINNING + 2), 8)
        self.assert_admitted(knock(admission, address=("2001:db8:2::1", 1)))
        verdict = knock(admission, address=ANN)
        assert isinstance(verdict, Admit)
        admission.give_back(verdict, ANN, BEGINNING)

    def test_many_tickets_of_a_seat(self) -> None:
        """
        A player who asks the lobby again and again gets in with its newest
        tickets, fills no memory, and takes nobody else's ticket away.
        """
        admission = make()
        labels = [f"{number:026d}" for number in range(50)]
        for label in labels:
            admission.add_ticket(make_ticket(label, seat=1))
        self.assertEqual(admission.tickets, 1 + Admission.TICKETS)
        self.assert_admitted(knock(admission))
        names = [f"{label}.{DOMAIN}".encode() for label in labels]
        for name in names[-Admission.TICKETS :]:
            self.assert_admitted(knock(admission, name))
        self.assertEqual(knock(admission, names[0]), Drop("unknown_ticket"))
        admission.remove_match("m1")
        self.assertEqual(admission.tickets, 0)

    def test_many_extensions(self) -> None:
        """
        Hundreds of extensions cost nothing before the sender has proven its
        address, and do not confuse anybody after that.
        """
        admission = make()
        crowd = b"".join(extension(kind, b"") for kind in range(40, 440))
        for end, verdict in ((b"cut", Drop("bad_hello")), (b"", None)):
            first = client_hello(extensions=crowd + end)
            asked = admission.judge(first, ANN, BEGINNING)
            assert isinstance(asked, Answer)
            cookie = cookie_in(asked.datagram)
            hello = client_hello(
                extensions=crowd + end, cookie=cookie, message_number=1
            )
            got = admission.judge(hello, ANN, BEGINNING)
            self.assertTrue(got == verdict if verdict else isinstance(got, Admit))

    def test_small_budget_without_server_name(self) -> None:
        """
        A client that cannot send a server name gets in, but only a few do.
        """
        admission = make(nameless=Rate(1.0, 2))
        for _ in range(2):
            verdict = knock(admission, None)
            assert isinstance(verdict, Admit)
            self.assertIsNone(verdict.ticket)
        self.assertEqual(knock(admission, None), Drop("no_server_name"))
        # Those with a ticket are not in their way, nor they in theirs.
        self.assert_admitted(knock(admission))
        self.assert_admitted(knock(admission, None, now=BEGINNING + 1))

    def test_nobody_without_server_name(self) -> None:
        """
        An operator may refuse all handshakes that name no session, also in a flood.
        """
        given = SOURCES.gather({"nameless_rate": "0"}, {})
        policy = GameServerSettings(control="", **given).limits().strangers
        admission = expecting(policy)
        self.assertEqual(knock(admission, None), Drop("no_server_name"))
        self.assertEqual(policy.tight.nameless.at_once, 0)
        self.assert_admitted(knock(admission))

    @given(st.binary(max_size=300), st.booleans())
    def test_anything(self, datagram: bytes, is_hello: bool) -> None:
        """
        No datagram does harm, and none is answered with more than it has.
        """
        if is_hello:
            datagram = in_record(datagram)
        verdict = make().judge(datagram, ANN, BEGINNING)
        if isinstance(verdict, Answer):
            self.assertLess(len(verdict.datagram), len(datagram))
        else:
            self.assertIsInstance(verdict, Drop)


class CookieKeysTests(SynchronousTestCase):
    """Proof of an address, without remembering it."""

    def setUp(self) -> None:
        self.keys = CookieKeys(1000.0, seeded(), period=100.0)

    def test_good_for_what_it_was_made_for(self) -> None:
        """
        A cookie is valid for its address and hello only; with one bit changed it is
        none.
        """
        cookie = self.keys.make(b"ann", 1000.0)
        self.assertEqual(len(cookie), COOKIE_LENGTH)
        self.assertTrue(self.keys.is_good(cookie, b"ann", 1001.0))
        self.assertFalse(self.keys.is_good(cookie, b"bob", 1001.0))
        for bit in range(8 * len(cookie)):
            forged = bytearray(cookie)
            forged[bit // 8] ^= 1 << bit % 8
            self.assertFalse(self.keys.is_good(bytes(forged), b"ann", 1000.0))

    @given(st.binary(max_size=64))
    def test_anything_else_is_bad(self, cookie: bytes) -> None:
        """
        Cookies of any length and content are looked at without harm.
        """
        self.assertFalse(CookieKeys(0.0, seeded()).is_good(cookie, b"ann", 0.0))

    def test_lifetime(self) -> None:
        """
        A key that changes between the two hellos hangs no client; but an observer
        cannot collect cookies for later, also if nobody else came meanwhile.
        """
        for made, good, bad in (
            (1099.0, [1100.0, 1199.0], 1200.0),
            (1000.0, [1100.0], 1200.0),
            (1000.0, [], 1200.0),
        ):
            self.setUp()
            cookie = self.keys.make(b"ann", made)
            for now in good:
                self.assertTrue(self.keys.is_good(cookie, b"ann", now))
            self.assertFalse(self.keys.is_good(cookie, b"ann", bad), (made, good))

    def test_keys_go_round(self) -> None:
        """
        Each period has another key, whose number, one byte, may begin again.
        """
        now, cookie = 1000.0, b""
        for _ in range(600):
            before, cookie = cookie, self.keys.make(b"ann", now)
            self.assertNotEqual(cookie, before)
            now += 100.0
            self.assertTrue(self.keys.is_good(cookie, b"ann", now))

    def test_rotated_by_hand(self) -> None:
        """
        New keys, however fast, hang no client that is between its two hellos.
        """
        cookies = []
        for _ in range(5):
            cookies.append(self.keys.make(b"ann", 1050.0))
            self.keys.rotate(1050.0)
        self.assertEqual(len({cookie[0] for cookie in cookies}), 5)
        for cookie in cookies:
            self.assertTrue(self.keys.is_good(cookie, b"ann", 1149.0))
        for cookie in cookies:
            self.assertFalse(self.keys.is_good(cookie, b"ann", 1150.0))

    def test_list(self) -> None:
        """
        Operators see every key whose cookies are valid, and until when.
        """
        self.assertEqual(self.keys.known(1001.0), [CookieKey(0, 1000.0, None)])
        self.keys.rotate(1050.0)
        self.assertEqual(
            self.keys.known(1149.0),
            [CookieKey(0, 1000.0, 1150.0), CookieKey(1, 1050.0, None)],
        )
        self.assertEqual(
            self.keys.known(1150.0),
            [CookieKey(1, 1050.0, 1250.0), CookieKey(2, 1150.0, None)],
        )

    def test_keeps_no_old_secrets(self) -> None:
        """
        An operator who rotates without end fills no memory.
        """
        for _ in range(1000):
            self.keys.rotate(1000.0)
        self.assertLessEqual(len(self.keys.known(1000.0)), 256)

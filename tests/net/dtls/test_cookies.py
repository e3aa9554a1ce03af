"""Tests of vinom.net.dtls.admission."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.dtls import seeded
from vinom.net.dtls.admission import COOKIE_LENGTH, CookieKey, CookieKeys


class CookieKeysTests(SynchronousTestCase):
    """Proof of an address, without remembering it."""

    def setUp(self) -> None:
        self.keys = CookieKeys(1000.0, seeded(), period=100.0)

    def test_good_for_what_it_was_made_for(self) -> None:
        """
        A cookie is valid for its address and hello only.
        """
        cookie = self.keys.make(b"ann", 1000.0)
        self.assertEqual(len(cookie), COOKIE_LENGTH)
        self.assertTrue(self.keys.is_good(cookie, b"ann", 1001.0))
        self.assertFalse(self.keys.is_good(cookie, b"bob", 1001.0))

    def test_every_byte_counts(self) -> None:
        """
        A cookie with one bit changed is none.
        """
        cookie = self.keys.make(b"ann", 1000.0)
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

    def test_survives_one_change_of_keys(self) -> None:
        """
        A key that changes between the two hellos does not hang a client.
        """
        cookie = self.keys.make(b"ann", 1099.0)
        self.assertTrue(self.keys.is_good(cookie, b"ann", 1100.0))
        self.assertNotEqual(self.keys.make(b"ann", 1100.0), cookie)
        self.assertTrue(self.keys.is_good(cookie, b"ann", 1199.0))

    def test_ends_with_the_second_change(self) -> None:
        """
        An observer cannot collect cookies for later.
        """
        cookie = self.keys.make(b"ann", 1000.0)
        self.assertTrue(self.keys.is_good(cookie, b"ann", 1100.0))
        self.assertFalse(self.keys.is_good(cookie, b"ann", 1200.0))

    def test_ends_when_nobody_came_meanwhile(self) -> None:
        """
        Two periods without any visitor make both keys old.
        """
        cookie = self.keys.make(b"ann", 1000.0)
        self.assertFalse(self.keys.is_good(cookie, b"ann", 1200.0))

    def test_keys_go_round(self) -> None:
        """
        The key's number, one byte, may begin again.
        """
        now = 1000.0
        for _ in range(600):
            cookie = self.keys.make(b"ann", now)
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

"""Users of requests, by their tokens."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.lobby.conversation.test_identity import NOW, token, verifier
from vinom.gateway.arrivals import Users


class UsersTests(SynchronousTestCase):
    def test_verified(self) -> None:
        """
        A user is what a claim of a good token says, by whatever name of the scheme.
        """
        good = token(level=7).encode()
        for claim, user in (("sub", "ann@x"), ("level", 7), ("other", None)):
            users = Users(verifier(), claim, lambda: NOW)
            for scheme in (b"Bearer", b"bearer"):
                self.assertEqual(users.of([scheme + b" " + good]), user)

    def test_not_verified(self) -> None:
        """
        A token that is expired, changed or not there, or a claim that names nobody or
        is no text that could be passed on, gives no user; and neither does more than
        one header.
        """
        now = NOW
        users = Users(verifier(), "sub", lambda: now)
        good = b"Bearer " + token().encode()
        self.assertEqual(users.of([good]), "ann@x")
        for given in (
            [],
            [good, good],
            [good[:-3]],
            [b"Basic " + good[7:]],
            [b"Bearer"],
            [b"Bearer \xff"],
        ):
            self.assertIsNone(users.of(given))
        for odd in (True, 1.5, "", None, ["a"], "x" * 256, "ann\ud800"):
            text = token(odd=odd).encode()
            found = Users(verifier(), "odd", lambda: now).of([b"Bearer " + text])
            self.assertIsNone(found)
        now = NOW + 10**6
        self.assertIsNone(users.of([good]))

    def test_cookie(self) -> None:
        """
        Without a bearer token a cookie proves the user, if a setting names it; a token
        that is changed, or two of the name, prove nothing.
        """
        good, other = token().encode(), token(sub="bob@x").encode()
        users = Users(verifier(), "sub", lambda: NOW, "id-token")
        for cookies, user in (
            ([b"id-token=" + good], "ann@x"),
            ([b'a=b; id-token="' + good + b'"; c'], "ann@x"),
            ([b"a=b", b" id-token = " + good], "ann@x"),
            ([b"id-token=" + good[:-3]], None),
            ([b"id-token=" + good + b"; id-token=" + other], None),
            ([b"ID-Token=" + good], None),
            ([b"id-token"], None),
            ([b"id-token=\xff"], None),
            ([], None),
        ):
            self.assertEqual(users.of([], cookies), user, cookies)
        cookie = [b"id-token=" + good]
        self.assertEqual(users.of([b"Basic x"], cookie), "ann@x")
        self.assertEqual(users.of([b"Bearer " + other], cookie), "bob@x")
        self.assertIsNone(users.of([b"Bearer " + other[:-3]], cookie))
        self.assertIsNone(Users(verifier(), "sub", lambda: NOW).of([], cookie))

"""Who players are, and how they prove it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec import json
from twisted.cred.checkers import (
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.lines.test_tcp import TCPTransport
from tests.support.lobbies import LobbyWorld
from vinom.errors import Code, Misconfigured, Refused
from vinom.lobby.conversation.identity import (
    Account,
    OutsideTokenChecker,
    OutsideVerifier,
)
from vinom.net.lines.tcp import LineFactory, Lines

KEY = ed25519.Ed25519PrivateKey.generate()
NOW = 1_000_000.0
CLAIMS = {"iss": "https://id.example", "aud": "vinom", "sub": "ann@x", "exp": NOW + 60}


def pem(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    return public


def token(key: Any = KEY, algorithm: str = "EdDSA", **claims: Any) -> str:
    facts = {k: v for k, v in (CLAIMS | claims).items() if v is not None}
    return jwt.encode(facts, key, algorithm)


def verifier(keys: bytes = b"") -> OutsideVerifier:
    return OutsideVerifier(keys or pem(KEY), "https://id.example", "vinom")


class OutsideVerifierTests(SynchronousTestCase):
    """Tokens of an outside provider."""

    def refuse(self, text: str, now: float = NOW) -> Refused:
        refusal = self.assertRaises(Refused, verifier(), text, now)
        self.assertEqual(refusal.code, Code.UNAUTHORIZED)
        return refusal

    def test_good(self) -> None:
        """
        The provider's word is taken, with one audience or several.
        """
        self.assertEqual(verifier()(token(), NOW), b"ann@x")
        self.assertEqual(verifier()(token(aud=["other", "vinom"]), NOW), b"ann@x")

    def test_times(self) -> None:
        """
        Expired and future tokens are refused, with half a minute of tolerance.
        """
        self.assertEqual(verifier()(token(), NOW + 89), b"ann@x")
        self.refuse(token(), NOW + 90)
        self.refuse(token(exp=None))
        self.refuse(token(exp="soon"))
        self.assertEqual(verifier()(token(nbf=NOW + 29), NOW), b"ann@x")
        self.refuse(token(nbf=NOW + 31))
        self.refuse(token(exp=10**400))
        self.refuse(token(exp=float("nan")))
        self.refuse(token(nbf=-(10**400)))

    def test_for_somebody_else(self) -> None:
        """
        A token of another issuer or audience, or without an account, is refused.
        """
        for claims in (
            {"iss": "https://evil.example"},
            {"iss": None},
            {"aud": "other"},
            {"aud": None},
            {"aud": ["vinom-not"]},
            {"sub": None},
            {"sub": ""},
            {"sub": "x" * 256},
        ):
            self.refuse(token(**claims))

    def test_forged(self) -> None:
        """
        Unsigned, wrongly signed and junk tokens are refused.
        """
        self.refuse(token(ed25519.Ed25519PrivateKey.generate()))
        self.refuse(jwt.encode(CLAIMS, None, "none"))
        self.refuse(jwt.encode(CLAIMS, "k" * 64, "HS256"))
        good = token()
        self.refuse(good[:-4] + "AAAA")
        for junk in ("", "x", "a.b.c", "..", "\udc80", good + ".x"):
            self.refuse(junk)

    def test_deep(self) -> None:
        """
        So are tokens with a header or claims nested deep, by each version of the
        library; no other keys would help.
        """
        deep = b64encode(b'{"a":' + b"[" * 5000).rstrip(b"=").decode()
        for junk in (f"{deep}.e30.AA", f"{token().partition('.')[0]}.{deep}.AA"):
            self.refuse(junk)
            self.assertTrue(verifier().has_key_of(junk))

    def test_other_keys(self) -> None:
        """
        Elliptic curve and RSA keys work, in PEM or as a key set with ids.
        """
        curve = ec.generate_private_key(ec.SECP256R1())
        old = rsa.generate_private_key(65537, 2048)
        both = verifier(pem(curve) + pem(old))
        self.assertEqual(both(token(curve, "ES256"), NOW), b"ann@x")
        self.assertEqual(both(token(old, "RS256"), NOW), b"ann@x")
        self.assertRaises(Refused, both, token(), NOW)
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        keys = json.encode({"keys": [jwk | {"kid": "a", "use": "sig"}]})
        self.assertEqual(verifier(keys)(token(), NOW), b"ann@x")
        named = jwt.encode(CLAIMS, KEY, "EdDSA", headers={"kid": "b"})
        self.assertRaises(Refused, verifier(keys), named, NOW)

    def test_unusable_keys(self) -> None:
        """
        A key file that cannot be used is named at the start.
        """
        private = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secret = json.encode({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})
        for text in (b"", b"junk", private, b'{"keys":[]}', b"{", secret):
            self.assertRaises(Misconfigured, OutsideVerifier, text or b" ", "i", "a")


class HelloProofTests(SynchronousTestCase):
    """Hellos with and without proof."""

    def say(self, world: LobbyWorld, host: str = "127.0.0.1", **data: Any) -> Any:
        line = world.line(host)
        said = line.ask("hello", protocol=1, **data)
        return said[0].get("error") or said[0]["data"]

    def world(self, **facts: Any) -> LobbyWorld:
        accounts = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret")
        checker = OutsideTokenChecker(verifier(), lambda: NOW)
        return LobbyWorld(checkers=[accounts, checker], **facts)

    def test_guests_from_elsewhere(self) -> None:
        """
        By default a stranger may play on this machine only.
        """
        for policy, host, code in (
            ("loopback", "192.0.2.1", "unauthorized"),
            ("loopback", "::1", None),
            ("no", "127.0.0.1", "unauthorized"),
            ("yes", "192.0.2.1", None),
        ):
            world = LobbyWorld(guests=policy)
            self.assertEqual(self.say(world, host, name="a").get("code"), code)

    def test_two_guests_of_one_name(self) -> None:
        """
        Guests may share a name and are two players.
        """
        world = LobbyWorld()
        ids = {self.say(world, name="ann")["player_id"] for _ in range(2)}
        self.assertEqual(len(ids), 2)

    def test_password(self) -> None:
        """
        An account is the same player each time, under any name, by strcred's means.
        """
        world = self.world(guests="no")
        proof = {"username": "ann", "password": "secret"}
        first = self.say(world, credentials=proof, name="Annie")
        again = self.say(world, credentials=proof)
        self.assertEqual(first["player_id"], again["player_id"])
        self.assertEqual(first["name"], "Annie")
        self.assertTrue(again["name"].startswith("player-"))
        self.assertNotIn("ann", first["player_id"][:3])
        self.assertNotEqual(first["player_key"], again["player_key"])
        wrong = self.say(world, credentials=proof | {"password": "x"})
        self.assertEqual(wrong["code"], "unauthorized")

    def test_two_password_files(self) -> None:
        """
        Two checkers of passwords are both asked; one that accepts is enough.
        """
        one = InMemoryUsernamePasswordDatabaseDontUse(ann=b"a")
        other = InMemoryUsernamePasswordDatabaseDontUse(bob=b"b")
        world = LobbyWorld(checkers=[one, other], guests="no")
        for name, word, code in (
            ("ann", "a", None),
            ("bob", "b", None),
            ("ann", "b", "unauthorized"),
            ("cid", "c", "unauthorized"),
        ):
            said = self.say(world, credentials={"username": name, "password": word})
            self.assertEqual(said.get("code"), code, name)

    def test_outside_token(self) -> None:
        """
        A provider's token is proof, and no other account's.
        """
        world = self.world(guests="no")
        player = self.say(world, credentials={"token": token()}, name="Ann")
        other = self.say(world, credentials={"token": token(sub="ann")})
        account = self.say(world, credentials={"username": "ann", "password": "secret"})
        ids = {p["player_id"] for p in (player, other, account)}
        self.assertEqual(len(ids), 3)
        late = self.say(world, credentials={"token": token(exp=NOW - 60)})
        self.assertEqual(
            (late["code"], late["message"]), ("unauthorized", "the token has expired")
        )

    def test_long_token(self) -> None:
        """
        A token of 7 KB, as of a provider that lists groups, is proof over a lobby line.
        """
        world = self.world(guests="no")
        groups = [f"group-{number:04}" for number in range(400)]
        port = LineFactory(Lines(world.requests.open, world.clock))
        line = port.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        transport = TCPTransport()
        line.makeConnection(transport)
        hello = {"protocol": 1, "credentials": {"token": token(groups=groups)}}
        line.dataReceived(json.encode({"type": "hello", "data": hello}) + b"\n")
        self.assertIn(b'"type":"welcome"', transport.value())
        line.dataReceived(b"x" * 2050)
        self.assertIn(b'"code":"too_long"', transport.value())

    def test_kinds_not_taken(self) -> None:
        """
        Credentials that this node has no use for are refused by name.
        """
        world = LobbyWorld()
        error = self.say(world, credentials={"token": "x"})
        self.assertEqual(error["code"], "unauthorized")
        for odd in ({}, {"token": "x", "more": "y"}, {"username": "x"}):
            error = self.say(world, credentials=odd)
            self.assertEqual(error["code"], "bad_field")
            self.assertEqual(error["details"], {"field": "data.credentials"})

    def test_guessing_is_slow(self) -> None:
        """
        An address that fails too often must wait; others, and its /64, as one.
        """
        world = self.world(guests="no")
        proof = {"username": "ann", "password": "guess"}
        codes = [
            self.say(world, f"2001:db8::{n}", credentials=proof)["code"]
            for n in range(1, 23)
        ]
        self.assertEqual(codes[:20], ["unauthorized"] * 20)
        self.assertEqual(codes[20:], ["rate_limited"] * 2)
        right = proof | {"password": "secret"}
        self.assertEqual(
            self.say(world, "2001:db8::1", credentials=right)["code"], "rate_limited"
        )
        self.assertIn("player_id", self.say(world, "192.0.2.1", credentials=right))
        world.clock.advance(2.0)
        self.assertIn("player_id", self.say(world, "2001:db8::1", credentials=right))

    def test_beside_somebody_who_guesses(self) -> None:
        """
        Wrong keys and passwords of one neighbour keep nobody out who has a key, or
        needs none; and wrong keys without end are refused unseen.
        """
        world = self.world()
        key = self.say(world, "127.0.0.1", name="ann")["player_key"]
        wrong = [
            self.say(world, "127.0.0.1", player_key=f"guess {n}")["code"]
            for n in range(150)
        ]
        self.assertEqual(set(wrong), {"unknown_player_key"})
        self.assertIn("player_id", self.say(world, "127.0.0.1", player_key=key))
        self.assertIn("player_id", self.say(world, "127.0.0.1", name="bob"))
        for n in range(60):
            wrong.append(self.say(world, "127.0.0.1", player_key=f"more {n}")["code"])
        self.assertEqual(wrong[-1], "rate_limited")
        self.assertIn("player_id", self.say(world, "127.0.0.1", name="cid"))

    def test_tokens_beside_a_liar(self) -> None:
        """
        A good token is taken whatever a neighbour sends; wrong ones must wait.
        """
        world = self.world(guests="no")
        wrong = [
            self.say(world, "192.0.2.1", credentials={"token": "x"})["code"]
            for _ in range(40)
        ]
        self.assertEqual(wrong[:20], ["unauthorized"] * 20)
        self.assertEqual(wrong[20:], ["rate_limited"] * 20)
        for _ in range(10):
            said = self.say(world, "192.0.2.1", credentials={"token": token()})
            self.assertIn("player_id", said)

    def test_guessing_from_everywhere_is_slow(self) -> None:
        """
        An account takes a hundred wrong passwords from however many addresses, and
        then one a second; its owner comes in from where it was before, and others
        from anywhere.
        """
        accounts = InMemoryUsernamePasswordDatabaseDontUse(ann=b"a", bob=b"b")
        world = LobbyWorld(checkers=[accounts], guests="no")
        ann = {"username": "ann", "password": "a"}
        self.assertIn("player_id", self.say(world, "192.0.2.1", credentials=ann))
        guess = {"username": "ann", "password": "guess"}
        codes = [
            self.say(world, f"203.0.113.{n}", credentials=guess)["code"]
            for n in range(110)
        ]
        self.assertEqual(codes.count("unauthorized"), 100)
        self.assertEqual(codes[100:], ["rate_limited"] * 10)
        self.assertIn("player_id", self.say(world, "192.0.2.1", credentials=ann))
        bob = {"username": "bob", "password": "b"}
        self.assertIn("player_id", self.say(world, "203.0.113.1", credentials=bob))
        # A neighbour who guesses keeps out nobody who was here before.
        for _ in range(40):
            self.say(world, "192.0.2.1", credentials=bob | {"password": "x"})
        self.assertIn("player_id", self.say(world, "192.0.2.1", credentials=ann))

    def test_key_lives_with_its_use(self) -> None:
        """
        A key works as long as it is used now and then.
        """
        world = LobbyWorld()
        key = self.say(world, name="ann")["player_key"]
        for _ in range(3):
            world.clock.advance(5 * 3600)
            self.assertEqual(self.say(world, player_key=key)["player_key"], key)
        world.clock.advance(6 * 3600)
        self.assertEqual(self.say(world, player_key=key)["code"], "unknown_player_key")


class VouchedTests(SynchronousTestCase):
    """What a provider's token says about a player."""

    def queued(self, world: LobbyWorld, name: str | None, /, **claims: Any) -> Any:
        """Say hello with a token, and queue; returns the welcome."""
        line = world.line()
        proof = {"credentials": {"token": token(**claims)}}
        said = line.ask(
            "hello", protocol=1, **proof, **({"name": name} if name else {})
        )
        if said[0]["type"] == "welcome":
            line.ask("queue", game="duel")
            return said[0]["data"]
        return said[0]["error"]

    def world(self, **facts: Any) -> LobbyWorld:
        checker = OutsideTokenChecker(verifier(), lambda: NOW)
        return LobbyWorld(checkers=[checker], **facts)

    def test_claims_reach_the_match(self) -> None:
        """
        A match has the claims that the settings name, and no other; a guest has none.
        """
        world = self.world(claims=("rank", "clan"))
        ann = self.queued(world, "Ann", rank=7, clan=None, email="ann@example.org")
        world.queued("bob", "duel")
        world.clock.advance(0)
        ann_plan, bob_plan = world.fleet.hosted[0].plan.seats
        self.assertEqual(ann_plan.player_id, ann["player_id"])
        self.assertEqual(ann_plan.claims, b'{"rank":7}')
        self.assertEqual(bob_plan.claims, b"{}")
        self.assertNotIn("rank", repr(ann_plan))

    def test_claims_come_back_with_the_key(self) -> None:
        """
        A player who comes back with a key still has the claims of the token.
        """
        world = self.world(claims=("rank",))
        line = world.line()
        said = line.ask("hello", protocol=1, credentials={"token": token(rank=[1, 2])})
        line.hang_up()
        again, _ = world.back(said[0]["data"]["player_key"])
        again.ask("queue", game="duel")
        world.queued("bob", "duel")
        world.clock.advance(0)
        self.assertEqual(world.fleet.hosted[0].plan.seats[0].claims, b'{"rank":[1,2]}')

    def test_no_claims_unless_named(self) -> None:
        """
        Without settings nothing of a token but its account is used.
        """
        world = self.world()
        self.queued(world, "Ann", rank=7, name="Somebody")
        world.queued("bob", "duel")
        world.clock.advance(0)
        seat = world.fleet.hosted[0].plan.seats[0]
        self.assertEqual((seat.name, seat.claims), ("Ann", b"{}"))

    def test_long_claims(self) -> None:
        """
        Claims that are too long are refused by name, rather than cut or left out.
        """
        world = self.world(claims=("rank", "bio"))
        refused = self.queued(world, None, bio="x" * 1100, rank=1)
        self.assertEqual(refused["code"], "bad_field")
        self.assertIn("bio, rank are 1119 bytes", refused["message"])
        deep: Any = 1
        for _ in range(9):
            deep = [deep]
        for value in (deep, 1 << 70, float("inf"), "\ud800"):
            refused = self.queued(world, None, bio=value)
            self.assertEqual(refused["code"], "bad_field", value)

    def test_name_of_the_provider(self) -> None:
        """
        Where a claim has the names, nobody can choose another one's.
        """
        world = self.world(name_claim="nick")
        for claim, shown in (
            ("  Ann   B. ", "Ann B."),
            ("x" * 40, "x" * 32),
            ("a" * 31 + " bc", "a" * 31),
        ):
            told = self.queued(world, "Zoe", sub="a", nick=claim)
            self.assertEqual(told["name"], shown)
        for claim in (None, 7, "", "\u202eevil", "\u3164", ["Ann"]):
            told = self.queued(world, "Zoe", sub="a", nick=claim)
            self.assertEqual(told["name"], f"player-{told['player_id'][:6]}")

    def test_checker_of_ones_own(self) -> None:
        """
        A checker of names and passwords may vouch for claims, too.
        """

        @implementer(ICredentialsChecker)
        class Checker:
            credentialInterfaces = (IUsernamePassword,)

            def requestAvatarId(self, credentials: Any) -> Any:
                return succeed(Account(credentials.username, {"rank": 3, "x": 1}))

        world = LobbyWorld(checkers=[Checker()], claims=("rank",))
        line = world.line()
        proof = {"username": "ann", "password": "secret"}
        line.ask("hello", protocol=1, credentials=proof)
        line.ask("queue", game="duel")
        world.queued("bob", "duel")
        world.clock.advance(0)
        self.assertEqual(world.fleet.hosted[0].plan.seats[0].claims, b'{"rank":3}')

"""Tests of vinom.base.tokens: signed proofs of seats."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import attrs
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf, signing_key
from vinom.base.tokens import LONGEST_TOKEN, Claims, TokenSigner, TokenVerifier
from vinom.errors import Code, Misconfigured, Refused

NOW = 1_000_000.0
CLAIMS = Claims(
    realm="game.vinom",
    match_id="m1",
    player_id="p1",
    seat=2,
    expires_at=NOW + 60,
    token_id="t1",
)
PAYLOAD = {
    "iss": "game.vinom",
    "sub": "p1",
    "jti": "t1",
    "exp": 1_000_060,
    "match": "m1",
    "seat": 2,
}
HEADER = {"kid": "k1", "typ": "vinom-connect+jwt"}


def forge(payload: object, header: dict[str, Any] | None = None) -> str:
    """A token that our own key signed, with any payload."""
    private = load_pem_private_key(signing_key("k1")[0], None)
    return jwt.PyJWS().encode(
        json.dumps(payload).encode(),
        private,  # type: ignore[arg-type]  # it is an Ed25519 key
        algorithm="EdDSA",
        headers=HEADER if header is None else header,
    )


class TokenTests(SynchronousTestCase):
    """Tokens between their signer and any number of verifiers."""

    #: What the verifier has been shown before.
    shown: tuple[Claims, ...] = ()

    def setUp(self) -> None:
        self.signer = TokenSigner("k1", signing_key("k1")[0])
        self.verifier = TokenVerifier({"k1": signing_key("k1")[1]}, "game.vinom")
        for claims in self.shown:
            self.verifier.verify(self.signer.sign(claims), NOW)

    def assert_refused(self, token: str, code: Code, now: float = NOW) -> None:
        refused = self.assertRaises(Refused, self.verifier.verify, token, now)
        self.assertEqual(refused.code, code)

    def test_round_trip(self) -> None:
        """
        A player's seat is what the lobby promised.
        """
        self.assertEqual(self.verifier.verify(self.signer.sign(CLAIMS), NOW), CLAIMS)

    def test_is_short(self) -> None:
        """
        The longest claims still make a token that a JOIN in one datagram carries.
        """
        longest = Claims(
            "r" * 253, "m" * 64, "p" * 64, 255, expires_at=1e11, token_id="t" * 64
        )
        self.assertLess(len(self.signer.sign(longest)), LONGEST_TOKEN)
        self.assertLess(len(self.signer.sign(CLAIMS)), 300)

    def test_layout(self) -> None:
        """
        Anybody's JWT library finds what the protocol page promises.
        """
        header, payload, _ = self.signer.sign(CLAIMS).split(".")
        self.assertEqual(
            json.loads(urlsafe_b64decode(header + "==")), HEADER | {"alg": "EdDSA"}
        )
        self.assertEqual(json.loads(urlsafe_b64decode(payload + "==")), PAYLOAD)

    def test_expiry(self) -> None:
        """
        An expired token is distinguished from an invalid one, so that a client asks for
        another. A signer whose clock is half a minute behind still gets its players in,
        and whole seconds on the wire never shorten a token's life.
        """
        token = self.signer.sign(CLAIMS)
        self.assertEqual(self.verifier.verify(token, NOW + 89.9), CLAIMS)
        self.assert_refused(token, Code.TOKEN_EXPIRED, NOW + 90)
        exact = TokenVerifier({"k1": signing_key("k1")[1]}, "game.vinom", leeway=0.0)
        self.assertEqual(exact.verify(token, NOW + 59.9), CLAIMS)
        self.assertRaises(Refused, exact.verify, token, NOW + 60)
        token = self.signer.sign(attrs.evolve(CLAIMS, expires_at=NOW + 0.25))
        self.assertEqual(self.verifier.verify(token, NOW).expires_at, NOW + 1)

    def test_two_keys_while_they_change(self) -> None:
        """
        Tokens of the old key stay valid while the new one signs.
        """
        keys = {name: signing_key(name)[1] for name in ("k1", "k2")}
        verifier = TokenVerifier(keys, "game.vinom")
        for name in keys:
            token = TokenSigner(name, signing_key(name)[0]).sign(CLAIMS)
            self.assertEqual(verifier.verify(token, NOW), CLAIMS)

    def test_others(self) -> None:
        """
        A token of an unknown key, with any key id, is refused; so is one of another
        deployment with our keys, and a JWT that our key signed for something else.
        """
        other = signing_key("other")[0]
        for token in (
            *(TokenSigner(name, other).sign(CLAIMS) for name in ("k1", "other")),
            self.signer.sign(attrs.evolve(CLAIMS, realm="other.vinom")),
            forge(PAYLOAD, {"kid": "k1"}),
            forge(PAYLOAD, {"kid": "k1", "typ": "at+jwt"}),
        ):
            self.assert_refused(token, Code.BAD_TOKEN)

    def test_other_algorithms(self) -> None:
        """
        Nothing in the header is believed: no ``none``, no public key as secret.
        """
        payload = json.dumps(PAYLOAD).encode()
        unsigned = jwt.PyJWS().encode(payload, "", algorithm="none", headers=HEADER)
        self.assert_refused(unsigned, Code.BAD_TOKEN)
        secret = signing_key("k1")[1].replace(b"-", b"")
        hashed = jwt.PyJWS().encode(payload, secret, algorithm="HS256", headers=HEADER)
        self.assert_refused(hashed, Code.BAD_TOKEN)

    def test_header_oddities(self) -> None:
        """
        Headers that are JSON but not ours are refused, never an accident.
        """
        for head in (
            [],
            {},
            {"alg": "EdDSA", "typ": HEADER["typ"], "kid": 1},
            {"alg": "EdDSA", "typ": HEADER["typ"], "kid": None},
            {"alg": "EdDSA", "typ": HEADER["typ"], "kid": ["k1"]},
            {"alg": "EdDSA", "typ": HEADER["typ"]},
        ):
            encoded = urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=")
            _, rest = self.signer.sign(CLAIMS).split(".", 1)
            self.assert_refused(f"{encoded.decode()}.{rest}", Code.BAD_TOKEN)

    def test_each_field(self) -> None:
        """
        Each claim has to be there, of its type and in its range.
        """
        self.assertEqual(self.verifier.verify(forge(PAYLOAD), NOW), CLAIMS)
        wrong: dict[str, list[object]] = {
            "iss": ["", "r" * 254, 1, None],
            "sub": ["", "p" * 65, 1, None],
            "jti": ["", "t" * 65, 1, None],
            "exp": [-1, "1000060", 1.5, None],
            "match": ["", "m" * 65, 1, None],
            "seat": [-1, 256, "2", 1.5, True, None],
            "more": [1],
        }
        for name, values in wrong.items():
            for value in values:
                self.assert_refused(forge(PAYLOAD | {name: value}), Code.BAD_TOKEN)
            if name in PAYLOAD:
                less = {key: PAYLOAD[key] for key in PAYLOAD if key != name}
                self.assert_refused(forge(less), Code.BAD_TOKEN)
        self.assert_refused(forge([PAYLOAD]), Code.BAD_TOKEN)

    def test_every_changed_character(self) -> None:
        """
        A token that was tampered with anywhere is refused, and so is a part of one; a
        very long one is not even looked at.
        """
        token = self.signer.sign(CLAIMS)
        # The last character holds bits that mean nothing.
        for place in range(len(token) - 1):
            other = "A" if token[place] != "A" else "B"
            changed = token[:place] + other + token[place + 1 :]
            self.assert_refused(changed, Code.BAD_TOKEN)
        for end in range(len(token)):
            self.assert_refused(token[:end], Code.BAD_TOKEN)
        self.assert_refused("x" * (LONGEST_TOKEN + 1), Code.BAD_TOKEN)

    def test_after_a_good_one(self) -> None:
        """
        A player's valid token makes no other token valid.
        """
        good = self.signer.sign(CLAIMS)
        self.verifier.verify(good, NOW)
        self.assertEqual(self.verifier.verify(good, NOW), CLAIMS)
        header, _, signature = good.split(".")
        stranger = TokenSigner("k1", signing_key("k2")[0]).sign(CLAIMS)
        self.assertEqual(stranger.partition(".")[0], header)
        _, payload, other = self.signer.sign(attrs.evolve(CLAIMS, seat=1)).split(".")
        for bad in (
            *(stranger, f"{header}.{payload}.{signature}", header, f"{header}.."),
            *(good + "=", good + "\n", good[:-2] + "\xe4" + good[-2:]),
            *(good[:-4] + "+/+/", f"{good}.{other}"),
        ):
            self.assert_refused(bad, Code.BAD_TOKEN)
        self.assert_refused(good, Code.TOKEN_EXPIRED, NOW + 1000)

    def test_not_a_key(self) -> None:
        """
        An operator gets an error that names the invalid key, before anybody plays.
        """
        other = leaf().key
        for bad in (b"", b"no key", other, signing_key()[1]):
            error = self.assertRaises(Misconfigured, TokenSigner, "k9", bad)
            self.assertIn("k9", str(error))
        certificate = leaf().certificate
        for bad in (b"", b"no key", other, certificate, signing_key()[0]):
            error = self.assertRaises(
                Misconfigured, TokenVerifier, {"k9": bad}, "game.vinom"
            )
            self.assertIn("k9", str(error))


class LaterTokenTests(TokenTests):
    """The same by a verifier that has seen a valid token, and so the header."""

    shown = (CLAIMS,)


class AnyTextTests(SynchronousTestCase):
    """Texts that aren't tokens."""

    @given(st.text(max_size=1000))
    def test_anything(self, text: str) -> None:
        """
        No text makes the verifier fail in another way, nor does any after the header of
        a valid token.
        """
        good = TokenSigner("k1", signing_key("k1")[0]).sign(CLAIMS)
        verifier = TokenVerifier({"k1": signing_key("k1")[1]}, "game.vinom")
        verifier.verify(good, NOW)
        for token in (text, good.partition(".")[0] + "." + text):
            refused = self.assertRaises(Refused, verifier.verify, token, NOW)
            self.assertEqual(refused.code, Code.BAD_TOKEN)

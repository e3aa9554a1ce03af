"""What the measurement of attacks reports, on values."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.attacks import ATTACKS, answered, expired, foreign, forged, with_tokens
from vinom.base.tokens import Claims, TokenVerifier
from vinom.errors import Refused
from vinom.net.keys.tokens import TokenKeyring

REALM = "game.vinom"


class WindowTests(SynchronousTestCase):
    """One window of a measurement."""

    def test_nothing_answered(self) -> None:
        """
        A server that answers nothing in a window is not counted as fast.
        """
        still = answered({"done_s": 0, "p99_us": 0}, 2.0)
        self.assertEqual(still["p99_us"], 2_000_000)

    def test_answered(self) -> None:
        """
        Any other window is what the players saw.
        """
        result = {"done_s": 1900.5, "p99_us": 4000}
        self.assertEqual(answered(result, 2.0), result)


class TokenTests(SynchronousTestCase):
    """What attackers show in place of a player's token."""

    def setUp(self) -> None:
        state = Path(self.mktemp())
        folder = state / "authority" / "tokens"
        folder.mkdir(parents=True)
        keys = TokenKeyring.open(folder, 1e9)
        self.node: Any = SimpleNamespace(state_dir=state)
        self.verifier = TokenVerifier(keys.public(), REALM)
        self.token = keys.sign(Claims(REALM, "m1", "ann", 2, 4e9, "t1"))

    def code(self, token: str) -> str:
        return self.assertRaises(Refused, self.verifier.verify, token, 2e9).code

    def test_expired(self) -> None:
        """
        An expired one is the node's own in everything else, so that its signature
        is looked at.
        """
        token = expired(self.node)(self.token)
        self.assertEqual(self.code(token), "token_expired")
        claims = self.verifier.verify(token, 1e9)
        self.assertEqual((claims.match_id, claims.player_id), ("m1", "ann"))
        self.assertEqual((claims.seat, claims.token_id), (2, "t1"))

    def test_forged(self) -> None:
        """
        A forged one has the same claims, but a wrong signature.
        """
        token = forged(self.token)
        self.assertEqual(token.split(".")[:2], self.token.split(".")[:2])
        self.assertEqual(self.code(token), "bad_token")

    def test_foreign(self) -> None:
        """
        One of another match is valid, for a player of the next match.
        """
        seats = Path(self.mktemp())
        seats.write_text("".join(f"127.0.0.1 46000 s{n} t{n}\n" for n in range(12)))
        other = foreign(seats)
        self.assertEqual([other("t0"), other("t7"), other("t8")], ["t4", "t11", "t0"])

    def test_seats(self) -> None:
        """
        Attackers go where the players go.
        """
        seats, other = Path(self.mktemp()), Path(self.mktemp())
        seats.write_text("127.0.0.1 46000 s1.game.vinom one\n::1 46001 s2 two\n")
        with_tokens(seats, other, str.upper)
        self.assertEqual(
            other.read_text().splitlines(),
            ["127.0.0.1 46000 s1.game.vinom ONE", "::1 46001 s2 TWO"],
        )


class AttackTests(SynchronousTestCase):
    """The list."""

    def test_tickets_are_good(self) -> None:
        """
        Attacks that need good tickets come before these expire, the one with an
        expired ticket after all others.
        """
        needs = [
            attack.by == "knock" or attack.kind in ("observed", "corrupt", "announced")
            for attack in ATTACKS
        ]
        self.assertEqual(needs, sorted(needs, reverse=True))
        self.assertEqual(ATTACKS[-1].kind, "expired")
        self.assertEqual(len({attack.name for attack in ATTACKS}), len(ATTACKS))

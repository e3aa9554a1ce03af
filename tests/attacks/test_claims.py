"""Claims that nobody vouched for: a player can't make its own."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.trial.unittest import SynchronousTestCase

from tests.lobby.conversation.test_identity import NOW, token, verifier
from tests.support.lobbies import LobbyWorld
from vinom.lobby.conversation.identity import OutsideTokenChecker


class ForgedClaimsTests(SynchronousTestCase):
    """What a player says of itself, where the settings name a claim ``rank``."""

    def setUp(self) -> None:
        checker = OutsideTokenChecker(verifier(), lambda: NOW)
        self.world = LobbyWorld(checkers=[checker], guests="yes", claims=("rank",))

    def error_of(self, said: list[dict[str, Any]]) -> str:
        """Take the code of a refusal."""
        (refused,) = said
        return str(refused["error"]["code"])

    def claims(self) -> list[bytes]:
        """Start the match of those who wait; gives what the game learns."""
        self.world.queued("bob", "duel")
        self.world.clock.advance(0)
        return [seat.claims for seat in self.world.fleet.hosted[0].plan.seats]

    def test_fields_of_requests(self) -> None:
        """
        No request of a player has a field for claims; who sends one is refused, and
        plays without.
        """
        mallory = {"rank": 9}
        for more in ({"claims": mallory}, {"rank": 9}, mallory | {"team": 1}):
            line = self.world.line()
            said = line.ask("hello", protocol=1, name="mallory", **more)
            self.assertEqual(self.error_of(said), "bad_field")
        line, _ = self.world.hello("mallory")
        for more in ({"claims": mallory}, {"rank": 9}, {"team": 1}):
            for kind in ("queue", "join_room"):
                said = line.ask(kind, game="duel", **more)
                self.assertEqual(self.error_of(said), "bad_field", (kind, more))
        line.ask("queue", game="duel")
        self.assertEqual(self.claims(), [b"{}", b"{}"])

    def test_tokens_of_others(self) -> None:
        """
        A token that another key signed, that nobody did, or that was made for another
        server gives neither claims nor a name.
        """
        good = token(rank=9)
        head, body, signature = good.split(".")
        other = ed25519.Ed25519PrivateKey.generate()
        for forged in (
            token(other, rank=9),
            token("s" * 32, "HS256", rank=9),
            token(None, "none", rank=9),
            token(rank=9, aud="another game"),
            token(rank=9, exp=NOW - 3600),
            f"{head}.{token(rank=10).split('.')[1]}.{signature}",
            f"{head}.{body}.",
        ):
            line = self.world.line()
            said = line.ask("hello", protocol=1, credentials={"token": forged})
            self.assertEqual(self.error_of(said), "unauthorized", forged)

    def test_guest_beside_an_account(self) -> None:
        """
        The name of somebody who has claims brings a guest none of them.
        """
        line = self.world.line()
        proof = {"token": token(rank=7)}
        line.ask("hello", protocol=1, name="bob", credentials=proof)
        line.ask("queue", game="duel")
        self.assertEqual(self.claims(), [b'{"rank":7}', b"{}"])

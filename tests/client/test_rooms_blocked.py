"""What a match sends to those who play it by way of the lobby, when lines break."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.test_blocked import Player
from tests.support.games import Teller
from tests.support.whole import WholeWorld


class BlockedNewsTests(SynchronousTestCase):
    """Each message is delivered once, whenever the line broke."""

    def setUp(self) -> None:
        self.world = WholeWorld({Teller.name: Teller()})
        self.ann, self.bob = (
            Player(self.world, name, "lobby") for name in ("ann", "bob")
        )
        self.run_for(9.0)
        self.match = self.ann.match

    def run_for(self, seconds: float) -> None:
        self.world.run(lambda: False, seconds)

    def line(self) -> Any:
        """Ann's line."""
        ours = self.match._seat.line._line
        return next(n for n in self.world.endpoint.lines if n.client is ours)

    def lose_states(self) -> None:
        """Let no state arrive over the line that there is."""
        client = self.line().client
        receive = client.dataReceived

        def without_states(data: bytes) -> None:
            lines = data.splitlines(keepends=True)
            receive(b"".join(one for one in lines if b'"game_state"' not in one))

        client.dataReceived = without_states

    def break_line(self) -> None:
        joins = self.match.joins
        self.line().end()
        self.run_for(2.0)
        self.assertEqual(joins + 1, self.match.joins)

    def test_state_did_not_arrive(self) -> None:
        """
        An event whose state was under way when the line broke is delivered, though the
        round's end after it had arrived.
        """
        self.bob.say("tell")
        self.run_for(0.5)
        self.assertEqual(["told"], self.ann.events)
        self.lose_states()
        self.bob.say("tell")
        self.bob.say("end")
        self.run_for(0.5)
        self.assertIsNotNone(self.match.outcome)
        self.assertEqual(["told"], self.ann.events)
        self.break_line()
        self.assertEqual(["told"] * 2, self.ann.events)

    def test_secret_was_used_up(self) -> None:
        """
        If the answer with a new secret got lost, the player's key works; and still
        nothing is delivered twice.
        """
        self.bob.say("tell")
        self.run_for(0.5)
        self.match._seat._line_seat.news.resume = "A" * 32
        self.break_line()
        self.bob.say("tell")
        self.run_for(0.5)
        self.assertEqual(["told"] * 2, self.ann.events)

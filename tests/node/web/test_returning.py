"""A client of `vinom.js` that comes back to its room, or finds out that it must."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class ReturningTests(SynchronousTestCase):
    def play(self, scene: str) -> Any:
        """Run a scene of ``returning.mjs``."""
        return run_script("returning.mjs", scene)

    def test_clock_set_back(self) -> None:
        """
        A connection that died silently is noticed within half a minute, whatever
        happens to the time of day meanwhile.
        """
        self.assertGreater(self.play("clock_set_back")["sockets"], 1)

    def test_bare_socket(self) -> None:
        """
        A WebSocket class without ``addEventListener`` keeps its connection.
        """
        found = self.play("bare_socket")
        self.assertEqual(found, {"sockets": 1, "status": "online"})

    def test_lost_answer(self) -> None:
        """
        If the answer to a reconnect never comes the client is back in its room all the
        same.
        """
        found = self.play("lost_answer")
        self.assertEqual(found, {"status": "online", "closed": None, "isBack": True})

    def test_refused_for_a_moment(self) -> None:
        """
        A refusal that passes, of any step on the way back, costs no place.
        """
        found = self.play("refused_for_a_moment")
        self.assertIsNone(found["closed"], found)
        self.assertEqual(found["sockets"], 3)

    def test_ended(self) -> None:
        """
        A client never opens another game in place of its own, and learns how that
        ended.
        """
        self.assertEqual(self.play("ended"), {"closed": "finished", "create": False})

    def test_many_actions(self) -> None:
        """
        While there is no connection at most 64 actions of a room wait for the next one;
        the player's program learns that of the others.
        """
        self.assertEqual(
            self.play("many_actions"),
            {"codes": ["rate_limited"], "refused": 36, "sent": 64},
        )

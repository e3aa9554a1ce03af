"""A client of `vinom.js` whose match is on a busy game server."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class BusyTests(SynchronousTestCase):
    def queue(self, *answers: str) -> Any:
        """Queue; joins get *answers*. Returns the matches asked for and the result."""
        found = run_script("busy.mjs", {"chance": 0.0, "answers": answers})
        return found["asked"], found["result"]

    def test_comes_later(self) -> None:
        """
        A client that queued and is answered "busy" tries again by itself, and gets its
        seat.
        """
        self.assertEqual(self.queue("busy", "busy", "seat"), (["m1"] * 3, "m1"))

    def test_many_come_later(self) -> None:
        """
        Of many clients with this answer some wait longer, so that they do not all
        return at once.
        """
        asked = {"chance": 1.0, "answers": ["busy", "seat"]}
        self.assertEqual(run_script("busy.mjs", asked)["pauses"], [30])
        asked["chance"] = 0.5
        self.assertEqual(run_script("busy.mjs", asked)["pauses"], [25])

    def test_match_is_void(self) -> None:
        """
        If that match is void in the meantime, and the player waits for another one, it
        gets the other one.
        """
        asked, result = self.queue("busy void", "no_such_room found", "seat")
        self.assertEqual((asked, result), (["m1", "m1", "m2"], "m2"))

    def test_other_match_is_sooner(self) -> None:
        """
        The other match may be found before the server reports that the first is gone.
        """
        asked, result = self.queue("busy void", "found no_such_room", "seat")
        self.assertEqual((asked, result), (["m1", "m1", "m2"], "m2"))

    def test_match_is_over(self) -> None:
        """
        If the match is over in the meantime, the promise fails, and nothing more is
        asked.
        """
        found = self.queue("busy crashed", "no_such_room")
        self.assertEqual(found, (["m1", "m1"], "no_such_room"))

    def test_refused(self) -> None:
        """
        After any other refusal the client does not try again.
        """
        self.assertEqual(self.queue("not_seated"), (["m1"], "not_seated"))

    def test_connection_is_lost(self) -> None:
        """
        With the next connection the server sends the match again, and the client asks
        for its seat once.
        """
        self.assertEqual(self.queue("busy lost", "late"), (["m1"] * 2, "m1"))

    def test_other_wish(self) -> None:
        """
        A player who leaves the queue and queues for another game does not get into the
        old match.
        """
        asked, result = self.queue("busy void cancel", "seat")
        self.assertEqual((asked, result), (["m1", "m2"], "m2"))

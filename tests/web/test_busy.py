"""A client of `vinom.js` whose match is on a game server with too much to do."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class BusyTests(SynchronousTestCase):
    def told(self, *answers: str) -> Any:
        """Queue, and have joins end so; gives what was asked and the result."""
        told = run_script("busy.mjs", {"chance": 0.0, "answers": answers})
        return told["asked"], told["result"]

    def test_comes_later(self) -> None:
        """
        A client that is sent away for a while comes again by itself, and has its seat.
        """
        self.assertEqual(self.told("busy", "busy", "seat"), (["m1"] * 3, "m1"))

    def test_many_come_later(self) -> None:
        """
        Of many sent away, some wait longer, so that not all come at once.
        """
        asked = {"chance": 1.0, "answers": ["busy", "seat"]}
        self.assertEqual(run_script("busy.mjs", asked)["pauses"], [30])
        asked["chance"] = 0.5
        self.assertEqual(run_script("busy.mjs", asked)["pauses"], [25])

    def test_match_is_void(self) -> None:
        """
        If nobody plays it meanwhile, and the player waits for another match, that is
        the one it gets.
        """
        asked, result = self.told("busy void", "no_such_room found", "seat")
        self.assertEqual((asked, result), (["m1", "m1", "m2"], "m2"))

    def test_other_match_is_sooner(self) -> None:
        """
        The other match may be found before the node has said that the first is gone.
        """
        asked, result = self.told("busy void", "found no_such_room", "seat")
        self.assertEqual((asked, result), (["m1", "m1", "m2"], "m2"))

    def test_match_is_over(self) -> None:
        """
        If the match ends meanwhile, the program gets an error, and waits no longer.
        """
        told = self.told("busy crashed", "no_such_room")
        self.assertEqual(told, (["m1", "m1"], "no_such_room"))

    def test_refused(self) -> None:
        """
        Any other refusal is the end of it.
        """
        self.assertEqual(self.told("not_seated"), (["m1"], "not_seated"))

    def test_connection_is_lost(self) -> None:
        """
        With the next connection the match is found again, and is asked for once.
        """
        self.assertEqual(self.told("busy lost", "late"), (["m1"] * 2, "m1"))

    def test_other_wish(self) -> None:
        """
        A player who queues for another game is not taken to the old match.
        """
        asked, result = self.told("busy void cancel", "seat")
        self.assertEqual((asked, result), (["m1", "m2"], "m2"))

"""A client of `vinom.js` whose match is on a busy game server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class BusyTests(SynchronousTestCase):
    def test_answers(self) -> None:
        """
        A client that queued and is answered "busy" tries again by itself. After any
        other refusal it does not, nor if the match is over in the meantime.
        """
        for what, answers, asked, result in (
            ("it gets its seat", ["busy", "busy", "seat"], ["m1"] * 3, "m1"),
            (
                "the match is void, and the player who waits gets another one",
                ["busy void", "no_such_room found", "seat"],
                ["m1", "m1", "m2"],
                "m2",
            ),
            (
                "that one is found before it is reported that the first is gone",
                ["busy void", "found no_such_room", "seat"],
                ["m1", "m1", "m2"],
                "m2",
            ),
            (
                "the match is over",
                ["busy crashed", "no_such_room"],
                ["m1", "m1"],
                "no_such_room",
            ),
            ("refused otherwise", ["not_seated"], ["m1"], "not_seated"),
            (
                "with the next connection the seat is asked for once",
                ["busy lost", "late"],
                ["m1"] * 2,
                "m1",
            ),
            (
                "a player who queues for another game is not in the old match",
                ["busy void cancel", "seat"],
                ["m1", "m2"],
                "m2",
            ),
        ):
            found = run_script("busy.mjs", {"chance": 0.0, "answers": answers})
            self.assertEqual((found["asked"], found["result"]), (asked, result), what)

    def test_many_come_later(self) -> None:
        """
        Of many clients with this answer some wait longer, so that they do not all
        return at once.
        """
        for chance, pause in ((1.0, 30), (0.5, 25)):
            asked = {"chance": chance, "answers": ["busy", "seat"]}
            self.assertEqual(run_script("busy.mjs", asked)["pauses"], [pause])

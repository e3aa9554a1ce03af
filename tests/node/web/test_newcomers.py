"""What the page writes and offers to people who are new to it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


def _call(name: str, *arguments: Any) -> Any:
    (result,) = run_script("newcomers.mjs", [(name, *arguments)])
    return result


def _room(room_id: str, **facts: Any) -> dict[str, Any]:
    return {
        "room_id": room_id,
        "game": "dice",
        "state": "playing",
        "connected": 2,
        "open": False,
        "taken": 2,
        "seats": 2,
        "spectators": 0,
        **facts,
    }


class WordsTests(SynchronousTestCase):
    def test_own_games(self) -> None:
        """
        A game that sleeps says with whom it is, whose turn it is and how long.
        """
        players = [{"seat": 0, "name": "Ann"}, {"seat": 1, "name": "Bob"}]
        own = {"state": "playing", "seat": 0, "players": players, "is_turn": True}
        for more, words in (
            ({"due": 3 * 86400 - 60}, "With Bob: your turn, 2 days left"),
            ({"due": 86400}, "With Bob: your turn, 24 hours left"),
            ({"due": 61, "is_turn": False}, "With Bob: not your turn, 2 minutes left"),
            ({"due": None}, "With Bob: your turn"),
            ({"due": None, "state": "over"}, "With Bob: the round is over"),
            ({"state": "gathering", "players": players[:1]}, "waiting for players"),
        ):
            self.assertEqual(_call("ownWords", {**own, **more}), words)

    def test_left(self) -> None:
        """
        Players read the names of all who have left.
        """
        former = [{"name": "Ann"}, {"name": "Bob"}, {"name": "Cid"}]
        self.assertEqual(_call("leftWords", []), "")
        self.assertEqual(_call("leftWords", former[:1]), "Ann has left the game.")
        self.assertEqual(
            _call("leftWords", former), "Ann, Bob and Cid have left the game."
        )

    def test_result(self) -> None:
        """
        The winner, the others and spectators each read who won.
        """
        won = {"places": [[0], [1]]}
        self.assertEqual(_call("resultWords", won, 0, 2), "You won!")
        self.assertEqual(_call("resultWords", won, 1, 2), "Ann won.")
        self.assertEqual(_call("resultWords", won, None, 2), "Ann won.")
        shared = {"places": [[0, 1], [2]]}
        self.assertEqual(_call("resultWords", shared, 1, 3), "You and Ann won.")
        draw = {"places": [[0, 1]]}
        self.assertEqual(_call("resultWords", draw, 0, 2), "Nobody won this round.")
        self.assertEqual(_call("resultWords", None, 0, 2), "Nobody won this round.")

    def test_endings(self) -> None:
        """
        The end of a room and that of a match are not worded alike.
        """
        self.assertEqual(_call("endingWords", "finished", False), "The game is over.")
        self.assertEqual(_call("endingWords", "finished", True), "The match is over.")


class ListTests(SynchronousTestCase):
    def test_rank(self) -> None:
        """
        Rooms with a free seat come first, and those whose players are away come last.
        """
        rooms = [
            _room("away", connected=0),
            _room("full"),
            _room("free", open=True),
        ]
        self.assertEqual(_call("inRank", rooms), ["free", "full", "away"])

    def test_words(self) -> None:
        """
        A room says how it is, and whether everyone is away.
        """
        self.assertEqual(
            _call("roomWords", _room("a", spectators=1)),
            "2 of 2 seats, playing, 1 watching",
        )
        self.assertEqual(
            _call("roomWords", _room("a", connected=0)), "Everyone is away"
        )

    def test_previews(self) -> None:
        """
        A game's card shows its first room that is being played by somebody connected.
        """
        rooms = [
            _room("away", connected=0),
            _room("waits", state="gathering"),
            _room("first"),
            _room("second"),
            _room("other", game="maze"),
        ]
        self.assertEqual(
            _call("roomsToShow", rooms), {"dice": "first", "maze": "other"}
        )

    def test_turns_of_previews(self) -> None:
        """
        A moving field is asked for every other time, however many other games are
        shown; every game gets its turn.
        """
        self.assertEqual(
            _call("nextToShow", ["dice", "maze"], ["arena"], 6),
            ["arena", "dice", "arena", "maze", "arena", "dice"],
        )
        self.assertEqual(
            _call("nextToShow", ["dice", "maze"], [], 3), ["dice", "maze", "dice"]
        )
        self.assertEqual(_call("nextToShow", [], ["arena"], 2), ["arena", "arena"])


class DiceTests(SynchronousTestCase):
    def test_idle_dice(self) -> None:
        """
        Players read which of the dice that they chose score nothing.
        """
        more = "nothing here. Choose only dice that score."
        self.assertEqual(_call("idleWords", [1, 2]), f"2 scores {more}")
        self.assertEqual(_call("idleWords", [4, 2, 4]), f"2 and 4 score {more}")
        # The straight scores, the second 2 does not.
        self.assertEqual(_call("idleWords", [2, 3, 4, 5, 6, 2]), f"2 scores {more}")

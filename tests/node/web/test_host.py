"""The host of a room, in a client of `vinom.js`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


def _seat(seat: int, state: str) -> dict[str, Any]:
    return {"seat": seat, "name": f"p{seat}", "player_id": f"p{seat}", "state": state}


def _came(number: int, seat: int, how: str, host: int) -> tuple[str, dict[str, Any]]:
    who = {"seat": seat, "name": f"p{seat}", "player_id": f"p{seat}"}
    return "client_joined", {**who, "number": number, "how": how, "host": host}


def _went(number: int, seat: int, reason: str, host: int) -> tuple[str, dict[str, Any]]:
    who = {"seat": seat, "name": f"p{seat}", "player_id": f"p{seat}"}
    return "client_left", {**who, "number": number, "reason": reason, "host": host}


class HostTests(SynchronousTestCase):
    def come_back(self, state: str, *missed: Any, then: Any = ()) -> Any:
        """Lose the connection, and return as host to a room with one other player."""
        place = {"state": state, "host": 0, "number": 9}
        place["players"] = [_seat(0, "here"), _seat(1, "here")]
        told = run_script(
            "host.mjs", {"place": place, "missed": missed, "then": list(then)}
        )
        return told["seen"], told["heard"]

    def test_back(self) -> None:
        """
        A host that returns is host, although another player was host while it was away.
        """
        (seen,), _ = self.come_back("gathering", _came(5, 1, "joined", 1))
        self.assertTrue(seen["isHost"])

    def test_away(self) -> None:
        """
        The player announced as host is host, until the first host is back.
        """
        then = [_went(10, 1, "lost", 0), _came(11, 1, "returned", 1)]
        seen, _ = self.come_back("gathering", then=then)
        self.assertEqual([one["host"] for one in seen], [0, 0, 1])
        self.assertEqual([one["isHost"] for one in seen], [True, True, False])

    def test_missed(self) -> None:
        """
        Missed announcements are emitted, but do not change the room: its description is
        newer.
        """
        started = {"number": 6, "seat": 0, "host": 1, "setup": None}
        started["players"] = [_seat(0, "away"), _seat(1, "here")]
        over = {"number": 7, "outcome": {"round": 1}}
        (seen,), heard = self.come_back(
            "gathering",
            _came(5, 1, "joined", 1),
            ("room_started", started),
            ("round_over", over),
            _went(8, 2, "lost", 1),
        )
        self.assertEqual(heard, ["start", "round"])
        self.assertEqual(seen["players"], ["0 here", "1 here"])
        self.assertEqual((seen["state"], seen["host"]), ("gathering", 0))

    def test_next_round(self) -> None:
        """
        When the game itself begins another round, the room is played, and the outcome
        of the round before is gone; also for a player who was away meanwhile.
        """
        over = ("round_over", {"number": 10, "outcome": {"round": 1}})
        began = ("round_began", {"number": 11, "version": 3})
        seen, _ = self.come_back("playing", then=[over, began])
        self.assertEqual([one["state"] for one in seen], ["playing", "over", "playing"])
        rounds = [one["outcome"] for one in seen]
        self.assertEqual(rounds, [None, {"round": 1}, None])
        missed = [
            (kind, {**data, "number": data["number"] - 5})
            for kind, data in (over, began)
        ]
        (back,), _ = self.come_back("playing", *missed)
        self.assertEqual((back["state"], back["outcome"]), ("playing", None))

"""What games learn of who plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Say
from vinom.base.model import CLAIMS_BYTES, MatchEnd, MatchPlan, SeatPlan
from vinom.errors import Code, Refused
from vinom.game import Game, Seat, Step, Table
from vinom.play.choices import canonical_claims, read_claims
from vinom.play.hosting.recordings import Recordings
from vinom.play.play import table_of
from vinom.play.recording import Recording, read_recording, replay
from vinom.play.room import Closed, Room


class Members(Struct, frozen=True):
    """The players, as the game was given them."""

    ids: tuple[str, ...]
    ranks: tuple[int, ...]


class Club(Game[Members, Say]):
    """A game that shows nobody but itself who plays."""

    name = "club"
    actions = Say
    seats = (1, 3)
    late_join = True

    def start(self, table: Table) -> Members:
        return Members(
            tuple(seat.player_id for seat in table.seats),
            tuple(seat.claims.get("rank", 0) for seat in table.seats),
        )

    def act(self, s: Members, seat: int, action: Say, now: float) -> Members:
        return s

    def joined(
        self, s: Members, seat: int, now: float, newcomer: Seat
    ) -> Members | Step[Members]:
        return Members(
            (*s.ids, newcomer.player_id), (*s.ranks, newcomer.claims.get("rank", 0))
        )

    def view(self, s: Members, audience: Any) -> Any:
        return {"players": len(s.ids)}


class OpenClub(Club):
    """A game that shows the ids."""

    def view(self, s: Members, audience: Any) -> Any:
        return {"ids": s.ids}


PLAN = MatchPlan(
    "m1",
    "club",
    (SeatPlan("ann-id", "ann", claims=b'{"rank":7}'), SeatPlan("", "bot 2")),
    1,
)
NEWCOMER = SeatPlan("cid-id", "cid", claims=b'{"rank":3,"tags":["a",{"b":1}]}')


class SeatTests(SynchronousTestCase):
    def test_of_the_table(self) -> None:
        """
        A game is given the id and the claims of each player; a bot has neither.
        """
        ann, bot = table_of(PLAN, Club()).seats
        self.assertEqual((ann.player_id, dict(ann.claims)), ("ann-id", {"rank": 7}))
        self.assertEqual((bot.player_id, dict(bot.claims)), ("", {}))

    def test_read_only(self) -> None:
        """
        A game cannot change claims, at any depth, so a replay finds them as they were.
        """
        seat = Seat("ann", claims={"a": [1, {"b": [2]}]})
        self.assertEqual(seat.claims["a"][1]["b"], (2,))
        with self.assertRaises(TypeError):
            seat.claims["a"] = 1  # type: ignore[index]  # the point
        with self.assertRaises(TypeError):
            seat.claims["a"][1]["b"] = 1
        self.assertEqual(seat, Seat("ann", claims={"a": (1, {"b": (2,)})}))
        self.assertEqual(len({seat, Seat("ann", claims=seat.claims)}), 1)


class CanonicalTests(SynchronousTestCase):
    def refuse(self, **claims: Any) -> Refused:
        refusal = self.assertRaises(Refused, canonical_claims, claims, "f")
        self.assertEqual(
            (refusal.code, refusal.details["field"]), (Code.BAD_FIELD, "f")
        )
        return refusal

    def test_there_and_back(self) -> None:
        """
        What can be claimed arrives as it was, and equal claims are equal texts.
        """
        claims = {"b": [1, 2.5, None, True], "a": {"x": "\u00e9"}}
        text = canonical_claims(claims, "f")
        self.assertEqual(read_claims(text), claims)
        self.assertTrue(text.startswith(b'{"a"'))
        self.assertEqual(canonical_claims({}, "f"), b"{}")

    def test_bounds(self) -> None:
        """
        Claims have a greatest length and depth, and only values that JSON and
        MessagePack have.
        """
        fits = "x" * (CLAIMS_BYTES - len('{"a":""}'))
        self.assertEqual(len(canonical_claims({"a": fits}, "f")), CLAIMS_BYTES)
        self.assertIn("a are 1025 bytes", self.refuse(a=fits + "x").message)
        self.assertIn("a holds a whole number", self.refuse(a=[1 << 64]).message)
        self.assertIn("no number in JSON", self.refuse(a={"b": float("nan")}).message)
        deep: Any = 0
        for _ in range(8):
            deep = [deep]
        canonical_claims({"a": deep}, "f")
        self.assertIn("deeper than 8", self.refuse(a=[deep]).message)
        self.refuse(a="\ud800")


class RecordingTests(SynchronousTestCase):
    def record(self, game: Club, **settings: Any) -> tuple[bytes, MatchEnd]:
        """Record a match that a newcomer joins; returns the file and the end."""
        directory = Path(self.mktemp())
        recording = Recordings(directory, **settings).open(PLAN, game, 1.7e9)
        room = Room(PLAN, game, 0.0, record=recording.record)
        room.join(0, 0.0)
        room.seat_bot(1, 0.0)
        room.add_seat(NEWCOMER, 1.0)
        room.act(0, Say("hi"), 2.0)
        room.close("ended", 3.0)
        closed = room.take_effects()[-1]
        assert isinstance(closed, Closed)
        recording.close(closed.end, room.state)
        self.assertEqual(room.state.ids, ("ann-id", "", "cid-id"))
        (path,) = directory.iterdir()
        return path.read_bytes(), closed.end

    def ids(self, recording: Recording) -> list[str]:
        return [seat.player_id for seat in recording.header.plan.seats]

    def test_replays(self) -> None:
        """
        A recording holds ids and claims, so that a game that uses them replays.
        """
        for game in (Club(), OpenClub()):
            data, _ = self.record(game)
            recording = read_recording(data)
            self.assertEqual(self.ids(recording), ["ann-id", ""])
            result = replay(recording, game)
            self.assertEqual((result.differing, result.fault), (None, None))
            self.assertEqual(recording.ending.state["ranks"], [7, 0, 3])

    def test_without_ids(self) -> None:
        """
        Where recordings have no ids, no id is in the file, nor in the final state, and
        it replays all the same.
        """
        for game in (Club(), OpenClub()):
            data, _ = self.record(game, ids=False)
            self.assertNotIn(b"-id", data)
            recording = read_recording(data)
            self.assertEqual(self.ids(recording), ["", ""])
            result = replay(recording, game)
            self.assertEqual((result.differing, result.fault), (None, None))
            self.assertEqual(recording.ending.state["ids"], ["", "", ""])

    def test_a_change_is_found_without_ids(self) -> None:
        """
        A recording without ids still reports rules that changed.
        """

        class Other(Club):
            def joined(
                self, s: Members, seat: int, now: float, newcomer: Seat
            ) -> Members:
                return Members((*s.ids, newcomer.player_id), (*s.ranks, 99))

        data, _ = self.record(Club(), ids=False)
        result = replay(read_recording(data), Other())
        self.assertEqual(result.differing, "ranks[2]: 3, then 99")

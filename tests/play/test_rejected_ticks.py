"""Games that reject inputs in a tick: those are refused, and the room plays on."""

from __future__ import annotations

from typing import Any

from tests.play.test_room import RoomCase, plan_for
from tests.support.games import Quiet, Say, Tale, Ticking
from vinom.base.model import MatchEnd
from vinom.errors import Rejected
from vinom.play.play import MOST_RETRIES
from vinom.play.recording import (
    encode_ending,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
)
from vinom.play.room import Closed, Emitted, Room


class Picky(Ticking):
    """Rejects "no" in a tick, as a game does that calls its own act()."""

    def tick(self, s: Tale, inputs: tuple[tuple[int, Say | Quiet], ...], n: int) -> Any:
        for seat, action in inputs:
            if action == Say("no"):
                raise Rejected("no", f"seat {seat} may not")
        return super().tick(s, inputs, n)


class Sulking(Ticking):
    """Rejects a tick without inputs."""

    def tick(self, s: Tale, inputs: Any, n: int) -> Any:
        raise Rejected("sulks", "nothing is right")


class RejectedTickTests(RoomCase):
    def told(self, room: Room) -> list[tuple[int | None, Any]]:
        """The refusals that players are sent, and to whom."""
        return [
            (one.event.to, one.event.data)
            for one in room.take_effects()
            if isinstance(one, Emitted) and one.event.kind == "rejected"
        ]

    def test_only_that_input_is_refused(self) -> None:
        """
        The player whose input a tick rejects gets the reason; the inputs of the others,
        and the player's own other ones, take effect in the same step.
        """
        room = self.open_room(Picky())
        room.take_effects()
        for seat, word in ((0, "a"), (1, "no"), (0, "b"), (1, "c"), (1, "no")):
            room.act(seat, Say(word), 1000.01)
        room.alarm(1000.1)
        self.assertEqual(self.lines(room), ["#1 0 a", "#1 0 b", "#1 1 c"])
        refusal = {"code": "no", "message": "seat 1 may not"}
        self.assertEqual(self.told(room), [(1, refusal)] * 2)
        self.assertEqual((room.phase, room.ticks), ("playing", 1))

    def test_the_recording_replays(self) -> None:
        """
        A recording has the inputs that took effect, and replays to the same state.
        """
        room = self.open_room(Picky())
        for number in range(1, 4):
            for word in ("no", f"w{number}", "no"):
                room.act(0, Say(word), 1000.0 + number / 10 - 0.05)
            room.alarm(1000.0 + number / 10)
        end = MatchEnd("m1", "ended", version=room.version, view_hash=room.view_hash())
        data = encode_header(plan_for(Picky()), Picky(), 0.0)
        data += b"".join(map(encode_recorded, self.recorded))
        data += encode_ending(end, room.state)
        result = replay(read_recording(data), Picky())
        self.assertIsNone(result.differing)
        self.assertEqual(len(self.lines(room)), 3)

    def test_many_are_bounded(self) -> None:
        """
        However many inputs are rejected, the tick is made a bounded number of times.
        """
        calls: list[int] = []

        class Counting(Picky):
            def tick(self, s: Tale, inputs: Any, n: int) -> Any:
                calls.append(len(inputs))
                return super().tick(s, inputs, n)

        room = self.open_room(Counting())
        for _ in range(32):
            room.act(0, Say("no"), 1000.01)
            room.act(1, Say("no"), 1000.01)
        room.alarm(1000.1)
        self.assertLessEqual(len(calls), MOST_RETRIES + 2)
        self.assertEqual(calls[-1], 0)
        self.assertEqual(len(self.told(room)), 64)
        self.assertEqual(room.phase, "playing")

    def test_without_inputs(self) -> None:
        """
        A tick that is rejected without any input is a fault of the game: it crashed.
        """
        room = self.open_room(Sulking())
        room.act(0, Say("a"), 1000.01)
        room.alarm(1000.1)
        closed = room.take_effects()[-1]
        assert isinstance(closed, Closed)
        self.assertEqual(closed.end.reason, "crashed")
        self.assertIn("without any input", closed.report or "")

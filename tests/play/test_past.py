"""Inputs that say what their player was shown: `Game.past_ticks`."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.play.test_room import RoomCase, plan_for
from tests.support.glimpse import Glances, Glimpse, Look
from vinom.base.model import MatchEnd
from vinom.game import Input
from vinom.play.play import Play, Point, Recorded
from vinom.play.recording import (
    encode_ending,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
)
from vinom.play.room import Room


class PastTests(RoomCase):
    def play_to(self, room: Room, tick: int) -> None:
        """Let ticks pass, none of them at once."""
        while room.ticks < tick:
            room.alarm(1000.0 + (room.ticks + 1) / 20)

    def look(self, *shown: int) -> list[tuple[int, int]]:
        """Look after ten ticks, having been shown these; returns what was seen."""
        room = self.room = self.open_room(Glimpse())
        self.play_to(room, 10)
        for tick in shown:
            room.act(0, Look(), 1000.5, tick)
        self.play_to(room, 11)
        return list(room.state.seen)

    def test_what_was_shown(self) -> None:
        """
        An input gets the state of the tick that its player was shown.
        """
        self.assertEqual([tick for _, tick in self.look(10, 8, 5)], [10, 8, 5])

    def test_bounds(self) -> None:
        """
        A player who claims to be further behind than the game allows gets the oldest
        state that it allows; without a claim, or with one about the future, the newest.
        """
        self.assertEqual([tick for _, tick in self.look(1, 0, 99)], [5, 10, 10])

    def test_two_of_one_input(self) -> None:
        """
        A game without `past_ticks` reads its inputs as before: a seat and an action.
        """
        (seat, action) = one = Input(1, Look(), Glances(3), 3)
        self.assertEqual((seat, action, one.seen.tick), (1, Look(), 3))
        self.assertEqual(one, (1, Look()))

    def test_the_recording_replays(self) -> None:
        """
        What an input saw is in the recording: it replays to the same state.
        """
        self.look(10, 7, 1, 0)
        room = self.room
        end = MatchEnd("m1", "ended", version=room.version, view_hash=room.view_hash())
        data = encode_header(plan_for(Glimpse()), Glimpse(), 0.0)
        data += b"".join(map(encode_recorded, self.recorded))
        data += encode_ending(end, room.state)
        result = replay(read_recording(data), Glimpse())
        self.assertEqual((result.differing, result.fault), (None, None))
        changed = data.replace(b"\xa4look\x07", b"\xa4look\x09")
        self.assertNotEqual(changed, data)
        self.assertIsNotNone(replay(read_recording(changed), Glimpse()).differing)

    def test_what_came_after_the_newest_tick(self) -> None:
        """
        A play that goes on elsewhere replays, although somebody lost the connection
        before its first tick: what is newest is so with that.
        """

        class Counted(Glimpse):
            def dropped(self, s: Glances, seat: int, now: float) -> Glances:
                return replace(s, seen=(*s.seen, (seat, 0)))

            def tick(self, s: Glances, inputs: Any, n: int) -> Glances:
                seen = [
                    (seat, len(one.seen.seen)) for one in inputs for seat in one[:1]
                ]
                return replace(s, tick=n, seen=(*s.seen, *seen))

        calls: list[Recorded] = []
        plays = Play(Counted(), calls.append), Play(Counted())
        for play in plays:
            play.resume(Point(Glances(40), 41, 2.0, 40), 2)
        plays[0].seat_dropped(1, 2.0)
        plays[0].tick(((0, Look(), 38),), 2.05)
        for call in calls:
            plays[1].repeat(call)
        self.assertEqual(plays[0].state, plays[1].state)

    def test_on_another_machine(self) -> None:
        """
        A play that goes on elsewhere begins with the state it has: players who were
        shown an older one get that.
        """
        play = Play(Glimpse())
        play.resume(Point(Glances(40), 41, 2.0, 40), 2)
        play.tick(((0, Look(), 38),), 2.05)
        play.tick(((0, Look(), 40),), 2.1)
        self.assertEqual(play.state.seen, ((0, 40), (0, 40)))

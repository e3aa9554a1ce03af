"""Recordings: written while a match is played, played again later."""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_room import plan_for
from tests.support import games
from tests.support.games import Say
from vinom.errors import Refused, Rejected, Unreadable
from vinom.game import Chance
from vinom.games.maze import Maze, MazeState, Move
from vinom.games.roomecho import RoomEcho
from vinom.play.play import Recorded
from vinom.play.recording import (
    Recording,
    encode_ending,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
    whole_frames,
)
from vinom.play.room import Closed, Room


class ForgetfulMaze(Maze):
    """A later version of the game that gives no points."""

    def act(self, s: MazeState, seat: int, action: object, now: float) -> MazeState:
        assert isinstance(action, Move)
        s = replace(s)
        row, col = action.from_
        return replace(s, at=(*s.at[:seat], (row, col), *s.at[seat + 1 :]))


class RecordingCase(SynchronousTestCase):
    def play(self, game, inputs, seats: int = 2, close: bool = True) -> bytes:
        """Play *inputs*, ``(time, what, seat, action)``, and return the file."""
        plan = plan_for(game, seats)
        data = bytearray(encode_header(plan, game, 1.7e9))
        room = Room(
            plan, game, 1000.0, record=lambda one: data.extend(encode_recorded(one))
        )
        for seat in range(seats):
            room.join(seat, 1000.0)
        for time, what, seat, action in inputs:
            now = 1000.0 + time
            if what == "act":
                room.act(seat, action, now)
            else:
                getattr(room, what)(seat, now)
        room.alarm(1050.0)
        if close and room.phase != "closed":
            room.close("ended", 1050.0)
        self.room = room
        for effect in room.take_effects():
            if isinstance(effect, Closed):
                data += encode_ending(effect.end, room.state)
        return bytes(data)

    def bot_game(self) -> list:
        """A maze played by bots, and somebody who drops and returns."""
        game, chance = Maze(), Chance(9)
        room = Room(plan_for(game), game, 1000.0)
        room.join(0, 1000.0)
        room.join(1, 1000.0)
        setup, now, inputs = msgspec.msgpack.decode(room.setup()), 0.0, []
        while room.phase == "playing" and len(inputs) < 120:
            now += 0.125
            seat = len(inputs) % 2
            _, chance = chance.draw()
            view = msgspec.msgpack.decode(room.view("all"))
            action = game.bot(view, seat, chance, setup)
            room.act(seat, action, 1000.0 + now)
            inputs.append((now, "act", seat, action))
        return [
            *inputs[:50],
            (inputs[49][0], "drop", 1, None),
            (inputs[49][0] + 0.01, "join", 1, None),
            *inputs[50:],
        ]


class HeaderTests(RecordingCase):
    def test_bad_seeds(self) -> None:
        """
        A header whose seed is no seed is not a recording.
        """
        header, _, _ = _first_frame(
            self.play(games.Teller(), [(0.1, "act", 0, Say("hi"))])
        )
        for seed in (-1, "x", 7, bytes(31)):
            document = msgspec.msgpack.decode(header)
            document["plan"]["seed"] = seed
            payload = msgspec.msgpack.encode(document)
            data = (len(payload) + 1).to_bytes(4, "big") + b"H" + payload
            with (
                self.subTest(seed=seed),
                self.assertRaisesRegex(Unreadable, "not a recording"),
            ):
                read_recording(data)


def _first_frame(data: bytes) -> tuple[bytes, bytes, bytes]:
    size = int.from_bytes(data[:4], "big")
    return data[5 : 4 + size], data[4:5], data[4 + size :]


class ReplayTests(RecordingCase):
    def test_a_match_replays_to_the_same_end(self) -> None:
        """
        The replay ends on the version, state and view that players saw.
        """
        recording = read_recording(self.play(Maze(), self.bot_game()))
        result = replay(recording, Maze())
        self.assertIsNone(result.differing)
        self.assertIsNone(result.fault)
        self.assertEqual(
            (result.version, result.view_hash),
            (self.room.version, self.room.view_hash()),
        )

    def test_a_crash_replays(self) -> None:
        """
        The author gets the same failure again, on the same input.
        """
        inputs = [(0.1, "act", 0, Say("hi")), (0.2, "act", 1, Say("boom"))]
        recording = read_recording(self.play(games.Teller(), inputs))
        result = replay(recording, games.Teller())
        self.assertIsInstance(result.fault, ZeroDivisionError)
        self.assertIsNone(result.differing)

    def test_other_rules_are_found_out(self) -> None:
        """
        A game that has changed is reported with the first field that differs.
        """
        recording = read_recording(self.play(Maze(), self.bot_game()))
        result = replay(recording, ForgetfulMaze())
        self.assertRegex(result.differing or "", r"^at\[0\]\[[01]\]: \d+, then \d+$")

    def test_other_schema(self) -> None:
        """
        A recording of an older schema gets an error that names both schemas.
        """

        class NextTeller(games.Teller):
            schema = 2

        recording = read_recording(self.play(games.Teller(), []))
        with self.assertRaisesRegex(Unreadable, "schema 1"):
            replay(recording, NextTeller())

    def test_foreign_actions(self) -> None:
        """
        A recording of another game's actions is not played.
        """
        recording = read_recording(self.play(games.Teller(), [(1, "act", 0, Say("x"))]))
        with self.assertRaisesRegex(
            Unreadable, "the game cannot read an action at 1.000 s"
        ):
            replay(recording, RoomEcho())

    def test_void_match(self) -> None:
        """
        A match that never began replays to nothing.
        """
        game = games.Teller()
        plan = plan_for(game)
        room = Room(plan, game, 1000.0)
        room.alarm(1010.0)
        (closed,) = room.take_effects()
        assert isinstance(closed, Closed)
        data = encode_header(plan, game, 1.0) + encode_ending(closed.end, room.state)
        result = replay(read_recording(data), game)
        self.assertEqual((result.version, result.differing), (0, None))

    def test_watching(self) -> None:
        """
        A watcher sees the start and every change.
        """
        inputs = [(0.1, "act", 0, Say("hi")), (0.2, "act", 1, Say("ho"))]
        recording = read_recording(self.play(games.Teller(), inputs))
        seen = []
        replay(recording, games.Teller(), lambda play: seen.append(play.version))
        self.assertEqual(seen, [1, 2, 3])


WORDS = st.sampled_from(
    ["hi", "no", "tell", "end", "again", "wake 0.5", "wake 3.25", "boom", "blind"]
)
GAMES = [
    games.Teller,
    games.Ticking,
    games.StandingIn,
    games.TickingBots,
    games.Forfeiting,
]
HAPPENINGS = st.lists(
    st.tuples(
        st.floats(0, 4),
        st.sampled_from(
            ["act", "act", "act", "join", "drop", "leave", "alarm", "look"]
        ),
        st.integers(0, 2),
        WORDS,
    ),
    max_size=40,
)


class AnyMatchTests(RecordingCase):
    @given(HAPPENINGS, st.sampled_from(GAMES), st.integers(0, 3))
    @settings(max_examples=400, deadline=None)
    def test_everything_replays(
        self,
        happenings: list[tuple[float, str, int, str]],
        kind: type[games.Teller],
        seed: int,
    ) -> None:
        """
        With any players, bots, times and games: no exception leaves the room, nothing
        stays due, one end comes out, and the replay, which asks no bot, ends as it did.
        """
        game = kind()
        plan, now = plan_for(game, 3, seed), 1000.0
        data = bytearray(encode_header(plan, game, 0.0))
        room = Room(plan, game, now, record=lambda r: data.extend(encode_recorded(r)))
        for seat in range(3):
            room.join(seat, now)
        for wait, what, seat, word in happenings:
            now += wait
            with contextlib.suppress(Rejected, Refused):
                if what == "act":
                    room.act(seat, Say(word), now)
                elif what == "alarm":
                    room.alarm(now)
                elif what == "look":
                    room.view(room.audience_of(seat))
                else:
                    getattr(room, what)(seat, now)
            room.alarm(now)
            deadline = room.deadline()
            self.assertTrue(deadline is None or deadline > now)
        room.close("ended", now)
        ends = [one for one in room.take_effects() if isinstance(one, Closed)]
        self.assertEqual(len(ends), 1)
        data += encode_ending(ends[0].end, room.state)
        game.bot = None  # type: ignore[assignment,method-assign]  # must not be asked
        result = replay(read_recording(bytes(data)), game)
        self.assertIsNone(result.differing)
        self.assertEqual(result.version, room.version)


class FileTests(RecordingCase):
    def test_whole_frames(self) -> None:
        """
        Wherever a file has to end, it ends behind the last frame that is whole.
        """
        frames = [
            encode_recorded(Recorded("act", 1.0, 0, "x" * length))
            for length in (0, 1, 300, 7)
        ]
        data = b"".join(frames)
        borders = [len(b"".join(frames[:count])) for count in range(5)]
        for most in range(len(data) + 20):
            expected = max(border for border in borders if border <= most)
            self.assertEqual(whole_frames(data, most), expected)
            cut = data[:most]
            self.assertEqual(whole_frames(cut, len(data)), expected)

    def test_cut_anywhere(self) -> None:
        """
        A file cut at any byte is read as far as it was written.
        """
        inputs = [(0.1, "act", 0, Say("hi")), (0.2, "act", 1, Say("ho"))]
        data = self.play(games.Teller(), inputs)
        whole = read_recording(data)
        self.assertEqual(len(whole.inputs), 2)
        header = len(encode_header(plan_for(games.Teller()), games.Teller(), 1.7e9))
        for cut in range(header, len(data)):
            part = read_recording(data[:cut])
            self.assertIsNone(part.ending)
            self.assertEqual(part.inputs, whole.inputs[: len(part.inputs)])
            self.assertIsNone(replay(part, games.Teller()).differing)
        for cut in range(header):
            with self.assertRaises(Unreadable):
                read_recording(data[:cut])

    @given(st.binary(max_size=300))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes(self, data: bytes) -> None:
        """
        A file of anything is refused in words, or read.
        """
        with contextlib.suppress(Unreadable):
            self.assertIsInstance(read_recording(data), Recording)

    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_one_wrong_byte(self, data: st.DataObject) -> None:
        """
        A byte that the disk changed is refused, or reported as a difference.
        """
        file = bytearray(self.play(games.Teller(), [(0.1, "act", 0, Say("hi"))]))
        at = data.draw(st.integers(0, len(file) - 1))
        file[at] ^= 1 << data.draw(st.integers(0, 7))
        with contextlib.suppress(Unreadable):
            replay(read_recording(bytes(file)), games.Teller())

    def test_other_format(self) -> None:
        """
        A recording of another layout is refused before it is misread.
        """
        payload = b"H" + msgspec.msgpack.encode({"format": 9, "new": True})
        with self.assertRaisesRegex(Unreadable, "has format 9; .* reads format 4"):
            read_recording(len(payload).to_bytes(4, "big") + payload)

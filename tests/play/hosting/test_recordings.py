"""Recordings on a real disk that may be slow, full or forbidden."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_room import plan_for
from tests.support.descriptors import opened_in
from tests.support.games import Say, Teller
from vinom.base.model import MatchEnd, MatchPlan, SeatPlan
from vinom.play.hosting import recordings
from vinom.play.hosting.recordings import MatchRecording, Recordings, part_name
from vinom.play.play import Recorded
from vinom.play.recording import read_recording, replay
from vinom.play.room import Closed, Room


class RecordingsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self._watch)
        self.addCleanup(globalLogPublisher.removeObserver, self._watch)

    def _watch(self, event: dict) -> None:
        if event.get("log_namespace") == "vinom.play.hosting.recordings":
            self.warnings.append(event["log_format"])

    def play(self, recording: MatchRecording, words: tuple[str, ...] = ("hi",)) -> Room:
        """Play a match through a recording up to its end."""
        game = Teller()
        room = Room(plan_for(game), game, 1000.0, record=recording.record)
        room.join(0, 1000.0)
        room.join(1, 1000.0)
        for count, word in enumerate(words):
            room.act(count % 2, Say(word), 1000.0 + count * 0.01)
        room.close("ended", 1090.0)
        closed = room.take_effects()[-1]
        assert isinstance(closed, Closed)
        self.report = recording.close(closed.end, room.state, closed.report)
        return room


class MatchRecordingTests(RecordingsCase):
    def test_one_file_a_match(self) -> None:
        """
        A match leaves one private file that replays.
        """
        recordings = Recordings(self.directory)
        game = Teller()
        recording = recordings.open(plan_for(game), game, 1.7e9)
        self.assertTrue(recording.is_open)
        room = self.play(recording, ("hi", "ho"))
        self.assertEqual((self.report, recording.is_open), ("", False))
        (path,) = self.directory.iterdir()
        self.assertEqual(path.name, "m1.vinomrec")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.directory.stat().st_mode), 0o700)
        result = replay(read_recording(path.read_bytes()), game)
        self.assertEqual((result.version, result.differing), (room.version, None))

    def test_a_killed_process_loses_a_second(self) -> None:
        """
        What is older than a second of match time is on the disk already.
        """
        game = Teller()
        recording = Recordings(self.directory).open(plan_for(game), game, 1.7e9)
        room = Room(plan_for(game), game, 1000.0, record=recording.record)
        room.join(0, 1000.0)
        room.join(1, 1000.0)
        for time in (0.1, 0.2, 1.3, 1.4):
            room.act(0, Say("hi"), 1000.0 + time)
        (path,) = self.directory.iterdir()
        self.assertEqual(len(read_recording(path.read_bytes()).inputs), 3)
        recording.flush()
        self.assertEqual(len(read_recording(path.read_bytes()).inputs), 4)
        recording.close(MatchEnd("m1", "ended"), room.state)

    def begin(self, recordings: Recordings, number: int) -> tuple[Room, MatchRecording]:
        """Begin a match that is written down."""
        game = Teller()
        plan = attrs.evolve(plan_for(game), match_id=f"m{number}")
        recording = recordings.open(plan, game, 1.7e9)
        room = Room(plan, game, 1000.0, record=recording.record)
        room.join(0, 1000.0)
        room.join(1, 1000.0)
        return room, recording

    def test_many_rooms_and_few_descriptors(self) -> None:
        """
        However many rooms play, none keeps a file open; each is on the disk a second
        after an event, even if nothing follows.
        """
        clock = Clock()
        recordings = Recordings(self.directory, clock=clock)
        begun = [self.begin(recordings, number) for number in range(200)]
        for room, _ in begun:
            room.act(0, Say("hi"), 1000.1)
        self.assertFalse(self.directory.exists())
        clock.pump([0.05] * 30)
        self.assertEqual(opened_in(self.directory), [])
        written = [read_recording(p.read_bytes()) for p in self.directory.iterdir()]
        self.assertEqual([len(one.inputs) for one in written], [1] * 200)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_nothing_is_lost_at_the_end(self) -> None:
        """
        An orderly end of the process writes what is held.
        """
        clock = Clock()
        recordings = Recordings(self.directory, clock=clock)
        room, _ = self.begin(recordings, 1)
        room.act(0, Say("hi"), 1000.1)
        recordings.flush()
        (path,) = self.directory.iterdir()
        self.assertEqual(len(read_recording(path.read_bytes()).inputs), 1)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_what_is_not_on_the_disk(self) -> None:
        """
        A node that was sent nothing before is sent all that is not in the file.
        """
        clock = Clock()
        recordings = Recordings(self.directory, clock=clock)
        room, recording = self.begin(recordings, 1)
        room.act(0, Say("zero"), 1000.1)
        clock.pump([0.05] * 30)
        (path,) = self.directory.iterdir()
        for word in ("one", "two"):
            room.act(0, Say(word), 1000.1)
            recording.news()
        self.assertEqual(recording.news(), b"")
        missing = recording.news(is_all=True)
        whole = path.read_bytes() + missing
        self.assertEqual(len(whole), recording.length)
        self.assertEqual(len(read_recording(whole).inputs), 3)
        recordings.flush()

    def test_a_busy_moment_fills_no_memory(self) -> None:
        """
        However much happens at one time, what waits for the disk is 8 KB at most.
        """
        recording = Recordings(self.directory).open(plan_for(Teller()), Teller(), 1.7e9)
        for count in range(100):
            recording.record(Recorded("act", 1.0, 0, Say("x" * 1000)))
            on_disk = sum(one.stat().st_size for one in self.directory.glob("*"))
            self.assertLess((count + 1) * 1000 - on_disk, 8192)
        (path,) = self.directory.iterdir()
        self.assertGreater(len(read_recording(path.read_bytes()).inputs), 91)
        recording.close(MatchEnd("m1", "ended"), None)

    def test_crash_report(self) -> None:
        """
        A crash report is written next to the recording, and the end has its path.
        """
        game = Teller()
        recording = Recordings(self.directory).open(plan_for(game), game, 1.7e9)
        self.play(recording, ("hi", "boom"))
        self.assertEqual(self.report, str(self.directory / "m1.crash.txt"))
        self.assertIn("ZeroDivisionError", Path(self.report).read_text())

    def test_full_disk(self) -> None:
        """
        A full disk stops the recording with one line, and never the game.
        """
        recording = MatchRecording(Path("/dev/full"), 1 << 20, is_made=True)
        words = ("hello " * 40,) * 300
        room = self.play(recording, words)
        self.assertEqual((room.phase, room.version), ("closed", 301))
        self.assertFalse(recording.is_open)
        self.assertEqual(len(self.warnings), 1)

    def test_one_file_is_bounded(self) -> None:
        """
        A match that writes without end stops being recorded; what was written
        still replays. Operators see how many ended early.
        """
        recordings = Recordings(self.directory, most_match_bytes=20_000)
        game = Teller()
        recording = recordings.open(plan_for(game), game, 1.7e9)
        self.assertEqual(recordings.stopped, 0)
        self.play(recording, ("hello " * 40,) * 300)
        self.assertEqual(recordings.stopped, 1)
        (path,) = self.directory.iterdir()
        self.assertLessEqual(path.stat().st_size, 20_000)
        part = read_recording(path.read_bytes())
        self.assertGreater(len(part.inputs), 20)
        self.assertIsNone(replay(part, game).differing)
        self.assertEqual(len(self.warnings), 1)

    def test_what_cannot_be_written(self) -> None:
        """
        An action that no file can hold ends the recording with one line; what came
        before it is there, and replays.
        """
        recordings = Recordings(self.directory)
        game = Teller()
        recording = recordings.open(plan_for(game), game, 1.7e9)
        room = Room(plan_for(game), game, 1000.0, record=recording.record)
        room.join(0, 1000.0)
        room.join(1, 1000.0)
        room.act(0, Say("hi"), 1000.25)
        recording.record(Recorded("act", 0.25, 0, object()))
        room.act(1, Say("ho"), 1000.5)
        self.assertFalse(recording.is_open)
        self.assertEqual(len(self.warnings), 1)
        (path,) = self.directory.iterdir()
        part = read_recording(path.read_bytes())
        self.assertEqual([one.time for one in part.inputs], [0.25])
        self.assertIsNone(replay(part, game).differing)

    def test_no_directory(self) -> None:
        """
        Without a directory, or where none can be made, matches are played.
        """
        game = Teller()
        for directory in (None, Path("/dev/null/recordings")):
            recordings = Recordings(directory)
            recording = recordings.open(plan_for(game), game, 1.7e9)
            self.assertEqual(self.play(recording, ("boom",)).version, 1)
            self.assertFalse(recording.is_open)
            self.assertEqual(self.report, "")
            self.assertEqual(recordings.sweep(1.7e9), 0)

    def test_a_second_file_of_one_match(self) -> None:
        """
        A recording is never overwritten.
        """
        recordings, game = Recordings(self.directory), Teller()
        self.play(recordings.open(plan_for(game), game, 1.7e9))
        (path,) = self.directory.iterdir()
        written = path.read_bytes()
        self.play(recordings.open(plan_for(game), game, 1.7e9), ("other",))
        self.assertEqual(path.read_bytes(), written)
        self.assertEqual(len(self.warnings), 1)

    def test_names_stay_inside(self) -> None:
        """
        A match id never names a file elsewhere.
        """
        plan = MatchPlan("../../etc/passwd", "teller", (SeatPlan("a", "a"),) * 2, 1)
        recording = Recordings(self.directory).open(plan, Teller(), 1.7e9)
        self.assertEqual(recording.path.parent, self.directory)
        recording.close(MatchEnd("x", "void"), None)


class LentTests(RecordingsCase):
    """The node opens the files, and another process writes them."""

    def setUp(self) -> None:
        super().setUp()
        self.node = Recordings(self.directory)
        self.server = Recordings(Path("/nowhere/that/it/may/write"))
        self.plan = plan_for(Teller())

    def lend(self) -> tuple[int, ...]:
        """Pass the files of a match on; returns their inode numbers."""
        given = self.node.lend(self.plan.match_id)
        for one in given:
            self.server.take(one)
        return tuple(os.fstat(one).st_ino for one in given)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def test_match(self) -> None:
        """
        A match that went well leaves its recording and no crash report, and both
        processes have nothing open.
        """
        files = self.lend()
        self.play(self.server.open(self.plan, Teller(), 1.7e9, files))
        self.assertEqual(opened_in(self.directory), [])
        self.node.take_back(self.plan.match_id)
        (name,) = self.names()
        self.assertTrue(read_recording((self.directory / name).read_bytes()).inputs)

    def test_crash(self) -> None:
        """
        The crash report of a match has its own name once the match is over.
        """
        recording = self.server.open(self.plan, Teller(), 1.7e9, self.lend())
        recording.close(MatchEnd(self.plan.match_id, "crashed"), None, "why it failed")
        self.assertEqual([], [n for n in self.names() if n[0] != "." and "crash" in n])
        self.node.take_back(self.plan.match_id)
        (report,) = [name for name in self.names() if name.endswith(".crash.txt")]
        self.assertEqual("why it failed", (self.directory / report).read_text())
        self.assertNotEqual(".", report[0])

    def test_process_that_died(self) -> None:
        """
        Of a match that was never played nothing is left, and another game server can
        be lent its files; of two matches with one name the second is not recorded.
        """
        self.server.open(self.plan, Teller(), 1.7e9, self.lend()).flush()
        self.assertEqual((), self.node.lend(self.plan.match_id))
        self.assertEqual(1, len(self.warnings))
        self.node.take_back(self.plan.match_id, is_over=False)
        self.assertEqual([], self.names())
        self.assertEqual(2, len(self.lend()))
        self.node.take_back(self.plan.match_id)
        self.assertEqual([], self.names())

    def test_brought(self) -> None:
        """
        The files of a match that goes on at another node are moved there, while its
        game server writes; those of other matches stay.
        """
        recording = self.server.open(self.plan, Teller(), 1.7e9, self.lend())
        for one in self.node.lend("other"):
            os.close(one)
        there = Recordings(self.directory.parent / "there")
        for _ in range(2):
            there.bring(self.plan.match_id, self.directory)
        there.bring("m2", self.directory / "gone")
        self.node.bring(self.plan.match_id, self.directory)
        self.play(recording)
        there.take_back(self.plan.match_id)
        names = sorted(one.name for one in there.directory.iterdir())
        self.assertEqual(names, [part_name(self.plan.match_id, 1)])
        found = read_recording((there.directory / names[0]).read_bytes())
        self.assertTrue(found.inputs)
        self.assertIn("other.vinomrec", self.names())

    def test_lost_files(self) -> None:
        """
        Without descriptors left for it a match is played and not recorded; the files
        of the next one are not taken for its own.
        """
        opened = self.node.lend("lost")
        lost = tuple(os.fstat(one).st_ino for one in opened)
        for one in opened:
            os.close(one)
        files = self.lend()
        self.play(self.server.open(self.plan, Teller(), 1.7e9, lost))
        self.assertEqual(1, len(self.warnings))
        self.play(self.server.open(self.plan, Teller(), 1.7e9, files))
        self.node.take_back("lost")
        self.node.take_back(self.plan.match_id)
        self.assertEqual(1, len(self.names()))


class SentTests(RecordingsCase):
    """The node opens the files, and a process on another machine sends the bytes."""

    def setUp(self) -> None:
        super().setUp()
        self.node, self.server = Recordings(self.directory), Recordings(None)
        self.server.send = self.node.append
        self.plan = plan_for(Teller())

    def lend(self) -> tuple[int, ...]:
        """Make files for a match; the descriptors end here, as at a TLS link."""
        given = self.node.lend(self.plan.match_id)
        files = tuple(os.fstat(one).st_ino for one in given)
        for one in given:
            os.close(one)
        return files

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def test_match(self) -> None:
        """
        A match on another machine leaves a recording that replays, on the node's.
        """
        room = self.play(
            self.server.open(self.plan, Teller(), 1.7e9, self.lend()), ("hi", "ho")
        )
        self.node.take_back(self.plan.match_id)
        self.assertEqual(self.names(), ["m1.vinomrec"])
        data = (self.directory / "m1.vinomrec").read_bytes()
        result = replay(read_recording(data), Teller())
        self.assertEqual((result.version, result.differing), (room.version, None))

    def test_crash(self) -> None:
        """
        So does the crash report of a match.
        """
        recording = self.server.open(self.plan, Teller(), 1.7e9, self.lend())
        recording.close(MatchEnd(self.plan.match_id, "crashed"), None, "why it failed")
        self.node.take_back(self.plan.match_id)
        self.assertEqual(self.names(), ["m1.crash.txt", "m1.vinomrec"])
        self.assertEqual((self.directory / "m1.crash.txt").read_text(), "why it failed")

    def test_not_recorded(self) -> None:
        """
        Where the node records nothing, nothing is sent.
        """
        sent: list[tuple[object, ...]] = []
        self.server.send = lambda *what: sent.append(what)
        recording = self.server.open(self.plan, Teller(), 1.7e9)
        self.play(recording)
        self.assertEqual((sent, recording.is_open, self.warnings), ([], False, []))

    def test_too_long(self) -> None:
        """
        A game server cannot fill the node's disk: a file ends at its limit, with one
        line in the log. The next match is recorded.
        """
        self.lend()
        self.node.most_match_bytes = 100
        for at, length in ((0, 60), (60, 60), (60, 10)):
            self.node.append("m1", 1, at, bytes(length))
        self.assertEqual((self.directory / "m1.vinomrec").stat().st_size, 60)
        self.assertEqual(len(self.warnings), 1)
        self.node.take_back("m1", is_over=False)
        self.lend()
        self.node.append("m1", 1, 0, bytes(10))
        self.assertEqual((self.directory / "m1.vinomrec").stat().st_size, 10)

    def test_nothing_was_lent(self) -> None:
        """
        A node that has no file begins none in the middle, with one line in the log.
        """
        self.directory.mkdir()
        for at in (1, 2):
            self.node.append("../elsewhere", 1, at, b"x")
        self.assertEqual((self.names(), len(self.warnings)), ([], 1))

    def test_whole_from_elsewhere(self) -> None:
        """
        A node that has no file writes a recording that comes from its beginning.
        """
        self.node.append("m1", 1, 0, b"abc")
        self.node.append("m1", 1, 3, b"de")
        self.node.append("m1", 1, 0, b"why", True)
        self.node.take_back("m1")
        self.assertEqual((self.directory / "m1.vinomrec").read_bytes(), b"abcde")
        self.assertEqual((self.directory / "m1.crash.txt").read_bytes(), b"why")

    def test_sent_again(self) -> None:
        """
        What is sent again, from any byte to any other, is written once.
        """
        path, whole = self.directory / "m1.vinomrec", b"0123456789"
        for have in range(len(whole) + 1):
            for at in range(have + 1):
                for end in range(at, len(whole) + 1):
                    self.lend()
                    self.node.append("m1", 1, 0, whole[:have])
                    self.node.append("m1", 1, at, whole[at:end])
                    self.assertEqual(path.read_bytes(), whole[: max(have, end)])
                    self.node.take_back("m1", is_over=False)
        self.assertEqual(self.warnings, [])

    def test_gap(self) -> None:
        """
        A recording of which bytes were lost ends before them, with one line in the log.
        """
        self.lend()
        for at, data in ((0, b"abc"), (4, b"e"), (5, b"f"), (3, b"d")):
            self.node.append("m1", 1, at, data)
        self.assertEqual((self.directory / "m1.vinomrec").read_bytes(), b"abc")
        self.assertEqual(len(self.warnings), 1)

    def test_many_gaps(self) -> None:
        """
        A node that is sent the ends of many matches that it has no files of, and which
        other nodes end, does not remember all of them for ever.
        """
        self.patch(recordings, "_MOST_STOPPED", 3)
        for number in range(9):
            for _ in range(2):
                self.node.append(f"m{number}", 1, 5, b"end")
        self.assertEqual((len(self.warnings), len(self.node._stopped)), (9, 3))


class SweepTests(RecordingsCase):
    def fill(self, *ages: float) -> None:
        """Put files of 1000 bytes there, written these seconds before 1e6."""
        self.directory.mkdir()
        for number, age in enumerate(ages):
            path = self.directory / f"m{number}.vinomrec"
            path.write_bytes(bytes(1000))
            os.utime(path, (1e6 - age, 1e6 - age))

    def names(self) -> list[str]:
        names = {path.name for path in self.directory.iterdir()}
        return sorted(names - {".swept"})

    def test_old_files_go(self) -> None:
        """
        Recordings older than the limit are removed; others stay.
        """
        self.fill(50.0, 150.0, 99.0)
        (self.directory / "notes.txt").write_text("mine")
        os.utime(self.directory / "notes.txt", (1.0, 1.0))
        self.assertEqual(Recordings(self.directory, most_age=100.0).sweep(1e6), 1)
        self.assertEqual(self.names(), ["m0.vinomrec", "m2.vinomrec", "notes.txt"])

    def test_the_oldest_go_first(self) -> None:
        """
        All files together stay below the limit of bytes.
        """
        self.fill(10.0, 40.0, 20.0, 30.0)
        self.assertEqual(Recordings(self.directory, most_bytes=2500).sweep(1e6), 2)
        self.assertEqual(self.names(), ["m0.vinomrec", "m2.vinomrec"])

    def test_sweeping_often_is_cheap(self) -> None:
        """
        The directory is swept once per minute, by whichever process asks.
        """
        ours = Recordings(self.directory, most_age=100.0)
        self.assertEqual(ours.sweep(1e6 - 10), 0)
        self.fill(500.0)
        self.assertEqual(ours.sweep(1e6), 1)
        old = self.directory / "old.vinomrec"
        old.write_bytes(b"")
        os.utime(old, (1.0, 1.0))
        theirs = Recordings(self.directory, most_age=100.0)
        self.assertEqual((theirs.sweep(1e6 + 59), theirs.sweep(1e6 + 60)), (0, 1))

    def test_a_clock_that_was_set_back(self) -> None:
        """
        Sweeping continues after the clock is corrected.
        """
        self.fill(500.0)
        (self.directory / ".swept").touch()
        self.assertEqual(Recordings(self.directory, most_age=100.0).sweep(1e6), 1)

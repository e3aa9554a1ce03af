"""One match, its players' notes and its recording: what the check finds in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_room import plan_for
from tests.support.planted import Add, Adding, Guessing, Hiding, Losing
from vinom.errors import Rejected
from vinom.game import Game, Step
from vinom.net.packets.player import (
    ActionRefused,
    EventArrived,
    Joined,
    MatchOver,
    StateArrived,
)
from vinom.play.guard import Guard
from vinom.play.hosting.recordings import part_name
from vinom.play.recording import Part, encode_ending, encode_header, encode_recorded
from vinom.play.room import Closed, Emitted, Room
from vinom.play.states import codec_of
from vinom.tools.promises.checker import Checked, Checker
from vinom.tools.promises.witness import Witness


class PlayedMatch:
    """
    A match of two players, played by one process after another.

    :ivar witnesses: what the players saw.
    :ivar files: the recording, by the name of the file.
    """

    def __init__(self, make: Callable[[], Game[Any, Any]]) -> None:
        """
        :param make: makes the game, anew in each process.
        """
        self._make, self.now, self.part = make, 1000.0, 1
        self.game = make()
        self.plan = plan_for(self.game)
        self.witnesses = [Witness("m1", name, seat) for seat, name in enumerate("ab")]
        self.numbers = [0, 0]
        self.files: dict[str, bytearray] = {}
        self._begin(encode_header(self.plan, self.game, 1.7e9))
        self.room = Room(self.plan, self.game, self.now, record=self.record)
        self.join()

    def _begin(self, header: bytes) -> None:
        self.name = part_name("m1", self.part)
        self.files[self.name] = bytearray(header)

    def record(self, recorded: Any) -> None:
        self.files[self.name] += encode_recorded(recorded)

    def join(self) -> None:
        """Let both players take their seats, for the first time or again."""
        for witness in self.witnesses:
            self.room.join(witness.seat, self.now)
            witness.took(Joined(witness.seat, b"", b"", (), "m1", "g", 0))
        self.show()

    def show(self) -> None:
        """Send states and events."""
        for effect in self.room.take_effects():
            if isinstance(effect, Emitted):
                event = effect.event
                for witness in self.witnesses:
                    if event.to in (None, witness.seat):
                        witness.took(
                            EventArrived(event.kind, event.data, effect.version)
                        )
        for witness in self.witnesses:
            view = self.room.view(self.room.audience_of(witness.seat))
            acked = self.numbers[witness.seat]
            witness.took(StateArrived(self.room.version, 0.0, view, acked))

    def add(self, seat: int, number: int, is_shown: bool = True) -> None:
        """Let a player add."""
        self.now += 0.25
        self.numbers[seat] += 1
        witness = self.witnesses[seat]
        witness.acted(self.numbers[seat], msgpack.encode(Add(number)))
        try:
            self.room.act(seat, Add(number), self.now)
        except Rejected as no:
            witness.took(ActionRefused(self.numbers[seat], "rejected", no.code, ""))
        if is_shown:
            self.show()

    def checkpoint(self) -> tuple[Any, Part, list[int]]:
        """Keep the match as it is now."""
        resumed = self.room.resumed_from(self.now)
        point = resumed.point
        part = Part(
            self.part + 1,
            self.name,
            len(self.files[self.name]),
            codec_of(self.game).encode(point.state),
            point.version,
            point.time,
            point.ticks,
        )
        return resumed, part, list(self.numbers)

    def go_on(self, kept: tuple[Any, Part, list[int]]) -> None:
        """Let another process go on from a checkpoint."""
        resumed, part, self.numbers = kept[0], kept[1], list(kept[2])
        game = self.game = self._make()
        state = codec_of(game).decode(part.state)
        resumed = attrs.evolve(resumed, point=attrs.evolve(resumed.point, state=state))
        self.part = part.number
        self._begin(encode_header(self.plan, game, 1.7e9, part=part))
        self.now += 1.0
        self.room = Room(self.plan, game, self.now, record=self.record, resumed=resumed)
        self.join()

    def play(self, count: int, first: int = 0) -> None:
        """Let both add in turn."""
        for number in range(first, first + count):
            self.add(number % 2, 2 * number)

    def end(self, reason: str = "ended") -> None:
        """End the match, and send its end."""
        self.room.close(reason, self.now)
        closed = next(e for e in self.room.take_effects() if isinstance(e, Closed))
        self.files[self.name] += encode_ending(closed.end, self.room.state)
        end = closed.end
        for witness in self.witnesses:
            witness.took(MatchOver(end.reason, None, end.version, end.view_hash))
            witness.ended(end.reason)


class Ticked(Adding):
    """Add in ticks, which reject what `Adding` refuses."""

    tick_hz = 10

    def tick(self, s: Any, inputs: tuple[tuple[int, Add], ...], n: int) -> Any:
        for seat, action in inputs:
            added = self.act(s, seat, action, 0.0)
            s = added.state if isinstance(added, Step) else added
        return s


class CheckerCase(SynchronousTestCase):
    make: type[Game[Any, Any]] = Adding

    def setUp(self) -> None:
        self.match = PlayedMatch(self.make)

    def check(self) -> Checked:
        """Check the match as it is."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, data in self.match.files.items():
            (folder / name).write_bytes(data)
        checker = Checker(self.make(), Guard(), [folder])
        return checker.check("m1", self.match.witnesses)

    def verify_broken(self, *promises: str) -> str:
        """Expect these promises to be broken; returns the sentences."""
        found = self.check()
        self.assertEqual({one.promise for one in found.broken}, set(promises))
        self.assertFalse(found.is_finished)
        return "\n".join(map(str, found.broken))


class TickedTests(CheckerCase):
    """A game with ticks, which acknowledge inputs that they reject."""

    make = Ticked

    def act(self, number: int, is_lost: bool = False) -> None:
        """Let the first player add with the next tick."""
        match = self.match
        match.numbers[0] += 1
        match.witnesses[0].acted(match.numbers[0], msgpack.encode(Add(number)))
        if not is_lost:
            match.room.act(0, Add(number), match.now)

    def tick(self) -> None:
        self.match.now += 0.1
        self.match.room.alarm(self.match.now)

    def test_rejected(self) -> None:
        """
        What a tick rejects is not missing, also if it equals what others accept.
        """
        for numbers in ((1, 3, 2), (3, 3), (5, 4), (1, 1)):
            for number in numbers:
                self.act(number)
            self.tick()
            self.match.show()
        self.match.end()
        self.assertEqual(self.check().broken, ())
        self.assertEqual(len(self.match.witnesses[0].rejected), 6)

    def test_lost_at_another_time(self) -> None:
        """
        An input that is lost is missing, although a tick has rejected another one that
        nothing acknowledged.
        """
        self.act(2)
        self.act(4, is_lost=True)
        self.tick()
        self.match.show()
        self.act(1)
        self.tick()
        self.match.show()
        self.act(3)
        self.tick()
        self.match.numbers[0] -= 1
        self.match.show()
        self.match.end()
        self.assertEqual(self.match.witnesses[0].sent[-1].fate, "open")
        self.assertIn("not played (2)", self.verify_broken("inputs"))


class CheckerTests(CheckerCase):
    """A game that is right, on servers that are not."""

    def test_kept(self) -> None:
        """
        A match in one process keeps all promises.
        """
        self.match.play(12)
        self.match.add(0, 3)
        self.match.add(1, 1)
        self.match.end()
        found = self.check()
        self.assertEqual(found.broken, ())
        self.assertEqual((found.acknowledged, found.parts), (13, 1))
        self.assertTrue(found.is_finished)

    def test_three_processes(self) -> None:
        """
        So does one that went on twice, from checkpoints made before anything was shown;
        and one whose first process recorded nothing but the start.
        """
        self.match.play(7)
        for first in (7, 14):
            kept = self.match.checkpoint()
            # Nobody saw this: it is forgotten, and sent again.
            self.match.add(0, 100, is_shown=False)
            self.match.go_on(kept)
            self.match.play(7, first)
        self.match.end()
        found = self.check()
        self.assertEqual((found.broken, found.parts), ((), 3))
        self.setUp()
        self.match.go_on(self.match.checkpoint())
        self.match.play(7)
        self.match.end()
        self.assertEqual(self.check().broken, ())
        self.assertEqual(self.match.witnesses[0].events[0][0], "began")

    def test_newcomer_in_a_seat(self) -> None:
        """
        The inputs of a player who left and of the next one in this seat are compared
        with the seat's, one after the other.
        """
        self.match.play(4)
        first = self.match.witnesses[0]
        newcomer = Witness("m1", "cid", 0)
        self.match.witnesses[0] = newcomer
        self.match.numbers[0] = 0
        self.match.show()
        self.match.play(4, 4)
        self.match.end()
        first.ended("left")
        self.match.witnesses.insert(0, first)
        found = self.check()
        self.assertEqual([one for one in found.broken if one.promise == "inputs"], [])

    def test_rolled_back(self) -> None:
        """
        A server that goes on from before what players saw is found.
        """
        kept = self.match.checkpoint()
        self.match.play(4)
        self.match.go_on(kept)
        self.match.play(8, 2)
        self.match.end()
        words = self.verify_broken("versions", "inputs", "states")
        self.assertIn("came after", words)

    def test_input_twice(self) -> None:
        """
        An input that is played again after the change of process is found.
        """
        self.match.play(4)
        kept = self.match.checkpoint()
        self.match.go_on(kept)
        self.match.room.act(1, Add(6), self.match.now)
        self.match.play(4, 4)
        self.match.end()
        self.assertIn("played twice", self.verify_broken("inputs"))

    def test_input_lost(self) -> None:
        """
        An input that is acknowledged and not played is found, also if the game server's
        end did not come: whether the rules allowed it all the time, or forbade it only
        after it was acknowledged.
        """
        for full, number, has_end in (
            ("never", 8, True),
            ("before", 8, False),
            ("after", 7, False),
        ):
            self.setUp()
            self.match.play(4)
            if full == "before":
                self.match.add(1, 3)
            self.match.witnesses[0].acted(3, msgpack.encode(Add(number)))
            self.match.numbers[0] += 1
            self.match.show()
            if full == "after":
                self.match.add(1, 3)
            self.match.end()
            if not has_end:
                self.match.witnesses[0].over = None
            self.assertIn("not played (3)", self.verify_broken("inputs"), full)

    def lose_refusal(self, number: int = 1) -> None:
        """Let a refused input be acknowledged, and its refusal get lost."""
        self.match.add(0, number)
        witness = self.match.witnesses[0]
        self.assertEqual(witness.sent[-1].fate, "refused")
        witness.sent[-1].fate = "acknowledged"
        witness.sent[-1].before = witness.version

    def test_refusal_on_its_way(self) -> None:
        """
        An input may be acknowledged by a state and its refusal be lost with the game
        server, if the lobby reported the end: the rules say which inputs these are.
        """
        self.match.play(4)
        self.match.add(1, 3)
        self.lose_refusal()
        self.match.go_on(self.match.checkpoint())
        self.match.end()
        self.assertIn("not played (3)", self.verify_broken("inputs"))
        self.match.witnesses[0].over = None
        found = self.check()
        self.assertEqual(found.broken, ())
        self.assertEqual((found.acknowledged, found.parts), (6, 2))

    def test_message_after_the_refusal(self) -> None:
        """
        So is one whose refusal did not come although a later message did: messages come
        in order. It may be a refusal, or an event of a later version.
        """
        for go_on in (
            lambda match: match.add(0, 5),
            lambda match: match.play(5, 6),
        ):
            self.setUp()
            self.match.play(4)
            self.match.add(1, 3)
            self.lose_refusal()
            go_on(self.match)
            self.match.end()
            self.match.witnesses[0].over = None
            self.assertIn("not played (3)", self.verify_broken("inputs"))
        self.assertIn("fifth", [kind for kind, _ in self.match.witnesses[0].events])

    def test_gap(self) -> None:
        """
        A part that was not written to the end before its process was killed is found.
        """
        self.match.play(6)
        self.match.go_on(self.match.checkpoint())
        self.match.end()
        first = self.match.files["m1.vinomrec"]
        del first[-20:]
        self.assertIn(
            "bytes of inputs are missing",
            self.verify_broken("recording", "inputs"),
        )

    def test_no_end_and_no_recording(self) -> None:
        """
        A recording without its end is found, and a match without a recording.
        """
        self.match.play(2)
        for witness in self.match.witnesses:
            witness.ended("left")
        self.assertEqual(self.check().broken, (), "all left before its end")
        self.match.witnesses[0].ended("finished")
        self.assertIn("its recording has no end", self.verify_broken("recording"))
        self.match.files.clear()
        self.assertIn("it was not recorded", self.verify_broken("recording"))

    def test_lost(self) -> None:
        """
        A match that is lost, or that never ends for a player, breaks a promise; so does
        one that ends because its process was asked to end.
        """
        self.match.play(2)
        self.match.end()
        self.match.witnesses[0].ended("lost")
        self.match.witnesses[1].ended("")
        words = self.verify_broken("ends")
        self.assertIn("it ended for a: lost", words)
        self.assertIn("b was not sent its end", words)
        self.setUp()
        self.match.play(4)
        self.match.end("shutdown")
        self.assertIn("it ended for a: shutdown", self.verify_broken("ends"))

    def test_event_twice_and_missing(self) -> None:
        """
        An event that arrives twice, and one that does not arrive, are found.
        """
        self.match.play(10)
        self.match.end()
        events = self.match.witnesses[0].events
        self.assertEqual([kind for kind, _ in events], ["began", "fifth", "fifth"])
        events.insert(2, events[1])
        self.assertIn("twice", self.verify_broken("events"))
        del events[1:3]
        self.assertIn("2 of 3 events", self.verify_broken("events"))

    def test_two_states_of_a_version(self) -> None:
        """
        Players who are shown different states of one version are found.
        """
        self.match.play(4)
        self.match.end()
        self.match.witnesses[1].seen[3] = "0" * 16
        words = self.verify_broken("states")
        self.assertIn("two players saw different states of version 3", words)
        self.assertIn("seat 1 saw another state at version 3", words)


class BrokenGameTests(CheckerCase):
    """A game with a fault is played in two processes."""

    def test_found(self) -> None:
        """
        What a game keeps outside its state is missed after the change of process; one
        that draws from the system does not replay; inputs that a game holds back are
        lost.
        """
        for make, words in (
            (Hiding, "differs"),
            (Guessing, "recording"),
            (Losing, "differs"),
        ):
            with self.subTest(make.__name__):
                self.make, self.match = make, PlayedMatch(make)
                self.match.play(7)
                self.match.go_on(self.match.checkpoint())
                self.match.play(7, 7)
                self.match.end()
                self.assertIn(words, self.verify_broken("recording", "states"))

"""``vinom shrink``, as typed."""

from __future__ import annotations

import argparse
import contextlib
import io
import unittest
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_room import plan_for
from tests.support.games import Say, StandingIn, Teller, Ticking
from vinom.errors import Misconfigured, Rejected
from vinom.game import Game, Seat, Step
from vinom.play.guard import Guard
from vinom.play.hosting.recordings import Recordings
from vinom.play.room import Closed, Room
from vinom.tools.commands import shrink as command
from vinom.tools.commands.cli import declare

WORDS = ("hi", "no", "tell", "ho", "nothing much")


class Trap(Teller):
    """Fails at "snap" by the one after whom "set" was said by the other."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        if action == Say("snap") and any(f"{1 - seat} set" in line for line in s.lines):
            return 1 // 0
        return super().act(s, seat, action, now)

    def deadline(self, s: Any) -> float | None:
        return None


class Late(Teller):
    """Fails at the deadline that "wake" sets, after somebody has left."""

    def advance(self, s: Any, now: float) -> Any:
        if "left" in " ".join(s.lines):
            raise KeyError("late")
        return super().advance(s, now)


class TickTrap(Ticking):
    """Fails in the step in which both say "now"."""

    def tick(self, s: Any, inputs: Any, n: int) -> Any:
        if {seat for seat, action in inputs if action == Say("now")} == {0, 1}:
            return 1 // 0
        return super().tick(s, inputs, n)


class BotTrap(StandingIn):
    """Fails at what its bot says a second time."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        if sum("dropped" in line for line in s.lines) and seat == 1:
            raise LookupError("from the bot")
        return super().act(s, seat, action, now)


class Odd(Teller):
    """Emits what cannot be sent, with words that are hard to quote."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        return Step(s, ('\x00 """ \\',))  # type: ignore[arg-type]


class Impure(Teller):
    """Counts what was never in a state."""

    count = 0

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        if action == Say("count"):
            Impure.count += 1
            action = Say(f"count {Impure.count}")
        return super().act(s, seat, action, now)


class Louder(Teller):
    """A later version, which hears one word in another way."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        return super().act(s, seat, Say("HO") if action == Say("ho") else action, now)


class ShrinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def record(self, game: Game[Any, Any], *said: tuple[float, int, str]) -> Path:
        """Record a match in which this was said, each at a time; "-" is dropped."""
        plan = plan_for(game)
        recording = Recordings(Path(self.mktemp())).open(plan, game, 1.7e9)
        room = Room(plan, game, 0.0, record=recording.record)
        room.join(0, 0.0)
        room.join(1, 0.0)
        for now, seat, word in said:
            while (due := room.deadline()) is not None and due <= now:
                room.alarm(due)
            calls = {"drop": room.drop, "return": room.join, "leave": room.leave}
            with contextlib.suppress(Rejected):
                if word in calls:
                    calls[word](seat, now)
                else:
                    room.act(seat, Say(word), now)
        room.close("ended", said[-1][0] + 1.0)
        for effect in room.take_effects():
            if isinstance(effect, Closed):
                recording.close(effect.end, room.state, effect.report)
        return recording.path

    def noise(self, count: int, end: float) -> list[tuple[float, int, str]]:
        """Say this many words until then."""
        chance = Random(5)
        return [
            (end * n / count, chance.randrange(2), chance.choice(WORDS))
            for n in range(count)
        ]

    def shrink(self, path: Path, game: type, *more: str) -> tuple[int, str, str]:
        """Run it: exit code, what it says, and the test that it writes."""
        parser = argparse.ArgumentParser()
        declare(command, parser)
        out, test = io.StringIO(), self.folder / "test_shrunk.py"
        spec = f"{game.__module__}:{game.__name__}"
        arguments = [str(path), "--game", spec, "--output", str(test), *more]
        with contextlib.redirect_stdout(out):
            code = command.run(parser.parse_args(arguments))
        return code, out.getvalue(), test.read_text() if test.exists() else ""

    def failure(self, test: str) -> str:
        """Run a written test, which must fail; returns why."""
        names: dict[str, Any] = {"__name__": "shrunk"}
        exec(compile(test, "shrunk", "exec"), names)
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(names["ShrunkTests"])(result)
        ((_, text),) = result.errors + result.failures
        return text

    def lines(self, test: str) -> list[str]:
        """List what the players of a written test do."""
        found = [line.strip() for line in test.splitlines()]
        return [line for line in found if line.startswith("match.")]

    def test_crash(self) -> None:
        """
        Of hundreds of inputs two are left, with plain seats, and no waits; the test
        that was written fails in the same line.
        """
        said = [*self.noise(300, 60.0), (60.0, 1, "set")]
        path = self.record(Trap(), *said, (70.0, 0, "hi"), (75.0, 0, "snap"))
        code, out, test = self.shrink(path, Trap)
        self.assertEqual(code, 0)
        self.assertIn("ZeroDivisionError (test_shrink.py:", out)
        self.assertRegex(out, r"2 of \d+ inputs of m1.vinomrec are enough")
        self.assertIn("match = play(Trap, seats=2)", test)
        self.assertEqual(
            self.lines(test),
            [
                "match.act(1, {'type': 'say', 'word': 'set'})",
                "match.act(0, {'type': 'say', 'word': 'snap'})",
            ],
        )
        self.assertIn("ZeroDivisionError", self.failure(test))

    def test_deadline(self) -> None:
        """
        A failure at a deadline keeps who left, and the wait until then.
        """
        said = [(1.0, 0, "wake 9.5"), *self.noise(20, 3.0), (4.0, 1, "leave")]
        _, out, test = self.shrink(self.record(Late(), *said, (9.9, 0, "hi")), Late)
        self.assertIn("KeyError", out)
        self.assertEqual(
            self.lines(test),
            [
                "match.act(0, {'type': 'say', 'word': 'wake 9.5'})",
                "match.leave(1)",
                "match.wait(10)",
            ],
        )
        self.assertIn("KeyError", self.failure(test))

    def test_ticks(self) -> None:
        """
        In a game with ticks what must come in one step stays in one step.
        """
        said = [*self.noise(100, 20.0), (20.51, 0, "now"), (20.52, 1, "now")]
        path = self.record(TickTrap(), *said, (21.0, 0, "hi"))
        _, _, test = self.shrink(path, TickTrap)
        self.assertEqual(
            self.lines(test),
            [
                "match.act(0, {'type': 'say', 'word': 'now'})",
                "match.act(1, {'type': 'say', 'word': 'now'})",
                "match.tick(1)",
            ],
        )
        self.assertIn("ZeroDivisionError", self.failure(test))

    def test_bots(self) -> None:
        """
        What a bot did for a player who was away is done by the test.
        """
        path = self.record(BotTrap(), (1.0, 1, "drop"), (9.0, 0, "hi"))
        _, _, test = self.shrink(path, BotTrap)
        self.assertIn('absent="wait"', test)
        self.assertEqual(self.lines(test)[0], "match.drop(1)")
        self.assertIn("LookupError", self.failure(test))

    def test_differs(self) -> None:
        """
        A game that is not pure is cut to what differs from one run to the next.
        """
        said = [*self.noise(40, 9.0), (9.0, 0, "count"), (9.5, 1, "hi")]
        _, out, test = self.shrink(self.record(Impure(), *said), Impure)
        self.assertIn("end differently", out)
        self.assertEqual(
            self.lines(test), ["match.act(0, {'type': 'say', 'word': 'count'})"]
        )
        self.assertIn("AssertionError", self.failure(test))

    def test_against(self) -> None:
        """
        Between two versions of a game the input is found from which they differ;
        without the older one the author is told to name it.
        """
        path = self.record(Teller(), *self.noise(40, 9.0))
        with self.assertRaisesRegex(Misconfigured, "name the older class with --agai"):
            self.shrink(path, Louder)
        older = f"{Teller.__module__}:Teller"
        _, _, test = self.shrink(path, Louder, "--against", older)
        self.assertEqual(len(self.lines(test)), 1)
        self.assertIn("'ho'", test)
        self.assertIn("AssertionError", self.failure(test))

    def test_nothing_wrong(self) -> None:
        """
        A recording that ends as it did is left alone; so is a file that exists.
        """
        path = self.record(Teller(), *self.noise(10, 9.0))
        code, out, test = self.shrink(path, Teller)
        self.assertEqual((code, test), (1, ""))
        self.assertIn("nothing to shrink", out)
        bad = self.record(Trap(), (1.0, 1, "set"), (2.0, 0, "snap"))
        (self.folder / "test_shrunk.py").write_text("mine")
        with self.assertRaisesRegex(Misconfigured, "File exists"):
            self.shrink(bad, Trap)
        with self.assertRaisesRegex(Misconfigured, "not a recording"):
            self.shrink(self.folder / "test_shrunk.py", Trap)

    def test_special_seats(self) -> None:
        """
        Seats, options and the seed stay as they were if the failure needs them.
        """
        seat = Seat("ann", {"colour": 1}, 0, "a", {"rank": {"elo": [7]}})
        move = command.Move("join", (seat,))
        self.assertEqual(
            command.write_line(move),
            "match.join(Seat('ann', player_id='a', team=0, loadout={'colour': 1}, "
            "claims={'rank': {'elo': [7]}}))",
        )

    def test_odd_words(self) -> None:
        """
        Whatever a game says as it fails, the test is one that runs, and fails.
        """
        path = self.record(Odd(), (1.0, 0, "hi"))
        _, _, test = self.shrink(path, Odd)
        self.assertIn("GameFault", self.failure(test))

    def test_endless(self) -> None:
        """
        What took too long is too long in the test, too, where nothing interrupts it.
        """
        trial = command.Trial(plan_for(Teller()), [Teller()], Guard(most_looks=-1))
        moves = [command.Move("act", (0, {"type": "say", "word": "hi"}))]
        test = command.write_test(trial, moves, "TooSlow: act() took … s", "x", "m1")
        self.assertRegex(self.failure(test), "AssertionError: .* not less than -0.05")

"""The alarm that interrupts calls into games: a real one, in this process."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import MatchPlan, SeatPlan
from vinom.play.guard import TooSlow
from vinom.play.hosting.guarding import guard_games
from vinom.play.play import Play


def loop() -> None:
    while True:
        pass


def briefly() -> None:
    for _ in range(300):
        pass


def sleep() -> None:
    time.sleep(3600)


def search() -> None:
    re.match(r"(a*)*b", "a" * 64)


def catch_tightly() -> None:
    while True:
        try:
            pass
        except BaseException:
            continue


def catch_deeply() -> None:
    def work(depth: int) -> int:
        return work(depth - 1) if depth else sum(range(1000))

    while True:
        try:
            try:
                work(50)
            except BaseException:
                work(10)
        except BaseException:
            continue


def catch_in_a_with() -> None:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.001)


def go_on_finally() -> None:
    while True:
        try:
            sum(range(50))
        finally:
            continue  # noqa: B012


def go_on_in_a_generator() -> None:
    def numbers() -> Iterator[int]:
        while True:
            try:
                yield 1
            except GeneratorExit:
                return
            except BaseException:
                yield 2

    for _ in numbers():
        pass


class Clinging:
    def __del__(self) -> None:
        # What is raised in here Python only prints.
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass


def cling() -> None:
    while True:
        Clinging()


class PatienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        before = signal.getsignal(signal.SIGALRM)
        self.guard = guard_games()
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0.0)
        plan = MatchPlan("m1", "slow", (SeatPlan("a", "ann"),), 1)
        self.play = Play(None, guard=self.guard, plan=plan)

    def strike(self, call: Callable[[], object]) -> None:
        with self.assertRaises(TooSlow):
            self.play.ask("act", call)
        self.assertIsNone(self.guard.call)

    def test_one_second(self) -> None:
        """
        A call that never ends is interrupted after a second, and the log names it.
        """
        with capturedLogs() as logged:
            began = time.monotonic()
            self.strike(loop)
            self.assertGreaterEqual(time.monotonic() - began, 1.0)
        (told,) = [one for one in logged if one["log_namespace"] == "vinom.games"]
        about = [told[field] for field in ("match_id", "call", "game")]
        self.assertEqual(["m1", "act", "slow"], about)

    def test_however_it_clings(self) -> None:
        """
        A game cannot avoid it by sleeping, searching, or catching everything.
        """
        self.guard.most_looks = 2
        for call in (
            sleep,
            search,
            catch_tightly,
            catch_deeply,
            catch_in_a_with,
            go_on_finally,
            go_on_in_a_generator,
        ):
            self.strike(call)

    def test_finalizers(self) -> None:
        """
        A game that is caught while Python finalizes its objects is caught again.
        """
        self.guard.most_looks = 2
        ignored: list[object] = []
        self.patch(sys, "unraisablehook", ignored.append)
        self.strike(cling)

    def test_only_in_a_call(self) -> None:
        """
        Nothing but the call is ever interrupted, however the alarm falls: not
        what is done before, after or in between, and the next call either.
        """
        self.guard.most_looks = 1
        pauses = [n * 1e-6 for n in range(5, 60, 7)]
        rings = 0

        def set_alarm(seconds: float) -> None:
            nonlocal rings
            rings += 1
            signal.setitimer(signal.ITIMER_REAL, pauses[rings % len(pauses)])

        self.guard.set_alarm = set_alarm
        struck = passed = 0
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            try:
                self.play.ask("act", briefly)
            except TooSlow:
                struck += 1
            else:
                passed += 1
            # Were one to come out of here, this test would fail by it.
            self.assertIsNone(self.guard.call)
            briefly()
        self.assertGreater(struck, 0)
        self.assertGreater(passed, 0)

    def test_quiet(self) -> None:
        """
        Where nothing is played nothing wakes the process.
        """
        self.play.ask("act", int)
        time.sleep(0.1)
        self.assertEqual((0.0, 0.0), signal.getitimer(signal.ITIMER_REAL))

    def test_end_of_process(self) -> None:
        """
        A program that has asked a game ends with its own exit code, and is not killed
        by an alarm that was left set.
        """
        program = """
import atexit, signal, time
from vinom.play.hosting.guarding import guard_games

def take_handlers_away():
    # As Python does, some time after it has called these.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    time.sleep(2)

atexit.register(take_handlers_away)
guard_games()
signal.setitimer(signal.ITIMER_REAL, 1)
"""
        done = subprocess.run([sys.executable, "-c", program], check=False)
        self.assertEqual(done.returncode, 0)

"""What measurements say of their bars."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.dense import dense
from benchmarks.figures import Figure, Size, in_time, of_runs, ratio
from benchmarks.machine import Failed
from benchmarks.relay import relay
from benchmarks.yardstick import on_this_machine, slowness


class BarsTests(SynchronousTestCase):
    """Bars as they are written, and at the speed of this machine."""

    def test_bars_at_the_speed_of_this_machine(self) -> None:
        """A slow machine may take longer and do less; a fast one gains nothing."""
        half = slowness("pyenet", [49_100 / 2, 1.0, 49_100])
        for figure, slower, line in (
            (
                Figure("input", "us CPU", (90.0,), 60.0),
                half,
                "input: 90 us CPU; bar <= 120, 2 times slower: met",
            ),
            (
                Figure("joins", "per second", (1400.0,), 3000.0, at_least=True),
                half,
                "joins: 1400 per second; bar >= 1500, 2 times slower: no",
            ),
            (
                Figure("input", "us CPU", (50.0,), 60.0),
                0.5,
                "input: 50 us CPU; bar <= 30, 0.5 times slower: no",
            ),
        ):
            (judged,) = on_this_machine([figure], slower)
            self.assertEqual(judged.as_line(), line)

    def test_memory_and_ratios_are_what_they_are(self) -> None:
        """Memory and ratios are judged alike on a slow machine."""
        figures = [
            Figure("process", "MB", (9.0,), 8.0),
            Figure("over theirs", "times", (0.7,), 0.8, at_least=True),
            Figure("reported", "us CPU", (0.7,)),
        ]
        self.assertEqual(on_this_machine(figures, 2.0), figures)


class Generator:
    """Sends so many of its inputs per second in each run, and gets answers."""

    def __init__(self, *sent: float) -> None:
        self._sent = list(sent)
        self.runs = 0

    def __call__(self) -> dict[str, Any]:
        """Load nothing."""
        self.runs += 1
        return {"inputs_s": self._sent.pop(0), "p99_us": 900.0}


class InTimeTests(SynchronousTestCase):
    """Generators that are late: their latencies would be the machine's."""

    def test_in_time(self) -> None:
        """A generator that sends what is due is run once, and its report is used."""
        generator = Generator(99.5)
        result = in_time(Size(3), 100.0, generator)
        self.assertEqual(result, {"inputs_s": 99.5, "p99_us": 900.0})
        self.assertEqual(generator.runs, 1)

    def test_late_once(self) -> None:
        """At full size a run that was disturbed is made again."""
        self.assertEqual(in_time(Size(3), 100.0, Generator(60, 100))["inputs_s"], 100)

    def test_late_again(self) -> None:
        """No figure comes of a machine that is too busy, and one sees why."""
        error = self.assertRaises(Failed, in_time, Size(3), 100.0, Generator(60, 70))
        self.assertIn("70 of 100 inputs per second, twice", str(error))

    def test_late_and_small(self) -> None:
        """
        ``--small`` shows that measuring works: beside other work it reports that the
        generator was late, in place of each figure made of it, and does not fail.
        """
        generator = Generator(60.0)
        late = in_time(Size(1, 0.01), 100.0, generator)
        self.assertEqual(generator.runs, 1)
        for figure in (
            of_runs("p99", "us", [late], "p99_us", 1000.0),
            ratio("p99", [late], [{"p99_us": 5.0}], "p99_us", 2.0),
            ratio("p99", [{"p99_us": 5.0}], [late], "p99_us", 2.0),
        ):
            self.assertEqual(
                figure.as_line(),
                "p99: no figure: the generator was late: it sent 60 of 100 inputs per "
                "second",
            )
            self.assertIsNone(figure.as_json()["met"])

    def test_nothing_to_compare_with(self) -> None:
        """A run without an answer gives no ratio."""
        figure = ratio("p99", [{"p99_us": 5.0}], [{"p99_us": 0.0}], "p99_us", 2.0)
        self.assertEqual(
            figure.as_line(),
            "p99: no figure: nothing was answered in one of the runs",
        )


class PartsTests(SynchronousTestCase):
    """Parts that load a server at a rate, with a generator that is late."""

    def late(self, *arguments: object) -> dict[str, Any]:
        """Report as `udpload` does where it gets no time to send."""
        of_relay = ("done_s", "p99_us")
        of_dense = ("server_share", "p99_ms", "states_of_each")
        return dict.fromkeys((*of_relay, *of_dense), 0.0) | {"inputs_s": 1.0}

    def run_part(self, part: Any, measure: str, size: Size) -> list[Figure]:
        """Run a part that plays with nobody."""
        module = sys.modules[part.__module__]
        self.patch(module, measure, self.late)
        self.patch(module, "build", lambda *_: Path("udpload"))
        figures: list[Figure] = part(size, Path(), lambda _: None)
        return figures

    def test_relay_and_dense(self) -> None:
        """On a busy machine they end with notes, and at full size with an error."""
        for part, measure in ((relay, "_play"), (dense, "_run")):
            figures = self.run_part(part, measure, Size(1, 0.01))
            self.assertIn("the generator was late", figures[-1].note)
            self.assertRaises(Failed, self.run_part, part, measure, Size(1))

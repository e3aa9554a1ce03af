"""What a soak run calls wrong, on values; what its processes are given."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak.checks import Bounds, Sample, faults, leaks
from benchmarks.soak.gateways.processes import Backend

MINUTE, MB = 60.0, 1_000_000


def hours_of(
    growth: float, descriptors: int = 20, ports: int = 24, minutes: int = 180
) -> list[Sample]:
    """Samples of a node whose memory grows by this much per hour, bytes."""
    return [
        Sample(
            at=minute * MINUTE,
            memory=int(40 * MB + growth * minute / 60 + minute % 5 * MB / 2),
            descriptors=20 if minute < minutes else descriptors,
            ports=ports,
            servers=3,
        )
        for minute in range(minutes + 1)
    ]


class LeakTests(SynchronousTestCase):
    """What may grow, and what may not."""

    bounds = Bounds(24)

    def test_steady(self) -> None:
        """
        A node whose memory goes up and down is well.
        """
        self.assertEqual(leaks(hours_of(0.0), self.bounds), [])

    def test_memory(self) -> None:
        """
        One that grows hour after hour is not, and the report has the rate.
        """
        (told,) = leaks(hours_of(20.0 * MB), self.bounds)
        self.assertIn("20.0 MB per hour", told)

    def test_first_minutes(self) -> None:
        """
        Warming up isn't a leak.
        """
        self.assertEqual(leaks(hours_of(60.0 * MB, minutes=5), self.bounds), [])

    def test_descriptors_and_ports(self) -> None:
        """
        Descriptors that stay open and ports that are lost are reported.
        """
        told = leaks(hours_of(0.0, descriptors=120, ports=23), self.bounds)
        self.assertEqual(
            told,
            [
                "23 of 24 ports are accounted for",
                "100 descriptors more than at the beginning",
            ],
        )


class FaultTests(SynchronousTestCase):
    """What bots may meet, and what not."""

    def test_explained(self) -> None:
        """
        Players of a killed game server lose their match: that was meant.
        """
        self.assertEqual(faults({"lost": 4}, 1, 1, 4), [])

    def test_unexplained(self) -> None:
        """
        A match that nobody struck must not fail.
        """
        told = faults({"lost": 8}, 2, 1, 4)
        self.assertEqual(len(told), 2)
        self.assertIn("2 matches failed, 1 were meant to", told)

    def test_never(self) -> None:
        """
        A match that ended otherwise than was announced is wrong, and so is a word that
        is in no document.
        """
        told = faults({"view_mismatch": 1, "oops": 2}, 0, 9, 4)
        self.assertEqual(told, ["unknown error oops", "view_mismatch 1 times"])


class BackendTests(SynchronousTestCase):
    """The back ends of a soak run of gateways."""

    def test_standard_output(self) -> None:
        """
        It is not ours, which would not block any more: a report would break off.
        """
        backend = Backend("one")
        self.addCleanup(backend.kill)
        output = os.readlink(f"/proc/{backend._process.pid}/fd/1")
        self.assertEqual(output, os.devnull)

"""How bots are given a bad network."""

from __future__ import annotations

import argparse

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.net.dtls.bad_network import Conditions
from vinom.tools.commands import bots
from vinom.tools.commands.bots import network_conditions
from vinom.tools.commands.cli import declare


def asked(*arguments: str) -> Conditions | None:
    """What comes of a command line."""
    parser = argparse.ArgumentParser()
    declare(bots, parser)
    return network_conditions(parser.parse_args(arguments))


class NetworkTests(SynchronousTestCase):
    def test_not_asked_for(self) -> None:
        """
        Without options, bots play over the network unchanged.
        """
        self.assertIsNone(asked())
        self.assertIsNone(asked("--loss=0", "--network-seed=3"))

    def test_percent_and_milliseconds(self) -> None:
        """
        Shares are given in percent, times in milliseconds.
        """
        self.assertEqual(
            asked(
                "--loss=20",
                "--duplicate=10",
                "--reorder=2.5",
                "--delay-ms=100",
                "--jitter-ms=50",
            ),
            Conditions(0.2, 0.1, 0.025, 0.1, 0.05),
        )

    def test_what_makes_no_sense(self) -> None:
        """
        A value out of range is refused by a sentence that names the option.
        """
        for option, value in (
            ("--loss", "101"),
            ("--loss", "-1"),
            ("--duplicate", "nan"),
            ("--reorder", "1e9"),
            ("--delay-ms", "-5"),
            ("--delay-ms", "inf"),
            ("--jitter-ms", "70000"),
            ("--jitter-ms", "5"),
        ):
            with self.assertRaisesRegex(Misconfigured, option):
                asked(f"{option}={value}")

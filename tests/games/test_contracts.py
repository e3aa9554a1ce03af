"""The contracts of our games with their clients, as they were agreed."""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vinom.play.game_loader import load_games
from vinom.tools.commands.cli import declare
from vinom.tools.schema import command

AGREED = Path(__file__).resolve().parent / "contracts"


class ContractTests(SynchronousTestCase):
    def test_nothing_has_changed(self) -> None:
        """
        A client that was written for one of our games still fits.
        """
        parser, out = argparse.ArgumentParser(), io.StringIO()
        declare(command, parser)
        for name in load_games():
            lock = str(AGREED / f"{name}.json")
            arguments = parser.parse_args([name, "--lock", lock, "--check"])
            with contextlib.redirect_stdout(out):
                command.run(arguments)
        agree = "vinom schema NAME --lock tests/games/contracts/NAME.json"
        self.assertEqual(out.getvalue(), "", f"if that is right: {agree}")

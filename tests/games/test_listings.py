"""The how-to's game is a game, as printed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

import tests
from vinom.rules.check import try_game

LISTINGS = Path(tests.__file__).resolve().parent.parent / "docs" / "howto" / "listings"


def load(name: str) -> ModuleType:
    """Import a listing from where it lies."""
    spec = importlib.util.spec_from_file_location(name, LISTINGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class ListingTests(SynchronousTestCase):
    def test_nim(self) -> None:
        """
        Nim passes its check, with nothing to remark.
        """
        nim = load("nim")
        self.addCleanup(sys.modules.pop, "nim")
        for seed in range(3):
            trial = try_game(nim.Nim(), "nim", 2, seed)
            self.assertEqual(trial.findings, [])
            self.assertEqual(trial.notes, [])

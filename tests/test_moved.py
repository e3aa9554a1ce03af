"""Programs written for an older Vinom find its modules under their old paths."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import vinom.game
from vinom._moved import MovedModules


class MovedModulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        finder = MovedModules(
            {
                "vinom.attic.rules.play": "vinom.game",
                "vinom.old_game": "vinom.game",
                "vinom.errors": "vinom.game",
                "vinom.broken": "vinom.nowhere",
            }
        )
        self.patch(sys, "meta_path", [*sys.meta_path, finder])
        self.addCleanup(self._restore, dict(sys.modules), dict(vars(vinom)))

    def _restore(self, modules: dict[str, Any], names: dict[str, Any]) -> None:
        for held, before in ((sys.modules, modules), (vars(vinom), names)):
            for name in set(held) - set(before):
                del held[name]
            held.update(before)

    def test_old_path(self) -> None:
        """
        An old path gives the same module as the new one, and one warning, which names
        both and shows the line to change.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import vinom.old_game  # type: ignore[import-not-found]  # it is moved
            from vinom.old_game import Game
        self.assertIs(sys.modules["vinom.old_game"], vinom.game)
        self.assertIs(Game, vinom.game.Game)
        self.assertEqual(vinom.game.__name__, "vinom.game")
        assert vinom.game.__spec__ is not None
        self.assertEqual(vinom.game.__spec__.name, "vinom.game")
        (warning,) = caught
        self.assertIs(warning.category, DeprecationWarning)
        self.assertEqual(str(warning.message), "vinom.old_game is now vinom.game")
        self.assertEqual(Path(warning.filename).name, Path(__file__).name)

    def test_old_package(self) -> None:
        """
        Packages that are gone are still there on the way to an old path, and have
        nothing else in them.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module = importlib.import_module("vinom.attic.rules.play")
        self.assertIs(module, vinom.game)
        self.assertEqual(len(caught), 1)
        with self.assertRaises(ModuleNotFoundError):
            importlib.import_module("vinom.attic.rules.room")

    def test_what_exists(self) -> None:
        """
        A module that exists is never replaced, even if the table lists it.
        """
        del sys.modules["vinom.errors"]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module = importlib.import_module("vinom.errors")
        self.assertEqual(module.__name__, "vinom.errors")
        self.assertEqual(caught, [])

    def test_others_are_missing(self) -> None:
        """
        A path that was never there is missing as everywhere in Python.
        """
        with self.assertRaises(ModuleNotFoundError):
            importlib.import_module("vinom.attic_door")
        with self.assertRaises(ModuleNotFoundError):
            importlib.import_module("attic")

    def test_new_path_fails(self) -> None:
        """
        If the new path cannot be imported, the old one reports why, each time.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(2):
                with self.assertRaisesRegex(ModuleNotFoundError, r"vinom\.nowhere"):
                    importlib.import_module("vinom.broken")

    def test_installed(self) -> None:
        """
        A program that imports Vinom has the old paths.
        """
        asked = "import sys, vinom; print([type(f).__name__ for f in sys.meta_path])"
        said = subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, check=True, text=True
        )
        self.assertEqual(said.stdout.count("MovedModules"), 1)

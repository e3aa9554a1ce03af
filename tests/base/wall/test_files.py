"""What a game server may read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.wall.enclosure import code_paths, lies_in, without_hidden


class HiddenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(os.path.realpath(self.mktemp()))
        for name in ("game/words.txt", "game/state/keys/ca.key", "game/state/log"):
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        (self.root / "game" / "link").symlink_to(self.root / "game" / "state")

    def granted(self, *hidden: str) -> list[str]:
        given = [str(self.root / one) for one in hidden]
        kept = without_hidden([str(self.root / "game")], given)
        return [os.path.relpath(one, self.root) for one in kept]

    def test_state_beside_the_game(self) -> None:
        """
        A state directory in the game's folder is hidden, and the rest may be read.
        """
        self.assertEqual(["game/words.txt"], self.granted("game/state"))

    def test_one_file(self) -> None:
        """
        Of a folder with one hidden file, everything else may be read.
        """
        self.assertEqual(
            ["game/state/log", "game/words.txt"], self.granted("game/state/keys/ca.key")
        )

    def test_hidden_above(self) -> None:
        """
        A folder inside a hidden one is hidden; a neighbour with a longer name is not.
        """
        self.assertEqual([], self.granted("game"))
        self.assertEqual(["game"], self.granted("gam"))


class CodeTests(SynchronousTestCase):
    def test_no_wide_folder(self) -> None:
        """
        A node that was started in / or in a home directory, which are then on Python's
        path, grants neither.
        """
        home = os.path.realpath(os.path.expanduser("~"))
        self.patch(sys, "path", ["/", home, "/etc", *sys.path])
        granted = code_paths()
        for path in ("/", home, "/etc", "/usr", "/tmp", "/var", "/root"):
            self.assertNotIn(path, granted)
        for secret in ("/etc/shadow", "/etc/passwd", f"{home}/.ssh/id"):
            self.assertFalse([one for one in granted if lies_in(secret, one)])

    def test_module_beside_secrets(self) -> None:
        """
        Of a module without a package its folder may be read; in a home directory only
        its file.
        """
        folder = Path(os.path.realpath(self.mktemp()))
        folder.mkdir()
        (folder / "lonely_game.py").write_text("")
        module = type(sys)("lonely_game")
        module.__file__ = str(folder / "lonely_game.py")
        self.patch(sys, "modules", {**sys.modules, "lonely_game": module})
        self.assertIn(str(folder), code_paths())
        self.patch(os, "environ", {**os.environ, "HOME": str(folder)})
        self.assertNotIn(str(folder), code_paths())
        self.assertIn(str(folder / "lonely_game.py"), code_paths())

    def test_code_is_there(self) -> None:
        """
        Our own package, the standard library and what is installed may be read.
        """
        granted = code_paths()
        for module in ("vinom.errors", "json", "twisted.internet.defer"):
            __import__(module)
            path = os.path.realpath(str(sys.modules[module].__file__))
            self.assertTrue([one for one in granted if lies_in(path, one)], path)

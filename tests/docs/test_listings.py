"""The code in the manual's pages is the code of the files that tests run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

import tests
from benchmarks.code_lines import code_lines
from tests.support.needs import do_without

_DOCS = Path(tests.__file__).resolve().parent.parent / "docs"


def _listings() -> ModuleType:
    if importlib.util.find_spec("sphinx") is None:
        do_without("no Sphinx: install the extra 'docs'")
    spec = importlib.util.spec_from_file_location("listings", _DOCS / "listings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ListingTests(SynchronousTestCase):
    def test_copies(self) -> None:
        """
        Somebody who reads the manual on a code host sees all code, and it is the code
        that is tested.
        """
        copied = _listings().copied
        pages = sorted(_DOCS.rglob("*.rst"))
        old = [
            str(page.relative_to(_DOCS))
            for page in pages
            if copied(page) != page.read_text(encoding="utf-8")
        ]
        self.assertEqual(old, [], "run python docs/listings.py")
        count = sum(page.read_text().count(".. listing: ") for page in pages)
        self.assertGreater(count, 15)
        hidden = [page.name for page in pages if "literalinclude::" in page.read_text()]
        self.assertEqual(hidden, [], "use a listing: see docs/listings.py")

    def test_changed(self) -> None:
        """
        A change of the source is found, and copied with the page's own margin; nothing
        else of the page changes.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "a.py").write_text("def f():\n    return 1\n\n\nx = 2\n")
        page = folder / "a.rst"
        head = "Title\n\n  .. listing: a.py\n     :lines: 5\n\n"
        old = f"{head}  .. code-block:: python\n\n     x = 1\n\n\n  More.\n"
        page.write_text(old)
        self.assertEqual(_listings().copied(page), old.replace("x = 1", "x = 2"))

    def test_lines_of_rules(self) -> None:
        """
        The manual's table says how many lines of code its games have today.
        """
        page = (_DOCS / "performance.rst").read_text(encoding="utf-8")
        for title, path in (
            ("tic-tac-toe", "../vinom/games/tictactoe.py"),
            ("Connect Four", "tutorial/connectfour/connectfour.py"),
            ("Battleship", "howto/listings/battleship/battleship.py"),
        ):
            row = f"   {title}, {code_lines(_DOCS / path)}"
            self.assertTrue(row in page, f"performance.rst has to say: {row}")

    def test_script(self) -> None:
        """
        In a browser's script, too, comments and blank lines are not code.
        """
        script = Path(self.mktemp())
        script.write_text("/* a\n * b */\n\n// c\nlet d = 1; // e\n  /* f */\nd();\n")
        self.assertEqual(code_lines(script), 2)

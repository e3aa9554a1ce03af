"""The page of ``vinom dev``, where authors play the game that they write."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import ROOT, PageTestCase

_GAME = (ROOT / "docs/tutorial/pig.py").read_text()
_PLAYERS = "return document.querySelectorAll('.players li').length"


class DevelopmentTests(PageTestCase):
    def test_goes_on(self) -> None:
        """
        An author who plays against a bot plays on after saving the game: same board,
        same bot, same page. A page that is loaded again shows the same room.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        game = folder / "pig.py"
        game.write_text(_GAME)
        self.allow_network_complaints()
        ann = self.player("Ann", port=self.develop(folder, "pig:Pig"))
        ann.press("Play Pig with a bot")
        ann.see("What you see")
        ann.run("window.isOld = true")
        ann.until("return document.title.includes('Your turn')")
        ann.press("Send roll")
        ann.see("rolled")
        self.picture("tutorial-pig", ann)
        game.write_text(_GAME.replace("scores=(0,)", "scores=(4444,)"))
        ann.see("4444")
        self.assertTrue(ann.run("return window.isOld"))
        self.assertEqual(ann.run(_PLAYERS), 2)
        # What pages know of the game has changed.
        game.write_text(_GAME.replace("seats = (2, 6)", "seats = (2, 5)"))
        ann.until("return !window.isOld", what="the page is loaded again")
        ann.see("What you see")
        self.assertEqual(ann.run(_PLAYERS), 2)
        self.assertFalse(ann.run("return !!document.querySelector('.toast')"))

"""The page of ``vinom dev``, where somebody plays what they write."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import ROOT, PageTestCase

_GAME = (ROOT / "docs/tutorial/pig.py").read_text()
_PLAYERS = "return document.querySelectorAll('.players li').length"


class DevelopmentTests(PageTestCase):
    def test_bot_stays(self) -> None:
        """
        Who plays a bot plays it again when the game was saved, without asking for it; a
        page that is just loaded again asks for no second one.
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
        game.write_text(_GAME.replace("< 50", "< 30"))
        ann.until("return !window.isOld", what="the new game is played")
        ann.see("What you see")
        self.assertEqual(ann.run(_PLAYERS), 2)
        ann.run("window.isOld = true; location.reload()")
        ann.until("return !window.isOld")
        ann.see("What you see")
        # Answers come in order: one more bot, or its refusal, would be seen by now.
        ann.press("Send roll")
        ann.see("rolled")
        self.assertEqual(ann.run(_PLAYERS), 2)
        self.assertFalse(ann.run("return !!document.querySelector('.toast')"))

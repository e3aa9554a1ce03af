"""The page of ``vinom dev``, where authors play the game that they write."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import ROOT, PageTestCase

_GAME = (ROOT / "docs/tutorial/pig.py").read_text()
_PLAYERS = "return document.querySelectorAll('.players li').length"


class DevelopmentTests(PageTestCase):
    def test_bot_stays(self) -> None:
        """
        An author who plays against a bot has a bot again after saving the game, without
        adding one; a page that is only reloaded does not add a second bot.
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

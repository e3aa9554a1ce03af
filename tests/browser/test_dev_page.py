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
        self.picture("tutorial-pig", ann)
        self.assertEqual(ann.run(_PLAYERS), 2)
        self.assertFalse(ann.run("return !!document.querySelector('.toast')"))

    def test_stranger_stays_out(self) -> None:
        """
        A tab that could not join stays out when the game is saved: the author keeps
        the seat and the bot, and the tab can join on purpose only.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        game = folder / "pig.py"
        # For two, so that the room is full with a bot.
        text = _GAME.replace("seats = (2, 6)", "seats = (2, 2)")
        game.write_text(text)
        self.allow_network_complaints()
        port = self.develop(folder, "pig:Pig")
        ann, bob = self.player("Ann", port=port), self.player("Bob", port=port)
        ann.press("Play Pig with a bot")
        ann.see("What you see")
        bob.open(ann.run("return location.href"))
        bob.see("You can’t join")
        for one in (ann, bob):
            one.run("window.isOld = true")
        game.write_text(text.replace("< 50", "< 30"))
        for one in (ann, bob):
            one.until("return !window.isOld", what="the new game is loaded")
        ann.see("What you see")
        bob.see("You have no seat in this room")
        self.check(bob)
        seats = ann.run(
            "return [...document.querySelectorAll('.players .signs')]"
            ".map((one) => one.textContent)"
        )
        self.assertEqual(seats, ["you, host", "bot"])
        bob.press("Join")
        bob.see("You can’t join")

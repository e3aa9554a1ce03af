"""The page of ``vinom dev``, where somebody plays what they write."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import tests
from tests.support.browsers import PATIENCE
from tests.support.pages import PageTestCase
from vinom.tap.child_node import free_port

_ROOT = Path(tests.__file__).resolve().parent.parent
_VINOM = "import sys; from vinom.tap.cli import main; sys.exit(main())"
_GAME = (_ROOT / "docs/tutorial/pig.py").read_text()
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
        ann = self.player("Ann", port=self.serve(folder, "pig:Pig"))
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

    def serve(self, folder: Path, game: str) -> int:
        """Start ``vinom dev``; returns the port of its page."""
        http = free_port()
        dev = subprocess.Popen(
            [sys.executable, "-c", _VINOM, "dev", game, "--http", str(http)],
            cwd=folder,
            env=dict(os.environ, PYTHONPATH=str(_ROOT)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(dev.wait)
        self.addCleanup(dev.terminate)
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                urlopen(f"http://127.0.0.1:{http}/games.json").close()
                return http
            except (URLError, OSError):
                self.assertLess(time.monotonic(), give_up, "vinom dev does not serve")
                time.sleep(0.1)

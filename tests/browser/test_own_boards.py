"""Connect Four, the example of the manual, with its own board: played everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from shutil import copytree

from tests.support.browsers import PHONE, Browser
from tests.support.pages import ROOT, PageTestCase

EXAMPLE = ROOT / "docs/tutorial/connectfour"


class ConnectFourTests(PageTestCase):
    def develop_example(self) -> tuple[Path, int]:
        """Copy the example and run ``vinom dev`` there; its folder, and the port."""
        folder = Path(self.mktemp())
        copytree(EXAMPLE, folder, ignore=lambda *_: ["__pycache__"])
        return folder, self.develop(folder, "connectfour:ConnectFour")

    def two(self, port: int | None = None) -> tuple[Browser, Browser]:
        """Put two players in one room: a desktop, and a phone in dark mode."""
        ann = self.player("Ann", port=port)
        bob = self.player("Bob", is_phone=True, is_dark=True, port=port)
        bob.open(self.new_room(ann, "Connect Four", has_options=False))
        for one in (ann, bob):
            one.until("return document.querySelectorAll('.c4-cell').length === 42")
        return ann, bob

    def drop(self, player: Browser, column: int) -> None:
        """Drop a disc when it is this player's turn."""
        player.until(
            "const turn = document.querySelector('.turn').textContent === 'Your turn';"
            "if (turn) document.querySelectorAll('.c4-column')[arguments[0]].click();"
            "return turn",
            column,
            what="a turn",
        )
        player.until(
            "return document.querySelector('.turn').textContent !== 'Your turn'"
        )

    def test_dev(self) -> None:
        """
        In ``vinom dev`` two play Connect Four on the author's own board, with the
        author's title, icon, rules and colours; the fourth disc in a column wins.
        """
        self.allow_network_complaints()
        ann, bob = self.two(self.develop_example()[1])
        for one in (ann, bob):
            self.assertEqual(
                one.run("return document.querySelector('h1').textContent"),
                "Connect Four",
            )
            self.assertTrue(
                one.run("return document.querySelector('.game-icon').naturalWidth")
            )
        for at in range(3):
            self.drop(ann, 3)
            self.drop(bob, 2)
            if at == 1:
                self.picture("connectfour", ann, bob)
                self.check(ann, bob)
        self.drop(ann, 3)
        ann.see("You won!")
        bob.see("Ann won")
        self.assertEqual(ann.run(_WON), ["rgb(209, 73, 91)"] * 4)
        self.check(ann, bob)


    def test_generic(self) -> None:
        """
        Without its board the game is a grid of cells to press, with rounded numbers, and
        its events are sentences; an author may look at this page too.
        """
        self.allow_network_complaints()
        folder = Path(self.mktemp())
        folder.mkdir()
        drawn = (EXAMPLE / "connectfour.py").read_text()
        lines = [one for one in drawn.splitlines() if not _OF_THE_BOARD.match(one)]
        (folder / "connectfour.py").write_text("\n".join(lines))
        ann = self.player("Ann", port=self.develop(folder, "connectfour:ConnectFour"))
        ann.press("Play Connect Four with a bot")
        ann.see("What you see")
        ann.until("return document.querySelectorAll('button.grid-cell').length === 42")
        ann.press("row 0, column 3: null")
        ann.see("dropped: seat You, column 3")
        ann.see("dropped: seat Disco")
        self.assertNotRegex(ann.text(), r"\d\.\d{3}")
        self.picture("generic", ann)
        self.check(ann)
        ann.resize(PHONE)
        self.picture("generic", None, ann)
        self.check(ann)


#: Lines of the example without which it has no board.
_OF_THE_BOARD = re.compile("    (icon|board|board_files) =")
#: Colours of the four discs that won.
_WON = (
    "return [...document.querySelectorAll('.c4-cell.won')]"
    ".map((one) => getComputedStyle(one).backgroundColor)"
)

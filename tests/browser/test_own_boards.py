"""Connect Four, the example of the manual, with its own board: played everywhere."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

from tests.support.browsers import Browser
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


#: Colours of the four discs that won.
_WON = (
    "return [...document.querySelectorAll('.c4-cell.won')]"
    ".map((one) => getComputedStyle(one).backgroundColor)"
)

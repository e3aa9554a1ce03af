"""Connect Four, the example of the manual, with its own board: played everywhere."""

from __future__ import annotations

import re
import time
from pathlib import Path
from shutil import copytree

from tests.support.browsers import DESKTOP, PHONE, Browser
from tests.support.pages import ROOT, PageTestCase, shared_browser
from tests.support.whole_node import WholeNode

EXAMPLE = ROOT / "docs/tutorial/connectfour"
_DISCS = "document.querySelectorAll('.c4-disc[class*=is-seat]').length"


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
            one.until("return document.querySelectorAll('.c4-slot').length === 42")
        return ann, bob

    def in_turn(self, *players: Browser) -> tuple[Browser, Browser]:
        """Find who begins: that one comes first."""
        one, other = players
        head = "return document.querySelector('.c4 .turn').textContent"
        return (one, other) if one.run(head) == "Your turn" else (other, one)

    def drop(self, player: Browser, column: int) -> None:
        """Drop a disc when it is this player's turn."""
        player.until(
            "const turn = document.querySelector('.c4-grid.is-mine') !== null;"
            "if (turn) document.querySelectorAll('.c4-col')[arguments[0]].click();"
            "return turn",
            column,
            what="a turn",
        )
        player.until("return document.querySelector('.c4-grid.is-mine') === null")

    def win(self, winner: Browser, other: Browser) -> None:
        """Play a round in which the one who begins gets four in a column."""
        for _ in range(3):
            self.drop(winner, 3)
            self.drop(other, 2)
        self.drop(winner, 3)

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
        first, second = self.in_turn(ann, bob)
        # The one who came last had the board to load when the game began.
        for one in (ann, bob):
            one.see("Round 1: ")
        for at in range(3):
            self.drop(first, 3)
            self.drop(second, 2)
            if at == 1:
                self.picture("connectfour", ann, bob)
                self.check(ann, bob)
        self.drop(first, 3)
        first.see("You win!")
        second.see(("Ann" if first is ann else "Bob") + " wins!")
        colour = "rgb(216, 52, 60)" if first is ann else "rgb(242, 183, 5)"
        self.assertEqual(first.run(_WON), [colour] * 4)
        for one in (ann, bob):
            # What fades in has little contrast until it is there.
            one.until(_IS_STILL)
        self.check(ann, bob)

    def test_rematch(self) -> None:
        """
        When both players want a rematch, the page's offers for a round that is over
        are gone from both windows, and come back with the next round's end.
        """
        self.allow_network_complaints()
        ann, bob = self.two(self.develop_example()[1])
        self.win(*self.in_turn(ann, bob))
        for one in (ann, bob):
            one.see("New opponent")
        ann.press("Play again")
        bob.press("Accept the rematch")
        for one in (ann, bob):
            one.see("Round 2: ")
            one.until("return document.querySelector('.c4-grid.is-over') === null")
            self.assertNotIn("New opponent", one.text())
        self.win(*self.in_turn(ann, bob))
        for one in (ann, bob):
            one.see("New opponent")

    def test_small_board(self) -> None:
        """
        The manual's board for Pig works as the page shows it, also in dark mode.
        """
        self.allow_network_complaints()
        folder = Path(self.mktemp())
        copytree(ROOT / "docs/howto/listings/pigboard", folder)
        page = (ROOT / "docs/howto/own-board.rst").read_text()
        (lines,) = re.findall(
            r"\n   (    board = .*\n)   (    board_files = .*\n)", page
        )
        pig = (ROOT / "docs/tutorial/pig.py").read_text()
        seats = "    seats = (2, 6)\n"
        self.assertIn(seats, pig)
        (folder / "pig.py").write_text(pig.replace(seats, seats + "".join(lines)))
        port = self.develop(folder, "pig:Pig")
        ann = self.player("Ann", port=port, is_dark=True)
        ann.press("Play Pig with a bot")
        ann.until("return document.title.includes('Your turn')")
        self.assertLess(len((folder / "board.js").read_text().splitlines()), 40)
        ann.press("Roll")
        ann.see("was rolled")
        ann.until("return document.querySelectorAll('.pig-die circle').length > 0")
        # A board may lay its parts out as it likes.
        ann.until(
            "const board = document.body.appendChild(document.createElement('div'));"
            "board.style.display = 'grid';"
            "board.innerHTML = '<div class=countdown></div>';"
            "const width = board.firstChild.offsetWidth; board.remove();"
            "return width > 100"
        )
        self.picture("pig", ann)
        self.check(ann)
        ann.resize(PHONE)
        self.check(ann)

    def test_battleship(self) -> None:
        """
        Two place their ships in Battleship, on a desktop and on a phone, fire in turn,
        and see no ships but their own; who leaves has lost.
        """
        self.allow_network_complaints()
        folder = Path(self.mktemp())
        copytree(
            ROOT / "docs/howto/listings/battleship",
            folder,
            ignore=lambda *_: ["__pycache__"],
        )
        port = self.develop(folder, "battleship:Battleship")
        ann = self.player("Ann", port=port)
        bob = self.player("Bob", is_phone=True, is_dark=True, port=port)
        bob.open(self.new_room(ann, "Battleship", has_options=False))
        for one in (ann, bob):
            one.see("Place your ships")
            one.press("Shuffle")
        self.picture("battleship-placing", ann, bob)
        self.check(ann, bob)
        for one in (ann, bob):
            one.press("Place the ships here")
        for one in (ann, bob):
            one.see("fire")
            self.assertEqual(one.run("return " + _SHIPS), 17)
        first, second = (ann, bob) if "Your turn" in ann.text() else (bob, ann)
        for turn in range(12):
            shooter = (first, second)[turn % 2]
            shooter.until("return document.querySelectorAll('.is-open').length === 1")
            shooter.run(
                "document.querySelectorAll('.is-open .bs-cell')[arguments[0]].click()",
                7 * turn,
            )
            shooter.until("return document.querySelectorAll('.is-open').length === 0")
        self.picture("battleship", ann, bob)
        self.check(ann, bob)
        bob.press("Leave")
        ann.see("You win!")

    def test_failing_board(self) -> None:
        """
        Players of a game whose board has a mistake read so, and can play on the generic
        page; when it is mended they still see what happened.
        """
        self.allow_network_complaints()
        self.allowed += ("mistake of the board",)
        folder, port = self.develop_example()
        board = folder / "board.js"
        text = board.read_text()
        ann = self.player("Ann", port=port)
        ann.press("Play Connect Four with a bot")
        ann.until("return document.querySelectorAll('.c4-slot').length === 42")
        ann.see("Round 1: ")
        ann.run("window.isOld = true")
        throws = "update() { throw new Error('mistake of the board');"
        board.write_text(text.replace("function update() {", f"function {throws}"))
        ann.until("return !window.isOld", what="the page loads the board again")
        ann.see("The board of Connect Four has failed: mistake of the board")
        ann.until("return document.querySelectorAll('.grid-cell').length === 42")
        board.write_text(text)
        ann.until(
            "return document.querySelectorAll('.c4-slot').length === 42",
            what="the mended board",
        )
        # The game is the same: so is what happened in it.
        ann.see("Round 1: ")

    def test_own_page(self) -> None:
        """
        The page of the manual is served instead of Vinom's, under the same strict
        policy, and two play on it.
        """
        node = WholeNode(f"--page={ROOT / 'docs/howto/listings/page'}")
        self.at_end(node.stop)
        node.wait()
        browsers = [shared_browser(number) for number in range(2)]
        self.players += browsers
        for browser in browsers:
            browser.resize(DESKTOP)
            browser.open(f"http://127.0.0.1:{node.http}/")
        one, other = browsers
        for browser in browsers:
            browser.until("return document.querySelectorAll('button').length === 9")
        first, second = (one, other) if "Your turn" in one.text() else (other, one)
        self.picture("own-page", first)
        first.run("document.querySelectorAll('button')[4].click()")
        for browser in browsers:
            browser.until(
                "return document.querySelectorAll('button')[4].textContent !== ''"
            )
        second.see("Your turn")

    def discs(self, player: Browser) -> int:
        """Count the discs on a board."""
        return int(
            player.run(
                "return document.querySelectorAll('.c4-disc[class*=is-seat]').length"
            )
        )

    def turn_knob(self, player: Browser, name: str, value: int) -> None:
        """Set one of the tools of ``vinom dev``."""
        player.run(
            "const knob = document.getElementById(arguments[0]);"
            "knob.value = arguments[1]; knob.dispatchEvent(new Event('input'));"
            "knob.dispatchEvent(new Event('change'))",
            f"bench-{name}",
            value,
        )

    def test_bench(self) -> None:
        """
        In ``vinom dev`` the author looks back at earlier states, plays over a slow
        network that loses much, drops the connection and comes back, and reads what
        became of the round when the game was saved; play goes on meanwhile.
        """
        self.allow_network_complaints()
        folder = Path(self.mktemp())
        copytree(EXAMPLE, folder, ignore=lambda *_: ["__pycache__"])
        game = folder / "connectfour.py"
        # A machine that does much else must not lose by time.
        text = game.read_text().replace(
            "    icon = ", "    turn_seconds = 600.0\n    icon = ", 1
        )
        self.assertIn("turn_seconds", text)
        game.write_text(text)
        port = self.develop(folder, "connectfour:ConnectFour")
        first, second = self.in_turn(*self.two(port))
        for column in (3, 2):
            self.drop(first, column)
            self.drop(second, column)
        first.until("return !!document.querySelector('.c4-grid.is-mine')")
        self.assertEqual(self.discs(first), 4)
        self.turn_knob(first, "state", 1)
        first.until(
            "return document.querySelectorAll('.c4-disc[class*=is-seat]').length < 4"
        )
        seen = self.discs(first)
        first.run("document.querySelectorAll('.c4-col')[0].click()")
        first.see("This is the past")
        first.press("Newest")
        self.assertEqual((self.discs(first) > seen, self.discs(first)), (True, 4))
        self.turn_knob(first, "delay", 400)
        self.turn_knob(first, "loss", 5)
        self.wait_for(first, "online")
        began = time.monotonic()
        self.drop(first, 6)
        self.assertGreater(time.monotonic() - began, 0.35)
        self.assertEqual(self.discs(first), 5)
        self.turn_knob(first, "delay", 0)
        second.press("Drop the connection")
        second.see("Connection lost")
        first.see("away")
        second.press("Connect again")
        self.wait_for(second, "online")
        self.drop(second, 6)
        game.write_text(f"{text}\n# Saved.\n")
        first.see("inputs kept")
        self.assertEqual(self.discs(first), 6)
        board = folder / "board.js"
        for one in (first, second):
            one.run("window.isOld = true")
        board.write_text(f"{board.read_text()}\n// Saved.\n")
        for one in (first, second):
            one.until("return !window.isOld && !!document.querySelector('.c4-grid')")
            self.turn_knob(one, "state", 3)
            one.until(f"return {_DISCS} < 6", what="an earlier state")
        self.check(first, second)
        phone, desktop = sorted(
            (first, second), key=lambda one: int(one.run("return innerWidth"))
        )
        self.picture("dev-bench", desktop, phone)

    def test_generic(self) -> None:
        """
        Without its board the game is a grid of cells to press, with rounded numbers,
        and its events are sentences.
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
        ann.until("return document.title.includes('Your turn')")
        ann.press("row 0, column 3: null")
        ann.see("dropped: You, column 3")
        ann.see("dropped: Pixel")
        self.assertNotRegex(ann.text(), r"\d\.\d{3}")
        self.picture("generic", ann)
        self.check(ann)
        ann.resize(PHONE)
        self.picture("generic", None, ann)
        self.check(ann)


#: Lines of the example without which it has no board.
_OF_THE_BOARD = re.compile("    (icon|board|board_files) =")
#: How many cells of ships the page shows.
_SHIPS = "document.querySelectorAll('.bs-cell.is-ship').length"
#: Colours of the four discs that won.
_WON = (
    "return [...document.querySelectorAll('.is-winning .c4-disc')]"
    ".map((one) => getComputedStyle(one).backgroundColor)"
)
#: Whether nothing moves that will come to an end.
_IS_STILL = (
    "return document.querySelector('.result').childElementCount > 0"
    " && document.getAnimations().every((one) => one.playState === 'finished'"
    " || one.effect.getComputedTiming().endTime === Infinity)"
)

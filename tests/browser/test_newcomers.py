"""What people meet who are new to the page, and games that do not go as planned."""

from __future__ import annotations

from pathlib import Path

from tests.support.browsers import DESKTOP, PHONE, Browser
from tests.support.cut import CuttableWay
from tests.support.pages import ROOT, PageTestCase

_PRESS_ANY_CELL = "document.querySelector('.cell').click()"
_ANSWER = "return document.querySelector('.answer').textContent"


class LeftTests(PageTestCase):
    def two(self, title: str, **options: object) -> tuple[Browser, Browser, str]:
        """Let two players begin a game; returns the link to their room too."""
        ann = self.player("Ann")
        bob = self.player("Quiet Heron", is_phone=True, is_dark=True)
        link = self.new_room(ann, title, **options)
        bob.open(link)
        for one in (ann, bob):
            one.until("return !!document.querySelector('.turn')")
        return ann, bob, link

    def test_other_leaves(self) -> None:
        """
        A player whose opponent leaves reads who it was, and goes on with one press: to
        another opponent, a bot, or a friend.
        """
        ann, bob, _ = self.two("Dice")
        ann.press("Leave")
        bob.see("Ann has left the game.")
        bob.see("You won!")
        bob.until("return !/seat \\d|player \\d/i.test(document.body.innerText)")
        ways = "return document.querySelector('.result').getBoundingClientRect().bottom"
        self.assertLess(bob.run(ways), 740, "the ways on are in sight")
        self.check(bob)
        self.picture("left", None, bob)
        bob.resize(DESKTOP)
        self.picture("left", bob)
        bob.press("Play a bot")
        bob.until("return document.querySelectorAll('.players li').length === 2")
        bob.until("return !!document.querySelector('.turn')")

    def test_wrong_move(self) -> None:
        """
        A player who presses a cell out of turn is answered, and the player whose turn
        it is finds that in the title of the tab.
        """
        ann, bob, _ = self.two("Tic-tac-toe")
        titles = {one: str(one.run("return document.title")) for one in (ann, bob)}
        on_turn, waits = sorted(titles, key=lambda one: "Your turn" not in titles[one])
        self.assertIn("Your turn", titles[on_turn])
        self.assertNotIn("Your turn", titles[waits])
        waits.run(_PRESS_ANY_CELL)
        self.assertIn("turn", waits.run(_ANSWER))
        on_turn.run(_PRESS_ANY_CELL)
        waits.until("return document.title.includes('Your turn')")
        waits.run(_PRESS_ANY_CELL)
        self.assertEqual(waits.run(_ANSWER), "This cell is taken.")

    def test_offline(self) -> None:
        """
        While the connection is lost a press is answered, the clock does not go on, and
        a long name is cut at its end.
        """
        self.allow_network_complaints()
        way = CuttableWay(self.node.http)
        self.at_end(way.close)
        ann = self.player("Zoë with a very long name", is_phone=True, port=way.port)
        ann.press("Play Tic-tac-toe with a bot")
        ann.until("return !!document.querySelector('.ttt')")
        way.cut()
        ann.see("Connection lost")
        ann.run(_PRESS_ANY_CELL)
        self.assertIn("You’re not connected.", ann.run(_ANSWER))
        clock = "return document.querySelector('.countdown-text').textContent"
        ann.until(f"return ((() => {{ {clock} }})()) === '–'")
        style = "return getComputedStyle(document.getElementById('me'))[arguments[0]]"
        self.assertEqual(ann.run(style, "textOverflow"), "ellipsis")
        self.assertEqual(ann.run(style, "display"), "block")
        height = ann.run("return document.querySelector('.top').offsetHeight")
        self.assertLess(height, 130, "name and words have a line each")
        self.check(ann)
        self.picture("offline", None, ann)
        way.mend()
        self.wait_for(ann, "online")


class InvitationTests(PageTestCase):
    def test_closed_room(self) -> None:
        """
        Whoever follows a link to a room that has closed reads that, and opens a new one
        only by a press.
        """
        ann = self.player("Ann", is_phone=True)
        ann.open(f"http://127.0.0.1:{self.node.http}/#room=nonsense&game=dice")
        ann.see("This room no longer exists")
        self.check(ann)
        ann.press("Open a new room")
        ann.see("Waiting for 1 more player.")
        self.assertIn("room=nonsense", ann.run("return location.href"))

    def test_missing_page(self) -> None:
        """
        A person who follows a wrong link finds the way to the games.
        """
        self.allowed = ("404",)
        ann = self.player("Ann", is_phone=True)
        ann.open(f"http://127.0.0.1:{self.node.http}/nothing")
        ann.see("There is no page at this address")
        self.check(ann)
        ann.press("To the games")
        ann.see("Play something")

    def test_code(self) -> None:
        """
        The link is on the screen as a QR code, for the phone of a friend beside it.
        """
        ann = self.player("Ann")
        self.new_room(ann, "Dice")
        ann.until("return document.querySelector('.qr')?.naturalWidth > 0")
        self.check(ann)


class LobbyTests(PageTestCase):
    def test_live_board(self) -> None:
        """
        A visitor sees on its card how a game goes that others play, and nobody there
        notices; a room whose players are away is marked, and not offered.
        """
        ann, eve = self.player("Iris"), self.player("Eve", is_phone=True)
        ann.press("Play Tic-tac-toe with a bot")
        ann.until("return !!document.querySelector('.cell[aria-disabled=\"false\"]')")
        ann.run("document.querySelector('.cell[aria-disabled=\"false\"]').click()")
        eve.until("return !!document.querySelector('.preview .ttt .mark')")
        eve.see("Watch")
        for size in (PHONE, DESKTOP):
            eve.resize(size)
            self.check(eve)
            self.picture("lobby-live", *((None, eve) if size is PHONE else (eve,)))
        self.assertNotIn("watching", eve.text())
        offered = 'return !!document.querySelector(`[aria-label="${arguments[0]}"]`)'
        self.assertTrue(eve.run(offered, "Watch Iris’s Tic-tac-toe"))
        ann.open("about:blank")
        eve.until(
            "return [...document.querySelectorAll('.room-row.away')]"
            ".some((one) => one.innerText.includes('Iris’s Tic-tac-toe'))"
        )
        self.assertFalse(eve.run(offered, "Watch Iris’s Tic-tac-toe"))

    def test_deserted(self) -> None:
        """
        A spectator whose players all go away reads so, and can go on.
        """
        ann, eve = self.player("Uma"), self.player("Eve", is_phone=True)
        ann.press("Play Maze with a bot")
        ann.until("return !!document.querySelector('canvas')")
        eve.press("Watch Uma’s Maze")
        eve.see("You are watching.")
        ann.open("about:blank")
        eve.see("Everyone is away.")
        self.check(eve)
        eve.press("Back to the games")
        eve.see("Happening now")

    def test_live_field(self) -> None:
        """
        A visitor sees a game with ticks move on its card, and is not counted as one
        who watches it.
        """
        ann, eve = self.player("Jo"), self.player("Eve")
        ann.press("Play Arena with a bot")
        ann.until("return !!document.querySelector('canvas')")
        tick = (
            "const canvas = document.querySelector('.preview canvas');"
            "return Number(canvas?.dataset.tick ?? 0)"
        )
        eve.until(f"return ((() => {{ {tick} }})()) > 0", what="the arena on its card")
        before = eve.run(tick)
        eve.until(f"return ((() => {{ {tick} }})()) > arguments[0] + 20", before)
        box = eve.run(
            "const [board, frame] = ['.preview canvas', '.preview:has(canvas)']"
            ".map((one) => document.querySelector(one).getBoundingClientRect());"
            "return [board.height / frame.height, board.left >= frame.left,"
            " board.bottom <= frame.bottom]"
        )
        self.assertGreater(box[0], 0.7)
        self.assertEqual(box[1:], [True, True])
        for size in (PHONE, DESKTOP):
            eve.resize(size)
            self.check(eve)
            self.picture("lobby-field", *((None, eve) if size is PHONE else (eve,)))
        self.assertNotIn("watching", eve.text())

    def test_menu(self) -> None:
        """
        On a phone the menu of a card can be read whole, without scrolling sideways.
        """
        ann = self.player("Ann", is_phone=True)
        for card in range(3):
            ann.until(
                "const menu = document.querySelectorAll('.menu')[arguments[0]];"
                "if (menu && !menu.open) menu.querySelector('summary').click();"
                "return menu?.open",
                card,
            )
            edges = ann.run(
                "const box = document.querySelector('.menu[open] .choices')"
                ".getBoundingClientRect();"
                "return [box.left, innerWidth - box.right, box.top]"
            )
            self.assertGreaterEqual(min(edges), 0)
            self.check(ann)

    def test_rules(self) -> None:
        """
        The rules of a game can be read before playing it, and in its room.
        """
        ann = self.player("Ann", is_phone=True)
        ann.press("How to play Dice")
        ann.see("How to play Dice")
        self.check(ann)
        ann.press("Close")
        self.new_room(ann, "Dice")
        ann.see("How to play")
        self.assertTrue(ann.run("return document.querySelector('.rules p') !== null"))


class CrashTests(PageTestCase):
    def test_crash(self) -> None:
        """
        With ``vinom dev`` an author whose game fails reads the failing lines of the
        game on the page, and none of Vinom's.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        text = (ROOT / "docs/tutorial/pig.py").read_text()
        head, act, tail = text.partition("    def play(")
        body = tail.partition(":\n")
        broken = f"{head}{act}{body[0]}:\n        1 / 0\n{body[2]}"
        (folder / "pig.py").write_text(broken)
        self.allow_network_complaints()
        ann = self.player("Ann", port=self.develop(folder, "pig:Pig"))
        ann.press("Play Pig with a bot")
        # The bot may begin, and fails then, too.
        ann.press("Send roll")
        ann.see("ZeroDivisionError")
        fault = ann.run("return document.querySelector('.fault').textContent")
        self.assertIn("pig.py", fault)
        self.assertIn("1 / 0", fault)
        self.assertNotIn("vinom/play", fault)
        self.check(ann)
        self.picture("crash", ann)

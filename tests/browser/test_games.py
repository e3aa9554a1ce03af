"""People play every game in their browsers, against each other, to the end."""

from __future__ import annotations

import random
import time

from tests.support.browsers import PATIENCE, Browser
from tests.support.cut import CuttableWay
from tests.support.pages import (
    PLAY_DICE,
    PLAY_OLDMAID,
    PLAY_OWEDRAHN,
    PLAY_TICTACTOE,
    PageTestCase,
)


class TurnTests(PageTestCase):
    def two(self, title: str, **options: object) -> tuple[Browser, Browser]:
        """Put two players in one room: a desktop, and a phone in dark mode."""
        ann = self.player("Ann")
        bob = self.player("Bob", is_phone=True, is_dark=True)
        link = self.new_room(ann, title, **options)
        bob.open(link)
        self.begin(ann)
        for one in (ann, bob):
            one.until("return !!document.querySelector('.turn')")
        return ann, bob

    def test_tictactoe(self) -> None:
        """
        Two play tic-tac-toe, one on a phone; one reloads the page in the middle, keeps
        the seat, and they play the game to its end.
        """
        ann, bob = self.two("Tic-tac-toe")

        def then() -> None:
            self.picture("tictactoe", ann, bob)
            self.check(ann, bob)
            bob.driver.refresh()
            bob.until("return !!document.querySelector('.turn')")
            seats = bob.run(
                "return [...document.querySelectorAll('.players li')]"
                ".map((one) => one.innerText.replace(/\\s+/g, ' '))"
            )
            self.assertIn("Bobyou", "".join(seats).replace(" ", ""))
            self.assertEqual(len(seats), 2)

        self.play(PLAY_TICTACTOE, (ann, bob), 2, then)
        for one in (ann, bob):
            one.press("Play again" if one is ann else "Accept the rematch")
        ann.see("Round 2 begins.")

    def test_dice(self) -> None:
        """
        Two play dice; one loses the network between moves, the page says so, and the
        game continues in the same seat when the network is back.
        """
        self.allow_network_complaints()
        way = CuttableWay(self.node.http)
        self.at_end(way.close)
        ann = self.player("Ann")
        bob = self.player("Bob", is_phone=True, is_dark=True, port=way.port)
        link = self.new_room(ann, "Dice", target=2000)
        bob.open(link.replace(f":{self.node.http}/", f":{way.port}/"))

        def then() -> None:
            # The picture needs dice: roll, if it is somebody's turn to roll.
            log = "document.querySelector('.log').innerText"
            before = ann.run(f"return {log}")
            if any(one.run(_ROLL) for one in (ann, bob)):
                ann.until(f"return {log} !== arguments[0]", before, what="a roll")
            self.picture("dice", ann, bob)
            self.check(ann, bob)
            way.cut()
            bob.see("Connection lost")
            ann.see("away")
            self.check(bob)
            way.mend()
            self.wait_for(bob, "online")
            ann.until("return !document.body.innerText.includes('away')")

        # After a roll and a bank: one game in a hundred is won by these alone.
        self.play(PLAY_DICE, (ann, bob), 2, then)

    def test_owedrahn(self) -> None:
        """
        Two get ready for owe drahn, agree on a side bet, and roll until one is out; the
        one loses what the other wins.
        """
        ann, bob = self.two("Owe drahn", lives=3)
        ann.until("return !!document.getElementById('bet-amount')")
        opened = "return document.querySelector('.bets').open"
        self.assertFalse(ann.run(opened), "bets are folded away at first")
        ann.run("document.querySelector('.bets summary').click()")
        ann.press("Offer")
        bob.until(opened, what="an offer is shown")
        bob.press("Accept")
        ann.until("return document.body.innerText.includes('You and Bob: 1')")

        def then() -> None:
            self.picture("owedrahn", ann, bob)
            self.check(ann, bob)

        self.play(PLAY_OWEDRAHN, (ann, bob), 2, then)
        money = ann.run(
            "return [...document.querySelectorAll('.seats .money')]"
            ".map((one) => Number(one.textContent.replace('−', '-')))"
        )
        self.assertEqual(sorted(money), [-2, 2])

    def test_oldmaid(self) -> None:
        """
        Two play old maid to the last queen, and neither page ever has the other's
        cards.
        """
        ann, bob = self.two("Old maid")

        def then() -> None:
            self.picture("oldmaid", ann, bob)
            self.check(ann, bob)
            hands = [
                set(
                    one.run(
                        "return [...document.querySelectorAll('.hand .unseen')]"
                        ".map((one) => one.textContent)"
                    )
                )
                for one in (ann, bob)
            ]
            # One of them may have laid down all cards by now.
            self.assertTrue(hands[0] | hands[1])
            self.assertFalse(hands[0] & hands[1])

        self.play(PLAY_OLDMAID, (ann, bob), 1, then)


class FieldTests(PageTestCase):
    def test_maze(self) -> None:
        """
        Two walk a small maze with their keyboards until it is empty, a third person
        watches, and the winner dances.
        """
        ann, bob = self.player("Ann"), self.player("Bob", is_phone=True, is_dark=True)
        eve = self.player("Eve")
        link = self.new_room(ann, "Maze", rows=2, cols=3)
        bob.open(link)
        self.begin(ann)
        for one in (ann, bob):
            one.until("return !!document.querySelector('canvas')")
        eve.open(f"{link}&watch=1")
        eve.see("You are watching.")
        self.check(ann, bob, eve)
        self.walk((ann, bob))
        for one in (ann, bob, eve):
            one.until(f"return ({_HEADLINE_OF}).includes('won')", what="an end")
        dancer = ann if ann.run(_CAN_DANCE) else bob
        dancer.press("Dance")
        eve.until("return /dances?\\./.test(document.body.innerText)")
        self.check(ann, bob)

    def walk(self, players: tuple[Browser, ...]) -> None:
        """Walk at random, by pressing keys, until the maze is empty."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys

        keys = (Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_RIGHT)
        give_up = time.monotonic() + 6 * PATIENCE
        drawn = random.Random(5)
        while True:
            for player in players:
                if "won" in player.run(_HEADLINE):
                    return
                field = player.driver.find_element(By.TAG_NAME, "canvas")
                field.send_keys(drawn.choice(keys))
            self.assertLess(time.monotonic(), give_up, players[0].text())

    def test_arena(self) -> None:
        """
        Four run about the arena with keys at twenty states per second, until one wins
        by taking a gem.
        """
        names = ("Ann", "Bob", "Cleo", "Dan")
        players = [
            self.player(name, is_phone=name == "Bob", is_dark=name == "Bob")
            for name in names
        ]
        link = self.new_room(players[0], "Arena", seconds=600, points=1, gems=8)
        for player in players[1:]:
            player.open(link)
        players[0].see("Dan")
        self.begin(players[0])
        for player in players:
            player.until("return !!document.querySelector('canvas')")
            player.see("Dan")
        for player in players:
            player.until(_HAS_MOVED, what="its picture moves")
        # Before they run: the room closes half a minute after the end.
        self.check(*players[:2])
        for player in players:
            player.run(_RUN_ABOUT)
        self.picture("arena", *players[:2])
        # They run at random: it takes some seconds, and rarely most of a minute.
        give_up = time.monotonic() + 6 * PATIENCE
        while "won" not in players[0].run(_HEADLINE):
            self.assertLess(time.monotonic(), give_up, players[0].text())
            time.sleep(0.1)
        for player in players:
            player.until(f"return ({_HEADLINE_OF}).includes('won')", what="an end")
        # The list beside a field is updated every half second.
        players[3].until(f"return Math.max(...{_SCORES}) === 1", what="the gem")
        self.assertEqual(len(players[3].run(f"return {_SCORES}")), 4)


_ROLL = (
    "const roll = [...document.querySelectorAll('.stage button:not(:disabled)')]"
    ".find((one) => one.innerText === 'Roll'); roll?.click(); return !!roll"
)
_HEADLINE_OF = "(document.querySelector('.turn')?.textContent ?? '').toLowerCase()"
_SCORES = (
    "[...document.querySelectorAll('.players .extra')]"
    ".map((one) => Number(one.innerText))"
)
_HEADLINE = f"return {_HEADLINE_OF}"
_CAN_DANCE = (
    "return [...document.querySelectorAll('button')]"
    ".some((one) => one.innerText === 'Dance')"
)
_HAS_MOVED = "return Number(document.querySelector('canvas').dataset.tick) > 20"
#: Another direction about every second, and a dash now and then: enough to find gems.
_RUN_ABOUT = """
const canvas = document.querySelector("canvas");
const key = (type, key) => canvas.dispatchEvent(new KeyboardEvent(type, { key }));
const keys = ["ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"];
let last = "ArrowUp";
setInterval(() => {
  key("keyup", last);
  last = keys[Math.floor(Math.random() * 4)];
  key("keydown", last);
  if (Math.random() < 0.2) key("keydown", " ");
}, 900);
"""

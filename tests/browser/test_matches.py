"""Matches of game servers, found, played and watched on the page."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys

from tests.support.browsers import PATIENCE, Browser
from tests.support.pages import VINOM, PageTestCase
from tests.support.websocket_clients import connect

_HEADLINE = "return (document.querySelector('.turn')?.textContent ?? '').toLowerCase()"
_SCORES = (
    "return [...document.querySelectorAll('.players .extra')]"
    ".map((one) => Number(one.innerText))"
)
_OWN_SCORE = (
    "return Number([...document.querySelectorAll('.players li')]"
    ".find((one) => /Ann\\s*you/.test(one.innerText))"
    "?.querySelector('.extra')?.innerText ?? 0)"
)
#: Toasts disappear by themselves, perhaps before the test looks.
_KEEP_TOASTS = (
    "window.toasts = []; const box = document.getElementById('toasts');"
    "new MutationObserver((found) => found.forEach((one) =>"
    " toasts.push(...[...one.addedNodes].map((added) => added.textContent))))"
    ".observe(box, { childList: true })"
)


class MatchTests(PageTestCase):
    def udp_bot(self) -> subprocess.Popen[str]:
        """A program that queues for the maze, and plays one match over UDP."""
        bot = subprocess.Popen(
            [
                *(sys.executable, "-c", VINOM, "bots", "--players=1", "--seed=3"),
                f"--connect=127.0.0.1:{self.node.port}",
                # Fast: most of the maze is left to it, and the pages have little time.
                *("--seconds=20", "--pace=20", "--grace=240"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def end() -> None:
            bot.kill()
            bot.communicate()

        self.addCleanup(end)
        return bot

    def test_maze_with_udp(self) -> None:
        """
        A player finds a match on the page, against a program that plays over UDP,
        reloads the page in the middle, and both finish; a third person finds the match
        in the list, watches it, and sees the same scores.
        """
        ann = self.player("Ann")
        eve = self.player("Eve", is_phone=True, is_dark=True)
        ann.press("Find a match of Maze")
        ann.see("Waiting for others to play Maze. You are number 1")
        self.check(ann)
        bot = self.udp_bot()
        ann.until("return !!document.querySelector('canvas')", what="the maze is shown")
        match_id = ann.run(
            "return new URLSearchParams(location.hash.slice(1)).get('room')"
        )
        self.assertEqual(len(match_id), 26)
        # While there is something left where she is.
        self.walk(ann, 12)
        height = eve.until("return document.querySelector('.room-row')?.offsetHeight")
        self.assertLess(height, 160, "on a phone the words are broken one per line")
        eve.press(f"Watch Maze match {match_id[:4]}")
        eve.see("You are watching.")
        eve.until("return !!document.querySelector('canvas')")
        self.picture("maze-match", ann, eve)
        self.check(ann, eve)
        ann.driver.refresh()
        ann.until("return !!document.querySelector('canvas')")
        ann.until(
            "return [...document.querySelectorAll('.players li')]"
            ".some((one) => /Ann\\s*you/.test(one.innerText))",
            what="Ann has her seat again",
        )
        eve.until(f"return ((() => {{ {_HEADLINE} }})()).includes('won')")
        scores = [one.run(_SCORES) for one in (ann, eve)]
        self.assertEqual(scores[0], scores[1])
        self.assertTrue(all(scores[0]), f"both took something: {scores[0]}")
        self.picture("maze-dance", ann, eve)
        for one in (ann, eve):
            one.see("This match is over")
        ann.press("Find another match")
        ann.see("Waiting for others to play Maze. You are number 1")
        ann.press("Stop waiting")
        eve.press("Back to the games")
        for one in (ann, eve):
            one.see("Happening now")
        printed, _ = bot.communicate(timeout=2 * PATIENCE)
        self.assertIn("1 finished, 0 failed", printed)

    def walk(self, player: Browser, steps: int) -> None:
        """Walk by keys, at least *steps* steps, until something was taken."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys

        keys = (Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_RIGHT)
        drawn = random.Random(5)
        for step in range(300):
            if step >= steps and player.run(_OWN_SCORE) > 0:
                return
            # The page was drawn again just after it was found.
            with contextlib.suppress(StaleElementReferenceException):
                field = player.driver.find_element(By.TAG_NAME, "canvas")
                field.send_keys(drawn.choice(keys))
        self.fail("nothing was taken in 300 steps")

    def test_stop_waiting(self) -> None:
        """
        A player who waits for a match can stop waiting; a player who reloads the page
        keeps waiting.
        """
        ann = self.player("Ann")
        ann.press("Find a match of Maze")
        ann.see("You are number 1")
        ann.driver.refresh()
        ann.see("You are number 1")
        ann.press("Stop waiting")
        ann.see("Happening now")

    def test_nobody_comes(self) -> None:
        """
        If the others do not come to a match, the page says so, and the player waits at
        the front of the queue for another one.
        """
        ann = self.player("Ann")
        ann.press("Find a match of Maze")
        ann.see("You are number 1")
        with connect(f"ws://127.0.0.1:{self.node.http}/ws") as bob:
            for asked in (
                {"type": "hello", "data": {"protocol": 1, "name": "Bob"}},
                {"type": "queue", "data": {"game": "maze"}},
            ):
                bob.send(json.dumps(asked))
            ann.see("Waiting for the other players.")
            ann.run(_KEEP_TOASTS)
            self.check(ann)
        ann.until(
            "return toasts.includes(arguments[0])",
            "Not enough players came, so you are waiting for another match.",
        )
        ann.see("You are number 1")
        ann.press("Stop waiting")
        ann.see("Happening now")

    def test_strange_match(self) -> None:
        """
        A player who opens the address of a match that is over, or never existed, reads
        that on the page.
        """
        ann = self.player("Ann")
        ann.open(f"http://127.0.0.1:{self.node.http}/#room={'a' * 26}&game=maze")
        ann.see("This room doesn’t exist. It may have closed.")

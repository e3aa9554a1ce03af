"""Other ways to play: touch, reduced motion, and games without a board."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.support.browsers import PATIENCE, Browser
from tests.support.pages import PageTestCase
from tests.system.test_dev import GAME

_AT = "return document.querySelector('canvas')?.dataset.at"
_WATCH = (
    "const maze = document.querySelector('canvas'), start = maze.dataset.at;"
    "const look = () => { window.hasMoved ||= maze.dataset.at !== start; };"
    "new MutationObserver(look).observe("
    "maze, { attributes: true, attributeFilter: ['data-at'] });"
)
_HAS_MOVED = "return window.hasMoved === true"
_PLACE = (
    "const one = document.querySelector(arguments[0]);"
    "one.scrollIntoView({ block: 'center' });"
    "const box = one.getBoundingClientRect();"
    "return [box.left, box.top, box.width, box.height]"
)
#: Record the name of every animation that begins from now on.
_WATCH_ANIMATIONS = (
    "window.seen = []; addEventListener('animationstart', (one) =>"
    " one.elapsedTime === 0 && getComputedStyle(one.target).animationDuration"
    " !== '1e-05s' && seen.push(one.animationName), true)"
)


class WaysTests(PageTestCase):
    def test_fingers(self) -> None:
        """
        On a phone, players tap the cells of tic-tac-toe, and walk the maze by tapping
        into it or on the buttons below it.
        """
        ann = self.player("Ann", is_phone=True)
        ann.press("Play Tic-tac-toe with a bot")
        ann.until("return document.querySelector('.turn')?.textContent === 'Your turn'")
        free = '.cell[aria-disabled="false"]'
        left, top, width, height = ann.run(_PLACE, free)
        ann.touch(left + width / 2, top + height / 2)
        ann.see("You: row")
        ann.press("Leave")
        bob = self.player("Bob", is_phone=True)
        bob.open(self.new_room(ann, "Maze", rows=2, cols=5))
        self.begin(ann)
        for one in (ann, bob):
            one.until("return !!document.querySelector('canvas')?.dataset.at")
        for one in (ann, bob):
            one.run(_WATCH)

        def press_pads() -> None:
            for way in ("up", "down", "left", "right"):
                left, top, width, height = ann.run(_PLACE, f".pad-{way}")
                ann.touch(left + width / 2, top + height / 2)

        def tap_cells() -> None:
            left, top, width, height = bob.run(_PLACE, "canvas")
            row, col = (int(one) for one in bob.run(_AT).split(","))
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                x, y = (col + right + 0.5) * width / 5, (row + down + 0.5) * height / 2
                if 0 < x < width and 0 < y < height:
                    bob.touch(left + x, top + y)

        self.move(ann, press_pads)
        self.move(bob, tap_cells)
        self.assertEqual([one.overflow() for one in (ann, bob)], [0, 0])

    def move(self, one: Browser, touch: Callable[[], None]) -> None:
        """
        Touch until the player has moved.

        One step may be undone by the next before the canvas is drawn.
        """
        give_up = time.monotonic() + PATIENCE
        while not one.run(_HAS_MOVED):
            self.assertLess(time.monotonic(), give_up, "no touch moved the player")
            touch()

    def test_with_a_bot(self) -> None:
        """
        A game with more than two seats starts at once with a bot, without waiting for
        players; the page shows no invitation in between.
        """
        ann = self.player("Ann")
        # Without it the room begins by itself after a while.
        ann.run(
            "window.started = 0; const send = WebSocket.prototype.send;"
            "WebSocket.prototype.send = function (text) {"
            " started += text.includes('start_room'); return send.call(this, text); }"
        )
        ann.press("Play Old maid with a bot")
        ann.until("return !!document.querySelector('.turn')", what="the game begins")
        self.assertEqual(
            ann.run("return document.querySelectorAll('.players li').length"), 2
        )
        self.assertEqual(ann.run("return started"), 1)

    def test_calm(self) -> None:
        """
        With reduced motion the dice lie still at once; otherwise they roll.
        """
        ann = self.player("Ann")
        for is_calm in (True, False):
            ann.prefer(False, is_calm=is_calm)
            ann.run(_WATCH_ANIMATIONS)
            ann.press("Play Dice with a bot")
            ann.press("Roll")
            ann.see("You rolled")
            ann.until("return document.querySelectorAll('.felt .die').length === 6")
            seen = "return seen.includes('roll')"
            if is_calm:
                self.assertEqual(ann.run("return seen"), [])
                self.assertFalse(ann.run("return !!document.querySelector('.rolling')"))
            else:
                ann.until(seen, what="the dice roll")
            ann.press("Leave")
            ann.see("Play something")

    def test_any_game(self) -> None:
        """
        A game without a board is played with forms, and its state is shown as a tree.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        Path(folder, "counter.py").write_text(GAME)
        http = self.develop(folder, "counter:Counter")
        ann = self.player("Ann", is_phone=True, port=http)
        ann.press("Play Counter")
        ann.see("What you see")
        self.check(ann)
        for text in ("5", "2"):
            ann.until(
                "const field = document.getElementById('action-0-number');"
                "if (field) field.value = arguments[0]; return !!field",
                text,
            )
            ann.press("Send say")
        ann.until("return document.querySelector('.tree').innerText.includes('7')")
        self.picture("generic", None, ann)
        # The server stops before the browser does.
        ann.open("about:blank")

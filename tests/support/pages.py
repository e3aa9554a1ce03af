"""What tests with browsers share: a node, some players, and how they play each game."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

import tests
from tests.support.browsers import DESKTOP, PATIENCE, PHONE, Browser, needs_browser
from tests.support.javascript import FOLDER, needs_javascript
from tests.support.whole_node import WholeNode
from vinom.tools.commands.child_node import free_port

#: The checkout, and what runs its ``vinom`` in a child process.
ROOT = Path(tests.__file__).resolve().parent.parent
VINOM = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"

#: Errors that aren't the page's fault while the network is cut.
#: The last comes when the page asks why, and the network is back by then.
_OF_THE_NETWORK = ("WebSocket connection to", "net::ERR_", "426 (Upgrade Required)")


@cache
def shared_node() -> WholeNode:
    """Start the one node of all these tests; it ends with this process."""
    node = WholeNode()
    atexit.register(node.stop)
    node.wait()
    return node


@cache
def shared_browser(number: int) -> Browser:
    """Start the browser of the first, second... player; it ends with this process."""
    browser = Browser()
    atexit.register(browser.quit)
    _browsers.append(browser)
    return browser


#: Those of `shared_browser`.
_browsers: list[Browser] = []


@cache
def _axe() -> str:
    """Read the accessibility engine."""
    path = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
    return path.read_text(encoding="utf-8")


class PageTestCase(SynchronousTestCase):
    """
    Tests with browsers, which all of them share, as they do one node.

    With ``VINOM_PICTURES`` in the environment, a folder, they take pictures too.
    """

    def setUp(self) -> None:
        needs_browser()
        needs_javascript()
        self.node = shared_node()
        for browser in _browsers:
            browser.forget()
        self.players: list[Browser] = []
        self.allowed: tuple[str, ...] = ()
        self._complaints: list[str] = []

    def tearDown(self) -> None:
        self._leave()
        self.assertEqual(self._complaints, [])

    def at_end(self, end: Callable[[], object]) -> None:
        """
        Call this when the test is over and its pages are gone.

        Cleanups come before `tearDown`, and a page that is still there complains of a
        node that stops.
        """
        self.addCleanup(end)
        self.addCleanup(self._leave)

    def _leave(self) -> None:
        for player in self.players:
            self._complaints += [
                one
                for one in player.take_complaints()
                if not any(words in one for words in self.allowed)
            ]
            player.forget()

    def allow_network_complaints(self) -> None:
        """In this test the network is cut, and browsers say so."""
        self.allowed = _OF_THE_NETWORK

    def player(
        self,
        name: str,
        *,
        is_phone: bool = False,
        is_dark: bool = False,
        port: int | None = None,
    ) -> Browser:
        """Sit a new player at a browser, in the lobby."""
        taken = len(self.players)
        browser = shared_browser(taken)
        self.players.append(browser)
        browser.resize(PHONE if is_phone else DESKTOP)
        browser.prefer(is_dark)
        url = f"http://127.0.0.1:{port or self.node.http}/"
        browser.open_first(
            url,
            "sessionStorage.clear(); localStorage.clear();"
            f"sessionStorage.setItem('vinom.name', {json.dumps(name)})",
        )
        self.wait_for(browser, "online")
        browser.until(
            "return document.getElementById('me').textContent === arguments[0]", name
        )
        return browser

    def develop(self, folder: Path, game: str) -> int:
        """Start ``vinom dev`` in a folder; returns the port of its page."""
        http = free_port()
        dev = subprocess.Popen(
            [sys.executable, "-c", VINOM, "dev", game, "--http", str(http)],
            cwd=folder,
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(dev.wait)
        self.at_end(dev.terminate)
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                urlopen(f"http://127.0.0.1:{http}/games.json").close()
                return http
            except (URLError, OSError):
                self.assertLess(time.monotonic(), give_up, "vinom dev does not serve")
                time.sleep(0.1)

    def wait_for(self, browser: Browser, status: str) -> None:
        """Wait until the page shows this state of its connection."""
        browser.until(
            "return document.getElementById('connection').dataset.status"
            " === arguments[0]",
            status,
            what=f"the connection is {status}",
        )

    def new_room(
        self, browser: Browser, title: str, *, has_options: bool = True, **options: Any
    ) -> str:
        """Open a room with a friend's invitation; returns its address."""
        browser.press(f"Play {title} with friends")
        for name, value in options.items():
            browser.until(
                "const field = document.getElementById('option-' + arguments[0]);"
                "if (field) field.value = arguments[1]; return !!field",
                name,
                value,
            )
        if has_options:
            browser.until("return !!document.querySelector('dialog[open]')")
            browser.press("Open the room")
        browser.see("Waiting for")
        link = browser.until(
            "return document.querySelector('.invite input')?.value",
        )
        return str(link)

    def begin(self, host: Browser) -> None:
        """Wait until play begins, and let the host wait for nobody else."""
        host.until(_BEGIN, what="play begins")

    def check(self, *players: Browser) -> None:
        """Nothing is cut off sideways, and nothing keeps anybody out."""
        for player in players:
            self.assertEqual(player.overflow(), 0, player.text())
            player.run(_axe())
            found = [
                (one["id"], one["help"], [node["html"] for node in one["nodes"]])
                for one in player.run_later(
                    "axe.run(document).then((found) => done(found.violations))"
                )
                if one["impact"] in ("serious", "critical")
            ]
            self.assertEqual(found, [])

    def picture(self, name: str, *players: Browser | None) -> None:
        """Take pictures for the manual: the first is a desktop, the second a phone."""
        folder = os.environ.get("VINOM_PICTURES")
        if folder:
            for player, kind in zip(players, ("desktop", "phone"), strict=False):
                if player is None:
                    continue
                player.run(
                    "document.activeElement.blur(); scrollTo(0, 0);"
                    "for (const one of document.getAnimations()) one.finish()"
                )
                player.shoot(str(Path(folder, f"{name}-{kind}.png")))

    def play(
        self,
        script: str,
        players: Sequence[Browser],
        after: int,
        then: Callable[[], None],
    ) -> None:
        """
        Let each player run a script again and again until all say "over".

        :param script: does what can be done, and returns "over", or "moved", or
            nothing.
        :param after: how many rounds of moves before *then* is called, once.
        """
        moves, give_up = 0, time.monotonic() + 6 * PATIENCE
        while True:
            said = [player.run(script) for player in players]
            if all(one == "over" for one in said):
                break
            if "moved" in said:
                moves += 1
                if moves == after:
                    then()
            self.assertLess(time.monotonic(), give_up, players[0].text())
            time.sleep(0.05)
        self.assertGreaterEqual(moves, after, "it was over too soon")


#: Where no more fit in there is no such button, and soon there is none anywhere.
_BEGIN = (
    "[...document.querySelectorAll('button')]"
    ".find((one) => one.innerText === 'Begin now')?.click();"
    "return !!document.querySelector('.turn, canvas')"
)
#: What each returns: see `PageTestCase.play`.
_TURN = """
const turn = document.querySelector(".turn");
if (!turn) return null;
if (/won|lost|draw$/i.test(turn.textContent)) return "over";
const press = (label) => {
  const found = [...document.querySelectorAll(".stage button:not(:disabled)")]
    .find((one) => one.innerText.startsWith(label));
  found?.click();
  return found ? "moved" : null;
};
"""
PLAY_TICTACTOE = (
    _TURN
    + """
const cell = document.querySelector('.cell[aria-disabled="false"]');
if (!cell) return null;
cell.click();
return "moved";
"""
)
PLAY_DICE = (
    _TURN
    + """
const dice = [...document.querySelectorAll(".felt button:not(:disabled)")];
if (dice.length && !dice.some((die) => die.ariaPressed === "true")) {
  const face = (die) => Number(die.ariaLabel.split(": ")[1]);
  const count = (one) => dice.filter((die) => face(die) === one).length;
  // One by one: each press draws the dice again.
  const wanted = dice
    .filter((die) => [1, 5].includes(face(die)) || count(face(die)) >= 3)
    .map((die) => die.dataset.key);
  for (const key of wanted) document.querySelector(`[data-key="${key}"]`).click();
}
return press("Keep and bank") ?? press("Roll");
"""
)
PLAY_OWEDRAHN = (
    # The table resets 5 s after the end, which somebody may miss.
    """
if (document.querySelector(".log").innerText.includes("won the round")) return "over";
"""
    + _TURN
    + """
if (turn.textContent === "Are you ready?") return press("Ready");
return press("Roll");
"""
)
PLAY_OLDMAID = (
    _TURN
    + """
const card = document.querySelector("button.back");
if (!card) return null;
card.click();
return "moved";
"""
)

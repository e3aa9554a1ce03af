"""What players see and hear at the moments of a game, and how its screen is used."""

from __future__ import annotations

from pathlib import Path

from tests.support.browsers import PATIENCE, Browser
from tests.support.pages import PLAY_TICTACTOE, PageTestCase

#: Keep the frequency of every note, and count the pieces of paper that fall.
_LISTEN = """
window.notes = [];
window.papers = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (when) {
  notes.push(Math.round(this.frequency.value));
  return start.call(this, when);
};
new MutationObserver((found) => found.forEach((one) => {
  for (const added of one.addedNodes) if (added.className === "paper") papers += 1;
})).observe(document.body, { childList: true, subtree: true });
"""
_NOTES = "return window.notes"
_TURN, _WON, _OVER = [587, 880], [523, 659, 784, 1047], [494, 392]
_OFF, _ON = "Sound is on. Turn it off", "Sound is off. Turn it on"
_BOX = (
    "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
    "return [box.top + scrollY, box.bottom + scrollY, box.height]"
)


class SoundTests(PageTestCase):
    def gesture(self, player: Browser) -> None:
        """Press something as a person does: scripts do not count for browsers."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        player.until("return !!document.querySelector('h1')")
        title = player.driver.find_element(By.TAG_NAME, "h1")
        ActionChains(player.driver).click(title).perform()

    def test_sounds(self) -> None:
        """
        There is no sound before the player has pressed anything; then one on each
        turn, and others for winners and losers. The winner sees paper fall.
        """
        ann, bob = self.player("Ann"), self.player("Bob")
        bob.open(self.new_room(ann, "Tic-tac-toe"))
        for one in (ann, bob):
            one.until("return !!document.querySelector('.turn')")
            one.run(_LISTEN)

        def then() -> None:
            for one in (ann, bob):
                self.assertEqual(one.run(_NOTES), [])
                self.gesture(one)

        self.play(PLAY_TICTACTOE, (ann, bob), 1, then)
        winner, loser = (ann, bob) if "You won" in ann.text() else (bob, ann)
        won, lost = winner.run(_NOTES), loser.run(_NOTES)
        self.assertEqual((won[:2], lost[:2]), (_TURN, _TURN))
        self.assertEqual((won[-4:], lost[-2:]), (_WON, _OVER))
        self.assertEqual(
            [winner.run("return papers"), loser.run("return papers")], [1, 0]
        )
        _, bottom, _ = winner.run(_BOX, ".result")
        self.assertLessEqual(bottom, 800, "what comes next is in sight")
        self.picture("won", winner)
        self.check(winner, loser)

    def test_begin(self) -> None:
        """
        A player who waits, perhaps in another tab, hears that the game begins.
        """
        ann, bob = self.player("Ann"), self.player("Bob")
        link = self.new_room(ann, "Maze", rows=2, cols=3)
        self.gesture(ann)
        ann.run(_LISTEN)
        bob.open(link)
        self.begin(ann)
        self.assertEqual(ann.run(_NOTES), _TURN)

    def test_mute(self) -> None:
        """
        A player who mutes the page hears nothing; a reload and a new tab keep it so.
        """
        ann = self.player("Ann", is_phone=True)
        self.gesture(ann)
        ann.press(_OFF)
        ann.run(_LISTEN)
        ann.press("Play Tic-tac-toe with a bot")
        self.play(PLAY_TICTACTOE, (ann,), 1, lambda: self.check(ann))
        self.assertEqual(ann.run(_NOTES), [])
        ann.driver.refresh()
        ann.until(
            "return document.getElementById('sound').ariaLabel === arguments[0]", _ON
        )
        self.gesture(ann)
        ann.run(_LISTEN)
        ann.press(_ON)
        self.assertEqual(ann.run(_NOTES), _TURN, "players hear what they turn on")

    def test_calm(self) -> None:
        """
        With reduced motion no paper falls.
        """
        ann, bob = self.player("Ann"), self.player("Bob")
        for one in (ann, bob):
            one.prefer(False, is_calm=True)
        bob.open(self.new_room(ann, "Tic-tac-toe"))
        for one in (ann, bob):
            one.until("return !!document.querySelector('.turn')")
            one.run(_LISTEN)
        self.play(PLAY_TICTACTOE, (ann, bob), 1, lambda: None)
        self.assertEqual([one.run("return papers") for one in (ann, bob)], [0, 0])


class ScreenTests(PageTestCase):
    def test_large_boards(self) -> None:
        """
        On a desktop a board is high enough to be looked at, and can be seen whole
        without scrolling.
        """
        ann = self.player("Ann")
        for title, part, least in (
            ("Tic-tac-toe", ".ttt", 450),
            ("Dice", ".felt", 150),
            ("Arena", ".field-canvas", 400),
            ("Maze", ".field-canvas", 400),
        ):
            ann.press(f"Play {title} with a bot")
            ann.until("return !!document.querySelector(arguments[0])", part)
            ann.until(
                "return document.querySelector(arguments[0]).offsetHeight"
                " >= arguments[1]",
                *(part, least),
                what=f"{title} is {least} pixels high",
            )
            _, bottom, _ = ann.run(_BOX, part)
            self.assertLessEqual(bottom, 800, title)
            self.check(ann)
            self.picture(f"large-{title.lower()}", ann)
            ann.press("Leave")
            ann.see("Play something")

    def test_players_above(self) -> None:
        """
        On a phone the players are in a line above the board, and what happened is
        below it.
        """
        ann, bob = (
            self.player("Ann", is_phone=True),
            self.player("Pixel", is_phone=True),
        )
        bob.open(self.new_room(ann, "Tic-tac-toe"))
        for one in (ann, bob):
            one.until("return !!document.querySelector('.ttt')")
            top, bottom, height = one.run(_BOX, ".players")
            board_top, board_bottom, _ = one.run(_BOX, ".ttt")
            log_top, _, _ = one.run(_BOX, ".log")
            self.assertLess(bottom, board_top)
            self.assertLess(board_bottom, log_top)
            self.assertLessEqual(height, 50, "one line")
            self.assertLessEqual(board_bottom, 740, "the whole board is in sight")
            self.assertGreater(top, 0)
        self.check(ann, bob)


_SIDES = '''
import msgspec

from vinom.game import Game


class Shout(msgspec.Struct, frozen=True, tag="shout"):
    """Shout once."""


class Heard(msgspec.Struct, frozen=True):
    sides: tuple[int, ...]


class Sides(Game[Heard, Shout]):
    """Two teams shout at each other."""

    actions = Shout
    seats = (2, 4)
    teams = 2

    def start(self, table):
        return Heard(tuple(one.team for one in table.seats))

    def act(self, s, seat, action, now):
        return s

    def view(self, s, audience):
        return {"sides": s.sides}
'''


class TeamTests(PageTestCase):
    def test_teams(self) -> None:
        """
        The host of a game with teams chooses who plays in which, while the others see
        it; the game gets it so. Others cannot choose.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "sides.py").write_text(_SIDES)
        self.allow_network_complaints()
        port = self.develop(folder, "sides:Sides")
        ann = self.player("Ann", port=port)
        bob = self.player("Bob", is_phone=True, port=port)
        bob.open(self.new_room(ann, "Sides", has_options=False))
        for name, team in (("Ann", "1"), ("Bob", "1")):
            ann.until(_CHOOSE, f"Team of {name}", team, what=f"the team of {name}")
        # Left alone, they would play against each other.
        bob.until("return document.querySelectorAll('span.team').length === 2")
        self.assertEqual(bob.run(_SHOWN), ["Team 2", "Team 2"])
        self.assertEqual(
            bob.run("return document.querySelectorAll('select.team').length"), 0
        )
        self.check(ann, bob)
        self.picture("teams", ann, bob)
        self.begin_sides(ann)
        bob.see("What you see")
        bob.until("return document.querySelector('.tree').innerText.includes('1')")
        self.assertEqual(
            bob.run(
                "return [...document.querySelectorAll('.tree .chip')]"
                ".map((one) => one.textContent)"
            ),
            ["1", "1"],
        )
        self.assertEqual(
            ann.run("return document.querySelectorAll('select.team').length"), 0
        )

    def begin_sides(self, host: Browser) -> None:
        """Wait for nobody else, unless the game has begun by itself."""
        host.until(
            "[...document.querySelectorAll('button')]"
            ".find((one) => one.innerText === 'Begin now')?.click();"
            "return document.body.innerText.includes('What you see')",
            what=f"play begins within {PATIENCE} s",
        )


_CHOOSE = """
const field = [...document.querySelectorAll("select.team")]
  .find((one) => one.ariaLabel === arguments[0]);
if (!field) return false;
field.value = arguments[1];
field.dispatchEvent(new Event("change"));
return true;
"""
_SHOWN = (
    "return [...document.querySelectorAll('span.team')].map((one) => one.innerText)"
)

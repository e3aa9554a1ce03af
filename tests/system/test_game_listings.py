"""The manual's games are games, as printed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

import tests
from vinom.game import Seat
from vinom.testing import play
from vinom.tools.check.trial import try_game

DOCS = Path(tests.__file__).resolve().parent.parent / "docs"
LISTINGS = DOCS / "howto" / "listings"
#: The program ``vinom``, of this interpreter.
RUN = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"


def load(name: str) -> ModuleType:
    """Import a listing from where it lies."""
    spec = importlib.util.spec_from_file_location(name, LISTINGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class ListingTests(SynchronousTestCase):
    def test_nim(self) -> None:
        """
        Nim passes its check, with nothing to remark, and the tests that the page shows.
        """
        self.imported_here("nim", "test_nim")
        nim = load("nim")
        for seed in range(3):
            trial = try_game(nim.Nim(), "nim", 2, seed)
            self.assertEqual(trial.findings, [])
            self.assertEqual(trial.notes, [])
        tests = vars(load("test_nim"))
        for name in [name for name in tests if name.startswith("test_")]:
            tests[name]()

    def say(self, folder: Path, game: str, status: int) -> str:
        """What ``vinom check`` says of a listing; its exit code is *status*."""
        # However long it takes here: that many games are on the page.
        arguments = ["check", game, "--games", "3", "--jobs", "1"]
        done = subprocess.run(
            [sys.executable, "-c", RUN, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def imported_here(self, *names: str, folder: Path = LISTINGS) -> None:
        """Import the listings of these names from where they lie, in this test."""
        self.patch(sys, "path", [str(folder), *sys.path])
        for name in names:
            self.addCleanup(sys.modules.pop, name, None)

    def test_pig(self) -> None:
        """
        The tutorial's game has no more lines than promised, and ``vinom check`` says
        of it what the page prints.
        """
        folder = DOCS / "tutorial"
        listing = (folder / "pig.py").read_text(encoding="utf-8")
        self.assertLessEqual(len(listing.splitlines()), 50)
        said = self.say(folder, "pig:Pig", 0)
        page = (DOCS / "tutorial-game.rst").read_text(encoding="utf-8")
        self.assertIn(f"   {said}", page)

    def test_pig_rules(self) -> None:
        """
        Who holds keeps the pot, who is silent for 30 seconds holds, nobody gets the pot
        of a player who leaves, and who is left alone has won.
        """
        self.patch(sys, "path", [str(DOCS / "tutorial"), *sys.path])
        self.addCleanup(sys.modules.pop, "pig", None)
        pig = importlib.import_module("pig")
        match = play(pig.Pig, 3, seed=2)
        first = match.view().turn
        second, third = (first + 1) % 3, (first + 2) % 3
        self.assertEqual(match.rejected(second, pig.Roll()), "not_your_turn")
        match.act(first, pig.Roll())
        self.assertEqual([event.kind for event in match.events], ["began", "rolled"])
        pot = match.view().pot
        match.act(first, pig.Hold())
        self.assertEqual((match.view().scores[first], match.view().turn), (pot, second))
        match.act(second, pig.Roll())
        self.assertGreater(match.view().pot, 0)
        match.wait(30.0)
        self.assertEqual(match.view().turn, third)
        match.act(third, pig.Roll())
        match.leave(third)
        self.assertEqual((match.view().turn, match.view().pot), (first, 0))
        match.leave(first)
        assert match.outcome is not None
        self.assertEqual(match.outcome.places[0], (second,))

    def test_connect_four(self) -> None:
        """
        ``vinom check`` says of the other tutorial's game what the page prints.
        """
        folder = DOCS / "tutorial" / "connectfour"
        said = self.say(folder, "connectfour:ConnectFour", 0)
        page = (DOCS / "tutorial-board.rst").read_text(encoding="utf-8")
        # How many steps it takes depends on what else is checked.
        self.assertRegex(page, re.sub(r"\d+", r"\\d+", f"   {re.escape(said)}"))

    def test_pig_with_random(self) -> None:
        """
        With random numbers of Python's the tutorial's game is found, in the page's own
        words.
        """
        page = (DOCS / "tutorial-game.rst").read_text(encoding="utf-8")
        (other,) = re.findall(r"``(die, chance = .*)``", page)
        folder = Path(self.mktemp())
        folder.mkdir()
        listing = (DOCS / "tutorial" / "pig.py").read_text(encoding="utf-8")
        changed = re.sub(r"die, chance = .*", other, listing)
        self.assertNotEqual(changed, listing)
        (folder / "pig.py").write_text(f"import random\n{changed}", encoding="utf-8")
        (finding,) = re.findall(r"   (pure: .*) \[seed 0, 2 players\]\n", page)
        self.assertIn(f"{finding} [seed 0, ", self.say(folder, "pig:Pig", 1))

    def test_leaky_ships(self) -> None:
        """
        A view that shows all ships to spectators is found out, in the words that the
        page prints.
        """
        said = self.say(LISTINGS / "battleship", "leaky_ships:LeakyShips", 1)
        page = (DOCS / "howto" / "hidden-information.rst").read_text(encoding="utf-8")
        finding, total = said.splitlines()
        self.assertIn(f"   {finding}\n", page)
        # How many steps it takes depends on what else is checked.
        self.assertRegex(page, re.sub(r"\d+", r"\\d+", f"   {re.escape(total)}"))

    def test_quarry(self) -> None:
        """
        The game that reads claims passes its check, and its own test; levels that
        nobody sane vouches for count as the lowest, and bots have nobody's stones.
        """
        self.assertIn("quarry: ok", self.say(LISTINGS, "quarry:Quarry", 0))
        self.imported_here("quarry", "test_quarry")
        load("test_quarry").test_level()
        quarry, guest = sys.modules["quarry"], Seat("guest", player_id="g1")
        for level in (None, "9", True, 2.0, -1, 10, [3], {"x": 1}):
            bot = Seat("bot", claims={"level": level})
            match = play(quarry.Quarry, [bot, guest])
            match.act(0, quarry.Hit())
            self.assertEqual(match.view()["stones"][0], ["bot", 1], level)
            match.leave(0)
            again = match.join(bot)
            self.assertEqual(match.view()["stones"][again], ["bot", 0])

    def test_battleship(self) -> None:
        """
        The game with secret ships passes its check, and the tests that are beside it.
        """
        folder = LISTINGS / "battleship"
        self.assertIn("battleship: ok", self.say(folder, "battleship:Battleship", 0))
        self.imported_here("battleship", "test_battleship", folder=folder)
        tests = vars(importlib.import_module("test_battleship"))
        for name in [name for name in tests if name.startswith("test_")]:
            tests[name]()

    def test_tug(self) -> None:
        """
        The game with ticks passes its check.
        """
        self.assertIn("tug: ok", self.say(LISTINGS, "tug:Tug", 0))

    def test_patient_nim(self) -> None:
        """
        The game that waits for its players passes its check, and a player who leaves
        loses.
        """
        self.assertIn("ok", self.say(LISTINGS, "patient_nim:PatientNim", 0))
        self.imported_here("patient_nim", "nim")
        for seat in (0, 1):
            match = play(load("patient_nim").PatientNim)
            match.leave(seat)
            assert match.outcome is not None
            self.assertEqual(match.outcome.places, ((1 - seat,), (seat,)))

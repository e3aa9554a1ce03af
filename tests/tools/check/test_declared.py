"""What the check reports of secrets that a game declares."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.support import battleships as ships
from tests.support import broken_games as broken
from vinom.game import Event, Game, Step
from vinom.tools.check.trial import try_game


def leaks_of(game: Game[Any, Any]) -> list[str]:
    """Try a game twice; what leaks."""
    return [
        finding.message
        for seed in (3, 4)
        for finding in try_game(game, "game", 2, seed).findings
    ]


class Meant(ships.ToldWhenHit):
    """Says that its event and its field are meant to reveal something."""

    reveals = ("shots", "near")


class HiddenDeck(broken.Drawing):
    """Hides its pile, and shows a seat the cards that it has drawn."""

    hidden = ("pile",)
    secret = ("hands",)


class HiddenShouting(HiddenDeck, broken.Shouting):
    """Tells everybody which card was drawn."""


class HiddenInSetup(HiddenDeck, broken.DeckInSetup):
    """Puts the pile into its setup."""


class HiddenTop(HiddenDeck):
    """Shows the card that is drawn next."""

    def view(self, s: Any, audience: Any) -> Any:
        return super().view(s, audience) | {"next": s.pile[:1]}


class Misnamed(ships.Battle):
    """Declares what is not there, or has no entry for each seat."""

    secret = ("boats", "shots")


class Hit(Struct, frozen=True):
    """A shot."""

    cell: int
    hit: str


class Mistelling(ships.Battle):
    """Sends events that differ from what it declares, and views that do."""

    shows = Hit
    tells: ClassVar[Any] = {"shot": Hit}

    def view(self, s: Any, audience: Any) -> Any:
        return {"cell": 1, "hit": s.turn, "phase": s.phase} | {
            "turn": s.turn,
            "waiting": s.waiting,
            "rematch": s.rematch,
        }

    def begin(self, s: Any, now: float) -> Any:
        return Step(s, (Event("sailed"),))


class OneSide(ships.Battle):
    """Lets opponents see what the other has, and spectators not."""

    def audience(self, s: Any, seat: int | None) -> Any:
        return None if seat is None else "players"


class Seldom(ships.Battle):
    """Tells everybody of a ship in its second phase, which few games come to."""

    def play(self, s: Any, seat: int, action: Any, now: float) -> Any:
        if isinstance(action, ships.Hide):
            return self.hide(s, seat, action, now)
        return Step(s, (Event("near", s.ships[1 - seat]),)).then(self.next_turn, now)

    def choose(self, view: Any, seat: int, chance: Any, setup: Any) -> Any:
        return None


class DeclaredTests(SynchronousTestCase):
    def test_kept_secrets_pass(self) -> None:
        """
        A game that shows its secret to the owner alone, and what the rules reveal of
        it in the fields that it names, passes.
        """
        self.assertEqual(leaks_of(ships.Battle()), [])
        self.assertEqual(leaks_of(Meant()), [])

    def test_what_is_sent_is_what_is_declared(self) -> None:
        """
        A view that is not of its declared type, an event whose data is not, and an
        event that is not declared are found.
        """
        found = "\n".join(leaks_of(Mistelling()))
        self.assertIn("view() does not return Hit: Expected `str`, got", found)
        self.assertIn(
            "event 'shot' does not fit Hit: Expected `str`, got `bool`", found
        )
        self.assertIn("event 'sailed' is not declared; add it to tells", found)

    def test_hidden(self) -> None:
        """
        A deck that nobody may see passes while it is drawn from, card by card; an
        event, a setup or a view that shows something of it is found.
        """
        self.assertEqual(leaks_of(HiddenDeck()), [])
        for game, message in (
            (
                HiddenShouting(),
                r"event 'drew' shows .* something of pile, which is hid",
            ),
            (HiddenInSetup(), r"pile is hidden, yet setup\(\) depends on it"),
            (HiddenTop(), r"pile is hidden, yet view\(\) shows something of it"),
        ):
            self.assertRegex("\n".join(leaks_of(game)), message)

    def test_names_that_cannot_be_meant(self) -> None:
        """
        A declared name that is no field, or a field without an entry per seat, is
        reported as such.
        """
        found = "\n".join(leaks_of(Misnamed()))
        self.assertIn("'boats' is in secret, but it is no field of the state", found)
        self.assertIn("'shots' is in secret, but has no entry for each of the 2", found)

    def test_each_leak_is_found(self) -> None:
        """
        However a game gives away where ships are, the finding names the ships, and
        what shows them.
        """
        for game, message in (
            (ships.Deriving(), r"view\(\) shows something of it to .*; what the"),
            (ships.ShowingAll(), r"view\(\) shows something of it to .*; what the"),
            (ships.OneAudience(), r"gives seat \d the same key as spectators"),
            (OneSide(), r"gives all seats the same key, so that each sees"),
            (ships.HintWhenHit(), r"'hint' is shown to .* act\(\) writes something of"),
            (ships.HintWhenHidden(), r"'hint' is shown to .* list 'hint' in reveals"),
            (ships.ToldWhenHidden(), r"event 'hidden' shows .* something of ships\["),
            (ships.ToldWhenHit(), r"event 'near' shows .* something of ships\["),
            (ships.InSetup(), r"ships\[0\] is secret, yet setup\(\) depends on it"),
        ):
            found = leaks_of(game)
            self.assertTrue(found, type(game).__name__)
            self.assertRegex("\n".join(found), message)
            self.assertIn("ships", found[0])

    def test_in_a_phase_that_comes_seldom(self) -> None:
        """
        The first actions of each kind are looked at, however much happened before.
        """
        trial = try_game(Seldom(), "game", 2, 2)
        self.assertLess(sum("near" in line for line in trial.trace), 6)
        found = [finding.message for finding in trial.findings]
        self.assertRegex(found[0], r"event 'near' shows .* something of ships\[")

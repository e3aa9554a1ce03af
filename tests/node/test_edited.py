"""A game that its author saves while it is played: see ``vinom dev``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import PlayerLine, RoomsWorld
from tests.support.lobbies import LobbyWorld
from vinom.errors import Misconfigured
from vinom.node.edited import EditedGames, Notes
from vinom.play.game_loader import load_game
from vinom.rooms.round import RoomBounds

GAME = '''
"""Tally: add numbers; who is silent for ten seconds adds one."""

from msgspec import Struct

from vinom.game import Event, Game, Outcome, Rejected, Step


class Add(Struct, frozen=True, tag="add"):
    number: int


class State(Struct, frozen=True):
    total: int = 0
    due: float = 10.0


class Shown(Struct, frozen=True):
    total: int


class Tally(Game[State, Add]):
    actions = Add
    seats = (2, 2)
    linger = 60.0

    def start(self, table):
        return State()

    def act(self, s, seat, action, now):
        if action.number > 100:
            raise Rejected("much", "too much")
        state = State(s.total + action.number, now + 10.0)
        return Step(state, (Event("added", action.number),))

    def deadline(self, s):
        return s.due

    def advance(self, s, now):
        return State(s.total + 1, now + 10.0)

    def outcome(self, s):
        return Outcome(1, ((0, 1),)) if s.total >= 1000 else None

    def setup(self, s):
        return Shown(1000)

    def view(self, s, audience):
        return Shown(s.total)
'''


class EditedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.patch(sys, "path", [str(self.folder), *sys.path])
        self.patch(sys, "dont_write_bytecode", True)
        self.addCleanup(sys.modules.pop, "tally", None)
        sys.modules.pop("tally", None)
        (self.folder / "tally.py").write_text(GAME)
        games = {"tally": load_game("tally:Tally")}
        self.world = RoomsWorld.__new__(RoomsWorld)
        LobbyWorld.__init__(
            self.world, 1, games=games, room_bounds=RoomBounds(), is_edited=True
        )
        notes = self.folder / "notes.json"
        notes.write_bytes(msgspec.json.encode(self.notes(1)))
        self.edited = EditedGames(notes, games)
        self.edited.rooms = self.world.rooms
        self.ann, _ = self.world.joined("ann", "r1", "tally")
        self.bob, _ = self.world.joined("bob", "r1", "tally")
        self.world.turn()
        self.heard()

    def notes(self, build: int) -> Notes:
        module = str(self.folder / "tally.py")
        return Notes("tally", build, 1, build, "", "tally:Tally", (module,))

    def heard(self) -> dict[str, Any]:
        """Return the newest state that ann has; nothing if there is none."""
        heard = [one for one in self.ann.heard() if one["type"] == "game_state"]
        return heard[-1]["data"] if heard else {}

    def add(self, line: PlayerLine, id: int, number: int) -> None:
        line.do(id, type="add", number=number)
        self.world.turn()

    def save(self, *changes: tuple[str, str]) -> str:
        """Save the game with these changes; returns what the author is told."""
        text = GAME
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        (self.folder / "tally.py").write_text(text)
        self.edited.revise(self.notes(2))
        self.world.turn()
        return self.edited.facts()["told"].get("r1", "")


class EditedTests(EditedCase):
    def test_goes_on(self) -> None:
        """
        The board is what the same inputs make of it by the new rules; seats, the ids of
        actions and the version go on, and the old events do not come again.
        """
        self.add(self.ann, 1, 3)
        self.add(self.bob, 1, 4)
        before = self.heard()
        self.assertEqual(before["view"], {"total": 7})
        told = self.save(("s.total + action.number", "s.total + 2 * action.number"))
        self.assertEqual(told, "2 of 2 inputs kept")
        after = self.heard()
        self.assertEqual((after["view"], after["events"]), ({"total": 14}, []))
        self.assertGreater(after["version"], before["version"])
        self.add(self.ann, 2, 1)
        self.assertEqual(self.heard()["view"], {"total": 16})
        told = self.save(("s.total + action.number", "s.total - action.number"))
        self.assertEqual(told, "3 of 3 inputs kept")
        self.assertEqual(self.heard()["view"], {"total": -8})
        # Each time there is a recording of all of it, by the rules of then.
        recorded = [one.recorded for one in self.world.recordings.matches.values()]
        self.assertEqual([len(calls) for calls in recorded], [2, 3, 3])

    def test_the_first_that_does_not_fit(self) -> None:
        """
        An input that the new rules forbid is named, and the round goes on as it was
        before it; a later save begins there.
        """
        self.add(self.ann, 1, 3)
        self.add(self.bob, 1, 50)
        self.add(self.ann, 2, 5)
        told = self.save(("> 100", "> 10"))
        self.assertEqual(
            told,
            "1 of 3 inputs kept: seat 1: act {'type': 'add', 'number': 50} at 0.0 s: "
            "much: too much",
        )
        self.assertEqual(self.heard()["view"], {"total": 3})
        self.assertEqual(self.save(), "1 of 1 inputs kept")

    def test_who_left_meanwhile(self) -> None:
        """
        Who has left after the input that does not fit has left now, too.
        """
        left = "    def left(self, s, seat, now):\n        return State(-1)\n\n"
        leaves = ("    def view(", f"{left}    def view(")
        self.save(leaves)
        self.add(self.ann, 1, 50)
        self.bob.ask("leave_room")
        self.world.turn()
        self.assertEqual(self.heard()["view"], {"total": -1})
        told = self.save(("> 100", "> 10"), (leaves[0], leaves[1].replace("-1", "-2")))
        self.assertIn("0 of 2 inputs kept", told)
        self.assertEqual(self.heard()["view"], {"total": -2})
        self.assertEqual(self.save(leaves), "1 of 1 inputs kept")

    def test_actions_and_failures(self) -> None:
        """
        So is an input that cannot be read any more, or at which the game fails, with
        the author's line.
        """
        self.add(self.ann, 1, 3)
        told = self.save(("number: int", "number: str"))
        self.assertIn("0 of 1 inputs kept: seat 0: ", told)
        self.assertIn("Expected `str`, got `int`", told)
        self.assertEqual(self.heard()["view"], {"total": 0})
        self.save()
        self.add(self.ann, 2, 3)
        told = self.save(("if action.number > 100:", "if action.number / 0:"))
        self.assertIn("ZeroDivisionError: division by zero (tally.py:", told)

    def test_deadlines(self) -> None:
        """
        Deadlines come when the new rules want them, and the clock goes on.
        """
        self.add(self.ann, 1, 3)
        self.world.clock.advance(12.0)
        self.add(self.ann, 2, 3)
        self.assertEqual(self.heard()["view"], {"total": 7})
        self.save(("now + 10.0", "now + 5.0"))
        self.assertEqual(self.heard()["view"], {"total": 8})
        self.world.clock.advance(5.0)
        self.world.turn()
        self.assertEqual(self.heard()["view"], {"total": 9})

    def test_setup_and_outcome(self) -> None:
        """
        Members are sent the setup again, and an outcome that the new rules have.
        """
        self.add(self.ann, 1, 60)
        self.ann.heard()
        self.save((">= 1000", ">= 50"), ("Shown(1000)", "Shown(50)"))
        heard = {one["type"]: one["data"] for one in self.ann.heard()}
        self.assertEqual(heard["room_started"]["setup"], {"total": 50})
        self.assertEqual(heard["room_started"]["seat"], 0)
        self.assertEqual(heard["round_over"]["outcome"]["places"], [[0, 1]])
        self.save()
        self.add(self.ann, 2, 1)
        self.assertEqual(self.heard()["view"], {"total": 61})

    def test_failed(self) -> None:
        """
        A room whose game has failed waits for its author, who is told the lines at
        fault; with better rules it goes on, with what had failed.
        """
        self.save(("> 100", "> 100 + 0 / (action.number - 50)"))
        self.add(self.ann, 1, 3)
        self.add(self.bob, 1, 50)
        self.flushLoggedErrors(ZeroDivisionError)
        told = self.edited.facts()["told"]["r1"]
        self.assertIn("ZeroDivisionError: division by zero", told)
        self.assertIn("tally.py", told)
        self.assertNotIn("vinom/play", told)
        self.add(self.ann, 2, 3)
        self.assertNotIn("room_closed", [one["type"] for one in self.ann.heard()])
        told = self.save(("> 100", "> 100 + 0 / (action.number - 50)"))
        self.assertIn("1 of 2 inputs kept: seat 1: act", told)
        self.assertEqual(self.heard()["view"], {"total": 3})
        self.add(self.bob, 2, 50)
        self.assertEqual(self.save(), "2 of 2 inputs kept")
        self.assertEqual(self.heard()["view"], {"total": 53})
        self.add(self.ann, 3, 4)
        self.assertEqual(self.heard()["view"], {"total": 57})

    def test_who_left_a_room_that_failed(self) -> None:
        """
        Who leaves while the room waits for its author has left when it goes on.
        """
        leaves = "    def left(self, s, seat, now):\n        return State(-7)\n\n"
        self.save(("> 100", "> 1 / 0"))
        self.add(self.ann, 1, 3)
        self.flushLoggedErrors(ZeroDivisionError)
        self.bob.ask("leave_room")
        self.world.turn()
        self.save(("    def view(", f"{leaves}    def view("))
        self.assertEqual(self.heard()["view"], {"total": -7})

    def test_start_fails(self) -> None:
        """
        A game that fails at its start ends the room, with the author's lines; one for
        other numbers of players closes it, and says so.
        """
        self.add(self.ann, 1, 60)
        self.assertIn(
            "the game fails at its start",
            self.save(("return State()", "return 1 / 0")),
        )
        self.assertIn("ZeroDivisionError", self.ann.heard()[-1]["data"]["fault"])
        self.flushLoggedErrors(ZeroDivisionError)
        self.save()
        self.world.joined("cid", "r2", "tally")
        dan, _ = self.world.joined("dan", "r2", "tally")
        self.world.turn()
        self.save(("(2, 2)", "(3, 3)"))
        self.assertIn(
            "the room was closed: tally is for 3 to 3 players",
            self.edited.facts()["told"]["r2"],
        )
        self.assertEqual(dan.heard()[-1]["type"], "room_closed")

    def test_away(self) -> None:
        """
        Who is away stays away, and may come back; a room that has not begun begins by
        the new rules.
        """
        self.add(self.ann, 1, 60)
        self.bob.hang_up()
        self.world.turn()
        self.save(("s.total + action.number", "s.total + 2 * action.number"))
        room = self.world.rooms.directory.rooms["r1"]
        assert room.round.played is not None
        self.assertEqual(
            [one.value for one in room.round.played.room.presence],
            ["present", "dropped"],
        )
        self.world.joined("eve", "r2", "tally")
        self.save(("return State()", "return State(5)"))
        fay, _ = self.world.joined("fay", "r2", "tally")
        self.world.turn()
        self.assertEqual(fay.heard()[-1]["data"]["view"], {"total": 5})

    def test_broken(self) -> None:
        """
        If it cannot be loaded, the room goes on by the rules before.
        """
        self.add(self.ann, 1, 60)
        with self.assertRaises(Misconfigured):
            self.save(("class Add", "class Add("))
        self.add(self.ann, 2, 1)
        self.assertEqual(self.heard()["view"], {"total": 61})

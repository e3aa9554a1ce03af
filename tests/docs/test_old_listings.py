"""
What the manual of 275fbdb showed works still, unchanged: for whoever wrote a game, a
client or a settings file by it. Programs that need a node are in
``tests.system.test_old_listings``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase

import tests.docs.test_manual as manual
import tests.wire.test_lobby_page as lobby_page
import tests.wire.test_packets_page as packets_page
import tests.wire.test_rooms_page as rooms_page
import tests.wire.test_websocket_page as websocket_page
from tests.support.kept import unpack
from tests.support.kept_pages import literal_blocks, shown_names
from tests.system.test_demo import VINOM
from vinom._moved import MOVED

#: Imports what it is asked for, and prints what Python warns of.
_IMPORT = """
import json, pkgutil, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name in json.load(sys.stdin):
        pkgutil.resolve_name(name)
print(json.dumps([str(one.message) for one in caught
                  if issubclass(one.category, DeprecationWarning)]))
"""

#: A game of the two parts of one that a page prints.
_PARTS = """
import attrs
from msgspec import Struct
from vinom.game import Chance, Game

{actions}

@attrs.frozen
class State:
    chance: Chance
    die: int = 0

class Parts(Game[State, actions]):
    actions = actions
    seats = (2, 2)

    def start(self, table):
        return State(table.chance)

    def act(self, s, seat, action, now):
{act}

    def view(self, s, audience):
        return {{"die": s.die}}
"""


def import_all(names: Iterable[str]) -> list[str]:
    """Import in a process of its own; gives what was warned of."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        input=json.dumps(sorted(names)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    warned: list[str] = json.loads(done.stdout)
    return warned


class PathsTests(SynchronousTestCase):
    """Every import that the manual showed."""

    def setUp(self) -> None:
        self.shown = shown_names(unpack(self.mktemp(), "docs"))

    def test_paths(self) -> None:
        """
        Each module and each name that a page or a listing shows can be imported from
        where it was shown; if it moved, Python says where to.
        """
        self.assertGreaterEqual(len(self.shown), 20)
        warned = import_all(self.shown)
        told = [f"{old} is now {new}" for old, new in MOVED.items()]
        self.assertEqual(sorted(warned), sorted(told))

    def test_table(self) -> None:
        """
        The table of paths that moved has only what the manual showed, and sends nobody
        to a path that moved again.
        """
        self.assertLessEqual(set(MOVED), self.shown)
        self.assertEqual(set(MOVED) & set(MOVED.values()), set())
        self.assertEqual(import_all(MOVED.values()), [])


class GamesTests(TestCase):
    """Games of the manual, as a player of an older Vinom has them on disk."""

    timeout = 240

    def setUp(self) -> None:
        self.kept = unpack(self.mktemp(), "docs", "vinom/games")

    async def check(self, folder: Path, *arguments: str) -> tuple[str, int]:
        """Run ``vinom check`` in a folder; gives what it prints, and its exit code."""
        environ = dict(os.environ, PYTHONPATH=str(manual.ROOT))
        environ["PYTHONWARNINGS"] = "always::DeprecationWarning"
        found: Any = await getProcessOutputAndValue(
            VINOM[0],
            [*VINOM[1:], "check", *arguments],
            env=environ,
            path=str(folder),
            reactor=reactor,  # type: ignore[arg-type]  # it spawns processes
        )
        out, errors, code = found
        # Nothing that a game is written against has moved.
        self.assertNotIn(b"is now vinom", errors)
        return (out + errors).decode(), code

    async def assert_good(self, folder: Path, game: str, *more: str) -> None:
        said, code = await self.check(folder, game, *more)
        self.assertEqual(code, 0, said)
        name = game.partition(":")[2].lower()
        self.assertIn(f"{name}: ok", said)

    async def test_listings(self) -> None:
        """
        Every game that the manual printed passes its check.
        """
        howto = self.kept / "docs" / "howto" / "listings"
        for game in ("nim:Nim", "patient_nim:PatientNim", "tug:Tug"):
            await self.assert_good(howto, game, "--games=1")
        await self.assert_good(self.kept / "docs" / "tutorial", "pig:Pig", "--games=1")

    async def test_leak(self) -> None:
        """
        The game that shows too much is still found out.
        """
        folder = self.kept / "docs" / "howto" / "listings"
        said, code = await self.check(folder, "leaky_maid:LeakyMaid", "--games=1")
        self.assertEqual(code, 1, said)
        self.assertIn("leak: hands[0][0] ", said)

    async def test_own_games(self) -> None:
        """
        Vinom's own games, of which pages show parts, can be taken from there as they
        were, and pass their check.
        """
        folder = self.kept / "vinom" / "games"
        for game in ("dice:Dice", "oldmaid:OldMaid", "arena:Arena"):
            await self.assert_good(folder, game, "--games=1")

    async def test_parts(self) -> None:
        """
        Parts of a game that a page prints between two sentences make a game.
        """
        page = self.kept / "docs" / "howto" / "write-a-game.rst"
        actions, act, _ = literal_blocks(page)
        folder = Path(self.mktemp())
        folder.mkdir()
        game = _PARTS.format(actions=actions, act=indent(act, " " * 8))
        (folder / "parts.py").write_text(game, encoding="utf-8")
        await self.assert_good(folder, "parts:Parts", "--games=1")


class OldManualTests(manual.ManualTests):
    """Commands, options and settings of the old manual."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"


class OldLobbyPageTests(lobby_page.LobbyPageTests):
    """Messages of the lobby, as the old manual has them."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"
        super().setUp()


class OldRoomsPageTests(rooms_page.RoomsExamples, SynchronousTestCase):
    """Messages of rooms, as the old manual has them, and what it has people type."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"
        super().setUp()


class OldPacketsPageTests(packets_page.PacketsExamples, SynchronousTestCase):
    """Packets, byte by byte, as the old manual has them."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"
        super().setUp()


class OldWebSocketPageTests(SynchronousTestCase):
    """Close codes of WebSocket, as the old manual has them."""

    def test_numbers(self) -> None:
        """
        A client that switches on the old page's numbers is right.
        """
        _, told = websocket_page.numbers(unpack(self.mktemp(), "docs") / "docs")
        self.assertGreaterEqual(len(told), 5)
        now = {
            str(number): code.value for code, number in websocket_page.NUMBERS.items()
        }
        self.assertLessEqual(told.items(), now.items())

"""
What the manual of 275fbdb showed still works unchanged: games, clients, settings files
and messages that follow it. Its programs are in ``tests.system.test_old_listings``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

import tests.docs.test_manual as manual
import tests.lines.test_websocket_page as websocket_page
import tests.messages.test_lobby_page as lobby_page
import tests.messages.test_rooms_page as rooms_page
import tests.packets.test_packets_page as packets_page
from tests.support.kept import unpack
from tests.support.kept_pages import shown_names
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


def import_all(names: Iterable[str]) -> list[str]:
    """Import in a process of its own; returns what was warned of."""
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
        where it was shown; if it moved, a warning names the new place.
        """
        self.assertGreaterEqual(len(self.shown), 20)
        warned = import_all(self.shown)
        expected = [f"{old} is now {new}" for old, new in MOVED.items()]
        self.assertEqual(sorted(warned), sorted(expected))

    def test_table(self) -> None:
        """
        The table of paths that moved lists only what the manual showed, and no new path
        in it has moved again.
        """
        self.assertLessEqual(set(MOVED), self.shown)
        self.assertEqual(set(MOVED) & set(MOVED.values()), set())
        self.assertEqual(import_all(MOVED.values()), [])


class OldManualTests(manual.ManualTests):
    """Commands, options and settings of the old manual."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"


class OldLobbyPageTests(lobby_page.LobbyPageTests):
    """Messages of the lobby, as the old manual prints them."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"
        super().setUp()


class OldRoomsPageTests(rooms_page.RoomsExamples, SynchronousTestCase):
    """Messages of rooms, and the sessions that the old manual asks readers to type."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"
        super().setUp()


class OldPacketsPageTests(packets_page.PacketsExamples, SynchronousTestCase):
    """Packets, byte by byte, as the old manual prints them."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"
        super().setUp()


class OldWebSocketPageTests(SynchronousTestCase):
    """Close codes of WebSocket, as the old manual prints them."""

    def test_numbers(self) -> None:
        """
        A client that switches on the old page's numbers is right.
        """
        _, listed = websocket_page.numbers(unpack(self.mktemp(), "docs") / "docs")
        self.assertGreaterEqual(len(listed), 5)
        now = {
            str(number): code.value for code, number in websocket_page.NUMBERS.items()
        }
        self.assertLessEqual(listed.items(), now.items())

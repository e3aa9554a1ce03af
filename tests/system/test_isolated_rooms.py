"""Rooms of the node that are played in game processes, over real sockets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of, start_node
from tests.support.lines import Typed, typed

ROOT = Path(__file__).resolve().parent.parent.parent


class IsolatedRoomTests(TestCase):
    timeout = 180

    async def open(self, *arguments: str) -> None:
        apart = {
            "command": [sys.executable, "-m", "vinom.fleet.gameserver"],
            "folder": str(ROOT),
        }
        games = f"--games={json.dumps({'apart': apart})}"
        self.node = await start_node(self, "--warm=1", games, *arguments)

    async def meet(self, game: str, room_id: str) -> tuple[Typed, Typed, Any, Any]:
        """Bring two players into a room; play has begun for both."""
        ann, bob = (
            await typed(self, self.node, "ann"),
            await typed(self, self.node, "bob"),
        )
        states = [one.hear("game_state") for one in (ann, bob)]
        started = [one.hear("room_started") for one in (ann, bob)]
        places = [
            await one.ask("join_room", "join_room_result", game=game, room_id=room_id)
            for one in (ann, bob)
        ]
        for heard in started:
            self.assertEqual({"once": "upon a time"}, (await heard)["setup"])
        for heard in states:
            self.assertEqual(1, (await heard)["version"])
        return ann, bob, *places

    async def process_of(self, room_id: str) -> int:
        admin = admin_of(self.node)
        status = await deferToThread(admin.get, "status")
        (found,) = [
            server["pid"]
            for server in status["fleet"]["game_servers"].values()
            if any(match.startswith(f"{room_id}-") for match in server["matches"])
        ]
        return int(found)

    async def test_play(self) -> None:
        """
        A room in a process of its own is played like any other: states, events,
        refusals, losses, returns and rounds, for each player what it may see.
        """
        await self.open("--game=tests.support.games:Apart")
        ann, bob, _, place = await self.meet("apart", "r1")
        self.assertNotEqual(self.node.pid, await self.process_of("r1"))

        heard = bob.hear("game_state", lambda state: state["ack"] == {"0": 7})
        ann.say("action", 7, type="say", word="tell")
        state = await heard
        self.assertEqual(["told"], [event["kind"] for event in state["events"]])
        self.assertIn("0 tell", state["view"]["lines"][-1])
        refused = ann.hear("error")
        ann.say("action", 8, type="say", word="no")
        self.assertEqual("no", (await refused)["details"]["reason"])
        refused = ann.hear("error")
        ann.say("action", 9, type="say")
        self.assertEqual("bad_action", (await refused)["code"])

        lost = ann.hear("game_state", lambda s: "1 dropped" in str(s["view"]))
        bob.transport.loseConnection()
        await lost
        bob = await typed(self, self.node, "robert")
        state_again = bob.hear("game_state")
        again = await bob.ask("reconnect", "reconnect_result", resume=place["resume"])
        self.assertEqual((1, "upon a time"), (again["seat"], again["setup"]["once"]))
        self.assertIn("1 dropped", str(await state_again))

        over = ann.hear("round_over")
        bob.say("action", type="say", word="end")
        self.assertEqual([[0], [1]], (await over)["outcome"]["places"])
        rematch = [one.hear("room_started") for one in (ann, bob)]
        await ann.ask("rematch", "room_done")
        for heard in rematch:
            await heard
        gone = bob.hear("client_left")
        await ann.ask("leave_room", "room_done")
        self.assertEqual("left", (await gone)["reason"])
        self.assertEqual([], [m for m in bob.heard if m["type"] == "room_closed"])

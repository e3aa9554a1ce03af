"""Two real nodes with a real Redis: players meet, play and come back as at one."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import (
    gatherResults,
)
from twisted.internet.endpoints import HostnameEndpoint
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of, shared_by_nodes, start_leased_node
from tests.support.lines import typed
from tests.support.quick import QuickMaze
from tests.support.redis_servers import redis_for, until
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.client.lobby import LobbyClient
from vinom.games.tictactoe import TicTacToe
from vinom.tools.commands.child_node import ChildNode


def is_after(version: int, state: dict[str, Any]) -> bool:
    """Is a state newer than that version?"""
    return bool(state["version"] > version)


class SeveralNodesTests(TestCase):
    """Ann comes to node A, Bob to node B."""

    timeout = 120

    async def setUp(self) -> None:
        self.server = redis_for(self)
        self.shared = shared_by_nodes(self, self.server.url)
        self.a, self.b = [await self.start() for _ in range(2)]

    async def start(self) -> ChildNode:
        """Start a node, and wait until others can reach it."""
        return await start_leased_node(
            self,
            *self.shared,
            f"--game={QuickMaze.__module__}:{QuickMaze.__name__}",
            "--warm=1",
        )

    def lobby(self, node: ChildNode, **who: Any) -> LobbyClient:
        """Be a player at a node."""
        endpoint = HostnameEndpoint(reactor, node.host, node.port)
        lobby = LobbyClient(reactor, endpoint, Hello(PROTOCOL, **who))
        self.addCleanup(lobby.close)
        return lobby

    async def test_room_of_another_node(self) -> None:
        """
        Players of two nodes play in a room of one of them, to the end, as at one node;
        each sees what the other does, and who leaves is gone for both.
        """
        ann, bob = await typed(self, self.a, "ann"), await typed(self, self.b, "bob")
        room = {"game": TicTacToe.name, "room_id": "friends"}
        await ann.ask("join_room", "join_room_result", **room)
        started = [line.hear("game_state") for line in (ann, bob)]
        joined = await bob.ask("join_room", "join_room_result", **room)
        self.assertEqual((joined["room_id"], joined["seat"]), ("friends", 1))
        self.assertEqual(joined["players"][0]["name"], "ann")
        state = (await gatherResults(started))[1]
        lines = {joined["seat"]: bob, 1 - joined["seat"]: ann}
        refusal = bob.hear("error")
        if state["view"]["turn"] == joined["seat"]:
            bob.say("action", 7, type="place", row=9, col=0)
        else:
            bob.say("action", 7, type="place", row=0, col=0)
        self.assertIn((await refusal)["code"], ("bad_action", "rejected"))
        self.assertEqual(bob.heard[-1]["id"], 7)
        for cell in (0, 3, 1, 4, 2):
            heard = [
                line.hear("game_state", partial(is_after, state["version"]))
                for line in (ann, bob)
            ]
            turn = lines[state["view"]["turn"]]
            turn.say("action", type="place", row=cell // 3, col=cell % 3)
            found = await gatherResults(heard)
            self.assertEqual(found[0]["view"], found[1]["view"])
            state = found[0]
        self.assertIsNotNone(state["view"]["winner"])
        gone = ann.hear("client_left")
        await bob.ask("leave_room", "room_done")
        self.assertEqual((await gone)["seat"], joined["seat"])
        refused = await bob.ask("leave_room", "error")
        self.assertEqual(refused["code"], "not_in_room")

    async def test_explain(self) -> None:
        """
        Every node explains why a player waits, whichever node the player is at.
        """
        ann = self.lobby(self.a, name="ann")
        waiting: list[object] = []
        search = ann.find_match(TicTacToe.name, on_status=waiting.append)
        await until(lambda: waiting)
        player_id = ann.identity.player_id
        lines = [admin_of(node) for node in (self.a, self.b)]
        here, there = [line.get(f"explain/{player_id}") for line in lines]
        self.assertEqual(there["state"], "waiting")
        self.assertEqual({**here, "waited": 0}, {**there, "waited": 0})
        # And where it plays.
        bob = self.lobby(self.b, name="bob")
        found = (await gatherResults([bob.find_match(TicTacToe.name), search]))[0]
        player_ids = [one.identity.player_id for one in (ann, bob)]
        explained = [line.get(f"explain/{one}") for line in lines for one in player_ids]
        self.assertEqual({one["match_id"] for one in explained}, {found.match_id})
        self.assertEqual(sum("node" in one for one in explained), 2)

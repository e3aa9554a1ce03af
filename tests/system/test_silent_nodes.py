"""A node that is cut from Redis, or stopped, while the others are not: real nodes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import shared_by_nodes, start_leased_node, status_of
from tests.support.counting import Counting, CountingBehind
from tests.support.cut import CuttableWay
from tests.support.lines import Typed, typed
from tests.support.redis_servers import redis_for, until
from vinom.tools.commands.child_node import ChildNode

LEASE = 2.0


def is_counted(counts: list[int], state: dict[str, Any]) -> bool:
    """Does a state show these counts?"""
    return bool(state["view"] == counts)


class SilentNodeTests(TestCase):
    """
    Ann and Bob play at node A, which nobody hears of for a while; Cat is at node B.

    Meanwhile Ann comes to B, and the room goes on there.
    """

    timeout = 60

    async def setUp(self) -> None:
        self.server = redis_for(self)
        self.way = CuttableWay(self.server.port)
        self.addCleanup(self.way.close)
        self.shared = shared_by_nodes(self, self.server.url)
        self.a = await self.start(self.way.port)
        self.b = await self.start(self.server.port)

    async def start(self, redis_port: int) -> ChildNode:
        games = [
            f"--game={game.__module__}:{game.__name__}"
            for game in (Counting, CountingBehind)
        ]
        return await start_leased_node(
            self,
            f"--store=redis://127.0.0.1:{redis_port}/0",
            *self.shared[1:],
            f"--lease-seconds={LEASE:g}",
            "--warm=0",
            *games,
        )

    async def sit_down(self, game: str) -> None:
        """Ann and Bob play at A, and each has tapped once."""
        self.ann, self.bob = [await typed(self, self.a, one) for one in ("ann", "bob")]
        room = {"game": game, "room_id": "table"}
        places = [
            await one.ask("join_room", "join_room_result", **room)
            for one in (self.ann, self.bob)
        ]
        self.resume = places[0]["resume"]
        both = self.bob.hear("game_state", partial(is_counted, [1, 1]))
        for one in (self.ann, self.bob):
            one.say("action")
        await both
        # A checkpoint is at most 100 ms old.
        await deferLater(reactor, 0.5)

    async def go_on_at_b(self) -> None:
        """Ann comes to B as soon as the room is to be had there, and taps."""
        self.ann.transport.abortConnection()
        ann = await typed(self, self.b, "ann again")
        while True:
            tries: list[Deferred[Any]] = [
                ann.hear("reconnect_result"),
                ann.hear("error"),
            ]
            for one in tries:
                one.addErrback(lambda failure: failure.trap(CancelledError))
            ann.say("reconnect", resume=self.resume)
            answer, which = await DeferredList(tries, fireOnOneCallback=True)
            tries[1 - which].cancel()
            if which == 0:
                break
            self.assertIn(answer["code"], ("busy", "store_unavailable"))
            await deferLater(reactor, 0.1)
        self.assertEqual(answer["seat"], 0)
        state = ann.hear("game_state", partial(is_counted, [2, 1]))
        ann.say("action")
        await state
        await deferLater(reactor, 0.5)

    def room(self) -> tuple[str, str]:
        """Read who has the room, and all that is kept of it."""
        key = "vinom:1:main:room:table"
        return self.server.command("HGET", key, "node"), self.server.command(
            "DUMP", key
        )

    def heard_of_play(self, line: Typed, first: int) -> list[str]:
        """List what a player was sent of the room's play."""
        return [
            one["type"]
            for one in line.heard[first:]
            if one["type"] in ("game_state", "game_event", "round_over")
        ]

    async def check(
        self, game: str, silence: Callable[[], None], end: Callable[[], None]
    ) -> None:
        """Have A be silent, the room go on at B, and A come back."""
        await self.sit_down(game)
        first = len(self.bob.heard)
        silence()
        # Before that, B would ask A over their link.
        await deferLater(reactor, LEASE + 0.5)
        await self.go_on_at_b()
        owner, kept = self.room()
        self.assertEqual(owner, status_of(self.b)["node"])
        # It is done, or waits, where A is; nobody must ever see it.
        self.bob.say("action")
        why = self.bob.hear("error", lambda one: one["code"] == "unavailable")
        end()
        await why
        await until(lambda: status_of(self.a)["store"]["lease"])
        await deferLater(reactor, 2.0)
        self.assertEqual(self.heard_of_play(self.bob, first), [])
        self.assertEqual(self.room(), (owner, kept), "A wrote nothing of the room")
        self.assertEqual(status_of(self.a)["rooms"]["rooms"], 0)

    async def test_stopped(self) -> None:
        """
        A node that was stopped for longer than its lease (SIGSTOP), and goes on, sends
        nothing more of its room and writes nothing; its player's line ends.
        """
        await self.check(
            Counting.name,
            lambda: os.kill(self.a.pid, signal.SIGSTOP),
            lambda: os.kill(self.a.pid, signal.SIGCONT),
        )

    async def test_what_a_cut_node_serves(self) -> None:
        """
        A node that is cut from Redis refuses at once what needs it, with the time to
        try again; a room whose game stores later goes on there until the lease ends,
        and then stands still; at another node nothing is missed.
        """
        await self.sit_down(CountingBehind.name)
        cat = await typed(self, self.b, "cat")
        paused = self.bob.hear("room_paused")
        on = self.bob.hear("game_state", partial(is_counted, [1, 2]))
        self.way.hold()
        self.bob.say("action")
        await on
        self.assertFalse(paused.called)
        first = await self.ann.ask("queue", "error", game=CountingBehind.name)
        self.assertEqual(first["code"], "store_unavailable")
        self.assertGreater(first["details"]["retry_after"], 0)
        queued = cat.hear("queue_status")
        cat.say("queue", game=CountingBehind.name)
        self.assertEqual((await queued)["state"], "waiting")
        self.assertTrue((await paused)["is_paused"])
        seen = len(self.bob.heard)
        self.bob.say("action")
        await deferLater(reactor, 0.5)
        self.assertEqual(self.heard_of_play(self.bob, seen), [])
        # Nobody came for the room: it goes on where it was.
        again = self.bob.hear("room_paused", lambda one: not one["is_paused"])
        both = self.bob.hear("game_state", partial(is_counted, [1, 3]))
        self.way.mend()
        await again
        await both

"""Packed views over WebSocket, as far as the room goes."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.games.swarm import Swarm
from tests.support.live_rooms import RoomsWorld
from vinom.base.packed import Layout, Packed


class Reader:
    """Reads the states of one player, as vinom.js does."""

    def __init__(self) -> None:
        self.views: dict[int, Any] = {}
        self.layout: Layout | None = None
        self.packed: dict[int, Packed] = {}
        self.lengths: list[int] = []

    def read(self, said: list[dict[str, Any]]) -> None:
        """Read all states among what was said."""
        for data in [one["data"] for one in said if one["type"] == "game_state"]:
            if "view" in data:
                self.views[data["version"]] = data["view"]
                continue
            if "layout" in data:
                self.layout = Layout(data["layout"])
            assert self.layout is not None
            others = {
                int(index): msgpack.encode(values)
                for index, values in data.get("others", {}).items()
            }
            before = self.packed[data["base"]] if data["base"] else None
            view = self.layout.read(b64decode(data["packed"]), before, others)
            self.packed[data["version"]] = view
            self.views[data["version"]] = self.layout.plain(view)
            self.lengths.append(len(data["packed"]))


class PackedTests(SynchronousTestCase):
    def begin(self) -> tuple[RoomsWorld, Any, Any]:
        """Have ann and bob in a room with 40 figures that run."""
        world = RoomsWorld()
        world.games["swarm"] = Swarm()
        ann, bob = (world.joined(who, "r1", "swarm")[0] for who in ("ann", "bob"))
        ann.ask("start_room")
        world.turn()
        return world, ann, bob

    def test_who_asks_gets_packed_views(self) -> None:
        """
        A player who says that it reads packed views gets them from the next state on,
        the first one whole; they show the same as to the others, and are short.
        """
        world, ann, bob = self.begin()
        one, two = Reader(), Reader()
        ann.ask("ack", seen=1, packed=True)
        for tick in range(60):
            world.clock.advance(0.05)
            one.read(ann.heard())
            two.read(bob.heard())
            if tick % 10 == 9:
                ann.ask("ack", seen=max(one.packed), packed=True)
        self.assertEqual(two.packed, {})
        self.assertGreater(len(one.packed), 50)
        for version, view in one.views.items():
            self.assertEqual(view, two.views[version])
        self.assertLess(max(one.lengths[15:]), 600)
        self.assertLess(sorted(one.lengths)[20], 350)

    def test_another_connection(self) -> None:
        """
        A connection that did not say that it reads packed views is sent whole ones.
        """
        world, ann, _ = self.begin()
        ann.ask("ack", seen=1, packed=True)
        world.clock.advance(0.05)
        world.clock.advance(0.05)
        self.assertIn("packed", ann.heard()[-1]["data"])
        again, _ = world.joined("ann", "r1", "swarm", spectate=True)
        world.clock.advance(0.05)
        self.assertIn("view", again.heard()[-1]["data"])

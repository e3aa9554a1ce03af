"""What one match costs does not depend on how many game servers there are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import vinom
from tests.support.supply import FleetWorld, match_plan, ticket
from vinom.fleet.control.messages import Kick, RelayAction, RelayWatch

_OURS = str(Path(vinom.__file__).parent)
#: Enough to find out a search; ``VINOM_CROWDS=full`` in the environment has all.
MANY = 1000 if os.environ.get("VINOM_CROWDS") == "full" else 200


def frames_of(call: Callable[[], Any]) -> list[str]:
    """List the functions of ours that *call* enters, in order."""
    entered = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_OURS):
            entered.append(f"{code.co_filename[len(_OURS) + 1 :]}:{code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
    return entered


@cache
def crowded(servers: int) -> FleetWorld:
    """
    A fleet with a match on each of this many game servers, and one that is warm; made
    once.
    """
    world = FleetWorld(ports=servers + 1, most=servers + 1, warm=1)
    for number in range(servers):
        match_id = f"m{number}"
        world.fleet.place(
            match_plan(match_id), [ticket(match_id, 0)], world.watch, relay=lambda _: 0
        )
    world.settle()
    world.refill()
    assert world.fleet.status().servers["listening"] == servers
    return world


class ConstantCostTests(SynchronousTestCase):
    """A thousand game servers beside it cost a match nothing."""

    def setUp(self) -> None:
        self.worlds = {size: crowded(size) for size in (1, MANY)}

    def last(self, world: FleetWorld) -> str:
        """The match that was placed last: a search finds it last, too."""
        return f"m{world.fleet.status().rooms - 1}"

    def assert_same_frames(self, call: Callable[[FleetWorld, str], Any]) -> None:
        found = {}
        for size, world in self.worlds.items():
            match_id = self.last(world)
            found[size] = frames_of(partial(call, world, match_id))
        self.assertEqual(found[1], found[MANY])
        self.assertNotEqual(found[1], [])

    def test_relayed_action(self) -> None:
        """
        An action of a player of the node passes the same functions beside 1 and
        1,000 game servers, and reaches its match.
        """
        self.assert_same_frames(
            lambda world, match_id: world.fleet.pass_on(
                RelayAction(match_id, 0, 1, b"{}")
            )
        )
        for world in self.worlds.values():
            match_id = self.last(world)
            world.settle()
            self.assertIn(
                RelayAction(match_id, 0, 1, b"{}"),
                world.supply.hosting(match_id).heard,
            )

    def test_new_match(self) -> None:
        """
        A match finds its game server as fast beside 1,000 others as beside one.
        """
        crowded.cache_clear()
        for world in self.worlds.values():
            self.assertEqual(world.fleet.status().servers["warm"], 1)
        self.assert_same_frames(
            lambda world, _: world.fleet.place(
                match_plan("new"), [ticket("new", 0)], world.watch
            )
        )
        for world in self.worlds.values():
            world.settle()
            self.assertIn("new", world.supply.hosting("new").rooms)

    def test_what_operators_and_players_ask_of_a_match(self) -> None:
        """
        So do a kick, a ticket, a look at the load, and a request to follow a match.
        """
        self.assert_same_frames(lambda world, match_id: world.fleet.kick(match_id, 1))
        self.assert_same_frames(
            lambda world, match_id: world.fleet.is_overloaded(match_id)
        )
        self.assert_same_frames(
            lambda world, match_id: world.fleet.add_ticket(ticket(match_id, 1, "b"))
        )
        self.assert_same_frames(
            lambda world, match_id: world.fleet.follow(match_id, print)
        )
        for world in self.worlds.values():
            match_id = self.last(world)
            world.settle()
            heard = world.supply.hosting(match_id).heard
            self.assertIn(Kick(match_id, 1), heard)
            self.assertIn(RelayWatch(match_id, True), heard)

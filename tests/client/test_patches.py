"""Differences instead of whole views, as far as a client and its line go."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import RoomsWorld
from tests.support.lobby_lines import LobbyEndpoint, MemoryTcp
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import JoinRoom
from vinom.client.lobby import LobbyClient, SharedLine
from vinom.client.rooms import LiveRoom, PlayerRooms


class PatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.endpoint = LobbyEndpoint(self.world)
        self.lines: list[Any] = []
        self.arrived: Counter[Any] = Counter()
        carry = MemoryTcp.carry

        def counted(line: MemoryTcp, peer: Any, data: bytes) -> None:
            self.arrived[peer] += len(data)
            carry(line, peer, data)

        self.patch(MemoryTcp, "carry", counted)

    def pass_time(self) -> None:
        self.world.clock.pump([0.0] * 12)

    def await_(self, waiting: Deferred[Any]) -> Any:
        self.pass_time()
        return self.successResultOf(waiting)

    def join(self, name: str, patches: bool) -> LiveRoom:
        """Have a player in the room; its line is the last one made."""
        hello = Hello(PROTOCOL, name)
        lobby = LobbyClient(self.world.clock, self.endpoint, hello, timeout=5.0)
        player = PlayerRooms(SharedLine(self.world.clock, lobby), timeout=60.0)
        request = JoinRoom("wide", "r1")
        room: LiveRoom = self.await_(player.join(request, patches=patches))
        self.lines.append(self.endpoint.lines[-1].client)
        return room

    def test_fewer_bytes(self) -> None:
        """
        A player who asks for patches is sent less than half as much as another in the
        same room who does not, and both see the same all the time.
        """
        ann, bob = self.join("ann", True), self.join("bob", False)
        self.pass_time()
        ann.act({"word": "begin"})
        self.pass_time()
        self.arrived.clear()
        for number in range(30):
            # Only who acts says what it has.
            ann.act({"word": f"w{number}"})
            self.pass_time()
            self.assertEqual(ann.view["last"], f"w{number}")
            self.assertEqual(ann.view, bob.view)
        to_ann, to_bob = (self.arrived[line] for line in self.lines)
        self.assertGreater(to_bob, 30 * 500)
        self.assertLess(to_ann, to_bob / 2)

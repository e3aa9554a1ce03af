"""Packed views over UDP: the same as whole ones, and short."""

from __future__ import annotations

from typing import Any

from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.games.swarm import Crowded, Swarm, SwarmState
from tests.support.game_net import HOST, GameNet
from vinom.net.packets.player import StateArrived
from vinom.play.states import fingerprint


class PackedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = GameNet(games={"swarm": Swarm(), "crowded": Crowded()})
        self.sizes: list[int] = []
        # Every tenth datagram of the server is lost.
        self.is_losing = False
        carry = self.net.reactor.carry
        count = 0

        def carried(source: Any, data: bytes, to: Any) -> None:
            nonlocal count
            if source[0] == HOST:
                count += 1
                self.sizes.append(len(data))
                if self.is_losing and not count % 10:
                    return
            carry(source, data, to)

        self.patch(self.net.reactor, "carry", carried)

    def play(self, game: str, seconds: float) -> list[Any]:
        """Play, and compare every view that arrives with what was shown."""
        players = self.net.begin(game=game)
        shown: dict[int, str] = {}
        for _ in range(int(seconds * 100)):
            self.net.run(0.01)
            room = self.net.server.rooms["m1"].room
            shown[room.version] = fingerprint(room.view("all"))
        for player in players:
            arrived = player.of(StateArrived)
            self.assertGreater(len(arrived), seconds * 15)
            for state in arrived:
                if state.version in shown:
                    self.assertEqual(fingerprint(state.view), shown[state.version])
        return players

    def test_same_views_though_datagrams_are_lost(self) -> None:
        """
        Every state that arrives is the one that the room showed, byte for byte, even if
        datagrams are lost both ways; and it has the numbers of the grid.
        """
        self.is_losing = True
        (ann, _) = self.play("swarm", 3.0)
        view = msgpack.decode(ann.seen.view)
        self.assertEqual(len(view["runners"]), 40)
        self.assertEqual(view["runners"][0]["x"], round(view["runners"][0]["x"], 2))

    def test_short(self) -> None:
        """
        A state of 40 figures that all move takes less than 300 bytes on the way, and
        one of 150 of which a third moves less than half a datagram.
        """
        for game, most in (("swarm", 300), ("crowded", 600)):
            self.setUp()
            self.play(game, 1.0)
            self.sizes.clear()
            self.net.run(1.0)
            states = sorted(self.sizes)[len(self.sizes) // 2 :]
            self.assertLess(states[len(states) // 2], most)

    def test_new_connection(self) -> None:
        """
        A player who comes back on another connection gets a whole packed view first,
        and goes on from there.
        """
        ann, _ = self.play("swarm", 1.0)
        ann.close()
        again = self.net.resumed(0, ann.resume)
        self.net.run(0.5)
        room = self.net.server.rooms["m1"].room
        self.assertIsInstance(room.state, SwarmState)
        seen = again.of(StateArrived)
        self.assertGreater(len(seen), 5)
        latest = msgpack.decode(seen[-1].view)
        self.assertLessEqual(room.state.tick - latest["tick"], 2)

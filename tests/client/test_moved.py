"""Going to the node of a room, as the Python SDK does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.rooms.test_visits import TwoNodes
from tests.support.lobby_lines import LobbyEndpoint
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import JoinRoom
from vinom.client.lobby import LobbyClient, SharedLine
from vinom.client.rooms import LiveRoom, PlayerRooms


class MovedTests(TwoNodes):
    """Ann's room is on the first node; Bob comes to the second one."""

    def setUp(self) -> None:
        super().setUp()
        self.links.direct = {"lobby": "n1.example:4600"}
        self.there, self.home = LobbyEndpoint(self.first), LobbyEndpoint(self.second)
        self.asked: list[tuple[str, int]] = []
        for room_id in ("r1", "r2"):
            self.ann.ask("join_room", game="pair", room_id=room_id)
        self.bob = self.player()

    def player(self) -> PlayerRooms:
        """Be Bob."""

        def elsewhere(host: str, port: int) -> Any:
            self.asked.append((host, port))
            return self.there

        lobby = LobbyClient(
            self.nodes.clock,
            self.home,  # type: ignore[arg-type]
            Hello(PROTOCOL, "bob"),
            timeout=5.0,
            elsewhere=elsewhere,
        )
        line = SharedLine(self.nodes.clock, lobby, lambda: 0.5)
        return PlayerRooms(line, timeout=60.0)

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass, and messages arrive."""
        for step in [0.0] * 12 + [0.05] * round(seconds / 0.05):
            self.links.carry()
            self.nodes.clock.advance(step)

    def join(self, room_id: str = "r1") -> LiveRoom:
        """Join a room of the first node."""
        return self.await_(self.bob.join(JoinRoom("pair", room_id)))

    def await_(self, waiting: Deferred[Any]) -> Any:
        """Wait for an answer."""
        self.pass_time(1.0)
        return self.successResultOf(waiting)

    def test_followed(self) -> None:
        """
        Bob gets his seat at the node of the room, and plays there.
        """
        room = self.join()
        self.assertEqual((room.seat, self.asked), (1, [("n1.example", 4600)]))
        room.act({"word": "here"})
        self.pass_time()
        self.assertEqual(room.view["last"], "here")
        self.assertEqual((len(self.first.online), len(self.second.online)), (2, 0))

    def test_home_again(self) -> None:
        """
        When the line is lost Bob asks at home again, and is sent there again.
        """
        room = self.join()
        lines = len(self.home.lines)
        self.there.lines[-1].end()
        self.pass_time(3.0)
        self.assertTrue(room.is_connected)
        self.assertEqual((len(self.home.lines), len(self.asked)), (lines + 1, 2))

    def test_nobody_there(self) -> None:
        """
        If the node cannot be reached Bob is served at home, through the link, and does
        not try again.
        """
        self.there.is_up = False
        room = self.join()
        self.assertEqual((room.seat, len(self.asked)), (1, 1))
        self.assertEqual(len(self.second.online), 1)
        self.home.lines[-1].end()
        self.pass_time(3.0)
        self.assertTrue(room.is_connected)
        self.assertEqual(len(self.asked), 1)
        room.act({"word": "here"})
        self.pass_time()
        self.assertEqual(room.view["last"], "here")

    def test_two_at_once(self) -> None:
        """
        Bob asks for two rooms at once: both are his, over one line.
        """
        asked = [self.bob.join(JoinRoom("pair", name)) for name in ("r1", "r2")]
        self.pass_time(1.0)
        rooms = [self.successResultOf(one) for one in asked]
        self.assertEqual([room.seat for room in rooms], [1, 1])
        self.assertEqual(len(self.asked), 1)
        self.assertTrue(all(room.is_connected for room in rooms))

    def test_two_rooms(self) -> None:
        """
        With two rooms nobody is sent back and forth: both come back at home.
        """
        rooms = [self.join("r1"), self.join("r2")]
        self.assertEqual(len(self.asked), 1)
        self.there.lines[-1].end()
        self.pass_time(3.0)
        self.assertTrue(all(room.is_connected for room in rooms))
        self.assertEqual(len(self.asked), 1)
        self.assertEqual(len(self.second.online), 1)

"""What one player's line may cost, at most."""

from __future__ import annotations

from typing import Any

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import RoomsWorld
from tests.support.lobbies import LobbyWorld
from vinom.lobby.conversation.conversation import Bounds


class ActionRateTests(SynchronousTestCase):
    """Actions that reach no room."""

    def flood(self, line: Any, room_id: str | None = None) -> list[str]:
        """Act until the line is closed; returns the codes of all answers."""
        asked: dict[str, Any] = {"type": "action", "id": 7, "data": {"word": "x"}}
        if room_id is not None:
            asked["room_id"] = room_id
        for _ in range(5000):
            line.conversation.received(json.encode(asked))
            if line.is_closed:
                break
        return [said["error"]["code"] for said in line.heard()]

    def test_without_a_room(self) -> None:
        """
        A player without a room has no more actions than messages: above the rate they
        are refused as such, with the time to wait, and a player who goes on is
        disconnected.
        """
        world = LobbyWorld(bounds=Bounds(rate=2.0, burst=5.0))
        line, _ = world.hello("ann")
        codes = self.flood(line)
        # The hello was one of the five; as many complaints, and then the end.
        self.assertEqual(codes[:4], ["not_in_room"] * 4)
        self.assertEqual(set(codes[4:]), {"rate_limited"})
        self.assertTrue(line.is_closed)
        self.assertLess(len(codes), 20)
        self.assertEqual(world.requests.counts(), {"lines": 0, "players": 0})

    def test_counted_with_messages(self) -> None:
        """
        Without a room actions and other messages are counted together, so neither is a
        way around the other's limit; a moment later both are accepted again.
        """
        world = LobbyWorld(bounds=Bounds(rate=2.0, burst=5.0))
        line, _ = world.hello("ann")
        for _ in range(4):
            line.ask("ping")
        (said,) = line.ask("action", 7, word="x")
        self.assertEqual(said["id"], 7)
        self.assertEqual(said["error"]["code"], "rate_limited")
        self.assertEqual(said["error"]["details"], {"retry_after": 0.5})
        world.clock.advance(0.5)
        (said,) = line.ask("action", 8, word="x")
        self.assertEqual(said["error"]["code"], "not_in_room")

    def test_after_a_room(self) -> None:
        """
        A player who left the only room, or names another room, has the rate of actions,
        and no more.
        """
        world = RoomsWorld(actions=20.0)
        for named in (None, "elsewhere"):
            line, joined = world.joined("ann", "r")
            if named is None:
                line.ask("leave_room", room_id=joined["room_id"])
            codes = self.flood(line, named)
            self.assertEqual(codes[:40], ["not_in_room"] * 40)
            self.assertEqual(set(codes[40:]), {"rate_limited"})
            self.assertTrue(line.is_closed)

"""What rooms show of players who have left them, or whose connections are lost."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import PlayerLine, RoomsWorld, only
from vinom.play.room import own_lines, where_of


class DesertedRoomTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = RoomsWorld()

    def listed(self, line: Any) -> Any:
        """List the rooms; returns the only one."""
        (room,) = only(line.ask("list_rooms"))["data"]["rooms"]
        return room

    def test_nobody_connected(self) -> None:
        """
        A room whose only player has lost the connection is listed with nobody
        connected, and not offered, until the player is back.
        """
        ann, joined = self.world.joined("ann", None, "few")
        eve, _ = self.world.hello("eve")
        room = self.listed(eve)
        self.assertEqual((room["connected"], room["open"]), (1, True))
        only(eve.ask("list_rooms", watch=True))
        ann.hang_up()
        self.world.clock.advance(1.0)
        (room,) = only(eve.heard())["data"]["changed"]
        self.assertEqual((room["connected"], room["open"]), (0, False))
        bob, other = self.world.joined("bob", None, "few")
        self.assertNotEqual(other["room_id"], joined["room_id"])
        bob.hang_up()
        back, _ = self.world.hello("ann")
        only(back.ask("reconnect", resume=joined["resume"]))
        _, third = self.world.joined("cid", None, "few")
        self.assertEqual(third["room_id"], joined["room_id"])

    def test_leaver_keeps_the_name(self) -> None:
        """
        A player who joins or comes back after somebody has left the game still reads
        that player's name; in the next game it is gone.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        bob, _ = self.world.joined("bob", "r1", "few")
        ann.ask("start_room")
        self.world.turn()
        bob.ask("leave_room")
        self.world.turn()
        eve, _ = self.world.hello("eve")
        asked = {"game": "few", "room_id": "r1", "spectate": True}
        (former,) = only(eve.ask("join_room", **asked))["data"]["former"]
        self.assertEqual((former["seat"], former["name"]), (1, "bob"))
        self.assertEqual(former["state"], "left")

    def test_invitation_to_a_closed_room(self) -> None:
        """
        A player who follows an invitation to a room that has closed is refused, and
        no room is opened.
        """
        ann, _ = self.world.hello("ann")
        asked = {"game": "few", "room_id": "r1", "create": False}
        self.assertEqual(
            only(ann.ask("join_room", **asked))["error"]["code"], "no_such_room"
        )
        self.assertEqual(self.world.rooms.directory.status()["rooms"], 0)
        asked["create"] = True
        self.assertEqual(only(ann.ask("join_room", **asked))["data"]["seat"], 0)


class PeekTests(SynchronousTestCase):
    def test_peek(self) -> None:
        """
        A player in the lobby is shown a room as spectators see it, and nobody in the
        room notices; a player who was removed is refused.
        """
        world = RoomsWorld()
        ann, _ = world.joined("ann", "r1", "few")
        bob, _ = world.joined("bob", "r1", "few")
        cid, _ = world.hello("cid")
        peek = only(cid.ask("peek_room", room_id="r1"))["data"]
        self.assertEqual((peek["state"], peek["view"]), ("gathering", None))
        ann.ask("start_room")
        world.turn()
        ann.act(1, word="hey")
        world.turn()
        view = ann.heard()[-1]["data"]["view"]
        bob.heard()
        peek = only(cid.ask("peek_room", room_id="r1"))["data"]
        self.assertEqual((peek["state"], peek["view"]), ("playing", view))
        self.assertEqual([one["name"] for one in peek["players"]], ["ann", "bob"])
        world.turn()
        self.assertEqual(bob.heard(), [])
        ann.ask("kick", seat=1)
        said = only(bob.ask("peek_room", room_id="r1")[-1:])
        self.assertEqual(said["error"]["code"], "kicked")
        said = only(cid.ask("peek_room", room_id="r2"))
        self.assertEqual(said["error"]["code"], "no_such_room")

    def test_ticks(self) -> None:
        """
        What a picture of a game with ticks shows has its tick.
        """
        world = RoomsWorld()
        world.joined("ann", "r1", "glimpse")
        world.joined("bob", "r1", "glimpse")
        cid, _ = world.hello("cid")
        world.clock.advance(1.0)
        peek = only(cid.ask("peek_room", room_id="r1"))["data"]
        self.assertGreater(peek["tick"], 0)
        self.assertEqual(peek["tick"], peek["view"]["tick"])


class FaultTests(SynchronousTestCase):
    def crash(self, *, is_edited: bool) -> tuple[Any, dict[str, str] | None]:
        """Let a game fail; what its player is sent last, and its author is told."""
        world = RoomsWorld(is_edited=is_edited)
        ann, _ = world.joined("ann", "r1", "pair")
        bob, _ = world.joined("bob", "r1", "pair")
        self.act(world, ann)
        self.flushLoggedErrors(ZeroDivisionError)
        return bob.heard()[-1], world.rooms.told

    def act(self, world: RoomsWorld, line: PlayerLine) -> None:
        """Play the action at which the game fails."""
        line.act(1, word="boom")
        world.turn()

    def test_for_the_author(self) -> None:
        """
        Where games are developed, the author of a game that fails is told the game's
        own lines of the traceback, without Vinom's, and the room stays.
        """
        last, told = self.crash(is_edited=True)
        self.assertNotEqual(last["type"], "room_closed")
        fault = (told or {})["r1"]
        self.assertIn("ZeroDivisionError: the game is broken", fault)
        self.assertIn("live_rooms.py", fault)
        self.assertNotIn("play/play.py", fault)

    def test_for_others(self) -> None:
        """
        Elsewhere players are sent nothing of a game's code.
        """
        closed = self.crash(is_edited=False)[0]["data"]
        self.assertEqual((closed["reason"], closed["fault"]), ("crashed", ""))

    def test_no_line_of_the_author(self) -> None:
        """
        If no line is the author's, all of them are shown.
        """
        report = "match m\n\nTraceback (most recent call last):\nValueError: no\n"
        self.assertEqual(own_lines(report), report.partition("\n\n")[2].strip())
        self.assertEqual(where_of(report), "")
        report = (
            "match m\n\nTraceback (most recent call last):\n"
            '  File "/home/ann/pig.py", line 12, in act\n    1 / 0\n    ~~^~~\n'
            "ZeroDivisionError: division by zero\n"
        )
        self.assertEqual(where_of(report), "pig.py:12, in act")

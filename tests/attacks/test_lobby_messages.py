"""
Every lobby message with each of its fields spoilt, at a real lobby.

Made from the message types, so that a new field is attacked from its first day.
"""

from __future__ import annotations

from typing import Any

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.support.lobbies import LobbyWorld, MemoryLine, everybody
from tests.support.malformed import is_at, nonsense, spoilt
from vinom.base.messages.envelope import Request
from vinom.base.messages.lobby import Cancel, Hello, Ping, Queue
from vinom.base.messages.parties import (
    Accept,
    CreateParty,
    Decline,
    InviteToParty,
    JoinParty,
    KickFromParty,
    LeaveParty,
    ListParties,
    PromoteInParty,
    ReadyInParty,
)
from vinom.base.messages.rooms import (
    Ack,
    Action,
    AddBot,
    JoinRoom,
    KickSeat,
    LeaveRoom,
    ListRooms,
    MyGames,
    PeekRoom,
    Reconnect,
    Rematch,
    SetTeam,
    StartRoom,
)
from vinom.lobby.conversation.conversation import Bounds

#: One good request of each type, as data, with each of its fields.
GOOD: dict[type[Request], dict[str, Any]] = {
    Hello: {"protocol": 1, "name": "ann"},
    Queue: {"game": "duel", "options": {"size": 3}, "loadout": {}},
    Cancel: {},
    Ping: {},
    JoinRoom: {
        "game": "duel",
        "room_id": "r2",
        "options": {"size": 3},
        "loadout": {},
        "spectate": False,
    },
    LeaveRoom: {"room_id": "r1"},
    ListRooms: {"game": "duel", "state": "playing", "watch": False, "limit": 1},
    PeekRoom: {"room_id": "r1"},
    MyGames: {},
    Reconnect: {"resume": "x", "heard": 0},
    StartRoom: {"room_id": "r1"},
    AddBot: {"room_id": "r1"},
    KickSeat: {"seat": 1, "room_id": "r1"},
    SetTeam: {"seat": 1, "team": 0, "room_id": "r1"},
    Rematch: {"room_id": "r1"},
    CreateParty: {
        "game": "duel",
        "options": {"size": 3},
        "password": "x",
        "open": True,
        "loadout": {},
    },
    JoinParty: {"party_id": "p", "token": "t", "password": "x", "loadout": {}},
    LeaveParty: {},
    KickFromParty: {"player_id": "p"},
    PromoteInParty: {"player_id": "p"},
    InviteToParty: {"player_id": "p"},
    ReadyInParty: {"ready": True, "loadout": {}},
    ListParties: {"game": "duel", "password": True, "limit": 1},
    Accept: {"prematch_id": "p"},
    Decline: {"prematch_id": "p"},
}
#: What has no answer, or is for the game to read: `test_room_messages` sends it, and
#: `test_game_actions`.
IN_PLAY = {Action, Ack}
#: What is asked of the room that one is in.
IN_ROOM = {LeaveRoom, StartRoom, AddBot, KickSeat, SetTeam, Rematch}
#: Taken, though it cannot be done just then.
IN_VAIN = {
    *(Cancel, PeekRoom, Reconnect, StartRoom, AddBot, KickSeat, SetTeam, Rematch),
    *(JoinParty, KickFromParty, PromoteInParty, Accept, Decline),
}
#: What is asked of the party that one is in.
IN_PARTY = {LeaveParty, KickFromParty, PromoteInParty, InviteToParty, ReadyInParty}


class SpoiltMessageTests(SynchronousTestCase):
    """
    What a lobby makes of them.

    One line sends all that is refused, and stays open; another one is there too.
    """

    def setUp(self) -> None:
        self.world = LobbyWorld(bounds=Bounds(rate=1e6, burst=1e6))
        self.bob, _ = self.world.hello("bob")
        self.rooms = 0
        self.lines = {kind: self.line_for(kind)[0] for kind in GOOD}

    def line_for(self, kind: type[Request]) -> tuple[MemoryLine, dict[str, Any]]:
        """Open a line on which one type of message is due; returns a good one, too."""
        good = GOOD[kind]
        if kind is Hello:
            return self.world.line(), good
        line, _ = self.world.hello("ann")
        if kind in IN_PARTY:
            line.ask("create_party")
        if kind in IN_ROOM:
            self.rooms += 1
            good = good | {"room_id": f"own.{self.rooms}"}
            line.ask("join_room", game="party", room_id=good["room_id"])
        return line, good

    def ask(self, line: MemoryLine, kind: type[Request], data: Any) -> dict[str, Any]:
        """Send one message; returns the only answer."""
        tag = str(kind.__struct_config__.tag)
        line.conversation.received(json.encode({"type": tag, "data": data, "id": 7}))
        (answer, *more) = line.heard()
        self.assertEqual(more, [])
        return answer

    def assert_others_are_served(self) -> None:
        (pong,) = self.bob.ask("ping", 8)
        self.assertEqual((pong["type"], pong["id"]), ("pong", 8))

    def assert_refused(self, kind: type[Request], data: Any, field: str) -> None:
        """It is refused, naming the field, and the line stays open."""
        line = self.lines[kind]
        answer = self.ask(line, kind, data)
        self.assertEqual(answer["type"], "error", data)
        error = answer["error"]
        self.assertIn(error["code"], ("bad_field", "protocol_unsupported"), data)
        if error["code"] == "bad_field":
            self.assertTrue(is_at(error["details"]["field"], field), (error, field))
        self.assertEqual(answer["id"], 7)
        self.assertNotIn("Traceback", error["message"])
        self.assertFalse(line.is_closed)
        self.assert_others_are_served()

    def test_all_types_are_attacked(self) -> None:
        """
        No request is left out here.
        """
        self.assertEqual(set(GOOD) | IN_PLAY, set(Request.__subclasses__()))

    def test_good_ones(self) -> None:
        """
        Unspoilt, each is taken.
        """
        for kind in GOOD:
            line, data = self.line_for(kind)
            answer = self.ask(line, kind, data)
            if kind in IN_VAIN and not answer["success"]:
                self.assertFalse(answer["error"]["code"].startswith("bad_f"), answer)
            else:
                self.assertTrue(answer["success"], answer)

    def attack(self) -> int:
        """Send each type with each of its fields spoilt; returns how many."""
        count = 0
        for kind, good in GOOD.items():
            for place, data in spoilt(kind, good, "json"):
                self.assert_refused(kind, data, f"data.{place}".rstrip("."))
                count += 1
        return count

    def test_spoilt(self) -> None:
        """
        Each field that is missing, of another type, or one character beyond its
        bounds, is named; data of any other kind is, too.
        """
        self.assertGreater(self.attack(), 400)

    def test_right_type_and_nonsense(self) -> None:
        """
        What has the right type and makes no sense is refused in words, or taken;
        it never is a mistake of ours.
        """
        for kind, good in GOOD.items():
            for data in nonsense(kind, good, "json"):
                line, own = self.line_for(kind)
                if kind in IN_ROOM and data["room_id"] == good["room_id"]:
                    data["room_id"] = own["room_id"]
                answer = self.ask(line, kind, data)
                if answer["type"] == "error":
                    self.assertNotEqual(answer["error"]["code"], "internal", data)
                if not line.is_closed:
                    line.hang_up()
                self.assert_others_are_served()

    def test_no_name(self) -> None:
        """
        A name that is too long, or none at all, is refused as a name, and the
        player may say another one on the same line.
        """
        for name in ("", " ", "x" * 33, "x" * 300, "\0", "a\nb\u202e"):
            line = self.world.line()
            error = self.ask(line, Hello, {"protocol": 1, "name": name})["error"]
            self.assertEqual(error["code"], "name_refused", name)
            self.assertEqual(error["details"], {"field": "data.name"})
            answer = self.ask(line, Hello, {"protocol": 1, "name": "x" * 32})
            self.assertEqual(answer["type"], "welcome")

    def test_nothing_came_of_it(self) -> None:
        """
        After all of that nobody waits or plays, and nobody was disconnected; a player
        who goes leaves nothing behind.
        """
        before = self.world.rooms.directory.status()
        self.attack()
        self.assertEqual(self.world.rooms.directory.status(), before)
        self.assertEqual(before["rooms"], len(IN_ROOM))
        self.assertEqual(self.world.fleet.hosted, [])
        self.assertFalse(everybody(self.world.lobby))
        self.assertEqual(self.world.requests.counts()["lines"], len(GOOD) + 1)
        for kind, line in self.lines.items():
            if kind in IN_ROOM:
                self.assertTrue(line.ask("leave_room")[-1]["success"])
            elif kind is Hello:
                self.assertTrue(self.ask(line, kind, GOOD[kind])["success"])
            line.hang_up()
        self.assert_others_are_served()
        self.bob.hang_up()
        self.world.clock.advance(4000.0)
        self.assertEqual(
            self.world.rooms.directory.status(), {"rooms": 0, "places": 0, "away": 0}
        )
        self.assertEqual(self.world.requests.counts(), {"lines": 0, "players": 0})

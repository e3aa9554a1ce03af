"""
Every lobby message with each of its fields spoilt, at a real lobby.

Made from the message types, so that a new field is attacked from its first day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec.inspect as shapes
from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.support.lobbies import LobbyWorld, MemoryLine
from vinom.wire.messages import (
    Ack,
    Action,
    AddBot,
    Cancel,
    Hello,
    JoinRoom,
    KickSeat,
    LeaveRoom,
    ListRooms,
    Ping,
    Queue,
    Reconnect,
    Rematch,
    Request,
    StartRoom,
)

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
    Reconnect: {"resume": "x", "heard": 0},
    StartRoom: {"room_id": "r1"},
    AddBot: {"room_id": "r1"},
    KickSeat: {"seat": 0, "room_id": "r1"},
    Rematch: {"room_id": "r1"},
}
#: What has no answer, or is for the game to read: tests of rooms send it.
SILENT = {Action, Ack}
#: What is asked of the room that one is in.
IN_ROOM = {LeaveRoom, StartRoom, AddBot, KickSeat, Rematch}
#: Taken, though it cannot be done just then.
IN_VAIN = {Cancel, Reconnect, StartRoom, AddBot, KickSeat, Rematch}
#: Values of every kind that JSON has, and of hard ones.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 1.5, 1e308, 2**63, -(2**63), 10**30),
    *("", "x", "\0", "\ud7ff", "x" * 300, [], [[]], ["x"], {}, {"x": {}}, {"x": "x"}),
)


def fields_of(kind: type[Request]) -> dict[str, shapes.Field]:
    """Look at a message type."""
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)
    return {field.encode_name: field for field in shape.fields}


def is_of(shape: shapes.Type, value: Any) -> bool:
    """Is this value one that a field of this type may have?"""
    match shape:
        case shapes.AnyType() | shapes.RawType():
            return True
        case shapes.UnionType():
            return any(is_of(one, value) for one in shape.types)
        case shapes.NoneType():
            return value is None
        case shapes.IntType():
            # A float without a fraction is a whole number to JSON.
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and value == int(value)
                and value >= (value if shape.ge is None else shape.ge)
                and value <= (value if shape.le is None else shape.le)
            )
        case shapes.BoolType():
            return isinstance(value, bool)
        case shapes.LiteralType():
            return isinstance(value, str) and value in shape.values
        case shapes.StrType():
            return (
                isinstance(value, str)
                and len(value) >= (shape.min_length or 0)
                and len(value) <= (shape.max_length or len(value))
                and re.search(shape.pattern or "", value) is not None
            )
        case shapes.DictType():
            return isinstance(value, dict) and all(
                is_of(shape.key_type, key) and is_of(shape.value_type, each)
                for key, each in value.items()
            )
    raise AssertionError(f"a type that this test does not know: {shape}")


def beyond(shape: shapes.Type) -> Iterator[Any]:
    """Values just outside of a type's bounds."""
    if isinstance(shape, shapes.UnionType):
        for one in shape.types:
            yield from beyond(one)
    if isinstance(shape, shapes.IntType):
        if shape.ge is not None:
            yield shape.ge - 1
        if shape.le is not None:
            yield shape.le + 1
    if isinstance(shape, shapes.StrType):
        if shape.min_length:
            yield "x" * (shape.min_length - 1)
        if shape.max_length is not None:
            yield "x" * (shape.max_length + 1)


class SpoiltMessageTests(SynchronousTestCase):
    """What a lobby makes of them."""

    def setUp(self) -> None:
        self.world = LobbyWorld()

    def send(self, kind: type[Request], data: Any) -> dict[str, Any]:
        """Send one message on a line where it is due; gives the only answer."""
        line: MemoryLine
        if kind is Hello:
            line = self.world.line()
        else:
            line, _ = self.world.hello("ann")
        if kind in IN_ROOM:
            line.ask("join_room", game="party", room_id="r1")
        tag = str(kind.__struct_config__.tag)
        line.conversation.received(json.encode({"type": tag, "data": data, "id": 7}))
        (answer, *more) = line.heard()
        self.assertEqual(more, [])
        if not line.is_closed:
            line.hang_up()
        return answer

    def assert_refused(self, kind: type[Request], data: Any, field: str) -> None:
        answer = self.send(kind, data)
        self.assertEqual(answer["type"], "error", data)
        error = answer["error"]
        self.assertIn(error["code"], ("bad_field", "protocol_unsupported"), data)
        if error["code"] == "bad_field":
            told = error["details"]["field"]
            self.assertTrue(told.startswith(field), (told, field))
        self.assertEqual(answer["id"], 7)
        self.assertNotIn("Traceback", error["message"])

    def test_all_types_are_attacked(self) -> None:
        """
        No request is left out here.
        """
        self.assertEqual(set(GOOD) | SILENT, set(Request.__subclasses__()))

    def test_good_ones(self) -> None:
        """
        Unspoilt, each is taken.
        """
        for kind, data in GOOD.items():
            answer = self.send(kind, data)
            if kind in IN_VAIN and not answer["success"]:
                self.assertFalse(answer["error"]["code"].startswith("bad_f"), answer)
            else:
                self.assertTrue(answer["success"], answer)

    def test_missing(self) -> None:
        """
        Each field that is needed, left out, is named.
        """
        for kind, good in GOOD.items():
            for name, field in fields_of(kind).items():
                if field.required:
                    data = {key: good[key] for key in good if key != name}
                    self.assert_refused(kind, data, f"data.{name}")

    def test_wrong_type(self) -> None:
        """
        Each field with a value of any other type is named.
        """
        count = 0
        for kind, good in GOOD.items():
            for name, field in fields_of(kind).items():
                for value in VALUES:
                    if not is_of(field.type, value):
                        self.assert_refused(kind, good | {name: value}, f"data.{name}")
                        count += 1
        self.assertGreater(count, 40)

    def test_too_long_or_short(self) -> None:
        """
        Each field that is one character beyond its bounds is named.
        """
        count = 0
        for kind, good in GOOD.items():
            for name, field in fields_of(kind).items():
                for value in beyond(field.type):
                    self.assert_refused(kind, good | {name: value}, f"data.{name}")
                    count += 1
        self.assertGreaterEqual(count, 4)

    def test_right_type_and_nonsense(self) -> None:
        """
        What has the right type and makes no sense is refused in words, or taken;
        it never is a mistake of ours.
        """
        for kind, good in GOOD.items():
            for name, field in fields_of(kind).items():
                for value in VALUES:
                    if is_of(field.type, value):
                        answer = self.send(kind, good | {name: value})
                        if answer["type"] == "error":
                            self.assertNotEqual(answer["error"]["code"], "internal")

    def test_data_is_no_object(self) -> None:
        """
        Data of any other kind is named, too.
        """
        for kind in GOOD:
            for value in VALUES:
                if not isinstance(value, dict):
                    self.assert_refused(kind, value, "data")

    def test_nothing_came_of_it(self) -> None:
        """
        After all of that nobody waits, plays, or is connected.
        """
        self.test_missing()
        self.test_wrong_type()
        self.test_too_long_or_short()
        self.assertEqual(self.world.lobby.counts()["lines"], 0)
        self.assertFalse(self.successResultOf(self.world.entries.waiting()))

"""The lobby's messages: what is taken, what is refused, and how it is said."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec import Raw, json
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.messages.catalogue import PUSHES as KINDS_OF_PUSHES
from vinom.base.messages.catalogue import decode_answer, decode_request
from vinom.base.messages.envelope import (
    Asked,
    Failed,
    Push,
    Told,
    Unusable,
    encode_failure,
    encode_push,
    encode_request,
)
from vinom.base.messages.lobby import (
    Cancel,
    Hello,
    MatchEnded,
    MatchFound,
    Ping,
    Pong,
    Queue,
    QueueStatus,
    SeatName,
    Welcome,
)
from vinom.errors import Code, PeerError, Refused

#: One good request of each type, as data.
GOOD: dict[str, dict[str, Any]] = {
    "hello": {"protocol": 1, "name": "ann"},
    "queue": {"game": "maze", "options": {"rows": 10}, "loadout": {}},
    "cancel": {},
    "ping": {},
}

PUSHES: tuple[Push, ...] = (
    Welcome("p", "key", "Ann", 1, "vinom 1", ("maze",)),
    QueueStatus("waiting", "maze", 1, 2.5),
    QueueStatus("idle"),
    Pong(),
    MatchFound(
        "m",
        "maze",
        "::1",
        46000,
        "t.s.game.vinom",
        "PEM",
        "token",
        0,
        (SeatName(0, "Ann", "p"),),
        12.5,
    ),
    MatchEnded("m", "finished", {"round": 1, "places": [[0]], "scores": [3]}),
)


def line(kind: str, data: Any, **more: Any) -> bytes:
    return json.encode({"type": kind, "data": data} | more)


class DecodeRequestTests(SynchronousTestCase):
    """What a player may send."""

    def refuse(self, message: bytes) -> Unusable:
        return self.assertRaises(Unusable, decode_request, message)

    def test_every_request(self) -> None:
        """
        Each request is understood as it is documented.
        """
        self.assertEqual(
            decode_request(line("hello", GOOD["hello"], id=7)),
            Asked(Hello(1, name="ann"), 7),
        )
        self.assertEqual(decode_request(b'{"type":"ping"}'), Asked(Ping()))
        self.assertEqual(decode_request(b'{"type":"cancel"}'), Asked(Cancel()))
        queue = decode_request(line("queue", GOOD["queue"], id="a")).request
        assert isinstance(queue, Queue)
        self.assertEqual(bytes(queue.options), b'{"rows":10}')

    def test_what_clients_encode(self) -> None:
        """
        The node understands everything our clients can ask.
        """
        for request in (
            Hello(1, player_key="secret"),
            Hello(1, name="ann", credentials={"token": "t"}),
            Cancel(),
            Ping(),
        ):
            self.assertEqual(
                decode_request(encode_request(request, 3)).request, request
            )
        queue = decode_request(encode_request(Queue("maze", Raw(b'{"a":1}')))).request
        assert isinstance(queue, Queue)
        self.assertEqual(bytes(queue.options), b'{"a":1}')

    def test_not_json(self) -> None:
        """
        Input that isn't a JSON object is refused as such, and the line goes on.
        """
        for junk in (
            b"GET / HTTP/1.1",
            b"[]",
            b"7",
            b"null",
            b"\xff\xfe",
            b'{"a"',
            b"{}",
        ):
            self.assertEqual(self.refuse(junk).code, Code.BAD_MESSAGE, junk)

    def test_deep_nesting(self) -> None:
        """
        Brackets without end cost an answer, not the process.
        """
        nested = b"[" * 900 + b"]" * 900
        deep = b'{"type":"queue","data":{"game":"x","options":%s}}' % nested
        with contextlib.suppress(Refused):
            decode_request(deep)
        self.assertEqual(self.refuse(b"[" * 5000).code, Code.BAD_MESSAGE)

    def test_unknown_type(self) -> None:
        """
        A mistyped type is answered with the types there are, to the right request.
        """
        refusal = self.refuse(b'{"type":"quue","id":"x"}')
        self.assertEqual((refusal.code, refusal.id), (Code.UNKNOWN_TYPE, "x"))
        self.assertIn("queue", refusal.details["types"])

    def test_each_field_at_fault(self) -> None:
        """
        A field that is missing, unknown, of the wrong type or length is named, also of
        the envelope; so is the one that is in the way of a hello that proves nothing,
        or two things.
        """
        hello, queue = GOOD["hello"], GOOD["queue"]
        for message, field in (
            (line("queue", {"options": {}}, id=1), "data.game"),
            (line("hello", hello | {"protocol": "1"}), "data.protocol"),
            (line("hello", hello | {"protocol": 1.5}), "data.protocol"),
            (line("hello", hello | {"name": 7}), "data.name"),
            (line("hello", hello | {"credentials": "secret"}), "data.credentials"),
            (line("hello", hello | {"player_key": ""}), "data.player_key"),
            (line("hello", hello | {"player_key": "k" * 1025}), "data.player_key"),
            (line("queue", queue | {"game": None}), "data.game"),
            (line("queue", queue | {"game": ""}), "data.game"),
            (line("queue", queue | {"game": "x" * 65}), "data.game"),
            *((line(kind, GOOD[kind] | {"extra": 1}), "data.extra") for kind in GOOD),
            (b'{"type":7}', "type"),
            (b'{"type":"ping","id":[]}', "id"),
            (line("ping", {}, id="x" * 65), "id"),
            (line("hello", {"protocol": 1}), "data.name"),
            (line("hello", hello | {"player_key": "k"}), "data.name"),
            (
                line("hello", {"protocol": 1, "player_key": "k", "credentials": {}}),
                "data.credentials",
            ),
        ):
            refusal = self.refuse(message)
            if field.startswith("data."):
                self.assertEqual(refusal.code, Code.BAD_FIELD, message)
            self.assertEqual(refusal.details["field"], field, message)
            self.assertEqual(refusal.id == 1, b'"id":1' in message, message)

    def test_no_protocol(self) -> None:
        """
        Whoever forgets the protocol's version learns which field to set, and to what.
        """
        for data in ({"name": "ann"}, {"name": "ann", "protocol": None}):
            refusal = self.assertRaises(
                Unusable, decode_request, line("hello", data, id=5)
            )
            self.assertEqual(
                refusal.message, "a hello must have the field protocol: set it to 1"
            )
            self.assertEqual(refusal.details, {"field": "data.protocol"})
            self.assertEqual((refusal.code, refusal.id), (Code.BAD_FIELD, 5))

    def test_other_protocol(self) -> None:
        """
        A client of another version learns which are spoken, even if the rest of its
        hello is unknown.
        """
        for protocol in (0, 2, 99, -1):
            refusal = self.refuse(
                line("hello", {"protocol": protocol, "new_thing": []}, id=5)
            )
            self.assertEqual(refusal.code, Code.PROTOCOL_UNSUPPORTED)
            self.assertEqual(refusal.details, {"min": 1, "max": 1})
            self.assertEqual(refusal.id, 5)

    @settings(max_examples=300, deadline=None)
    @given(some.binary(max_size=200))
    def test_any_bytes(self, junk: bytes) -> None:
        """
        No bytes do more than earn a refusal.
        """
        with contextlib.suppress(Unusable):
            decode_request(junk)

    @settings(max_examples=300, deadline=None)
    @given(
        some.sampled_from(sorted(GOOD)),
        some.recursive(
            some.none()
            | some.booleans()
            | some.integers()
            | some.floats(allow_nan=False, allow_infinity=False)
            | some.text(max_size=20),
            lambda inner: (
                some.lists(inner, max_size=4)
                | some.dictionaries(
                    some.sampled_from(
                        ["protocol", "name", "game", "options", "credentials", "x"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=10,
        ),
    )
    def test_any_data(self, kind: str, data: Any) -> None:
        """
        With any JSON, a request is understood or refused by name.
        """
        try:
            asked = decode_request(json.encode({"type": kind, "data": data}))
        except Unusable as refusal:
            self.assertIn(
                refusal.code,
                (Code.BAD_FIELD, Code.BAD_MESSAGE, Code.PROTOCOL_UNSUPPORTED),
            )
            json.encode(refusal.details)
        else:
            decode_request(encode_request(asked.request))

    def test_room_id_in_words(self) -> None:
        """
        What a room id may have is told in words, not as a pattern.
        """
        message = b'{"type": "join_room", "data": {"game": "a", "room_id": "a b"}}'
        refusal = self.assertRaises(Unusable, decode_request, message)
        self.assertIn("1 to 32 of the characters A-Z", refusal.message)
        self.assertNotIn("regex", refusal.message)
        self.assertEqual(refusal.details, {"field": "data.room_id"})


class AnswerTests(SynchronousTestCase):
    """What a node sends."""

    def test_every_push(self) -> None:
        """
        Clients read what the node writes, with or without a request's id.
        """
        for push in PUSHES:
            for id in (None, 0, "x"):
                self.assertEqual(decode_answer(encode_push(push, id)), Told(push, id))

    def test_none_is_left_out(self) -> None:
        """
        Clients know, and the reference of messages has, every message of a node.
        """
        kinds = list(Push.__subclasses__())
        for kind in kinds:
            kinds += kind.__subclasses__()
        said = {
            one
            for one in kinds
            if one.__module__.startswith("vinom.base.messages.")
            and one.__struct_config__.tag
        }
        self.assertEqual(said, set(KINDS_OF_PUSHES.values()))

    def test_shape(self) -> None:
        """
        Replies and failures look as documented, byte for byte.
        """
        self.assertEqual(
            encode_push(Pong(), "a"),
            b'{"type":"pong","id":"a","success":true,"data":{}}',
        )
        self.assertEqual(
            encode_failure(Code.BUSY, "later", {"retry_after": 1}, 3),
            b'{"type":"error","id":3,"success":false,"error":'
            b'{"code":"busy","message":"later","details":{"retry_after":1}}}',
        )

    def test_failure(self) -> None:
        """
        Clients read failures, even with codes they do not know.
        """
        self.assertEqual(
            decode_answer(encode_failure(Code.BUSY, "later", {"retry_after": 1}, 3)),
            Failed("busy", "later", {"retry_after": 1}, 3),
        )
        newer = b'{"type":"error","success":false,"error":{"code":"new"}}'
        self.assertEqual(decode_answer(newer), Failed("new", "", {}))

    def test_news_of_a_newer_node(self) -> None:
        """
        A push that this client does not know is skipped, a known one may grow.
        """
        self.assertIsNone(decode_answer(b'{"type":"new","success":true,"data":{}}'))
        grown = b'{"type":"pong","success":true,"data":{"more":1},"more":2}'
        self.assertEqual(decode_answer(grown), Told(Pong()))

    def test_junk(self) -> None:
        """
        What no node sends is the node's fault, and named so.
        """
        for junk in (b"", b"[]", b"{}", b"\xff", b'{"type":"welcome","success":true}'):
            self.assertRaises(PeerError, decode_answer, junk)

    @settings(max_examples=200, deadline=None)
    @given(some.binary(max_size=200))
    def test_any_bytes(self, junk: bytes) -> None:
        """
        A broken node cannot break a client.
        """
        with contextlib.suppress(PeerError):
            decode_answer(junk)

"""
What players say while they play, with each part spoilt: envelopes, actions and acks.

The room they are in is where it was, the other player plays, and so does the one who
sent it, on the same line.
"""

from __future__ import annotations

from typing import Any

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import PlayerLine, RoomsWorld, Word, kinds, only
from tests.support.malformed import VALUES, is_at, nonsense, spoilt
from vinom.base.messages.envelope import Envelope
from vinom.base.messages.rooms import Ack

#: One good message of each kind that is sent in play, with each of its fields.
ACTION = {"type": "action", "id": 1, "data": {"word": "x"}, "room_id": "r1", "seen": 1}
ACK = {"type": "ack", "id": 1, "data": {"seen": 1, "room_id": "r1"}}
PING = {"type": "ping", "id": 1, "data": {}, "room_id": "r1", "seen": 1}
ENVELOPES = (ACTION, ACK | {"room_id": "r1", "seen": 1}, PING)
_HIGHEST_ID = (1 << 53) - 1


class SpoiltPlayTests(SynchronousTestCase):
    """Ann sends it, and Bob plays with her."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.ann, _ = self.world.joined("ann", "r1", "pair")
        self.bob, _ = self.world.joined("bob", "r1", "pair")
        self.world.turn()
        self.bob.heard()
        self.version = self.ann.heard()[-1]["data"]["version"]

    def send(self, message: Any) -> list[dict[str, Any]]:
        """Let Ann send this; return what she receives in the same turn."""
        # She is not to be refused for her rate, which others test.
        self.world.clock.advance(0.02)
        self.ann.conversation.received(json.encode(message))
        self.world.turn()
        return self.ann.heard()

    def assert_refused(self, message: Any, code: str, place: str) -> dict[str, Any]:
        """It is refused, naming the place, and nobody is shown anything."""
        answer = only(self.send(message))
        self.assertEqual(answer["type"], "error", message)
        error = answer["error"]
        self.assertEqual(error["code"], code, message)
        told = error["details"].get("field", "")
        self.assertTrue(is_at(told, place), (message, error))
        self.assertEqual(self.bob.heard(), [])
        self.assertFalse(self.ann.is_closed)
        return answer

    def assert_plays_on(self) -> None:
        """Bob acts and Ann acts, and both see both."""
        for id, line in ((5, self.bob), (6, self.ann)):
            line.do(id, word=f"word {id}")
            self.world.turn()
            self.version += 1
            for each in (self.ann, self.bob):
                state = only(each.heard())["data"]
                self.assertEqual(state["version"], self.version)
        self.assertEqual(state["ack"], {"0": 6, "1": 5})
        self.assertEqual(
            self.world.rooms.directory.status(), {"rooms": 1, "places": 2, "away": 0}
        )

    def test_envelopes(self) -> None:
        """
        What is around a message is checked like what is in it, whatever its type.
        """
        for good in ENVELOPES:
            for place, message in spoilt(Envelope, good, "json"):
                self.assert_refused(message, "bad_message", place)
        self.assert_plays_on()

    def test_types(self) -> None:
        """
        A type that there is not is named, beside those that there are.
        """
        for message in nonsense(Envelope, ACTION, "json"):
            if message["type"] != "action":
                answer = self.assert_refused(message, "unknown_type", "type")
                self.assertIn("action", answer["error"]["details"]["types"])
        self.assert_plays_on()

    def test_actions(self) -> None:
        """
        An action that the game does not have is refused, naming the field; and its
        id was not used up.
        """
        for place, data in spoilt(Word, ACTION["data"], "json"):
            answer = self.assert_refused(ACTION | {"data": data}, "bad_action", place)
            self.assertEqual(answer["id"], 1)
        (state,) = self.send(ACTION)
        self.assertEqual(state["data"]["ack"], {"0": 1})
        self.version += 1
        self.bob.heard()
        self.assert_plays_on()

    def test_action_ids(self) -> None:
        """
        An id of an action that cannot rise is refused, though other requests may
        have it.
        """
        for id in (*VALUES["json"], _HIGHEST_ID + 1):
            if isinstance(id, str) and len(id) <= 64:
                is_bad = True
            else:
                is_bad = type(id) is int and not 1 <= id <= _HIGHEST_ID
            if is_bad:
                answer = self.assert_refused(ACTION | {"id": id}, "bad_field", "id")
                self.assertEqual(answer["id"], id)
                (pong,) = self.send({"type": "ping", "id": id})
                self.assertEqual((pong["type"], pong["id"]), ("pong", id))
        self.assert_plays_on()

    def test_other_rooms(self) -> None:
        """
        An action for a room without the player does nothing in any room.
        """
        for room_id in ("r2", "R1", "r1 ", "\0", "x" * 64):
            self.assert_refused(ACTION | {"room_id": room_id}, "not_in_room", "")
        self.assert_refused(
            ACK | {"data": {"seen": 1, "room_id": "r2"}}, "not_in_room", ""
        )
        self.assert_plays_on()

    def test_acks(self) -> None:
        """
        A spoilt ack is answered, naming the field; a good one is not.
        """
        for place, data in spoilt(Ack, ACK["data"], "json"):
            where = f"data.{place}".rstrip(".")
            answer = self.assert_refused(ACK | {"data": data}, "bad_field", where)
            self.assertEqual(answer["id"], 1)
        self.assertEqual(self.send(ACK), [])
        self.assert_plays_on()

    def test_acks_of_no_state(self) -> None:
        """
        A client that claims a state that never existed is sent whole ones, and
        patches again after a true claim.
        """
        dan, _ = self.world.joined("dan", "r3", "wide")
        self.world.joined("eve", "r3", "wide")
        dan.heard()
        truth = 0
        for claim in (2, 1 << 40, (1 << 53) - 1):
            for ack in (ACK | {"data": {"seen": claim}}, ACTION | {"seen": claim}):
                dan.conversation.received(
                    json.encode(ack | {"id": None, "room_id": "r3"})
                )
                self.world.turn()
                dan.heard()
                dan.do(word="x")
                self.world.turn()
                first = only(dan.heard())["data"]
                if "view" not in first:
                    self.assertEqual(first["base"], truth)
                truth = first["version"]
                dan.do(word="y", seen=truth)
                self.world.turn()
                state = only(dan.heard())["data"]
                self.assertEqual(state["base"], truth, claim)
                self.assertEqual(state["patch"]["last"], "y")

    def test_strangers(self) -> None:
        """
        Without a room every action is refused, well-formed or not.
        """
        eve, _ = self.world.hello("eve")
        assert isinstance(eve, PlayerLine)
        for message in (*ENVELOPES[:2], ACTION | {"data": 7}):
            eve.conversation.received(json.encode(message))
            self.assertEqual(only(eve.heard())["error"]["code"], "not_in_room")
        self.world.turn()
        self.assertEqual(self.bob.heard() + self.ann.heard(), [])
        eve.hang_up()
        self.assert_plays_on()

    def test_nothing_is_left(self) -> None:
        """
        When they go after all of that nothing is left over.
        """
        for good in ENVELOPES:
            for _, message in spoilt(Envelope, good, "json"):
                self.send(message)
        for line in (self.ann, self.bob):
            self.assertIn("room_done", kinds(line.ask("leave_room")))
            line.hang_up()
        self.world.clock.advance(4000.0)
        self.assertEqual(
            self.world.rooms.directory.status(), {"rooms": 0, "places": 0, "away": 0}
        )
        self.assertEqual(self.world.requests.counts(), {"lines": 0, "players": 0})

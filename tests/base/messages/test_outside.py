"""What an outside matchmaker asks, spoilt in each place, and bytes of any kind."""

from __future__ import annotations

import json as std
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as some
from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.support.malformed import is_at, spoilt
from vinom.base.messages.operators import (
    MOST_PLAYERS,
    OutsidePlayer,
    StartMatch,
    decode_start,
)
from vinom.errors import Code, Refused

#: A good request, with each of its fields.
GOOD: dict[str, Any] = {
    "game": "maze",
    "players": [
        {"name": "ann", "player_id": "p1", "loadout": {}},
        {"name": "bob", "player_id": None, "loadout": {"x": [1]}},
    ],
    "options": {"rows": 4},
}

_ANY = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=10,
)


class StartTests(SynchronousTestCase):
    """How it is read."""

    def refused(self, body: bytes) -> Refused:
        refusal = self.assertRaises(Refused, decode_start, body)
        assert isinstance(refusal, Refused)
        return refusal

    def check(self, body: bytes) -> None:
        """It is read as what its type promises, or refused in words."""
        try:
            start = decode_start(body)
        except Refused as refusal:
            self.assertIn(refusal.code, (Code.BAD_MESSAGE, Code.BAD_FIELD))
            has_field = bool(refusal.details.get("field"))
            self.assertEqual(has_field, refusal.code is Code.BAD_FIELD)
            self.assertTrue(refusal.message)
            # What it reads can be written.
            json.encode([refusal.message, dict(refusal.details)])
        else:
            self.assertTrue(1 <= len(start.game) <= 64)
            self.assertTrue(1 <= len(start.players) <= MOST_PLAYERS)
            for player in start.players:
                assert isinstance(player, OutsidePlayer)
                self.assertIsInstance(player.name, str)

    def test_good(self) -> None:
        """
        Unspoilt, it is taken, and what is the game's to read stays as it was.
        """
        start = decode_start(json.encode(GOOD))
        self.assertEqual([player.name for player in start.players], ["ann", "bob"])
        self.assertEqual([player.player_id for player in start.players], ["p1", None])
        self.assertEqual(bytes(start.players[1].loadout), b'{"x":[1]}')
        self.assertEqual(bytes(start.options), b'{"rows":4}')

    def test_spoilt(self) -> None:
        """
        Each field that is missing, unknown, of another type or out of bounds is named.
        """
        count = 0
        for place, wrong in spoilt(StartMatch, GOOD, "json"):
            refusal = self.refused(json.encode(wrong))
            told = str(refusal.details.get("field", ""))
            self.assertTrue(is_at(told, place), (wrong, refusal.message))
            expected = Code.BAD_FIELD if told else Code.BAD_MESSAGE
            self.assertEqual(refusal.code, expected)
            count += 1
        self.assertGreater(count, 100)

    def test_how_many(self) -> None:
        """
        As many players as a match may have are taken, and one more is not.
        """
        player = {"name": "x"}
        most = {"game": "maze", "players": [player] * MOST_PLAYERS}
        self.assertEqual(len(decode_start(json.encode(most)).players), MOST_PLAYERS)
        most["players"] = [player] * (MOST_PLAYERS + 1)
        self.assertEqual(self.refused(json.encode(most)).details, {"field": "players"})

    def test_cut_off(self) -> None:
        """
        What ends too early is refused, wherever it does.
        """
        body = json.encode(GOOD)
        for end in range(len(body)):
            self.assertEqual(self.refused(body[:end]).code, Code.BAD_MESSAGE)

    @given(some.binary(max_size=200))
    @example(b"[" * 100_000)
    @example(b'{"game":"x","players":[{"name":"a","loadout":' + b"[" * 100_000)
    @example(b'{"options":' + b'{"x":' * 100_000)
    @example(b'{"game":"\xff"}')
    @example(b'{"game":"\\ud800","players":[{"name":"a"}]}')
    @example(b'{"game":"x","players":[{"name":"\xed\xa0\x80"}]}')
    @example(b'{"game":' + b"9" * 10_000 + b"}")
    @example(b"\xef\xbb\xbf{}")
    def test_any_bytes(self, body: bytes) -> None:
        """
        Any bytes are a request or the peer's mistake.
        """
        self.check(body)

    @given(
        some.fixed_dictionaries(
            {},
            optional={
                "game": some.text(max_size=70) | _ANY,
                "players": some.lists(
                    some.fixed_dictionaries(
                        {},
                        optional={
                            "name": some.text() | _ANY,
                            "player_id": some.text() | _ANY,
                            "loadout": _ANY,
                        },
                    ),
                    max_size=3,
                )
                | _ANY,
                "options": _ANY,
                "spare": _ANY,
            },
        )
    )
    def test_any_values(self, asked: dict[str, Any]) -> None:
        """
        Nor does it matter what is in it, if it looks like a request.
        """
        # The standard library also writes what isn't JSON: NaN, and huge numbers.
        self.check(std.dumps(asked).encode())

    @given(some.data())
    def test_damaged(self, data: some.DataObject) -> None:
        """
        A good request with one damaged byte is a request, or refused.
        """
        body = bytearray(json.encode(GOOD))
        at = data.draw(some.integers(0, len(body) - 1))
        body[at] = data.draw(some.integers(0, 255))
        self.check(bytes(body))

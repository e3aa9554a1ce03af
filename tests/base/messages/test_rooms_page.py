"""The pages of rooms: what they print is what the node speaks."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import RoomsWorld
from tests.support.lobbies import LobbyWorld
from vinom.base.messages.catalogue import decode_answer, decode_request
from vinom.base.messages.envelope import Told
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import GameState, JoinRoom, ListRooms
from vinom.errors import Code
from vinom.games.tictactoe import TicTacToe

DOCS = Path(__file__).parents[3] / "docs"
_BLOCK = re.compile(r"^\.\. code-block:: json\n\n   (.+)$", re.MULTILINE)


def _typed_in(page: str) -> list[list[str]]:
    """Find what is typed into ``nc``, session by session."""
    sessions = page.split("$ nc 127.0.0.1 4600")[1:]
    return [
        re.findall(r'^   (\{"type".*)$', session, re.MULTILINE) for session in sessions
    ]


class RoomsExamples:
    """
    What the pages of rooms print is what the node speaks, though it may not be all.

    :cvar docs: where the manual lies.
    """

    docs = DOCS

    def setUp(self) -> None:
        self.page = (self.docs / "protocol" / "rooms.rst").read_text("utf-8")
        self.howto = (self.docs / "howto" / "rooms.rst").read_text("utf-8")

    def test_examples(self) -> None:
        """
        Every message on the page is understood by the code.
        """
        examples = _BLOCK.findall(self.page)
        self.assertGreater(len(examples), 3)
        for text in examples:
            if "success" in json.decode(text):
                self.assertIsInstance(decode_answer(text.encode()), Told)
            else:
                decode_request(text.encode())

    def test_codes(self) -> None:
        """
        The page lists no code that does not exist.
        """
        table = self.page.split("Codes\n-----")[1]
        codes = re.findall(r"^``(\w+)``", table, re.MULTILINE)
        self.assertGreater(len(codes), 12)
        for code in codes:
            Code(code)

    def test_by_hand(self) -> None:
        """
        What the how-to types makes a game against a bot begin, and moves in it.
        """
        typed = _typed_in(self.howto)[0]
        # With this seed it is the person who begins.
        world = LobbyWorld(1, games={"tictactoe": TicTacToe()})
        line, said = world.line(), []
        for request in typed:
            line.conversation.received(request.encode())
            world.clock.advance(0)
            said += line.heard()
        self.assertEqual([told for told in said if told["type"] == "error"], [])
        states = [told["data"] for told in said if told["type"] == "game_state"]
        self.assertIn(0, [mark for row in states[-1]["view"]["board"] for mark in row])

    def test_watching_by_hand(self) -> None:
        """
        What the how-to types to watch a match is what the node understands.
        """
        typed = _typed_in(self.howto)[1]
        requests = [decode_request(line.encode()).request for line in typed]
        self.assertEqual(
            [type(request) for request in requests], [Hello, ListRooms, JoinRoom]
        )


class RoomsPageTests(RoomsExamples, SynchronousTestCase):
    """``docs/protocol/rooms.rst``, and the conversation of the how-to."""

    def test_states_are_their_type(self) -> None:
        """
        States, which are put together by hand, are of the type that is documented.
        """
        world = RoomsWorld()
        ann, _ = world.joined("ann", "r1", "wide")
        world.joined("bob", "r1", "wide")
        ann.heard()
        for id in range(1, 4):
            ann.do(id, seen=id, word="event")
            world.turn()
        for said in ann.heard():
            told = decode_answer(json.encode(said))
            assert isinstance(told, Told)
            assert isinstance(told.push, GameState)
            self.assertEqual(
                set(said["data"]) - set(told.push.__struct_fields__), set()
            )
            self.assertEqual(len(told.push.events), 1)

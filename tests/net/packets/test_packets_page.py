"""The packets' reference page: what it prints is what the code speaks."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import EndReason
from vinom.errors import Code
from vinom.net.packets.codec import (
    Bye,
    Input,
    Join,
    Messages,
    PlayerPacket,
    Probe,
    Reject,
    ServerPacket,
    ServerProbe,
    StatePiece,
    WelcomePiece,
    read_player,
    read_server,
)
from vinom.net.packets.reliable import Event, decode_message, decode_welcome

DOCS = Path(__file__).parents[3] / "docs"
_BLOCK = re.compile(
    r"^\.\. code-block:: text\n   :caption: (.+)\n\n((?:   [0-9a-f ]+\n)+)",
    re.MULTILINE,
)


def examples(page: str) -> dict[str, PlayerPacket | ServerPacket]:
    """Every packet on the page, read, by its caption's first words."""
    found: dict[str, PlayerPacket | ServerPacket] = {}
    for caption, digits in _BLOCK.findall(page):
        packet = bytes.fromhex(digits)
        found[caption] = (
            read_server(packet) if packet[0] & 0x80 else read_player(packet)
        )
    return found


class PacketsExamples:
    """
    What a page of packets prints is what the code speaks, though it may not be all.

    :cvar docs: where the manual lies.
    """

    docs = DOCS

    def setUp(self) -> None:
        self.text = (self.docs / "protocol" / "packets.rst").read_text("utf-8")
        self.examples = examples(self.text)

    def example(self, beginning: str) -> PlayerPacket | ServerPacket:
        (found,) = [
            packet
            for caption, packet in self.examples.items()
            if caption.startswith(beginning)
        ]
        return found

    def test_examples(self) -> None:
        """
        Every packet on the page reads as its caption.
        """
        self.assertEqual(11, len(self.examples))
        self.assertEqual(
            Join(1, 0, 0, 1, False, 0, b"eyJh.eyJp.c2ln"), self.example("a JOIN")
        )
        move = self.example("INPUT: action 5")
        assert isinstance(move, Input)
        self.assertEqual((17, 2, 5), (move.state, move.message, move.first))
        self.assertEqual(0, move.actions[0][0])
        self.assertEqual(
            {"type": "move", "direction": "right", "from": [0, 0]},
            msgpack.decode(move.actions[0][1]),
        )
        self.assertEqual(Input(2, 0, 0, 0, []), self.example("INPUT: the ack"))
        self.assertIsInstance(self.example("a player's PING"), Probe)
        self.assertIsInstance(self.example("a game server's PONG"), ServerProbe)
        self.assertIsInstance(self.example("BYE"), Bye)
        state = self.example("STATE")
        assert isinstance(state, StatePiece)
        self.assertEqual((18, 2500, 50), (state.version, state.time, state.tick))
        self.assertEqual({"v": 17}, msgpack.decode(state.piece))
        message = self.example("MESSAGES: part 3")
        assert isinstance(message, Messages)
        self.assertEqual(3, message.first)
        self.assertEqual(
            Event("rolled", {"die": 6}, 18), decode_message(message.parts[0][1])
        )
        self.assertEqual(Messages(8, 6, 0, []), self.example("MESSAGES without"))
        reject = self.example("REJECT")
        assert isinstance(reject, Reject)
        self.assertEqual("token_expired", reject.code)

    def test_codes(self) -> None:
        """
        The page lists no code that does not exist.
        """
        table = self.text.split("what to do\n")[1].split("Times\n-----")[0]
        for code in re.findall(r"^``(\w+)``", table, re.MULTILINE):
            Code(code)


class PacketsPageTests(PacketsExamples, SynchronousTestCase):
    """``docs/protocol/packets.rst``."""

    def test_welcome(self) -> None:
        """
        The page lists every key of a welcome, and shows one.
        """
        packet = self.example("WELCOME")
        assert isinstance(packet, WelcomePiece)
        welcome = decode_welcome(packet.piece)
        self.assertEqual("maze", welcome.game)
        for key in welcome.__struct_fields__:
            self.assertIn(f"\n``{key}``", self.text)

    def test_reasons(self) -> None:
        """
        The page lists every reason for which a match ends, and no others.
        """
        reasons = self.text.split("``over``\n")[1].split("``outcome``")[0]
        listed = set(re.findall(r"``(\w+)``", reasons)) - {"reason"}
        # The lobby reports a lost match: its game server cannot.
        self.assertEqual(set(EndReason.__args__) - {"lost"}, listed)  # type: ignore[attr-defined]  # a Literal has them

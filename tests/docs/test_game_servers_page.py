"""The pages for authors of game servers in other languages, against the real thing."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, get_args

import msgspec.inspect as shapes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.docs.control_examples import TO_NODE, TO_SERVER, VALUES, tag_of
from vinom.base.tokens import TokenVerifier
from vinom.errors import Refused
from vinom.fleet.control import messages as m
from vinom.net.frames import FrameReader

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "protocol"
_HEX = re.compile(r"^   ((?:[0-9a-f]{2} ?)+)$")


def sections(page: str) -> dict[str, str]:
    """Cut a page at the titles of its messages."""
    page = page.partition("\nValues in messages\n")[0]
    found = re.split(r"^``(\w+)``\n~+\n", page, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def frame_in(section: str) -> bytes:
    """Read the example of a section."""
    lines = [found[1] for line in section.split("\n") if (found := _HEX.match(line))]
    return bytes.fromhex(" ".join(lines))


class FramesTests(SynchronousTestCase):
    """``docs/protocol/game-servers.rst``."""

    def setUp(self) -> None:
        self.page = (DOCS / "game-servers.rst").read_text()
        self.sections = sections(self.page)

    def test_every_message(self) -> None:
        """
        Each message is described, with its members, and there is no other.
        """
        kinds: list[type[Struct]] = [*get_args(m.AnyToServer), *get_args(m.AnyToNode)]
        self.assertEqual({tag_of(kind) for kind in kinds}, set(self.sections))
        for kind in kinds:
            shape = shapes.type_info(kind)
            assert isinstance(shape, shapes.StructType)
            for field in shape.fields:
                self.assertIn(
                    f"* ``{field.encode_name}`` (", self.sections[tag_of(kind)], kind
                )

    def test_values(self) -> None:
        """
        Each map in messages is described, with its members.
        """
        for title, kind in VALUES.items():
            _, found, rest = self.page.partition(f"\n{title}\n{'~' * len(title)}\n")
            self.assertTrue(found, title)
            described = rest.partition("\n~~")[0]
            shape = shapes.type_info(kind)
            assert isinstance(shape, shapes.StructType | shapes.DataclassType)
            for field in shape.fields:
                self.assertIn(f"* ``{field.encode_name}`` (", described)

    def test_examples(self) -> None:
        """
        The example of each message is what the node and its game servers read.
        """
        read: Any
        for examples, read in (
            (TO_SERVER, m.decode_to_server),
            (TO_NODE, m.decode_to_node),
        ):
            for example in examples:
                frames = FrameReader()
                frames.receive(frame_in(self.sections[tag_of(example)]))
                payload = frames.next_frame()
                assert payload is not None, tag_of(example)
                self.assertEqual(example, read(payload))
                # What was taken leaves the buffer when there is no more whole frame.
                self.assertIsNone(frames.next_frame())
                self.assertEqual(b"", bytes(frames._held))


class TokenTests(SynchronousTestCase):
    """The test vector of ``docs/protocol/tokens.rst``."""

    def setUp(self) -> None:
        page = (DOCS / "tokens.rst").read_text().partition("Test vector\n")[2]
        lines = [line.strip() for line in page.splitlines() if line.startswith("   ")]
        facts = [line.split(None, 1) for line in lines if "  " in line]
        self.facts = {name: text.strip() for name, text in facts}
        self.token = "".join(line for line in lines if " " not in line)
        key = page.partition("public key  ")[2].partition("\n")[0]
        self.key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        pem = self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.verifier = TokenVerifier({"k1": pem}, "game.vinom")

    def test_valid_until(self) -> None:
        """
        The token is good for exactly as long as the page says.
        """
        claims = self.verifier.verify(self.token, 1795243035.9)
        self.assertEqual(
            ("p1", 0, "t1"), (claims.player_id, claims.seat, claims.token_id)
        )
        no = self.assertRaises(Refused, self.verifier.verify, self.token, 1795243036.0)
        self.assertEqual("token_expired", no.code)

    def test_parts(self) -> None:
        """
        Header, payload and signature are those of the token, and the signature is of
        the characters before the second dot.
        """
        signed, _, signature = self.token.rpartition(".")
        parts = [
            base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
            for part in (*signed.split("."), signature)
        ]
        self.assertEqual(self.facts["header"], parts[0].decode())
        self.assertEqual(self.facts["payload"], parts[1].decode())
        self.assertEqual(self.facts["signature"], parts[2].hex())
        self.key.verify(parts[2], signed.encode())

    def test_changed(self) -> None:
        """
        A token with any other character is refused.
        """
        for at in range(len(self.token)):
            other = "A" if self.token[at] != "A" else "Q"
            changed = self.token[:at] + other + self.token[at + 1 :]
            no = self.assertRaises(Refused, self.verifier.verify, changed, 0.0)
            self.assertEqual("bad_token", no.code)

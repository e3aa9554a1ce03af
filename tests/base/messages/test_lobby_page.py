"""The lobby's reference page: what it prints is what the node speaks."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.messages.catalogue import decode_answer, decode_request
from vinom.base.messages.envelope import Failed
from vinom.base.messages.operators import StartedMatch, decode_start
from vinom.errors import Code

DOCS = Path(__file__).parents[3] / "docs"
_BLOCK = re.compile(
    r"^\.\. code-block:: json\n(?:   :caption: (\w+)\n)?\n   (.+)$", re.MULTILINE
)


class LobbyPageTests(SynchronousTestCase):
    """``docs/protocol/lobby.rst``."""

    docs = DOCS

    def setUp(self) -> None:
        self.text = (self.docs / "protocol" / "lobby.rst").read_text("utf-8")

    def test_examples(self) -> None:
        """
        Every message on the page is understood by the code.
        """
        examples = _BLOCK.findall(self.text)
        self.assertGreater(len(examples), 10)
        for caption, text in examples:
            example = text.encode()
            if caption == "start":
                decode_start(example)
            elif caption == "started":
                json.decode(example, type=StartedMatch)
            elif "success" in json.decode(example):
                answer = decode_answer(example)
                self.assertIsNotNone(answer, text)
                if isinstance(answer, Failed):
                    Code(answer.code)
            else:
                decode_request(example)

    def test_codes(self) -> None:
        """
        The page lists no code that does not exist.
        """
        table = self.text.split("Codes\n-----")[1].split("Outside matchmakers")[0]
        codes = re.findall(r"^``(\w+)``", table, re.MULTILINE)
        self.assertGreater(len(codes), 20)
        for code in codes:
            Code(code)


class PartiesPageTests(SynchronousTestCase):
    """``docs/protocol/parties.rst``."""

    def test_page(self) -> None:
        """
        Every message on the page is understood by the code.
        """
        page = (DOCS / "protocol" / "parties.rst").read_text("utf-8")
        examples = [text.encode() for _, text in _BLOCK.findall(page)]
        self.assertGreater(len(examples), 10)
        for example in examples:
            if "success" in json.decode(example):
                self.assertIsNotNone(decode_answer(example), example)
            else:
                decode_request(example)
        codes = re.findall(r"^``(\w+)``", page.split("Codes\n-----")[1], re.MULTILINE)
        self.assertGreater(len(codes), 10)
        for code in codes:
            Code(code)

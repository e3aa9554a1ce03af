"""WebSocket's reference page: the numbers that it prints are those that are sent."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Code
from vinom.net.lines.ws.frames import NORMAL, NUMBERS, OTHER, farewell

DOCS = Path(__file__).parents[3] / "docs"


def numbers(docs: Path) -> tuple[str, dict[str, str]]:
    """The page's table of close codes, and the number of each code in it."""
    page = (docs / "protocol" / "websocket.rst").read_text("utf-8")
    table = page.split("Close codes\n-----")[1]
    return table, dict(re.findall(r"^(\d{4})  ``(\w+)``", table, re.MULTILINE))


class WebSocketPageTests(SynchronousTestCase):
    """``docs/protocol/websocket.rst``."""

    def test_numbers(self) -> None:
        """
        A client that switches on the page's numbers is right.
        """
        table, told = numbers(DOCS)
        self.assertEqual(
            told, {str(number): code.value for code, number in NUMBERS.items()}
        )
        for number in (NORMAL, OTHER, 1002, 1003, 1007, 1008, 1009):
            self.assertIn(f"\n{number}  ", table)

    def test_reasons(self) -> None:
        """
        The reason begins with the code, also where the number is a general one.
        """
        self.assertEqual(farewell(None, ""), (1000, ""))
        self.assertEqual(farewell(Code.TOO_SLOW, "read"), (4008, "too_slow: read"))
        self.assertEqual(farewell(Code.BUSY, ""), (4000, "busy"))

"""What strangers sent, as it is printed."""

from __future__ import annotations

import contextlib
import json
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.printable import is_id, printable, printable_lines, say, say_json

#: Sets a terminal's title, makes its text red and clears it.
EVIL = "\x1b]0;PWNED\x07\x1b[31mEVIL\x1b[2J"


class PrintableTests(SynchronousTestCase):
    def test_escapes(self) -> None:
        """
        What a terminal obeys is shown as an escape; text in any script stays.
        """
        for text, shown in (
            ("Zoë 日本 — ✓", "Zoë 日本 — ✓"),
            (EVIL, r"\x1b]0;PWNED\x07\x1b[31mEVIL\x1b[2J"),
            ("a\nb\r\tc\x7f", r"a\nb\r\tc\x7f"),
            ("\x9b2J\x85", r"\x9b2J\x85"),
            ("\u202egnp\u200b\u2028\ufeff", r"\u202egnp\u200b\u2028\ufeff"),
            ("\U000e0041", r"\U000e0041"),
            ("\ud800", r"\ud800"),
        ):
            self.assertEqual(printable(text), shown)

    @given(st.text())
    def test_nothing_remains(self, text: str) -> None:
        """
        Whatever the text, one printable line comes out, the same the second time.
        """
        shown = printable(text)
        self.assertTrue(shown.isprintable())
        self.assertEqual(printable(shown), shown)

    def test_lines(self) -> None:
        """
        Printed text keeps its lines, and only those.
        """
        self.assertEqual(
            printable_lines("a\n\tb\r\nc\x85d"), "a\n        b\\r\nc\\x85d"
        )
        out = StringIO()
        say(f"error: {EVIL}\nnext", file=out)
        self.assertEqual(
            out.getvalue(), "error: \\x1b]0;PWNED\\x07\\x1b[31mEVIL\\x1b[2J\nnext\n"
        )

    def test_json(self) -> None:
        """
        Printed JSON is ASCII without control characters, and reads as what it was.
        """
        out, value = StringIO(), {"name": f"{EVIL}\x7f\x9b\u202e日"}
        with contextlib.redirect_stdout(out):
            say_json(value)
        text = out.getvalue()
        self.assertTrue(text.isascii() and text.removesuffix("\n").isprintable())
        self.assertEqual(json.loads(text), value)

    def test_ids(self) -> None:
        """
        Ids are printable ASCII without spaces, and none means a folder.
        """
        for text in ("a", "p-1_x.Y", "...", "a.", "..a", "!~", "user@example.org/7"):
            self.assertTrue(is_id(text), text)
        for text in ("", ".", "..", "a b", "a\n", "\x1b[2J", "\x7f", "é", "a\u200b"):
            self.assertFalse(is_id(text), text)

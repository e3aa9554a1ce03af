"""Names and comparable requests."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.play.choices import canonical_loadout, canonical_options, clean_name


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Something to choose."""

    rows: int = 10
    cols: int = 20


class Maze(Game[Any, Any]):
    """Only its options matter here."""

    options = Options


class RowOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Something to choose for each row."""

    rows: dict[int, int] = {}


class Rows(Game[Any, Any]):
    """Likewise."""

    options = RowOptions


class NameTests(SynchronousTestCase):
    """What players may be called."""

    def test_cleaned(self) -> None:
        """
        Outer and doubled spaces go, and equal looks become equal text.
        """
        self.assertEqual(clean_name("  Ann   Lee "), "Ann Lee")
        self.assertEqual(clean_name("Zoe\u0308"), "Zo\u00eb")
        self.assertEqual(clean_name("x" * 32), "x" * 32)

    def test_refused(self) -> None:
        """
        Empty, long and unprintable names are refused, and nothing else is.
        """
        for name in ("", "   ", "x" * 33, "a\0b", "\u202eevil", "a\x1b[2J", "\ud800"):
            refusal = self.assertRaises(Refused, clean_name, name)
            self.assertEqual(refusal.code, Code.NAME_REFUSED)
            self.assertEqual(refusal.details, {"field": "data.name"})

    def test_invisible(self) -> None:
        """
        A name that nobody can see is refused, also beside one that is seen.
        """
        for name in (
            *("\u3164", "\u2800", "\u115f", "\u1160", "\uffa0", "\u2800 \u3164"),
            *("\u0301", "\u0301\u0301", "\ufe0f", "\u034f", "\u17b4", "\u20dd"),
            *("ann\u3164", "ann\u2800", "\u0301ann"),
            *("\u200b", "\u200d\u200c", "\u2060", "\ufeff", "\u00ad", "\U000e0041"),
        ):
            with self.subTest(name=ascii(name)):
                refusal = self.assertRaises(Refused, clean_name, name)
                self.assertEqual(refusal.code, Code.NAME_REFUSED)

    def test_marks(self) -> None:
        """
        Scripts that write marks may; a tower of them on one letter may not.
        """
        for name in (
            "Nguyễn",
            "שָׁלוֹם",
            "ที่นี่",
            "हिन्दी",
            "❤\ufe0f ann",
            "q" + "\u0301" * 3,
        ):
            self.assertEqual(len(clean_name(name)) > 0, True)
        for name in ("q" + "\u0301" * 4, "a" + "\u0489" * 31, "ann " + "\u0323" * 4):
            refusal = self.assertRaises(Refused, clean_name, name)
            self.assertIn("at most 3 combining marks", refusal.message)


class CanonicalTests(SynchronousTestCase):
    """Wishes that can be compared."""

    def test_equal_wishes_are_equal_texts(self) -> None:
        """
        Order, spaces and defaults make no other queue.
        """
        texts = {
            canonical_options(Maze(), text)
            for text in (b"{}", b'{"cols":20, "rows":10}', b'{"rows":10}')
        }
        self.assertEqual(texts, {b'{"cols":20,"rows":10}'})

    def test_numbers_as_keys(self) -> None:
        """
        Options may have maps whose keys are numbers, and these have no order either.
        """
        for text in (b'{"rows":{"2":1,"10":3}}', b'{"rows":{"10":3,"2":1}}'):
            self.assertEqual(
                canonical_options(Rows(), text), b'{"rows":{"10":3,"2":1}}'
            )

    def test_refused_by_field(self) -> None:
        """
        A bad option is named by its place in the request.
        """
        for text, field in (
            (b'{"rows":"x"}', "data.options.rows"),
            (b'{"bad":1}', "data.options.bad"),
            (b"[]", "data.options"),
            (b"[" * 3000, "data.options"),
        ):
            refusal = self.assertRaises(Refused, canonical_options, Maze(), text)
            self.assertEqual(refusal.code, Code.BAD_OPTIONS)
            self.assertEqual(refusal.details, {"field": field})

    def test_loadout(self) -> None:
        """
        A game to which nothing is brought refuses what is.
        """
        self.assertEqual(canonical_loadout(Maze(), b" {} "), b"{}")
        refusal = self.assertRaises(Refused, canonical_loadout, Maze(), b'{"hat":1}')
        self.assertEqual(refusal.code, Code.BAD_LOADOUT)
        self.assertEqual(refusal.details, {"field": "data.loadout.hat"})

"""Packed views: what was packed comes back, and nothing else is taken."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.packed import Layout, Packed
from vinom.errors import PeerError

#: A number of one byte, two and four, a choice, text, and lists of such.
THINGS = [
    "struct",
    [
        ["tick", ["int", 0, 1, 4_000_000_000]],
        ["name", ["other"]],
        ["mode", ["one_of", ["day", "night", None]]],
        ["at", ["tuple", [["int", -7, 5, 300], ["float", -500, 1, 100, 1000]]]],
        [
            "all",
            [
                "list",
                [
                    "maybe",
                    [
                        "struct",
                        [
                            ["x", ["float", -5000, 1, 100, 10_000]],
                            ["far", ["int", 0, 1, 1 << 31]],
                            ["hp", ["int", 0, 1, 100]],
                            ["tag", ["other"]],
                        ],
                    ],
                ],
            ],
        ],
        ["more", ["list", ["int", 10, 10, 20]]],
    ],
]
LAYOUT = Layout(THINGS)


@st.composite
def views(draw: st.DrawFn) -> Packed:
    """Any view of this layout."""
    rows = draw(st.tuples(st.integers(0, 40), st.integers(0, 3)))
    lanes: list[bytes] = [b"", b"", b""]
    for number in LAYOUT.numbers:
        count = (1, *rows)[number.table]
        steps = st.lists(
            st.integers(0, number.steps) | st.just(number.steps),
            min_size=count,
            max_size=count,
        )
        lanes[(1, 2, 4).index(number.width)] += b"".join(
            one.to_bytes(number.width, "little") for one in draw(steps)
        )
    texts = [
        b"\x91\xa1" + draw(st.sampled_from([b"a", b"b"])),
        b"\xdc" + rows[0].to_bytes(2, "big") + b"\x07" * rows[0],
    ]
    return Packed(rows, tuple(lanes), tuple(texts))


class LayoutTests(SynchronousTestCase):
    @settings(max_examples=40)
    @given(views(), st.none() | views())
    def test_round_trip(self, now: Packed, before: Packed | None) -> None:
        """
        Whatever a player had before, and however lists grew or shrank since, it gets
        the view that was packed; beside its numbers, or with all in one.
        """
        whole = LAYOUT.write_whole(now, before)
        self.assertEqual(LAYOUT.read(whole, before), now)
        others = {
            index: bytes(raw) for index, raw in LAYOUT.others_since(now, before).items()
        }
        numbers = LAYOUT.write(now, before)
        self.assertEqual(LAYOUT.read(numbers, before, others), now)
        shown = LAYOUT.plain(now)
        self.assertEqual(len(shown["all"]), now.rows[0])
        # A layout that travelled as JSON reads the same.
        self.assertEqual(Layout(json.decode(json.encode(THINGS))).plain(now), shown)

    @settings(max_examples=40)
    @given(views())
    def test_what_stays_costs_nothing(self, now: Packed) -> None:
        """
        A view that did not change is as long as its mask.
        """
        size = sum(map(len, now.lanes))
        same = LAYOUT.write_whole(now, now)
        self.assertEqual(len(same), 4 + -(-size // 64) + 1)

    def refuse(self, data: bytes, before: Packed | None) -> str:
        """Read what nobody wrote: it is refused in one sentence, or is a view."""
        try:
            LAYOUT.plain(LAYOUT.read(data, before))
        except PeerError as error:
            self.assertNotIn("\n", str(error))
            self.assertLess(len(str(error)), 300)
            return str(error)
        return ""

    @settings(max_examples=40)
    @given(views(), st.none() | views(), st.data())
    def test_cut_short(self, now: Packed, before: Packed | None, data: Any) -> None:
        """
        A packed view that lost its end is refused, wherever it was cut.
        """
        whole = LAYOUT.write_whole(now, before)
        at = data.draw(st.integers(0, len(whole) - 1))
        self.assertNotEqual(self.refuse(whole[:at], before), "")

    @settings(max_examples=40)
    @given(st.binary(max_size=300), st.none() | views())
    def test_garbage(self, data: bytes, before: Packed | None) -> None:
        """
        Bytes that are not a packed view raise nothing but `PeerError`.
        """
        self.refuse(data, before)

    def test_steps_that_are_not_there(self) -> None:
        """
        A number above its range is refused by its path.
        """
        layout = Layout(["struct", [["hp", ["int", 0, 1, 100]]]])
        view = Packed((), (b"\xc8", b"", b""), ())
        with self.assertRaises(PeerError) as caught:
            layout.plain(layout.read(layout.write(view, None), None, {}))
        self.assertEqual(
            str(caught.exception), "view.hp has step 200, and its highest is 100"
        )

    def test_unknown_layouts(self) -> None:
        """
        A layout of a later version is refused by name.
        """
        for kind in (
            *(["half", 1], [], 7, ["int", 0, 1], ["int", 0, 1, 1 << 32]),
            *(["float", 0, 1, 0, 5], ["struct", [["a"]]], ["one_of", []]),
            ["list", ["list", ["other"]]],
        ):
            with self.assertRaises(PeerError) as caught:
                Layout(kind)
            self.assertIn("the layout of the views is unknown", str(caught.exception))

"""Declared views with grids, as an author writes them."""

from __future__ import annotations

import enum
from math import inf, nan
from typing import Annotated, Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, json, msgpack
from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Say, Tale, Teller
from vinom.base.packed import Packed
from vinom.errors import Misconfigured
from vinom.game import Grid
from vinom.play.packing import MOST_BYTES, Bases, Packing, packing_of
from vinom.play.views import Views, encode_json


class Colour(enum.Enum):
    """Of a thing."""

    RED = "red"
    BLUE = "blue"


class Thing(Struct, frozen=True, tag="thing", rename={"hp": "health"}):
    """One of them."""

    x: Annotated[float, Grid(0.01, -50, 50)]
    hp: Annotated[int, Grid(1, 0, 100)]
    big: Annotated[int, Grid(5, -10, 1_000_000)]
    colour: Colour
    kind: Literal["a", "b"]
    is_on: bool
    name: str


class Row(Struct, frozen=True, array_like=True):
    """An array on the wire."""

    one: Annotated[float, Grid(0.25, 0, 10)]
    two: Annotated[int, Grid(1, 0, 9)] | None


class Shown(Struct, frozen=True):
    """The view."""

    tick: int
    things: tuple[Thing, ...]
    rows: tuple[Row | None, ...]
    at: tuple[Annotated[int, Grid(1, 0, 9)], str]
    best: Thing | None
    free: tuple[str, ...]


numbers = st.floats(-60, 60)
things = st.builds(
    Thing,
    numbers,
    st.integers(0, 100),
    st.integers(-2, 200_000).map(lambda n: n * 5),
    st.sampled_from(Colour),
    st.sampled_from(["a", "b"]),
    st.booleans(),
    st.text(max_size=3),
)
shown = st.builds(
    Shown,
    st.integers(0, 99),
    st.lists(things, max_size=5).map(tuple),
    st.lists(
        st.none()
        | st.builds(
            Row, st.integers(0, 40).map(lambda n: n / 4), st.none() | st.integers(0, 9)
        ),
        max_size=4,
    ).map(tuple),
    st.tuples(st.integers(0, 9), st.text(max_size=2)),
    st.none() | things,
    st.lists(st.text(max_size=2), max_size=2).map(tuple),
)


class PackingTests(SynchronousTestCase):
    @settings(max_examples=40)
    @given(shown)
    def test_same_as_whole(self, view: Shown) -> None:
        """
        A player who reads packed views has the view that the author made, in the same
        order of fields, except that numbers are rounded to their grids.
        """
        packing = Packing(Shown)
        plain = packing.layout.plain(packing.pack(view))
        expected: dict[str, Any] = msgpack.decode(msgpack.encode(view))
        best = expected["best"]
        for one in (*expected["things"], *([] if best is None else [best])):
            one["x"] = min(50.0, max(-50.0, one["x"]))
            found = plain["best"] if one is best else plain["things"].pop(0)
            self.assertLessEqual(abs(one["x"] - found["x"]), 0.005001)
            one["x"] = found["x"]
            self.assertEqual(json.encode(one), json.encode(found))
        del plain["things"], expected["things"]
        self.assertEqual(json.encode(plain), json.encode(expected))

    @given(
        st.sampled_from([0.01, 0.1, 0.25, 0.3, 1, 5, 1e-6]),
        st.integers(-1000, 1000),
        st.integers(1, 100_000),
        st.data(),
    )
    def test_every_number_of_a_grid(
        self, step: float, first: int, steps: int, data: Any
    ) -> None:
        """
        A number that is on its grid comes back as it was written, to the last bit.
        """
        up, down = Grid(step, 0, step).ratio
        grid = Grid(step, first * up / down, (first + steps) * up / down)
        value = (first + data.draw(st.integers(0, steps))) * up / down

        class View(Struct, frozen=True):
            """One number."""

            x: float

        View.__annotations__["x"] = Annotated[float, grid]
        packing = Packing(View)
        self.assertEqual(packing.layout.plain(packing.pack(View(value))), {"x": value})

    def test_not_a_number(self) -> None:
        """
        What is not a number cannot be shown, and the author is told of the view.
        """
        thing = Thing(nan, 1, 0, Colour.RED, "a", True, "")
        view = Shown(1, (thing,), (), (1, ""), None, ())
        with self.assertRaises(ValueError) as caught:
            Packing(Shown).pack(view)
        self.assertEqual(
            str(caught.exception), "Shown holds a number that is nan, and has a Grid"
        )
        with self.assertRaises(TypeError) as wrong:
            Packing(Shown).pack({"tick": 1})
        self.assertEqual(str(wrong.exception), "the view is dict, and shows = Shown")

    def test_declarations_that_cannot_be(self) -> None:
        """
        A grid that is none, or stands at text, is refused when the game is loaded.
        """
        for args, why in (
            ((0, 0, 1), "the step must be above 0"),
            ((0.1, 1, 1), "least below most"),
            ((0.1, 0, inf), "least below most"),
            ((0.1, 0.05, 1), "0.05 is no multiple of the step; write 0"),
            ((1e-9, 0, 50), "has too many steps"),
        ):
            with self.assertRaises(ValueError) as caught:
                Grid(*args)
            self.assertIn(why, str(caught.exception))

        class Bad(Struct, frozen=True):
            """A grid at text."""

            word: Annotated[str, Grid(1, 0, 2)]

        with self.assertRaises(Misconfigured) as refused:
            packing_of(Bad)
        self.assertIn("Bad: word is str and cannot have Grid", str(refused.exception))
        self.assertIsNone(packing_of(Say))
        self.assertIsNone(packing_of(None))

    def test_all_see_the_same(self) -> None:
        """
        Whoever is sent whole views sees the rounded numbers too.
        """

        class Rounded(Teller):
            """Shows a number between two steps."""

            shows = Row

            def view(self, s: Tale, audience: Any) -> Any:
                return Row(1.3, 2)

        for encode, decode in (
            (msgpack.encode, msgpack.decode),
            (encode_json, json.decode),
        ):
            shows = Views(Rounded(), encode=encode).show(Tale(2), 1, "all")
            self.assertEqual(decode(shows), [1.25, 2])

    def test_bases_are_bounded(self) -> None:
        """
        A room keeps the views of the last 64 versions, and less if they are long.
        """
        packing, bases = Packing(Row), Bases()
        view = packing.pack(Row(1.0, None))
        for version in range(1, 201):
            bases.keep("all", 0, version, view)
        self.assertIs(bases.keep("all", 136, 200, view), view)
        self.assertIsNone(bases.keep("all", 135, 200, view))
        self.assertIsNone(bases.keep("all", 200, 200, view))
        self.assertIsNone(bases.keep("one", 199, 200, view))
        wide = Packed((), (bytes(MOST_BYTES // 2), b"", b""), ())
        for version in (201, 202, 203):
            bases.keep("all", 0, version, wide)
        self.assertIsNone(bases.keep("all", 200, 203, wide))
        self.assertIs(bases.keep("all", 202, 203, wide), wide)
        endless = Packed((), (bytes(MOST_BYTES + 1), b"", b""), ())
        self.assertIsNone(bases.keep("all", 203, 204, endless))
        self.assertIsNone(bases.keep("all", 204, 205, view))
        self.assertIs(bases.keep("all", 205, 206, view), view)

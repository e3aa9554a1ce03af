"""Immutable states: what is accepted, what is refused, and with which error."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypeVar

import attrs
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.game import Chance
from vinom.games.maze import MazeState
from vinom.games.roomecho import EchoState
from vinom.play.frozen import (
    differences,
    ensure_frozen,
    ensure_frozen_type,
    plain,
    state_hash,
)

Card = NewType("Card", int)
T = TypeVar("T")


class Suit(enum.Enum):
    HEARTS = 1


class Pair(Struct, frozen=True):
    left: int
    right: float


@attrs.frozen
class Good:
    number: int
    maybe: str | None
    old_maybe: Optional[bytes]  # noqa: UP045  # authors still write it
    many: tuple[int, ...]
    few: tuple[int, str]
    none: tuple[()]
    pair: Pair
    suit: Suit
    card: Card
    way: Literal["up", "down"]
    bounded: Annotated[int, Meta(ge=0)]
    nested: tuple[tuple[Pair, ...], ...]
    itself: Good | None
    chance: Chance


@attrs.define
class Soft:
    number: int


class SoftStruct(Struct):
    number: int


@attrs.frozen
class Holder(Generic[T]):
    what: T


@attrs.frozen
class HoldsList:
    items: list[int]


@attrs.frozen
class HoldsMapping:
    items: Mapping[str, int]


@attrs.frozen
class HoldsSet:
    items: tuple[frozenset[str], ...]


@attrs.frozen
class HoldsAny:
    items: Any


@attrs.frozen
class HoldsBareTuple:
    items: tuple


@attrs.frozen
class HoldsSoft:
    items: tuple[Soft, ...]


@attrs.frozen
class HoldsSoftStruct:
    items: SoftStruct | None


@attrs.frozen
class HoldsGeneric:
    items: Holder[int]


@attrs.frozen
class HoldsDict:
    items: dict


class Deep:
    pass


@attrs.frozen
class HoldsUnknown:
    items: NoSuchThing  # noqa: F821  # that is the point


BAD = (
    HoldsList,
    HoldsMapping,
    HoldsSet,
    HoldsAny,
    HoldsBareTuple,
    HoldsSoft,
    HoldsSoftStruct,
    HoldsGeneric,
    HoldsDict,
)


class TypeTests(SynchronousTestCase):
    def test_good_ones(self) -> None:
        """
        Everything that cannot change may be part of a state.
        """
        for cls in (Good, MazeState, EchoState, Chance):
            ensure_frozen_type(cls)
            ensure_frozen_type(cls)

    def test_bad_ones(self) -> None:
        """
        What could change is refused, and the field is named.
        """
        for cls in BAD:
            with self.assertRaisesRegex(Misconfigured, rf"{cls.__name__}\.items"):
                ensure_frozen_type(cls)

    def test_classes_that_are_not_frozen(self) -> None:
        """
        The state's own class has to be frozen.
        """
        for cls in (Soft, SoftStruct, Deep, dict, tuple, int):
            with self.assertRaisesRegex(Misconfigured, cls.__name__):
                ensure_frozen_type(cls)

    def test_unknown_names(self) -> None:
        """
        A type that cannot be read gets an error that names it.
        """
        with self.assertRaisesRegex(Misconfigured, "NoSuchThing"):
            ensure_frozen_type(HoldsUnknown)


class ValueTests(SynchronousTestCase):
    def test_values(self) -> None:
        """
        A list where a tuple was promised is found wherever it hides.
        """
        ensure_frozen(MazeState(1, 1, ("0",), (), 1.0, (), (), "1", 1))
        hidden = MazeState(1, 1, ("0",), (), 1.0, ((0, 0), [1, 1]), (), "1", 1)
        with self.assertRaisesRegex(Misconfigured, r"MazeState\.at\[1\] holds a list"):
            ensure_frozen(hidden)
        with self.assertRaisesRegex(Misconfigured, "Soft"):
            ensure_frozen((1, (Soft(1),)))

    def test_hash_is_of_the_value(self) -> None:
        """
        Equal states have one hash; any other field makes another.
        """
        one, same = Pair(1, 2.0), Pair(1, 2.0)
        self.assertEqual(state_hash(one), state_hash(same))
        self.assertNotEqual(state_hash(one), state_hash(Pair(2, 2.0)))
        self.assertNotEqual(state_hash((1, 2)), state_hash((1, (2,))))
        state_hash((1 << 80, Suit.HEARTS, float("nan"), b"x", None))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class DifferenceTests(SynchronousTestCase):
    @given(PLAIN)
    def test_nothing_differs_from_itself(self, value: object) -> None:
        """
        A state is equal to itself, with any values.
        """
        self.assertEqual(list(differences(plain(value), plain(value))), [])

    def test_each_place_is_named(self) -> None:
        """
        A difference names the field and both values, in order.
        """
        before = {"a": 1, "b": [1, {"c": 2}], "d": True, "gone": 1}
        after = {"a": 1, "b": [1, {"c": 3}, 4], "d": 1, "new": None}
        self.assertEqual(
            list(differences(before, after)),
            [
                "b: 2 items, then 3",
                "b[1].c: 2, then 3",
                "d: True, then 1",
                "gone: 1 is missing",
                "new: None is new",
            ],
        )
        self.assertEqual(list(differences(1, 2)), ["state: 1, then 2"])

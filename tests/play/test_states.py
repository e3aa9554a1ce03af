"""States: which are accepted, what comes back from their bytes, and what is refused."""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct, defstruct, msgpack
from msgspec.structs import asdict, replace
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Misconfigured, Unreadable
from vinom.game import Chance, Game
from vinom.play.game_loader import load_games
from vinom.play.play import Play, table_of
from vinom.play.states import (
    LONGEST_STATE,
    StateCodec,
    codec_of,
    differences,
    ensure_storable,
    first_change,
    plain,
    read_plain,
    state_hash,
    state_type,
)

T = TypeVar("T")
Card = NewType("Card", int)


class Suit(enum.Enum):
    HEARTS = "red"
    CLUBS = "black"


class Trumps(enum.Flag):
    HEARTS = 1
    CLUBS = 2


class Pair(enum.Enum):
    BOTH = (1, 2)


class Waiting(Struct, frozen=True, tag=True):
    since: float


class Playing(Struct, frozen=True, tag=True):
    turn: int


class Over(Struct, frozen=True):
    winner: int


class Named(Struct, Generic[T], frozen=True):
    what: T


class Soft(Struct):
    number: int


class Strict(Struct, frozen=True):
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise RuntimeError("it must not be negative")


@attrs.frozen
class Old:
    number: int


@dataclass(frozen=True)
class Data:
    number: int


class Everything(Struct, frozen=True, kw_only=True):
    number: int = 7
    real: float = 1.5
    maybe: str | None = None
    mixed: int | str | None = "x"
    raw: bytes = b"\0\xff"
    flag: bool = True
    suit: Suit = Suit.CLUBS
    trumps: Trumps = Trumps.HEARTS
    way: Literal["up", 3] = "up"
    bounded: Annotated[int, Meta(ge=0)] = (1 << 64) - 1
    card: Card = Card(3)
    many: tuple[tuple[int, ...], ...] = ((1, 2), ())
    few: tuple[int, str, tuple[()]] = (1, "a", ())
    phase: Waiting | Playing | None = Playing(1)
    phases: tuple[Waiting | Playing, ...] = (Waiting(1.0), Playing(2))
    either: tuple[int, ...] | str = (1, 2)
    over: Over = Over(2)
    named: Named[Suit | None] = Named(Suit.HEARTS)
    itself: Everything | None = None
    chance: Chance = Chance(7)


CODEC = StateCodec(Everything)


class RoundTripTests(SynchronousTestCase):
    def assert_same(self, state: Any, codec: StateCodec = CODEC) -> None:
        """It comes back with equal values, types, hash and bytes."""
        data, again = codec.round_trip(state)
        self.assertEqual(data, codec.encode(state))
        for one in (again, codec.decode(data)):
            self.assertIsNone(first_change(state, one))
            self.assertEqual(one, state)
            self.assertEqual(state_hash(one), state_hash(state))

    def test_every_kind_of_field(self) -> None:
        """
        A state with every kind of field that may be declared comes back as it was.
        """
        state = Everything()
        for changes in (
            {},
            {"mixed": 3, "number": -(1 << 63), "flag": False},
            {"way": 3, "phase": None, "either": "text"},
            {"phase": Waiting(0.0), "itself": state, "named": Named(None)},
            {"real": float("inf"), "trumps": Trumps.CLUBS, "chance": Chance(8, 9)},
        ):
            self.assert_same(replace(state, **changes))

    def test_not_a_number(self) -> None:
        """
        NaN counts as the same value, although it is unequal to itself.
        """
        state = Everything(real=float("nan"))
        self.assertIsNone(first_change(state, CODEC.decode(CODEC.encode(state))))

    @given(
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(allow_nan=False),
        st.text(),
        st.lists(st.lists(st.integers(-9, 9)).map(tuple)).map(tuple),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_values(self, number: int, real: float, text: str, many: Any) -> None:
        """
        Any values of the declared types come back.
        """
        self.assert_same(Everything(number=number, real=real, mixed=text, many=many))

    def test_our_games(self) -> None:
        """
        The states of each game that comes with vinom can be stored.
        """
        for name, game in load_games().items():
            seats = tuple(SeatPlan(f"p{n}", f"n{n}") for n in range(game.seats[1]))
            play = Play(game)
            play.lay(table_of(MatchPlan("m", name, seats, 7), game))
            self.assert_same(play.state, codec_of(game))

    def test_several_classes(self) -> None:
        """
        A game whose states are of several classes.
        """
        codec = StateCodec(Waiting | Playing)
        self.assert_same(Waiting(1.0), codec)
        self.assert_same(Playing(1), codec)


class RefusedTests(SynchronousTestCase):
    """What an author learns, in one sentence, of a state that cannot be stored."""

    def test_types(self) -> None:
        """
        A field whose type may change, or has no bytes of its own, is named, and why.
        """
        for declared, why in (
            (Any, r"may hold anything; name what it holds, such as tuple\[int"),
            (object, "is a custom|is object"),
            (T, "may hold anything"),
            (tuple, "may hold anything"),
            (list[int], "is a list; use a tuple"),
            (tuple[int, list[int]], "is a list; use a tuple"),
            (set[int], "is a set; use a tuple"),
            (frozenset[int], "is a frozenset; use a tuple"),
            (dict[str, int], "is a dict; use a tuple of pairs"),
            (complex, "is complex, which cannot be stored; use numbers"),
            (datetime, "is a datetime, which cannot be stored"),
            (Soft, r"is Soft, which can be changed; write class Soft\(Struct, frozen"),
            (Old, r"is Old, an attrs class.*write class Old\(msgspec.*structs\.repl"),
            (Data, "is Data, an attrs class or dataclass"),
        ):
            holder = defstruct("Holder", [("items", declared)], frozen=True)
            with self.subTest(declared):
                with self.assertRaisesRegex(Misconfigured, rf"^Holder\.items.* {why}"):
                    StateCodec(holder)
                nested = defstruct("State", [("held", holder)], frozen=True)
                with self.assertRaisesRegex(Misconfigured, rf"^Holder\.items.* {why}"):
                    StateCodec(nested)

    def test_unions_without_bytes_of_their_own(self) -> None:
        """
        What msgspec cannot tell apart is refused with the class's name.
        """
        for kind, why in (
            (tuple[int, ...] | tuple[str, ...], "may not contain more than one array"),
            (Over | Playing, "must be tagged.*Over | .*Playing"),
            (Pair, "Enums must contain either all str or all int values"),
        ):
            holder = defstruct("Holder", [("items", kind)], frozen=True)
            with self.assertRaisesRegex(
                Misconfigured, f"^Holder cannot be stored: .*{why}"
            ):
                StateCodec(holder)

    def test_states_that_are_no_structs(self) -> None:
        """
        The state's own class has to be a frozen struct.
        """
        for state, why in (
            (Old(1), "^the state is Old, an attrs class or dataclass; write class Old"),
            (Soft(1), "^the state is Soft, which can be changed"),
            (7, r"^the state is an int; write class State\(msgspec.Struct, frozen"),
            ((1,), "^the state is a vartuple; write"),
            ({}, "^the state is a dict; write"),
            (Step1(), "^the state is Step1; write"),
        ):
            with self.subTest(state), self.assertRaisesRegex(Misconfigured, why):
                ensure_storable(state)

    def test_unknown_names(self) -> None:
        """
        A type that cannot be read gets an error that names it.
        """

        class Unknown(Struct, frozen=True):
            items: NoSuchThing  # type: ignore[name-defined]  # noqa: F821  # the point

        with self.assertRaisesRegex(
            Misconfigured, "^Unknown cannot be stored: .*NoSuchThing"
        ):
            StateCodec(Unknown)

    def test_values(self) -> None:
        """
        A value that is not of its declared type, or would come back as another one, is
        refused, and its field is named.
        """
        for changes, why in (
            ({"number": "7"}, r"^state\.number is not .*Expected `int`, got `str`"),
            ({"number": True}, r"^state\.number is not .*got `bool`"),
            (
                {"number": 1 << 64},
                r"^state\.number holds 1844\d+ \(int\), which cannot",
            ),
            ({"real": 2}, r"^state\.real holds 2 \(int\), but .* 2\.0.*; write 2\.0$"),
            ({"many": ((1, "x"),)}, r"^state\.many\[0\]\[1\] is not"),
            ({"many": ((1,), [2])}, r"^state\.many\[1\] holds \[2\].*; use a tuple$"),
            ({"few": (1, "a")}, r"^state\.few is not .* length"),
            ({"phase": Over(1)}, r"^state\.phase is not .*missing required field"),
            ({"suit": "red"}, r"^state\.suit holds 'red'.*Suit.*; declare what it may"),
            ({"way": "down"}, r"^state\.way is not"),
            ({"maybe": "\ud800"}, r"^state\.maybe holds .*, which cannot be stored"),
            ({"itself": object()}, r"^state\.itself holds .*, which cannot be stored"),
            ({"raw": bytes(LONGEST_STATE)}, r"^the state takes \d+ bytes; at most"),
        ):
            name = str(changes)[:60]
            with self.subTest(name), self.assertRaisesRegex(Misconfigured, why):
                CODEC.round_trip(Everything(**changes))

    def test_how_often(self) -> None:
        """
        The first state and every 256th are read again; each is found by its bytes.
        """
        codec, wrong = StateCodec(Everything), Everything(real=2)
        codec.encode(Everything())
        for _ in range(255):
            codec.encode(wrong)
        with self.assertRaisesRegex(Misconfigured, r"state\.real holds 2"):
            codec.encode(wrong)

    def test_too_deep(self) -> None:
        """
        A state that is nested without end is refused.
        """
        state = Everything()
        for _ in range(30_000):
            state = Everything(itself=state)
        with self.assertRaisesRegex(Misconfigured, "cannot be stored"):
            CODEC.encode(state)


class Step1:
    """No state."""


class StateTypeTests(SynchronousTestCase):
    def test_where_the_type_is_declared(self) -> None:
        """
        The state's type is found where authors declare it.
        """

        class Direct(Game[Playing, Any]):
            pass

        class Inherited(Direct):
            pass

        class Middle(Game[T, Any]):
            pass

        class Bound(Middle[Waiting]):
            pass

        self.assertIs(state_type(Direct()), Playing)
        self.assertIs(state_type(Inherited()), Playing)
        self.assertIs(state_type(Bound()), Waiting)

    def test_no_type(self) -> None:
        """
        A game that declares no type learns in one sentence where to.
        """

        class Untyped(Game):  # type: ignore[type-arg]  # that is the point
            pass

        class Middle(Game[T, Any]):
            pass

        for game in (Untyped(), Middle()):
            with self.assertRaisesRegex(
                Misconfigured, r"does not name the type of its state; write class"
            ):
                state_type(game)


class ForeignBytesTests(SynchronousTestCase):
    def assert_refused(self, data: bytes, why: str) -> None:
        with self.assertRaisesRegex(Unreadable, f"^the stored state .*{why}"):
            CODEC.decode(data)

    def test_every_cut_and_every_changed_byte(self) -> None:
        """
        Bytes that were cut short are refused; changed ones are, or are such a state.
        """
        data = CODEC.encode(Everything())
        for cut in range(len(data)):
            self.assert_refused(data[:cut], "")
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 0x41
            with contextlib.suppress(Unreadable):
                self.assertIsInstance(CODEC.decode(bytes(changed)), Everything)
        self.assert_refused(data + b"\0", "")

    def test_foreign_bytes(self) -> None:
        """
        Bytes of another program, class or layout are refused in one sentence.
        """
        fields = read_plain(CODEC.encode(Everything()))
        less = {name: value for name, value in fields.items() if name != "flag"}
        for stored, why in (
            (3, "Expected `object`, got `int`"),
            ({"turn": 1}, "another layout: "),
            ({**fields, "more": 1}, "another layout: more: 1 is missing"),
            (less, "another layout: flag: True is new"),
            ({**fields, "number": "7"}, r"Expected `int`, got `str` - at `\$\.number`"),
            ({**fields, "suit": "green"}, r"at `\$\.suit`"),
            ({**fields, "phase": {"type": "Over"}}, r"at `\$\.phase"),
            ({**fields, "chance": {"key": b"short", "position": 0}}, r"\$\.chance"),
        ):
            with self.subTest(stored=str(stored)[:60]):
                self.assert_refused(msgpack.encode(stored), why)
        with self.assertRaisesRegex(Unreadable, "is not MessagePack"):
            read_plain(b"\xc1")

    def test_a_class_that_refuses(self) -> None:
        """
        A class that refuses its values when it is made refuses stored ones.
        """
        with self.assertRaisesRegex(Unreadable, "must not be negative"):
            StateCodec(Strict).decode(msgpack.encode({"number": -1}))


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

    def test_hash_is_of_the_value(self) -> None:
        """
        Equal states have one hash; any other field makes another.
        """
        self.assertEqual(state_hash(Everything()), state_hash(Everything()))
        for name, value in asdict(Everything()).items():
            other = Everything(**{name: 8 if value != 8 else 9})
            self.assertNotEqual(state_hash(other), state_hash(Everything()))
        self.assertNotEqual(state_hash((1, 2)), state_hash((1, (2,))))
        # What cannot be stored has one, too: `vinom check` compares such results.
        self.assertNotEqual(state_hash(1 << 80), state_hash(1 << 81))

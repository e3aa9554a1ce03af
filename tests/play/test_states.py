"""States as bytes: what is written comes back equal, and foreign bytes are refused."""

from __future__ import annotations

import enum
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import attr
import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct, msgpack
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured, Unreadable
from vinom.game import Chance, Game, Step, Table
from vinom.game_loader import load_games
from vinom.model import MatchPlan, SeatPlan
from vinom.play.frozen import state_hash
from vinom.play.play import Play, table_of
from vinom.play.states import (
    MAGIC,
    StateCodec,
    codec_of,
    field_types,
    first_change,
    state_type,
    with_head,
)

T = TypeVar("T")
Card = NewType("Card", int)


class Suit(enum.Enum):
    HEARTS = (1, "red")
    CLUBS = (2, "black")


class Trumps(enum.Flag):
    HEARTS = 1
    CLUBS = 2


class Waiting(Struct, frozen=True):
    since: float


@dataclass(frozen=True)
class Playing:
    turn: int


@attrs.frozen
class Over(Generic[T]):
    winner: T
    _private: int = 3


class Named(Struct, Generic[T], frozen=True):
    what: T


class NamedText(Named[str], frozen=True):
    """A generic class whose variable is bound by inheritance."""


@attrs.frozen
class Derived:
    """A class that computes a field of its own."""

    number: int
    doubled: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "doubled", 2 * self.number)


@attrs.frozen(kw_only=True)
class Everything:
    number: int
    real: float
    maybe: str | None
    mixed: int | str | None
    raw: bytes
    flag: bool
    suit: Suit
    trumps: Trumps
    way: Literal["up", 3, Suit.CLUBS]
    bounded: Annotated[int, Meta(ge=0)]
    card: Card
    many: tuple[tuple[int, ...], ...]
    few: tuple[int, str, tuple[()]]
    phase: Waiting | Playing | Over[int] | None
    phases: tuple[Waiting | Playing, ...]
    either: tuple[int, ...] | Suit | str
    hidden: frozenset[tuple[int, str]]
    table: Mapping[tuple[int, int], Waiting]
    plain: dict[str, int]
    text: NamedText
    named: Named[Suit | None]
    derived: Derived
    itself: Everything | None = None
    chance: Chance = Chance(7)  # noqa: RUF009  # it is frozen


def everything(**changes: Any) -> Everything:
    """A state with a field of each kind."""
    facts: dict[str, Any] = {
        "number": -(1 << 200),
        "real": 1.5,
        "maybe": None,
        "mixed": "x",
        "raw": b"\0\xff",
        "flag": True,
        "suit": Suit.CLUBS,
        "trumps": Trumps.HEARTS | Trumps.CLUBS,
        "way": Suit.CLUBS,
        "bounded": (1 << 64) - 1,
        "card": Card(3),
        "many": ((1, 2), ()),
        "few": (1, "a", ()),
        "phase": Over(3, 4),
        "phases": (Waiting(1), Playing(2)),
        "either": (1, 2),
        "hidden": frozenset({(1, "a"), (2, "b")}),
        "table": MappingProxyType({(2, 1): Waiting(2.0), (1, 1): Waiting(1)}),
        "plain": {"b": 1, "a": 2},
        "text": NamedText("hi"),
        "named": Named(Suit.HEARTS),
        "derived": Derived(4),
    }
    return Everything(**{**facts, **changes})


CODEC = StateCodec(Everything)


def written(state: Any) -> bytes:
    """Bytes with a right head, whatever they hold."""
    payload = msgpack.encode(state)
    return MAGIC + zlib.crc32(payload).to_bytes(4, "big") + payload


class RoundTripTests(SynchronousTestCase):
    def assert_same(self, state: Any, codec: StateCodec = CODEC) -> None:
        """It comes back with equal values, types, hash and bytes."""
        data = codec.encode(state)
        again = codec.decode(data)
        self.assertIsNone(first_change(state, again))
        self.assertEqual(again, state)
        self.assertEqual(state_hash(again), state_hash(state))
        self.assertEqual(codec.encode(again), data)

    def test_every_kind_of_field(self) -> None:
        """
        A state with every kind of field that may be declared comes back as it was,
        down to the type of each number and the order of each mapping.
        """
        state = everything()
        self.assert_same(state)
        again = CODEC.decode(CODEC.encode(state))
        self.assertEqual(list(again.table), [(2, 1), (1, 1)])
        for changes in (
            {"real": 2, "mixed": 3, "number": True},
            {"way": "up", "phase": None, "either": Suit.HEARTS},
            {"way": 3, "phase": Waiting(0), "either": "text"},
            {"phase": Playing(1), "itself": state, "named": Named(None)},
            {"real": float("inf"), "hidden": frozenset(), "trumps": Trumps(0)},
        ):
            self.assert_same(everything(**changes))

    def test_not_a_number(self) -> None:
        """
        NaN counts as the same value, although it is unequal to itself.
        """
        state = everything(real=float("nan"))
        again = CODEC.decode(CODEC.encode(state))
        self.assertIsNone(first_change(state, again))

    @given(
        st.integers(-(1 << 90), 1 << 90),
        st.floats(allow_nan=False),
        st.text(),
        st.frozensets(st.tuples(st.integers(), st.text())),
        st.lists(st.lists(st.integers(-(1 << 65), 1 << 65)).map(tuple)).map(tuple),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_values(
        self, number: int, real: float, text: str, hidden: Any, many: Any
    ) -> None:
        """
        Any values of the declared types come back.
        """
        self.assert_same(
            everything(number=number, real=real, mixed=text, hidden=hidden, many=many)
        )

    def test_our_games(self) -> None:
        """
        The states of each game that comes with vinom can be stored.
        """
        for name, game in load_games().items():
            seats = tuple(SeatPlan(f"p{n}", f"n{n}") for n in range(game.seats[1]))
            play = Play(game)
            play.lay(table_of(MatchPlan("m", name, seats, 7), game))
            self.assert_same(play.state, codec_of(game))

    def test_sets_in_one_order(self) -> None:
        """
        Equal sets are equal bytes, whatever the order of a process.
        """
        words = [(n, word) for n, word in enumerate(("a", "few", "short", "words"))]
        one = CODEC.encode(everything(hidden=frozenset(words)))
        other = CODEC.encode(everything(hidden=frozenset(reversed(words))))
        self.assertEqual(one, other)


@attrs.frozen
class Field:
    """A state with much that stays, and of which some may be changed in place."""

    turn: int
    cells: tuple[int, ...]
    suits: tuple[Suit, ...]
    pieces: tuple[Waiting | Playing, ...]
    notes: dict[str, int]


class WriterTests(SynchronousTestCase):
    """`StateWriter`: each state as if it were the only one."""

    def assert_written(self, codec: StateCodec, states: list[Any]) -> None:
        writer = codec.writer()
        for state in states:
            again = codec.decode(with_head(writer.write(state)))
            self.assertIsNone(first_change(state, again))
            self.assertEqual(codec.encode(again), codec.encode(state))

    @given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), max_size=12))
    @settings(max_examples=100, deadline=None)
    def test_what_stays(self, choices: list[tuple[int, int, int, int]]) -> None:
        """
        Whatever stays, changes, or is as it was before, each state comes back.
        """
        cells = [(n,) * 700 for n in range(3)]
        suits = [(Suit.HEARTS,) * n for n in (1, 90, 2)]
        pieces = [(Waiting(n), Playing(n)) * 40 for n in range(3)]
        notes = [{"a" * n: n} for n in range(3)]
        states = [
            Field(turn, cells[one], suits[two], pieces[three], notes[four])
            for turn, (one, two, three, four) in enumerate(choices)
        ]
        self.assert_written(StateCodec(Field), states)

    def test_what_is_changed_in_place(self) -> None:
        """
        What a game may change in place is written each time.
        """
        codec, notes = StateCodec(Field), {"a": 1}
        writer = codec.writer()
        for number in range(4):
            notes["a"] = number
            state = Field(1, (1,) * 700, (), (), notes)
            again = codec.decode(with_head(writer.write(state)))
            self.assertEqual(again.notes, {"a": number})

    def test_several_classes(self) -> None:
        """
        A game whose states are of several classes.
        """
        one = Field(1, (1,) * 700, (), (), {})
        codec = StateCodec(Field | Everything)
        self.assert_written(codec, [one, one, everything(), one, one, everything()])

    def test_large_numbers(self) -> None:
        """
        Numbers of more than 64 bits in what stays.
        """
        state = Field(1, (1 << 70,) * 200, (), (), {})
        self.assert_written(StateCodec(Field), [state] * 4)

    def test_large_numbers_beside_what_changes(self) -> None:
        """
        What changes while another field has numbers of more than 64 bits.
        """
        small, large = (1,) * 700, (1 << 70,) * 200
        one, other = (Suit.HEARTS,) * 80, (Suit.CLUBS,) * 80
        pairs = [*[(small, one)] * 3, *[(large, one)] * 2]
        pairs += [(large, other), (small, other)]
        states = [Field(1, cells, suits, (), {}) for cells, suits in pairs]
        self.assert_written(StateCodec(Field), states)

    def test_our_games(self) -> None:
        """
        The states of each game that comes with vinom, while its bots play.
        """
        for name, game in load_games().items():
            seats = tuple(SeatPlan(f"p{n}", f"n{n}") for n in range(game.seats[1]))
            play = Play(game)
            play.lay(table_of(MatchPlan("m", name, seats, 7), game))
            states = [play.state] * 3
            for turn in range(30):
                due = game.deadline(play.state)
                if due is None or play.outcome is not None:
                    break
                play.advance(due + turn)
                states.append(play.state)
            self.assert_written(codec_of(game), states)


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

        class Returned(Game):  # type: ignore[type-arg]  # that is the point
            def start(self, table: Table) -> Step[Playing]:
                raise NotImplementedError

        self.assertIs(state_type(Direct()), Playing)
        self.assertIs(state_type(Inherited()), Playing)
        self.assertIs(state_type(Bound()), Waiting)
        self.assertIs(state_type(Returned()), Playing)

    def test_no_type(self) -> None:
        """
        A game that declares no type learns in one sentence where to.
        """

        class Untyped(Game):  # type: ignore[type-arg]  # that is the point
            def start(self, table):  # type: ignore[no-untyped-def]  # as above
                return Playing(1)

        with self.assertRaisesRegex(
            Misconfigured, r"Untyped does not name the type of its state; write class"
        ):
            state_type(Untyped())

    def test_types_without_annotations(self) -> None:
        """
        A field may declare its type itself, with no annotation in its class.
        """

        @attr.s(frozen=True)
        class Older:
            items = attr.ib(type=tuple[int, ...])

        made = attrs.make_class("Made", {"items": attrs.field(type=int)}, frozen=True)
        self.assertEqual({"items": tuple[int, ...]}, field_types(Older))
        self.assertEqual({"items": int}, field_types(made))
        with self.assertRaisesRegex(Misconfigured, r"Bare\.items declares no type"):
            field_types(attrs.make_class("Bare", ["items"]))

    def test_types_that_cannot_be_stored(self) -> None:
        """
        A field whose type does not say what it holds is named, and why.
        """
        for declared, why in (
            (Any, "is declared Any; name what it holds"),
            (object, "is declared object"),
            (list[int], r"is declared list\[int\], which cannot be stored"),
            (tuple, "is declared tuple; name what it holds"),
            (T, "type variable"),
            (complex, "is declared complex, which cannot be stored"),
            (tuple[int, ...] | tuple[str, ...], "two kinds of tuple"),
        ):
            holder = attrs.make_class(
                "Holder", {"items": attrs.field(type=declared)}, frozen=True
            )
            with self.assertRaisesRegex(Misconfigured, rf"state\.items .*{why}"):
                StateCodec(holder)

    def test_values_of_other_types(self) -> None:
        """
        A value that is not of its declared type is refused, and its field is named.
        """
        for changes, why in (
            ({"number": "7"}, r"state\.number holds '7' \(str\), but is declared int"),
            ({"mixed": 1.5}, r"state\.mixed holds 1\.5"),
            ({"many": ((1, "x"),)}, r"state\.many\[0\]\[1\] holds 'x'"),
            ({"many": ((1, 2.0),)}, r"state\.many\[0\]\[1\] holds 2\.0"),
            ({"many": ([1],)}, r"state\.many\[0\] holds \[1\]"),
            ({"few": (1, "a")}, r"state\.few holds .* a tuple of 3"),
            ({"phase": Derived(1)}, r"state\.phase holds .*Waiting \| Playing \| Over"),
            ({"suit": 1}, r"state\.suit holds 1 \(int\)"),
            ({"way": "down"}, r"state\.way holds 'down'"),
            ({"table": [(1, 2)]}, r"state\.table holds"),
            ({"text": Named("hi")}, r"state\.text holds"),
        ):
            with self.assertRaisesRegex(Misconfigured, why):
                CODEC.encode(everything(**changes))

    def test_too_deep(self) -> None:
        """
        A state that is nested too deep is refused, written or read.
        """
        state = everything()
        for _ in range(120):
            state = everything(itself=state)
        with self.assertRaisesRegex(Misconfigured, "100 levels deep"):
            CODEC.encode(state)


class ForeignBytesTests(SynchronousTestCase):
    def assert_refused(self, data: bytes, why: str) -> None:
        with self.assertRaisesRegex(Unreadable, why):
            CODEC.decode(data)

    def test_every_cut_and_every_changed_byte(self) -> None:
        """
        Bytes that were cut short or changed anywhere are refused.
        """
        data = CODEC.encode(everything())
        for cut in range(len(data)):
            self.assert_refused(data[:cut], "state")
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 0x41
            self.assert_refused(bytes(changed), "state")
        self.assert_refused(data + b"\0", "damaged")

    def test_foreign_bytes(self) -> None:
        """
        Bytes of another program, class or version are refused in one sentence.
        """
        good = msgpack.decode(CODEC.encode(everything())[8:])
        name, fields = good
        for payload, why in (
            (fields, "the name and value of Everything"),
            (["Playing", {"turn": 1}], "not the name of one of Everything"),
            ([name, 3], "the fields of Everything"),
            ([name, {**fields, "more": 1}], "has a field 'more', unlike Everything"),
            (
                [name, {k: v for k, v in fields.items() if k != "flag"}],
                "has no field 'flag'",
            ),
            ([name, {**fields, "number": "7"}], r"state\.number is '7'"),
            ([name, {**fields, "suit": "SPADES"}], r"state\.suit is 'SPADES'"),
            ([name, {**fields, "trumps": "x"}], r"state\.trumps"),
            ([name, {**fields, "way": "down"}], r"state\.way is 'down'"),
            ([name, {**fields, "way": [1]}], r"state\.way"),
            ([name, {**fields, "phase": ["Over", {}]}], r"state\.phase has no field"),
            ([name, {**fields, "phase": ["os.system", {}]}], "os.system"),
            ([name, {**fields, "phase": [["x"], {}]}], "the name of one of"),
            ([name, {**fields, "few": [1, "a"]}], "a list of 3"),
            ([name, {**fields, "many": 3}], "a list"),
            ([name, {**fields, "hidden": [[1, "a"], [1, "a"]]}], "an item twice"),
            ([name, {**fields, "table": 3}], "a list of pairs"),
            ([name, {**fields, "table": [3]}], "a pair"),
            ([name, {**fields, "plain": [["a", 1], ["a", 2]]}], "a key twice"),
            ([name, {**fields, "chance": {"word": -1}}], "state.chance"),
        ):
            self.assert_refused(written(payload), why)
        self.assert_refused(b"\x80\x04\x95pickle", "not the bytes of a state")
        self.assert_refused(b"VNS\x02" + b"\0" * 20, "not the bytes of a state")
        self.assert_refused(MAGIC + b"\0" * ((1 << 24) + 1), "at most 16777216 bytes")

    def test_deep_bytes(self) -> None:
        """
        Bytes nested without end take neither the stack nor the time.
        """
        inner: Any = None
        fields = msgpack.decode(CODEC.encode(everything())[8:])[1]
        for _ in range(150):
            inner = {**fields, "itself": inner}
        self.assert_refused(written(["Everything", inner]), "nested too deep")
        self.assert_refused(
            MAGIC + zlib.crc32(b"\x91" * 9**5).to_bytes(4, "big") + b"\x91" * 9**5,
            "not MessagePack",
        )

    @given(st.binary(max_size=200))
    @settings(max_examples=200, deadline=None)
    def test_any_bytes(self, data: bytes) -> None:
        """
        Whatever the bytes are, only `Unreadable` is raised.
        """
        head = MAGIC + zlib.crc32(data).to_bytes(4, "big")
        for whole in (data, head + data):
            with self.assertRaises(Unreadable):
                CODEC.decode(whole)

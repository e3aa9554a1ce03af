"""
States, and other values, with a changed fact: what a search for leaks compares.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Hashable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from vinom.game import Chance, Game, put

#: Most facts to change in one state; larger states are sampled evenly.
MOST_FACTS = 300
#: Values of one shape that a pool keeps.
MOST_KEPT = 6
#: What a chance's position changes by.
_FAR = 0x5DEECE66D
_FIRST_INDEX = re.compile(r"[^\[\].]*\[(\d+)\]")


@attrs.frozen
class Variant:
    """
    A state with one changed fact.

    :ivar path: which fact, for example ``cards[1]``.
    :ivar state: the changed state.
    :ivar is_chance: is the fact part of a chance?
    :ivar is_whole: was all of a secret changed, and not one fact?
    """

    path: str
    state: Any
    is_chance: bool
    is_whole: bool = False

    @property
    def field(self) -> str:
        """The field of the state that has this fact."""
        return self.path.partition("[")[0].partition(".")[0]

    @property
    def index(self) -> int | None:
        """The first index after the field; of a secret field, the seat."""
        found = _FIRST_INDEX.match(self.path)
        return int(found[1]) if found else None


@attrs.define
class Pool:
    """
    Values that were seen in play, to put one in place of another.

    Only a value of the same shape, with as many items everywhere, takes the place of
    another: how many cards a hand has is not its secret.
    """

    _kept: dict[Hashable, list[Any]] = attrs.field(factory=dict)

    def swap(self, name: str, value: Any) -> list[Any]:
        """
        Keep a value, and list the others that could be in its place.

        :param name: what the value is; others are of the same name.
        """
        kept = self._kept.setdefault((name, _shape(value)), [])
        others = [one for one in kept if one != value]
        if len(others) == len(kept):
            kept.append(value)
            del kept[:-MOST_KEPT]
        return others


def _shape(value: Any) -> Hashable:
    if type(value) is tuple:
        return tuple(map(_shape, value))
    if isinstance(value, Struct):
        parts = (getattr(value, name) for name in value.__struct_fields__)
        return (type(value).__qualname__, *map(_shape, parts))
    return type(value).__qualname__


def have_one_shape(one: Any, other: Any) -> bool:
    """Could the one value be in the place of the other?"""
    return _shape(one) == _shape(other)


def with_other_secrets(game: Game[Any, Any], state: Any, pool: Pool) -> list[Variant]:
    """Put other values seen in play in place of what is `secret` or `hidden`."""
    found = []
    for name in game.secret:
        entries = getattr(state, name)
        # All entries are kept before one takes the place of another.
        for entry in entries:
            pool.swap(name, entry)
        for seat, entry in enumerate(entries):
            for other in pool.swap(name, entry):
                changed = {name: put(entries, seat, other)}
                other = msgspec.structs.replace(state, **changed)
                found.append(Variant(f"{name}[{seat}]", other, False, True))
    for name in game.hidden:
        value = getattr(state, name)
        # A deck has few others of its length.
        turned = [value[::-1]] if type(value) is tuple else []
        for other in (*turned, *pool.swap(name, value)):
            other = msgspec.structs.replace(state, **{name: other})
            found.append(Variant(name, other, False, True))
    return found


def sampled(state: Any) -> list[Variant]:
    """Change the facts of a state, or of an action, one at a time."""
    variants = list(_variants(state, "", False))
    return variants[:: 1 + len(variants) // MOST_FACTS]


def _variants(value: Any, path: str, is_chance: bool) -> Iterator[Variant]:
    """Change each leaf of a value, one at a time."""
    changed: Any = None
    if isinstance(value, enum.Enum):
        members = list(type(value))
        changed = members[(members.index(value) + 1) % len(members)]
    elif isinstance(value, bool):
        changed = not value
    elif isinstance(value, int):
        # A chance's position: by enough to change views that show a part of it.
        changed = value ^ _FAR if is_chance else value + 1
    elif isinstance(value, float):
        changed = value + 1.0
    elif isinstance(value, str):
        changed = value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    elif isinstance(value, bytes):
        # Every byte of a chance's key, as a view may show any part of it.
        kept = 0 if is_chance else len(value) - 1
        changed = value[:kept] + bytes(b ^ 1 for b in value[kept:]) if value else b"x"
    elif type(value) is tuple:
        for index, item in enumerate(value):
            for inner in _variants(item, f"{path}[{index}]", is_chance):
                whole = (*value[:index], inner.state, *value[index + 1 :])
                yield attrs.evolve(inner, state=whole)
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            inner_path = f"{path}.{name}" if path else name
            chance = is_chance or type(value) is Chance
            for inner in _variants(getattr(value, name), inner_path, chance):
                # The class itself may refuse such a value.
                with suppress(ValueError, TypeError):
                    other = msgspec.structs.replace(value, **{name: inner.state})
                    yield attrs.evolve(inner, state=other)
    if changed is not None:
        yield Variant(path, changed, is_chance)

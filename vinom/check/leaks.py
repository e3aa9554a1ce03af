"""
Find out whether a view shows what its audience may not see.

It changes each small fact of a state, one at a time; a view that changes too shows
that fact. Two rules follow. No view may show chance, which foretells the future. And
a fact that spectators can't see may be shown to at most one audience, unless the game
lists its field as `shared`.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator
from typing import Any

import attrs
import msgspec

from vinom.game import Chance, Game
from vinom.play.frozen import field_names, is_frozen_class

#: Most facts to change in one state; larger states are sampled evenly.
MOST_FACTS = 300

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
#: What a chance's position changes by.
_FAR = 0x5DEECE66D


@attrs.frozen
class Variant:
    """
    A state with one changed fact.

    :ivar path: which fact, for example ``cards[1]``.
    :ivar state: the changed state.
    :ivar is_chance: is the fact part of a chance?
    """

    path: str
    state: Any
    is_chance: bool


def find_leaks(game: Game[Any, Any], state: Any, seats: int) -> Iterator[str]:
    """List the facts of a state that a view shows and should not."""
    keys = _audiences(game, state, seats)
    before = _views(game, state, keys)
    if keys is None or before is None:
        return
    public = keys[-1]
    variants = list(_variants(state, "", False))
    for variant in variants[:: 1 + len(variants) // MOST_FACTS]:
        if _audiences(game, variant.state, seats) != keys:
            continue
        after = _views(game, variant.state, keys)
        if after is None:
            continue
        shown_to = [key for key in before if before[key] != after[key]]
        field = variant.path.partition("[")[0].partition(".")[0]
        if variant.is_chance and shown_to:
            yield f"{variant.path} is chance, and the view of {shown_to[0]!r} shows it"
        elif public not in shown_to and len(shown_to) > 1 and field not in game.shared:
            several = " and ".join(repr(key) for key in shown_to)
            yield f"{variant.path} is not public, yet shown to {several}"


def _audiences(
    game: Game[Any, Any], state: Any, seats: int
) -> tuple[Hashable, ...] | None:
    """List the audience of each seat, and the spectators' last."""
    try:
        return tuple(game.audience(state, seat) for seat in (*range(seats), None))
    except Exception:
        # A changed fact can make a state that no game reaches.
        return None


def _views(
    game: Game[Any, Any], state: Any, keys: tuple[Hashable, ...] | None
) -> dict[Hashable, bytes] | None:
    try:
        return {
            key: _encode(game.view(state, key)) for key in dict.fromkeys(keys or ())
        }
    except Exception:
        return None


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
    elif is_frozen_class(type(value)):
        for name in field_names(type(value)):
            inner_path = f"{path}.{name}" if path else name
            chance = is_chance or type(value) is Chance
            for inner in _variants(getattr(value, name), inner_path, chance):
                whole = _replaced(value, name, inner.state)
                if whole is not None:
                    yield attrs.evolve(inner, state=whole)
    if changed is not None:
        yield Variant(path, changed, is_chance)


def _replaced(value: Any, name: str, item: Any) -> Any:
    try:
        if isinstance(value, msgspec.Struct):
            return msgspec.structs.replace(value, **{name: item})
        return attrs.evolve(value, **{name.lstrip("_"): item})
    except (ValueError, TypeError):
        # The class itself refuses such a value.
        return None

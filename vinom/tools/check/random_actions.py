"""Make random actions from nothing but their types, to test a game with them."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from msgspec import inspect

from vinom.game import Chance

#: Longest lists and texts, if their type has no bound.
_LONGEST = 4
#: Deepest nesting; deeper lists are empty.
_DEEPEST = 6


@attrs.define
class RandomActions:
    """
    An endless supply of actions of one type.

    :ivar kind: the type.
    :ivar chance: the source of the next draw.
    """

    kind: Any
    chance: Chance
    _type: inspect.Type = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._type = inspect.type_info(self.kind)

    def make(self, view: Any) -> Any:
        """
        Make an action, often from numbers and texts of the view.

        :returns: an action, or ``None`` if the draw is not a valid one.
        """
        hints: list[Any] = []
        _leaves(view, hints)
        drawn = self._draw(self._type, hints, 0)
        try:
            return msgspec.convert(drawn, self.kind)
        except msgspec.ValidationError:
            return None

    def below(self, limit: int) -> int:
        """Draw an integer in ``[0, limit)``."""
        drawn, self.chance = self.chance.below(limit)
        return drawn

    def _pick(self, items: Any) -> Any:
        return items[self.below(len(items))]

    def _draw(self, kind: inspect.Type, hints: list[Any], depth: int) -> Any:
        match kind:
            case inspect.Metadata():
                return self._draw(kind.type, hints, depth)
            case inspect.StructType():
                return self._struct(kind, hints, depth)
            case inspect.UnionType():
                return self._draw(self._pick(kind.types), hints, depth)
            case inspect.LiteralType():
                return self._pick(kind.values)
            case inspect.EnumType():
                return self._pick([member.value for member in kind.cls])
            case inspect.BoolType():
                return bool(self.below(2))
            case inspect.IntType():
                return self._int(kind, hints)
            case inspect.FloatType():
                return self._float(kind, hints)
            case inspect.StrType():
                return self._text(kind, hints)
            case inspect.BytesType():
                return bytes(self._size(kind, depth))
            case inspect.TupleType():
                return tuple(self._draw(t, hints, depth + 1) for t in kind.item_types)
            case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
                size = self._size(kind, depth)
                return [
                    self._draw(kind.item_type, hints, depth + 1) for _ in range(size)
                ]
            case inspect.DictType():
                return {
                    self._draw(kind.key_type, hints, depth + 1): self._draw(
                        kind.value_type, hints, depth + 1
                    )
                    for _ in range(self._size(kind, depth))
                }
            case inspect.AnyType():
                return self._pick([*hints, None, 0, "", True])
        return None

    def _struct(self, kind: inspect.StructType, hints: list[Any], depth: int) -> Any:
        made = {
            field.encode_name: self._draw(field.type, hints, depth + 1)
            for field in kind.fields
            # What has a default may be left out.
            if field.required or self.below(2)
        }
        if kind.tag_field is not None:
            made[kind.tag_field] = kind.tag
        return made

    def _int(self, kind: inspect.IntType, hints: list[Any]) -> int:
        lowest = kind.ge if kind.ge is not None else kind.gt
        highest = kind.le if kind.le is not None else kind.lt
        seen = [hint for hint in hints if type(hint) is int]
        if seen and self.below(2):
            return int(self._pick(seen)) + self.below(3) - 1
        low = -2 if lowest is None else int(lowest)
        high = max(low, 8 if highest is None else int(highest))
        return low + self.below(high - low + 1)

    def _float(self, kind: inspect.FloatType, hints: list[Any]) -> float:
        seen = [hint for hint in hints if type(hint) in (int, float)]
        if seen and self.below(2):
            return float(self._pick(seen))
        lowest = kind.ge if kind.ge is not None else kind.gt
        highest = kind.le if kind.le is not None else kind.lt
        low = -10.0 if lowest is None else float(lowest)
        high = low + 20.0 if highest is None else float(highest)
        return low + (high - low) * self.below(1001) / 1000

    def _text(self, kind: inspect.StrType, hints: list[Any]) -> str:
        seen = [hint for hint in hints if type(hint) is str]
        if seen and self.below(2):
            return str(self._pick(seen))[: kind.max_length]
        return "".join(self._pick("ab0 é") for _ in range(self._size(kind, 0)))

    def _size(self, kind: Any, depth: int) -> int:
        fewest = kind.min_length or 0
        if depth > _DEEPEST:
            return int(fewest)
        most = kind.max_length
        most = fewest + _LONGEST if most is None else min(most, fewest + _LONGEST)
        return int(fewest) + self.below(most - fewest + 1)


def _leaves(value: Any, found: list[Any]) -> None:
    """Collect the numbers and short texts of a decoded view, up to a bound."""
    if len(found) >= 200:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            _leaves(key, found)
            _leaves(item, found)
    elif isinstance(value, list):
        for item in value:
            _leaves(item, found)
    elif isinstance(value, int | float) or (isinstance(value, str) and len(value) < 65):
        found.append(value)

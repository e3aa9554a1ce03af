"""
Which numbers of a game's views have a `vinom.game.Grid`, and how they become steps.

A declared view (`vinom.game.Game.shows`) is read once; then a view is packed column by
column. Numbers are rounded where a view is packed, and every encoding is made of the
packed view, so that all players see the same (decision 0085).
"""

from __future__ import annotations

import enum
import struct
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from msgspec import Struct as Shape

from vinom.base.packed import (
    MOST_ITEMS,
    MOST_LISTS,
    OLDEST_BASE,
    WIDTHS,
    Layout,
    Packed,
    encode_view,
)
from vinom.errors import Misconfigured
from vinom.game import Grid

#: Most bytes of the views that a room keeps as bases.
MOST_BYTES = 256 * 1024
#: Added to a number, it rounds it: the lowest bytes of the double are then the integer.
_ROUNDING = float(3 << 51)
#: The highest byte of each such double.
_HIGHEST = struct.pack(">d", _ROUNDING)[0]

_Get = Callable[[Any], Any]


class Packing:
    """
    Packs the views of one game.

    :ivar layout: where the numbers are.
    """

    def __init__(self, shows: type[Shape]) -> None:
        """
        Read a declared view.

        :raises Misconfigured: a `Grid` is on something else than a number.
        """
        self._shows = shows
        self._lists: list[_Get] = []
        self._others: list[tuple[int, _Get]] = []
        # Of each column: its list, its values, and what makes doubles of them.
        self._columns: list[tuple[int, _Get, Callable[[list[Any]], list[float]]]] = []
        # Of each number: its list, its values, its grid and its name.
        self._grids: list[tuple[int, _Get, Grid, str]] = []
        # Of each table: what comes before the names of its fields.
        self._names = ["$"]
        self.layout = Layout(self._describe(shows, (), 0))
        self._widths = [WIDTHS.index(one.width) for one in self.layout.numbers]

    @property
    def has_grids(self) -> bool:
        """Is there a number with a `Grid`?"""
        return bool(self._grids)

    def outside(self, view: Any) -> Iterator[tuple[str, Grid, float]]:
        """
        Find the numbers of a view that are shown as an end of their range.

        :returns: the field, its grid and the number of each.
        """
        tables = [(view,), *(get(view) for get in self._lists)]
        for table, get, grid, name in self._grids:
            least, most = grid.least - grid.step / 2, grid.most + grid.step / 2
            for number in map(get, tables[table]):
                if number is not None and not least <= number <= most:
                    yield name, grid, number

    def pack(self, view: Any) -> Packed:
        """
        Pack a view.

        :raises TypeError: it is not of the declared type.
        :raises ValueError: it has a list that is too long, or a number that is nan.
        """
        if type(view) is not self._shows:
            raise TypeError(
                f"the view is {type(view).__name__}, and shows = {self._shows.__name__}"
            )
        tables: list[Sequence[Any]] = [(view,)]
        tables += [get(view) for get in self._lists]
        rows = tuple(map(len, tables[1:]))
        if rows and max(rows) > MOST_ITEMS:
            raise ValueError(
                f"a list of the view has {max(rows)} items, limit {MOST_ITEMS}"
            )
        lanes: tuple[list[float], ...] = ([], [], [])
        for (table, get, scale), at in zip(self._columns, self._widths, strict=True):
            lanes[at].extend(scale(list(map(get, tables[table]))))
        return Packed(
            rows,
            tuple(
                self._lanes(each, width)
                for each, width in zip(lanes, WIDTHS, strict=True)
            ),
            tuple(
                encode_view(list(map(get, tables[table])))
                for table, get in self._others
            ),
        )

    def _lanes(self, numbers: list[float], width: int) -> bytes:
        doubles = struct.pack(f"<{len(numbers)}d", *numbers)
        if doubles[7::8].count(_HIGHEST) != len(numbers):
            name = self._shows.__name__
            raise ValueError(f"{name} holds a number that is nan, and has a Grid")
        if width == 1:
            return doubles[::8]
        lanes = bytearray(len(numbers) * width)
        for plane in range(width):
            lanes[plane::width] = doubles[plane::8]
        return bytes(lanes)

    # The declared type.

    def _describe(
        self, kind: Any, path: tuple[Any, ...], table: int, maybe: bool = False
    ) -> list[Any]:
        """
        Describe a type for `Layout`, and note how to get its values.

        :param path: fields and places that lead to it, from a row of its table.
        :param table: 0 is the view itself, 1 its first list.
        :param maybe: whether ``None`` may be in its place.
        """
        origin, items = get_origin(kind), get_args(kind)
        if origin is Annotated:
            for grid in items[1:]:
                if isinstance(grid, Grid):
                    return self._number(items[0], grid, path, table, maybe)
            return self._describe(items[0], path, table, maybe)
        if kind is bool:
            return self._one_of({False: False, True: True}, path, table, maybe)
        if origin is Literal:
            return self._one_of(
                dict(zip(items, items, strict=True)), path, table, maybe
            )
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return self._one_of({one: one.value for one in kind}, path, table, maybe)
        if _is_struct(kind):
            return self._struct(kind, path, table, maybe)
        if origin in (Union, UnionType) and NoneType in items and len(items) == 2:
            (inner,) = [one for one in items if one is not NoneType]
            at = len(self._columns)
            described = self._describe(inner, path, table, True)
            if described == ["other"]:
                return described
            places = {True: _ROUNDING, False: _ROUNDING + 1}
            self._columns.insert(
                at,
                (
                    table,
                    _getter(path, maybe),
                    lambda of: [places[one is None] for one in of],
                ),
            )
            return ["maybe", described]
        if origin is tuple and items and items[-1] is not Ellipsis:
            kinds = enumerate(items)
            return [
                "tuple",
                [self._describe(one, (*path, at), table, maybe) for at, one in kinds],
            ]
        is_list = origin is tuple and items and not (table or maybe)
        if is_list and len(self._lists) < MOST_LISTS:
            self._lists.append(_getter(path, False))
            self._names.append(f"$.{'.'.join(map(str, path))}[...]")
            return ["list", self._describe(items[0], (), len(self._lists))]
        self._others.append((table, _getter(path, maybe)))
        return ["other"]

    def _struct(
        self, kind: type[Shape], path: tuple[Any, ...], table: int, maybe: bool
    ) -> list[Any]:
        config = kind.__struct_config__
        hints = get_type_hints(kind, include_extras=True)
        fields: list[Any] = []
        if config.tag is not None:
            tag = self._one_of({kind: config.tag}, path, table, maybe, type)
            fields.append([config.tag_field, tag])
        for name, written in zip(
            kind.__struct_fields__, kind.__struct_encode_fields__, strict=True
        ):
            inner = self._describe(hints[name], (*path, name), table, maybe)
            fields.append([written, inner])
        if config.array_like:
            return ["tuple", [one for _, one in fields]]
        return ["struct", fields]

    def _number(
        self, kind: Any, grid: Grid, path: tuple[Any, ...], table: int, maybe: bool
    ) -> list[Any]:
        up, down = grid.ratio
        if kind not in (int, float) or (kind is int and down != 1):
            raise Misconfigured(
                f"{self._shows.__name__}: {'.'.join(map(str, path))} is "
                f"{getattr(kind, '__name__', kind)} and cannot have {grid}; a Grid is "
                f"for float, or for int with a whole step"
            )
        scale, shift = down / up, _ROUNDING - grid.first
        top = _ROUNDING + grid.steps

        def steps(values: list[Any]) -> list[float]:
            if maybe:
                # What is shown in the place of ``None`` does not matter.
                values = [grid.least if one is None else one for one in values]
            found = [value * scale + shift for value in values]
            if found and (max(found) > top or min(found) < _ROUNDING):
                return [min(max(one, _ROUNDING), top) for one in found]
            return found

        name = ".".join((self._names[table], *map(str, path)))
        self._grids.append((table, _getter(path, maybe), grid, name))
        self._columns.append((table, _getter(path, maybe), steps))
        if kind is int:
            return ["int", grid.first, up, grid.steps]
        return ["float", grid.first, up, down, grid.steps]

    def _one_of(
        self,
        values: Mapping[Any, Any],
        path: tuple[Any, ...],
        table: int,
        maybe: bool,
        of: _Get = lambda value: value,
    ) -> list[Any]:
        places = {value: _ROUNDING + at for at, value in enumerate(values)}
        if maybe:
            places.setdefault(of(None), _ROUNDING)
        self._columns.append(
            (
                table,
                _getter(path, maybe),
                lambda column: [places[of(one)] for one in column],
            )
        )
        return ["one_of", list(values.values())]


def _is_struct(kind: Any) -> bool:
    """Is it a struct that is written as it is declared?"""
    return (
        isinstance(kind, type)
        and issubclass(kind, Shape)
        and bool(kind.__struct_fields__)
        and not kind.__struct_config__.omit_defaults
    )


def _getter(path: tuple[Any, ...], maybe: bool) -> _Get:
    """Make what follows a path; where there may be a ``None``, it ends there."""
    if not path:
        return lambda value: value
    if not maybe and all(isinstance(one, str) for one in path):
        return attrgetter(".".join(path))
    last = path[-1]
    get: _Get = attrgetter(last) if isinstance(last, str) else itemgetter(last)
    if len(path) == 1 and not maybe:
        return get
    before = _getter(path[:-1], maybe)

    def follow(value: Any) -> Any:
        value = before(value)
        return None if maybe and value is None else get(value)

    return follow


@lru_cache(maxsize=256)
def packing_of(shows: type[Shape] | None) -> Packing | None:
    """
    Make the packing of a game's declared views.

    :returns: ``None`` if none is declared, or no number of it has a `Grid`.
    :raises Misconfigured: a `Grid` is on something else than a number.
    """
    if shows is None:
        return None
    try:
        packing = Packing(shows)
    except NameError as error:
        raise Misconfigured(
            f"{shows.__name__} is not declared in a module: {error}"
        ) from error
    return packing if packing.has_grids else None


@attrs.define(eq=False)
class Bases:
    """The packed views that one room showed lately, by audience and version."""

    _views: OrderedDict[tuple[Hashable, int], Packed] = attrs.field(
        factory=OrderedDict, init=False
    )
    _bytes: int = attrs.field(default=0, init=False)

    def keep(
        self, audience: Hashable, base: int, version: int, view: Packed
    ) -> Packed | None:
        """
        Keep what an audience is shown.

        :param base: the version that a player has; 0 is none.
        :returns: the view of *base*; ``None`` if it is too old, or not kept.
        """
        key = audience, version
        if key not in self._views:
            self._views[key] = view
            self._bytes += _size(view)
            useful = version - OLDEST_BASE
            while self._views:
                first = next(iter(self._views))
                if self._bytes <= MOST_BYTES and first[1] >= useful:
                    break
                self._bytes -= _size(self._views.pop(first))
        is_base = version > base >= version - OLDEST_BASE
        return self._views.get((audience, base)) if is_base else None


def _size(view: Packed) -> int:
    return sum(map(len, (*view.lanes, *view.others)))

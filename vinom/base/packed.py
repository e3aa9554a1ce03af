"""
Packed views: numbers of a few bits, as differences from a view that the reader has.

A `Layout` says where each number is; its description travels as JSON. All numbers of
one width stand in lanes beside each other, so that one subtraction of long integers
finds all differences, and one translation all that are not zero: writing has no loop
over numbers. Source: docs/protocol/packed.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import attrs
from msgspec import MsgspecError, Raw, Struct, msgpack

from vinom.errors import PeerError

#: A base is at most this many versions older than what is made from it.
OLDEST_BASE = 64
#: Most lists in a view, and most items in one.
MOST_LISTS, MOST_ITEMS = 16, (1 << 16) - 1
#: Most steps of a number.
MOST_STEPS = (1 << 32) - 1
#: Widths of lanes, bytes.
WIDTHS = (1, 2, 4)
#: How many bytes one byte of the outer mask stands for.
_BLOCK = 64

_CODES = {1: "B", 2: "H", 4: "I"}
#: Turns a byte into an ASCII digit: is it something else than zero?
_IS_SET = bytes([48] + [49] * 255)
#: Sorts sets and dicts: equal views are equal bytes, in any process.
encode_view = msgpack.Encoder(order="deterministic").encode
_encode = msgpack.Encoder().encode
#: Reads the values of a field without steps.
decode_values = msgpack.Decoder().decode
_decode_map = msgpack.Decoder(dict[int, Raw]).decode


class Packed(Struct, frozen=True, gc=False):
    """
    One view, ready to be compared.

    :ivar rows: how long each list is.
    :ivar lanes: for each of `WIDTHS`, all numbers as steps, little-endian.
    :ivar others: of each field without steps, its values: a MessagePack array.
    """

    rows: tuple[int, ...]
    lanes: tuple[bytes, ...]
    others: tuple[bytes, ...]


@attrs.frozen
class Number:
    """
    A column: one number of each row, or the place of a value in a list of values.

    :ivar name: its path in the view.
    :ivar table: whose rows: 0 is the view itself, 1 its first list.
    :ivar steps: the highest step.
    :ivar width: of its lanes, bytes.
    """

    name: str
    table: int
    steps: int
    width: int
    _read: Callable[[tuple[int, ...]], list[Any]]

    def read(self, steps: tuple[int, ...]) -> list[Any]:
        """
        Turn steps into values.

        :raises PeerError: there are not so many steps.
        """
        if steps and max(steps) > self.steps:
            raise PeerError(
                f"{self.name} has step {max(steps)}, and its highest is {self.steps}"
            )
        return self._read(steps)


#: Takes the next columns, and makes the values of a kind, one for each row.
_Build = Callable[[Iterator[list[Any]]], list[Any]]


class Layout:
    """
    Where the numbers of a view are.

    :ivar description: a kind: a JSON array that begins with its name.
    :ivar numbers: the columns, in the order of the description.
    :ivar others: of each field without steps, its table and path, in that order.
    :ivar lists: how many lists there are.
    """

    def __init__(self, description: Any) -> None:
        """
        Read a description.

        :raises PeerError: this version knows no such layout.
        """
        self.description = description
        self.numbers: list[Number] = []
        self.others: list[tuple[int, str]] = []
        self.lists = 0
        # Of each column, whether it is one of numbers.
        self._order: list[bool] = []
        try:
            self._build = self._compile(description, 0, "view")
        except (TypeError, ValueError, RecursionError) as error:
            raise PeerError(f"the layout of the views is unknown: {error}") from error
        self._head = struct.Struct(f"!{self.lists}H")

    def _compile(self, kind: Any, table: int, name: str) -> _Build:
        match kind:
            case ["int", int(first), int(step), int(steps)]:
                return self._number(
                    name, table, steps, lambda q: [(first + one) * step for one in q]
                )
            case ["float", int(first), int(up), int(down), int(steps)] if down > 0:
                return self._number(
                    name, table, steps, lambda q: [(first + n) * up / down for n in q]
                )
            case ["one_of", [_, *_] as values]:
                pick = values.__getitem__
                return self._number(
                    name, table, len(values) - 1, lambda q: list(map(pick, q))
                )
            case ["struct", [_, *_] as fields]:
                names = [str(field) for field, _ in fields]
                parts = [
                    self._compile(one, table, f"{name}.{field}")
                    for field, one in fields
                ]
                return lambda columns: [
                    dict(zip(names, row, strict=True))
                    for row in zip(*[part(columns) for part in parts], strict=True)
                ]
            case ["tuple", [_, *_] as kinds]:
                parts = [
                    self._compile(one, table, f"{name}[{place}]")
                    for place, one in enumerate(kinds)
                ]
                return lambda columns: [
                    list(row)
                    for row in zip(*[part(columns) for part in parts], strict=True)
                ]
            case ["maybe", inner]:
                shown = self._number(f"{name}?", table, 1, lambda q: list(map(bool, q)))
                part = self._compile(inner, table, name)
                return lambda columns: [
                    value if there else None
                    for there, value in zip(shown(columns), part(columns), strict=True)
                ]
            case ["list", inner] if not table and self.lists < MOST_LISTS:
                self.lists += 1
                items = self._compile(inner, self.lists, f"{name}[]")
                return lambda columns: [items(columns)]
            case ["other"]:
                self.others.append((table, name))
                self._order.append(False)
                return next
        raise ValueError(f"{name} is {str(kind)[:60]}")

    def _number(
        self,
        name: str,
        table: int,
        steps: int,
        read: Callable[[tuple[int, ...]], list[Any]],
    ) -> _Build:
        if not 0 <= steps <= MOST_STEPS:
            raise ValueError(f"{name} has {steps} steps, limit {MOST_STEPS}")
        width = next(one for one in WIDTHS if steps < 1 << 8 * one)
        self.numbers.append(Number(name, table, steps, width, read))
        self._order.append(True)
        return next

    # Writing.

    def write(self, now: Packed, before: Packed | None) -> bytes:
        """
        Write the numbers of a view.

        :param before: the view that the reader has; ``None`` for none.
        """
        planes = []
        for at, width in enumerate(WIDTHS):
            base = self._base(before, now.rows, at)
            changed = _subtract(now.lanes[at], base, width)
            planes += [changed[plane::width] for plane in range(width)]
        return self._head.pack(*now.rows) + _without_zeros(b"".join(planes))

    def write_whole(self, now: Packed, before: Packed | None) -> bytes:
        """Write a view: its numbers, then the fields without steps that changed."""
        return self.write(now, before) + _encode(self.others_since(now, before))

    def others_since(self, now: Packed, before: Packed | None) -> dict[int, Raw]:
        """Find the fields without steps that changed: MessagePack, by index."""
        old = (None,) * len(now.others) if before is None else before.others
        pairs = enumerate(zip(now.others, old, strict=True))
        return {index: Raw(new) for index, (new, had) in pairs if new != had}

    def _base(self, before: Packed | None, rows: tuple[int, ...], at: int) -> bytes:
        """Take the lanes of one width out of a view, for as many rows as now."""
        had = (0,) * self.lists if before is None else before.rows
        if before is not None and had == rows:
            return before.lanes[at]
        width, start, found = WIDTHS[at], 0, []
        lanes = b"" if before is None else before.lanes[at]
        for number in self.numbers:
            if number.width == width:
                size = width * (1, *had)[number.table]
                fits = width * (1, *rows)[number.table]
                found.append(lanes[start : start + size][:fits].ljust(fits, b"\0"))
                start += size
        return b"".join(found)

    # Reading.

    def read(
        self,
        data: bytes,
        before: Packed | None,
        others: Mapping[int, bytes] | None = None,
    ) -> Packed:
        """
        Read a view.

        :param data: what `write` made, or without *others* what `write_whole` made.
        :param before: the view that it was made from.
        :param others: the fields without steps that changed, as `others_since` finds.
        :raises PeerError: it was made by something else.
        """
        try:
            rows = self._head.unpack_from(data)
        except struct.error:
            raise _cut_short(data) from None
        bases = [self._base(before, rows, at) for at in range(len(WIDTHS))]
        planes, end = _with_zeros(data, self._head.size, sum(map(len, bases)))
        lanes, start = [], 0
        for base, width in zip(bases, WIDTHS, strict=True):
            changed = bytearray(len(base))
            for plane in range(width):
                size = len(base) // width
                changed[plane::width] = planes[start : start + size]
                start += size
            lanes.append(_add(bytes(changed), base, width))
        if others is None:
            try:
                rest = _decode_map(data[end:])
            except (MsgspecError, RecursionError) as error:
                raise PeerError(f"a packed view lacks its map: {error}") from error
            others = {index: bytes(value) for index, value in rest.items()}
        elif end != len(data):
            raise PeerError(f"a packed view has {len(data)} bytes, but ends at {end}")
        kept = dict(enumerate(() if before is None else before.others)) | dict(others)
        if kept.keys() != set(range(len(self.others))):
            raise PeerError(
                f"a packed view brings the fields {sorted(others)}; with those known "
                f"before they must be 0 to {len(self.others) - 1}"
            )
        whole = tuple(kept[index] for index in range(len(kept)))
        return Packed(rows, tuple(lanes), whole)

    def plain(self, view: Packed) -> Any:
        """
        Make dicts, lists, numbers and text of a view.

        :raises PeerError: `read` got something that `write` has not made.
        """
        lengths = (1, *view.rows)
        starts, columns = [0] * len(WIDTHS), []
        numbers, others = iter(self.numbers), iter(view.others)
        try:
            for is_number in self._order:
                if not is_number:
                    columns.append(decode_values(next(others)))
                    continue
                number = next(numbers)
                at, count = WIDTHS.index(number.width), lengths[number.table]
                code = f"<{count}{_CODES[number.width]}"
                steps = struct.unpack_from(code, view.lanes[at], starts[at])
                starts[at] += count * number.width
                columns.append(number.read(steps))
            (built,) = self._build(iter(columns))
        except (MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise PeerError(f"a packed view has another layout: {error}") from error
        return built


def _cut_short(data: bytes) -> PeerError:
    return PeerError(f"a packed view of {len(data)} bytes is cut short")


@lru_cache(maxsize=256)
def _masks(size: int, width: int) -> tuple[int, int, int]:
    """Make the highest bits of all lanes, their other bits, and their lowest."""
    ones = int.from_bytes((b"\1" + bytes(width - 1)) * (size // width), "little")
    top = 8 * width - 1
    return ones << top, ones * ((1 << top) - 1), ones


def _subtract(now: bytes, base: bytes, width: int) -> bytes:
    """Subtract each lane; the results are zig-zag: 0, -1, 1, -2 and so on."""
    high, low, _ = _masks(len(now), width)
    one, two = int.from_bytes(now, "little"), int.from_bytes(base, "little")
    # No lane borrows from the next: its highest bit is set before, and put right after.
    less = ((one | high) - (two & low)) ^ ((one ^ ~two) & high)
    signs = (less & high) >> (8 * width - 1)
    zigzag = ((less & low) << 1) ^ (signs * ((1 << 8 * width) - 1))
    return zigzag.to_bytes(len(now), "little")


def _add(changed: bytes, base: bytes, width: int) -> bytes:
    """Undo `_subtract`."""
    high, low, ones = _masks(len(base), width)
    zigzag, two = int.from_bytes(changed, "little"), int.from_bytes(base, "little")
    signs = (zigzag & ones) * ((1 << 8 * width) - 1)
    less = ((zigzag >> 1) & low) ^ signs
    more = ((less & low) + (two & low)) ^ ((less ^ two) & high)
    return more.to_bytes(len(base), "little")


def _mask(data: bytes) -> bytes:
    """Make a bit of each byte, the first one the highest: is it not zero?"""
    return int(data.translate(_IS_SET), 2).to_bytes(len(data) // 8, "big")


def _without_zeros(data: bytes) -> bytes:
    """Leave out all bytes that are zero, and say which, twice."""
    if not data:
        return b""
    data = data.ljust(-(-len(data) // _BLOCK) * _BLOCK, b"\0")
    mask = _mask(data)
    return b"".join(
        [_mask(mask), mask.translate(None, b"\0"), data.translate(None, b"\0")]
    )


def _with_zeros(data: bytes, start: int, size: int) -> tuple[bytes, int]:
    """
    Undo `_without_zeros`.

    :param size: how many bytes there were.
    :returns: the bytes, padded, and where they end in *data*.
    :raises PeerError: it has fewer bytes.
    """
    blocks = -(-size // _BLOCK)
    mask, at = _spread(data[start : start + blocks], data, start + blocks)
    whole, at = _spread(mask, data, at)
    if len(whole) != blocks * _BLOCK or any(whole[size:]):
        raise PeerError(f"{len(data)} bytes do not fit the lists of a packed view")
    return whole, at


def _spread(mask: bytes, data: bytes, at: int) -> tuple[bytes, int]:
    """Put the next bytes where the mask has a one."""
    bits = format(int.from_bytes(mask, "big"), f"0{8 * len(mask)}b") if mask else ""
    found, place = bytearray(len(bits)), bits.find("1")
    if at + bits.count("1") > len(data):
        raise _cut_short(data)
    while place >= 0:
        found[place] = data[at]
        at, place = at + 1, bits.find("1", place + 1)
    return bytes(found), at

"""
Immutable states: proven from their types, and compared by value.

The declared types decide: a class whose fields can only hold numbers, text, tuples and
other such classes cannot be changed by a game that keeps a reference to it. So the
proof is made once per class and costs nothing while a game is played.
"""

from __future__ import annotations

import enum
import hashlib
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec

from vinom.errors import Misconfigured

_PLAIN = (int, float, str, bytes, bool, type(None))
_NOT_INT = frozenset((float, str, bytes, bool, type(None)))
_UINT64 = (1 << 64) - 1
_INT64 = 1 << 63
#: The value of a field that was never set.
_UNSET = object()

#: Classes that were proven; a class lives as long as its game's module.
_proven: set[type] = set()
#: Field names by class; for as long.
_names: dict[type, tuple[str, ...]] = {}


def ensure_frozen_type(cls: type) -> None:
    """
    Prove that no instance of a state class can change.

    :raises Misconfigured: names the class, and the field that could change.
    """
    if cls not in _proven:
        seen: set[type] = set()
        _prove_class(cls, cls.__qualname__, seen)
        # Only now: a class may refer to itself, or to one that is not proven yet.
        _proven.update(seen)


def _prove_class(cls: type, path: str, seen: set[type]) -> None:
    if cls in _proven or cls in seen:
        return
    seen.add(cls)
    if not is_frozen_class(cls):
        raise Misconfigured(
            f"{path} is {cls.__qualname__}, which can be changed; make a state of "
            f"frozen attrs classes or frozen msgspec structs"
        )
    try:
        hints = get_type_hints(cls)
    except Exception as error:
        raise Misconfigured(
            f"the field types of {cls.__qualname__} cannot be read: {error}"
        ) from error
    for name in field_names(cls):
        if name not in hints:
            raise Misconfigured(
                f"{path}.{name} declares no type; give it one that cannot be changed"
            )
        _prove(hints[name], f"{path}.{name}", seen)


def _prove(kind: Any, path: str, seen: set[type]) -> None:
    origin = get_origin(kind)
    if kind in _PLAIN or kind is None or origin is Literal:
        return
    if origin is typing.Annotated:
        _prove(get_args(kind)[0], path, seen)
    elif origin in (Union, types.UnionType, tuple):
        # An empty tuple type has no arguments, and nothing to change.
        for part in get_args(kind):
            if part is not Ellipsis:
                _prove(part, path, seen)
    elif isinstance(kind, typing.NewType):
        _prove(kind.__supertype__, path, seen)
    elif isinstance(kind, typing.TypeVar):
        raise Misconfigured(f"{path} is declared with a type variable; name its type")
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        return
    elif isinstance(origin, type):
        _prove_generic(origin, kind, path, seen)
    elif isinstance(kind, type) and kind is not tuple:
        _prove_class(kind, path, seen)
    else:
        raise Misconfigured(
            f"{path} is declared {kind!r}, which may hold anything; "
            f"name what it holds, for example tuple[int, ...]"
        )


def _prove_generic(origin: type, kind: Any, path: str, seen: set[type]) -> None:
    if not is_frozen_class(origin):
        raise Misconfigured(
            f"{path} is declared {kind!r}, which can be changed; "
            f"use tuples and frozen classes"
        )
    raise Misconfigured(
        f"{path} is the generic {kind!r}; declare a class of its own instead"
    )


def is_frozen_class(cls: type) -> bool:
    """Is it a frozen attrs class or a frozen msgspec struct?"""
    if issubclass(cls, msgspec.Struct):
        return bool(cls.__struct_config__.frozen)
    if attrs.has(cls):
        # attrs marks frozen classes only by the method that it adds.
        return cls.__setattr__.__name__ == "_frozen_setattrs"
    return False


def field_names(cls: type) -> tuple[str, ...]:
    """List the field names of a frozen class, in order."""
    names = _names.get(cls)
    if names is None:
        names = _names[cls] = _read_field_names(cls)
    return names


def _read_field_names(cls: type) -> tuple[str, ...]:
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    if attrs.has(cls):
        return tuple(field.name for field in attrs.fields(cls))
    return ()


def ensure_frozen(value: Any, path: str = "") -> None:
    """
    Prove that a value holds nothing that can change, whatever its types declare.

    :param value: the value.
    :param path: its name in error messages.
    :raises Misconfigured: names the field and the type found there.
    """
    if isinstance(value, enum.Enum) or type(value) in _PLAIN:
        return
    where = path or type(value).__qualname__
    if type(value) is tuple:
        for index, item in enumerate(value):
            ensure_frozen(item, f"{where}[{index}]")
    elif is_frozen_class(type(value)):
        for name in field_names(type(value)):
            ensure_frozen(getattr(value, name), f"{where}.{name}")
    else:
        raise Misconfigured(
            f"{where} holds a {type(value).__qualname__}, which can be changed; "
            f"use a tuple or a frozen class"
        )


def plain(value: Any) -> Any:
    """
    Turn a state into dicts, lists, numbers and text, every field of it.

    Integers beyond 64 bits become hexadecimal text, which fits into MessagePack.
    """
    # The most frequent types first: a check of a game calls this millions of times.
    kind = type(value)
    if kind is int:
        return value if -_INT64 <= value <= _UINT64 else hex(value)
    if kind in _NOT_INT:
        return value
    if kind is tuple:
        # Written out, as below: most items are small numbers.
        return [
            item if type(item) is int and -_INT64 <= item <= _UINT64 else plain(item)
            for item in value
        ]
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, bool | float | str | bytes) or value is None:
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value <= _UINT64 else hex(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return {
        name: item if type(item) is int and -_INT64 <= item <= _UINT64 else plain(item)
        for name in field_names(kind)
        if (item := getattr(value, name, _UNSET)) is not _UNSET
    }


def fingerprint(encoded: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of *encoded*."""
    return hashlib.sha256(encoded).hexdigest()[:16]


def state_hash(state: Any) -> str:
    """Return a state's fingerprint; it is equal for equal states only."""
    return fingerprint(msgspec.msgpack.encode(plain(state)))


def differences(recorded: Any, other: Any, path: str = "") -> Iterator[str]:
    """Describe each difference between two plain values, in field order."""
    where = path or "state"
    if isinstance(recorded, dict) and isinstance(other, dict):
        for name in [*recorded, *(name for name in other if name not in recorded)]:
            inner = f"{path}.{name}" if path else str(name)
            if name not in other:
                yield f"{inner}: {recorded[name]!r} is missing"
            elif name not in recorded:
                yield f"{inner}: {other[name]!r} is new"
            else:
                yield from differences(recorded[name], other[name], inner)
    elif isinstance(recorded, list) and isinstance(other, list):
        if len(recorded) != len(other):
            yield f"{where}: {len(recorded)} items, then {len(other)}"
        for index, (ours, theirs) in enumerate(zip(recorded, other, strict=False)):
            yield from differences(ours, theirs, f"{where}[{index}]")
    elif type(recorded) is not type(other) or not _same(recorded, other):
        yield f"{where}: {recorded!r}, then {other!r}"


def _same(left: Any, right: Any) -> bool:
    # NaN is unequal to itself, but counts as the same value here.
    return bool(left == right or (left != left and right != right))

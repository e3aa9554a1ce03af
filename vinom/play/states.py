"""
States: what they may hold, as bytes, and compared.

A state is a frozen msgspec struct, which msgspec writes and reads by its declared type,
never by pickle: bytes can only become the classes that a game's types name, and whoever
changes the bytes can't make the reader run code (decision 0038). The hash of a state is
the hash of its bytes.
"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from itertools import zip_longest
from typing import Any, cast, get_args, get_origin

import msgspec
from msgspec import inspect as declared
from msgspec import msgpack

from vinom.errors import Misconfigured, Unreadable
from vinom.game import Game

#: Longest written state, bytes.
LONGEST_STATE = 1 << 24
#: One of this many states is read again, because msgspec writes any value.
CHECKED_EVERY = 256

_SCALARS = (
    declared.BoolType,
    declared.BytesType,
    declared.EnumType,
    declared.FloatType,
    declared.IntType,
    declared.LiteralType,
    declared.NoneType,
    declared.StrType,
)
#: What stands for a field that a value doesn't have.
_NOTHING = object()


def _mapping_as_dict(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__qualname__} is no value that can be written")


_encode = msgpack.Encoder().encode
#: Writes what a game is given, too, such as the read-only claims of a seat.
_encode_any = msgpack.Encoder(enc_hook=_mapping_as_dict).encode
_decode_any = msgpack.Decoder().decode


class StateCodec:
    """Writes the states of one game as bytes, and reads them."""

    def __init__(self, kind: Any) -> None:
        """
        Make a codec.

        :param kind: the declared type of the state: a class, or a union of classes.
        :raises Misconfigured: it may hold what cannot be stored; says which field.
        """
        name = getattr(kind, "__name__", "the state")
        try:
            found = declared.type_info(kind)
            self._decode = msgpack.Decoder(kind).decode
        except Exception as error:
            raise Misconfigured(f"{name} cannot be stored: {error}") from error
        for one in found.types if isinstance(found, declared.UnionType) else (found,):
            if not isinstance(one, declared.StructType | declared.DataclassType):
                raise Misconfigured(
                    f"the state is {_name_of(one)}; write "
                    f"class State(msgspec.Struct, frozen=True)"
                )
        _prove(found, "the state", set())
        self._unchecked = 0

    def encode(self, state: Any) -> bytes:
        """
        Write a state; the first and every 256th are read again.

        :raises Misconfigured: it cannot be written, or does not come back equal.
        """
        try:
            data = _encode(state)
        except Exception as error:
            path, value = _unwritable(state, "state")
            raise Misconfigured(
                f"{path} holds {_shown(value)}, which cannot be stored: {error}"
            ) from error
        if len(data) > LONGEST_STATE:
            raise Misconfigured(
                f"the state takes {len(data)} bytes; at most {LONGEST_STATE} can be "
                f"stored"
            )
        self._unchecked -= 1
        if self._unchecked < 0:
            self._unchecked = CHECKED_EVERY - 1
            self._read_again(state, data)
        return data

    def round_trip(self, state: Any) -> tuple[bytes, Any]:
        """
        Write a state and read it again; returns its bytes and the state that was read.

        :raises Misconfigured: it cannot be written, or does not come back equal.
        """
        self._unchecked = CHECKED_EVERY
        data = self.encode(state)
        return data, self._read_again(state, data)

    def _read_again(self, state: Any, data: bytes) -> Any:
        try:
            again = self._decode(data)
        except Exception as error:
            what, _, path = str(error).partition(" - at `$")
            raise Misconfigured(
                f"state{path.rstrip('`')} is not what it is declared to be: {what}"
            ) from error
        if again != state or _encode(again) != data:
            change = first_change(state, again)
            if change is not None:
                raise Misconfigured(change)
        return again

    def decode(self, data: bytes) -> Any:
        """
        Read a state.

        :raises Unreadable: these bytes are not a state of this game.
        """
        try:
            state = self._decode(data)
            is_same = _encode(state) == data
        except Exception as error:
            raise Unreadable(f"the stored state cannot be read: {error}") from error
        if not is_same:
            # msgspec ignores fields that it doesn't know, and fills in defaults.
            change = next(differences(read_plain(data), plain(state)), "its bytes")
            raise Unreadable(f"the stored state has another layout: {change}")
        return state


def _unwritable(value: Any, path: str) -> tuple[str, Any]:
    """Find the innermost part of a value that cannot be written."""
    try:
        for part, where in _parts(value, path):
            try:
                _encode(part)
            except Exception:
                return _unwritable(part, where)
    except RecursionError:
        pass
    return path, value


def _prove(kind: declared.Type, path: str, seen: set[type]) -> None:
    """Prove that a declared type holds only what can be stored and cannot change."""
    match kind:
        case declared.Metadata():
            _prove(kind.type, path, seen)
            return
        case declared.StructType(fields=fields):
            # A generic class may be declared with what it holds.
            cls = get_origin(kind.cls) or kind.cls
            if cls.__struct_config__.frozen:
                if kind.cls not in seen:
                    seen.add(kind.cls)
                    for field in fields:
                        _prove(field.type, f"{cls.__name__}.{field.name}", seen)
                return
            problem = (
                f"is {cls.__name__}, which can be changed; write "
                f"class {cls.__name__}(Struct, frozen=True)"
            )
        case declared.UnionType(types=types):
            for one in types:
                _prove(one, path, seen)
            return
        case declared.DataclassType(cls=cls):
            problem = (
                f"is {cls.__name__}, an attrs class or dataclass; write "
                f"class {cls.__name__}(msgspec.Struct, frozen=True), and "
                f"msgspec.structs.replace instead of evolve"
            )
        case declared.VarTupleType(item_type=item):
            _prove(item, f"{path}[]", seen)
            return
        case declared.TupleType(item_types=items):
            for number, item in enumerate(items):
                _prove(item, f"{path}[{number}]", seen)
            return
        case declared.AnyType():
            problem = "may hold anything; name what it holds, such as tuple[int, ...]"
        case declared.ListType() | declared.SetType() | declared.FrozenSetType():
            problem = f"is {_name_of(kind)}; use a tuple"
        case declared.DictType():
            problem = "is a dict; use a tuple of pairs, or a frozen Struct"
        case _ if isinstance(kind, _SCALARS):
            return
        case _:
            problem = (
                f"is {_name_of(kind)}, which cannot be stored; use numbers, text, "
                f"bytes, enums, tuples and frozen Structs"
            )
    raise Misconfigured(f"{path} {problem}")


def _name_of(kind: declared.Type) -> str:
    if isinstance(kind, declared.CustomType):
        return kind.cls.__name__
    name = type(kind).__name__.removesuffix("Type").lower()
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def ensure_storable(state: Any) -> None:
    """
    Prove from its type and by its bytes that a state can be stored and cannot change.

    :raises Misconfigured: it cannot; says which field, and what to do.
    """
    _codec_of_type(cast(Hashable, type(state))).round_trip(state)


@lru_cache(maxsize=256)
def _codec_of_type(kind: Hashable) -> StateCodec:
    return StateCodec(kind)


def codec_of(game: Game[Any, Any]) -> StateCodec:
    """
    Make the codec of a game's states, whose type is the first parameter of ``Game``.

    :raises Misconfigured: the game names no type, or one that cannot be written.
    """
    return _codec_of_type(cast(Hashable, state_type(game)))


def state_type(game: Game[Any, Any]) -> Any:
    """
    Return the declared type of a game's states.

    :raises Misconfigured: the game declares none.
    """
    cls = type(game)
    found = _parameter(cls, {})
    if found is Any or isinstance(found, typing.TypeVar):
        raise Misconfigured(
            f"{cls.__qualname__} does not name the type of its state; write "
            f"class {cls.__name__}(Game[MyState, MyAction])"
        )
    return found


def _parameter(cls: type, known: Mapping[Any, Any]) -> Any:
    """Find what a class, or a generic class that it inherits, gives to ``Game``."""
    for parent in getattr(cls, "__orig_bases__", cls.__bases__):
        origin = get_origin(parent) or parent
        if not isinstance(origin, type) or not issubclass(origin, Game):
            continue
        arguments = [known.get(one, one) for one in get_args(parent)]
        if origin is Game:
            return arguments[0] if arguments else Any
        names = getattr(origin, "__parameters__", ())
        return _parameter(origin, dict(zip(names, arguments, strict=False)))
    return Any


def _parts(value: Any, path: str) -> list[tuple[Any, str]]:
    """List the values in a value, each with its path."""
    if isinstance(value, msgspec.Struct):
        return [
            (getattr(value, name), f"{path}.{name}")
            for name in type(value).__struct_fields__
        ]
    if isinstance(value, tuple):
        return [(item, f"{path}[{number}]") for number, item in enumerate(value)]
    return []


def first_change(before: Any, after: Any, path: str = "state") -> str | None:
    """
    Find where a state that was read differs from the one that was written.

    Types count too, and not only what ``==`` compares.

    :returns: a sentence with the path and both values; ``None`` if they are the same.
    """
    pairs = list(zip_longest(_parts(before, path), _parts(after, path)))
    if type(before) is type(after) and all(map(all, pairs)):
        if pairs:
            changes = (first_change(one, two, at) for (one, at), (two, _) in pairs)
            return next(filter(None, changes), None)
        # NaN is unequal to itself, but counts as the same value.
        if before == after or (before != before and after != after):
            return None
    hint = "use a tuple" if type(before) is list else "declare what it may hold"
    if type(before) is int and type(after) is float:
        hint = f"write {after!r}"
    return (
        f"{path} holds {_shown(before)}, but is read from its bytes as "
        f"{_shown(after)}; {hint}"
    )


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = "something nested too deep"
    what = text if len(text) <= 40 else f"{text[:37]}..."
    return f"{what} ({type(value).__qualname__})"


def read_plain(data: bytes) -> Any:
    """
    Read a state without its classes, perhaps of an older version.

    :returns: structs as dicts, tuples as lists, enums as their values.
    :raises Unreadable: these bytes are not MessagePack.
    """
    try:
        return _decode_any(data)
    except Exception as error:
        raise Unreadable(f"the stored state is not MessagePack: {error}") from error


def bytes_of(value: Any) -> bytes:
    """Write a state, or anything else; what cannot be written is written as text."""
    try:
        return _encode_any(value)
    except Exception:
        return _encode_any(ascii(value))


def plain(value: Any) -> Any:
    """Turn a value into dicts, lists, numbers and text, every field of it."""
    return _decode_any(bytes_of(value))


def fingerprint(encoded: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of *encoded*."""
    return hashlib.sha256(encoded).hexdigest()[:16]


def state_hash(state: Any) -> str:
    """Return a state's fingerprint; it is equal for equal states only."""
    return fingerprint(bytes_of(state))


def differences(recorded: Any, other: Any, path: str = "") -> Iterator[str]:
    """Describe each difference between two plain values, in field order."""
    where = path or "state"
    if isinstance(recorded, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*recorded, *other)):
            inner = f"{path}.{name}" if path else str(name)
            ours, theirs = recorded.get(name, _NOTHING), other.get(name, _NOTHING)
            if theirs is _NOTHING:
                yield f"{inner}: {ours!r} is missing"
            elif ours is _NOTHING:
                yield f"{inner}: {theirs!r} is new"
            else:
                yield from differences(ours, theirs, inner)
    elif isinstance(recorded, list) and isinstance(other, list):
        if len(recorded) != len(other):
            yield f"{where}: {len(recorded)} items, then {len(other)}"
        for index, (ours, theirs) in enumerate(zip(recorded, other, strict=False)):
            yield from differences(ours, theirs, f"{where}[{index}]")
    elif type(recorded) is not type(other) or (
        # NaN is unequal to itself, but counts as the same value here.
        recorded != other and (recorded == recorded or other == other)
    ):
        yield f"{where}: {recorded!r}, then {other!r}"

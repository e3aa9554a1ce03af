"""
States as bytes, and back: by their declared types, never by pickle.

A state is written as MessagePack: a frozen class as a map of its fields, an enum as the
name of its member, a tuple as a list. Where a field may hold one of several classes,
the class's name is written too. So bytes can only ever become the classes that a
game's types name, and whoever changes the bytes can't make the reader run code
(decision 0038).
"""

from __future__ import annotations

import enum
import inspect
import math
import types
import typing
import zlib
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import attrs
import msgspec
from msgspec import msgpack

from vinom.errors import Misconfigured, Unreadable
from vinom.game import Game, Step
from vinom.play.frozen import is_frozen_class

#: The first bytes of each written state; the last is the number of the layout.
MAGIC = b"VNS\x01"
#: Longest written state, bytes.
LONGEST_STATE = 1 << 24
#: Deepest nesting of a state.
DEEPEST_STATE = 100

_HEAD = len(MAGIC) + 4
_INT64, _UINT64 = 1 << 63, (1 << 64) - 1
#: The extension type of MessagePack for whole numbers beyond 64 bits.
_BIG = 1
_SCALARS = (int, float, str, bytes, bool)
_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder().decode

#: Where a value is: the path of what holds it, and its name or number there; spelled
#: out only for an error, because a state has thousands of values.
_Path = Any
#: Turns a value into what MessagePack can hold; gets the value, its path and depth.
_Writer = Callable[[Any, _Path, int], Any]
#: The way back.
_Reader = Callable[[Any, _Path, int], Any]


class _Codec(typing.NamedTuple):
    """
    How one declared type is written and read.

    :ivar scalars: types of values that are written as they are, but for whole numbers
        of more than 64 bits.
    """

    write: _Writer
    read: _Reader
    scalars: frozenset[type] = frozenset()


class StateCodec:
    """
    Writes the states of one game as bytes, and reads them.

    :ivar classes: what a state of the game may be.
    """

    def __init__(self, kind: Any) -> None:
        """
        Make a codec.

        :param kind: the declared type of the state: a class, or a union of classes.
        :raises Misconfigured: it names a type that cannot be written; says which
            field of it, and what to do.
        """
        members = _members(kind)
        self.classes: tuple[Any, ...] = members
        codecs = _Codecs()
        # Always tagged: an error can say which state it is, and a game may later add
        # another class.
        self._codec = codecs.tagged(members, "state")
        quick = _Quick()
        self._quick = quick.tagged(members)
        self._layouts = {
            get_origin(one) or one: layout
            for one in members
            if (layout := _layout_of(one, quick)) is not None
        }

    def write_unchecked(self, state: Any) -> bytes:
        """
        Write a state ten times as fast as `encode`: values are not looked at.

        A value that is not of its declared type may not be found out: then nobody can
        read these bytes. So check a state now and then, with `encode`.

        :returns: what `encode` puts behind its head; see `with_head`.
        :raises Misconfigured: as `encode`.
        """
        try:
            payload = _encode(self._quick(state))
        except Exception:
            # A number of more than 64 bits; or what `encode` can say more about.
            return self.encode(state)[_HEAD:]
        if len(payload) > LONGEST_STATE - _HEAD:
            return self.encode(state)[_HEAD:]
        return payload

    def writer(self) -> StateWriter:
        """Make what writes the states of one match, one after the other."""
        return StateWriter(self, self._layouts)

    def encode(self, state: Any) -> bytes:
        """
        Write a state.

        :raises Misconfigured: a value is not of its declared type, or the state is
            too long or too deep.
        """
        payload = _encode(self._codec.write(state, "state", 0))
        if len(payload) > LONGEST_STATE - _HEAD:
            raise Misconfigured(
                f"the state takes {len(payload)} bytes; "
                f"at most {LONGEST_STATE - _HEAD} can be stored"
            )
        return with_head(payload)

    def decode(self, data: bytes) -> Any:
        """
        Read a state.

        :raises Unreadable: these bytes are not a state of this game, or are damaged.
        """
        written = _payload_of(data)
        return self._codec.read(written, "state", 0)

    def read_plain(self, data: bytes) -> Any:
        """
        Read a state of an older version, whose classes this one may not have.

        :returns: fields as dicts, tuples as lists, enums as the names of their members.
        :raises Unreadable: these bytes are not a state, or are damaged.
        """
        written = _payload_of(data)
        if type(written) is not list or len(written) != 2:
            raise Unreadable("the stored state has no name of a class")
        return written[1]


def with_head(payload: bytes) -> bytes:
    """Put the head of a written state before its values."""
    return MAGIC + zlib.crc32(payload).to_bytes(4, "big") + payload


def _payload_of(data: bytes) -> Any:
    """Read what a state was written as: MessagePack behind a head."""
    if len(data) > LONGEST_STATE:
        raise Unreadable(
            f"a stored state has at most {LONGEST_STATE} bytes, not {len(data)}"
        )
    if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD:
        raise Unreadable(
            f"these are not the bytes of a state: they begin with "
            f"{bytes(data[:4])!r}, not with {MAGIC!r}"
        )
    payload = data[_HEAD:]
    if zlib.crc32(payload) != int.from_bytes(data[len(MAGIC) : _HEAD], "big"):
        raise Unreadable("the stored state is damaged: its checksum is wrong")
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"the stored state is not MessagePack: {error}") from error


def codec_of(game: Game[Any, Any]) -> StateCodec:
    """
    Make the codec of a game's states.

    Their type is the first parameter of ``Game`` (``class Nim(Game[NimState, Take])``),
    or else what ``start`` is declared to return.

    :raises Misconfigured: the game names no type, or one that cannot be written.
    """
    # A class is hashable, whatever its objects are.
    return _codec_of_class(cast(Hashable, type(game)))


@lru_cache(maxsize=256)
def _codec_of_class(cls: Hashable) -> StateCodec:
    return StateCodec(_state_type(cast(type, cls)))


def state_type(game: Game[Any, Any]) -> Any:
    """
    Return the declared type of a game's states.

    :raises Misconfigured: the game declares none.
    """
    return _state_type(type(game))


def _state_type(cls: type) -> Any:
    declared = _bound(cls, Game, {})[0] if issubclass(cls, Game) else Any
    if declared is Any or isinstance(declared, typing.TypeVar):
        declared = _returned(cls)
    if declared is Any or declared is None or isinstance(declared, typing.TypeVar):
        raise Misconfigured(
            f"{cls.__qualname__} does not name the type of its state; write "
            f"class {cls.__name__}(Game[MyState, MyAction])"
        )
    return declared


def _returned(cls: type) -> Any:
    """Return the state in the declared result of ``start``; `Any` if there is none."""
    try:
        declared = get_type_hints(cls.start).get("return", Any)  # type: ignore[attr-defined]
    except Exception:
        return Any
    members = [
        get_args(member)[0] if get_origin(member) is Step else member
        for member in _members(declared)
    ]
    return Union[tuple(members)]  # noqa: UP007  # made at run time


def _bound(cls: type, base: type, known: dict[Any, Any]) -> tuple[Any, ...]:
    """Return the arguments with which *cls* inherits the generic *base*."""
    for parent in getattr(cls, "__orig_bases__", cls.__bases__):
        origin = get_origin(parent) or parent
        if not isinstance(origin, type) or not issubclass(origin, base):
            continue
        arguments = tuple(_filled(one, known) for one in get_args(parent))
        if origin is base:
            return arguments or (Any, Any)
        names = getattr(origin, "__parameters__", ())
        return _bound(origin, base, dict(zip(names, arguments, strict=False)))
    return (Any, Any)


def _filled(kind: Any, known: Mapping[Any, Any]) -> Any:
    """Put the known types in the place of a type's variables."""
    if isinstance(kind, typing.TypeVar):
        return known.get(kind, kind)
    names = getattr(kind, "__parameters__", ())
    if names and not isinstance(kind, type):
        return kind[tuple(known.get(name, name) for name in names)]
    return kind


def _members(kind: Any) -> tuple[Any, ...]:
    """List what a union may be; anything else alone. Aliases are looked through."""
    if isinstance(kind, typing.NewType):
        return _members(kind.__supertype__)
    if kind.__class__.__name__ == "TypeAliasType":
        return _members(kind.__value__)
    origin = get_origin(kind)
    if origin is typing.Annotated:
        return _members(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        flat = [member for part in get_args(kind) for member in _members(part)]
        return tuple(dict.fromkeys(flat))
    return (type(None) if kind is None else kind,)


def _spell(path: _Path) -> str:
    """Write a path as text, such as ``state.hands[0].suit``."""
    if isinstance(path, str):
        return path
    before, piece = path
    if isinstance(piece, int):
        return f"{_spell(before)}[{piece}]"
    return f"{_spell(before)}{'' if piece.startswith('[') else '.'}{piece}"


def _wrong(path: _Path, value: Any, declared: str) -> Misconfigured:
    return Misconfigured(
        f"{_spell(path)} holds {_shown(value)}, but is declared {declared}; "
        f"declare what it may hold"
    )


def _unreadable(path: _Path, value: Any, declared: str) -> Unreadable:
    return Unreadable(f"stored {_spell(path)} is {_shown(value)}, not {declared}")


def _shown(value: Any) -> str:
    text = repr(value)
    what = text if len(text) <= 40 else f"{text[:37]}..."
    return f"{what} ({type(value).__qualname__})"


def _name_of(kind: Any) -> str:
    if isinstance(kind, type) and get_origin(kind) is None:
        return kind.__name__
    return str(kind).replace("typing.", "")


class _Codecs:
    """Makes the codec of each type once; classes may refer to themselves."""

    def __init__(self) -> None:
        self._classes: dict[Any, _Codec] = {}

    def of(self, kind: Any, path: str) -> _Codec:
        """Make the codec of any declared type."""
        members = _members(kind)
        if len(members) > 1:
            return self._union(members, path)
        (kind,) = members
        origin = get_origin(kind)
        if kind in _SCALARS or kind is type(None):
            return _scalars((kind,))
        if origin is Literal:
            return _literal(get_args(kind))
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return _enum(kind)
        if origin is tuple:
            return self._tuple(get_args(kind), path)
        if origin is frozenset:
            return self._frozenset(get_args(kind)[0], path)
        if origin in (dict, Mapping, types.MappingProxyType) or (
            isinstance(origin, type) and issubclass(origin, Mapping)
        ):
            return self._mapping(kind, path)
        if isinstance(origin or kind, type) and _fields_of(origin or kind) is not None:
            return self._class(kind, path)
        if isinstance(kind, typing.TypeVar):
            problem = f"is declared with the type variable {kind}; name its type"
        elif kind in (tuple, frozenset, dict, Mapping):
            problem = f"is declared {kind.__name__}; name what it holds"
        elif kind in (Any, object):
            problem = f"is declared {_name_of(kind)}; name what it holds"
        else:
            problem = (
                f"is declared {_name_of(kind)}, which cannot be stored; use numbers, "
                f"text, bytes, enums, tuples and frozen classes of them"
            )
        raise Misconfigured(f"{path} {problem}")

    def _union(self, members: tuple[Any, ...], path: str) -> _Codec:
        some = tuple(member for member in members if member is not type(None))
        if all(member in _SCALARS for member in some):
            return _scalars(members)
        inner = self.of(some[0], path) if len(some) == 1 else self.tagged(some, path)
        return inner if len(some) == len(members) else _optional(inner)

    def tagged(self, members: tuple[Any, ...], path: str) -> _Codec:
        """Make the codec of a union: a value is written after the name of its type."""
        by_class: dict[Any, tuple[str, _Codec]] = {}
        by_name: dict[str, _Codec] = {}
        for member in members:
            codec = self.of(member, path)
            cls = get_origin(member) or member
            # All values of a literal have one kind of codec.
            name = "Literal" if cls is Literal else cls.__name__
            if name in by_name:
                raise Misconfigured(
                    f"{path} may hold two kinds of {name}, and the bytes of "
                    f"both are alike; give them classes with names of their own"
                )
            by_name[name] = codec
            values = get_args(member) if cls is Literal else ()
            for one in {type(value) for value in values} or (cls,):
                by_class[one] = name, codec
        declared = " | ".join(by_name)

        def write(value: Any, path: _Path, depth: int) -> Any:
            found = by_class.get(type(value))
            if found is None:
                raise _wrong(path, value, declared)
            return found[0], found[1].write(value, path, depth)

        def read(written: Any, path: _Path, depth: int) -> Any:
            if type(written) is not list or len(written) != 2:
                raise _unreadable(path, written, f"the name and value of {declared}")
            name, value = written
            codec = by_name.get(name) if type(name) is str else None
            if codec is None:
                raise _unreadable(path, name, f"the name of one of {declared}")
            return codec.read(value, path, depth)

        return _Codec(write, read)

    def _tuple(self, parts: tuple[Any, ...], path: str) -> _Codec:
        if len(parts) == 2 and parts[1] is Ellipsis:
            return _list_of(self.of(parts[0], f"{path}[]"), tuple)
        codecs = [self.of(part, f"{path}[{n}]") for n, part in enumerate(parts)]
        count = len(codecs)

        def write(value: Any, path: _Path, depth: int) -> Any:
            if type(value) is not tuple or len(value) != count:
                raise _wrong(path, value, f"a tuple of {count}")
            return [
                codec.write(item, (path, n), depth + 1)
                for n, (codec, item) in enumerate(zip(codecs, value, strict=True))
            ]

        def read(written: Any, path: _Path, depth: int) -> Any:
            if type(written) is not list or len(written) != count:
                raise _unreadable(path, written, f"a list of {count}")
            return tuple(
                codec.read(item, (path, n), depth + 1)
                for n, (codec, item) in enumerate(zip(codecs, written, strict=True))
            )

        return _Codec(write, read)

    def _frozenset(self, kind: Any, path: str) -> _Codec:
        return _list_of(self.of(kind, f"{path}[]"), frozenset)

    def _mapping(self, kind: Any, path: str) -> _Codec:
        arguments = get_args(kind)
        if len(arguments) != 2:
            raise Misconfigured(f"{path} is declared {_name_of(kind)}; name its types")
        keys, items = (self.of(one, f"{path}[]") for one in arguments)
        keeps_dict = get_origin(kind) is dict

        def write(value: Any, path: _Path, depth: int) -> Any:
            if not isinstance(value, dict if keeps_dict else Mapping):
                raise _wrong(path, value, "a mapping")
            # Pairs, because a key may be anything; their order is part of the value.
            return [
                (
                    keys.write(key, (path, "[key]"), depth + 1),
                    items.write(item, (path, f"[{key!r}]"), depth + 1),
                )
                for key, item in value.items()
            ]

        def read(written: Any, path: _Path, depth: int) -> Any:
            if type(written) is not list:
                raise _unreadable(path, written, "a list of pairs")
            made = {}
            for pair in written:
                if type(pair) is not list or len(pair) != 2:
                    raise _unreadable(path, pair, "a pair")
                try:
                    key = keys.read(pair[0], (path, "[key]"), depth + 1)
                    made[key] = items.read(pair[1], (path, f"[{key!r}]"), depth + 1)
                except TypeError as error:
                    raise Unreadable(f"stored {_spell(path)}: {error}") from error
            if len(made) != len(written):
                raise Unreadable(f"stored {_spell(path)} has a key twice")
            return made if keeps_dict else types.MappingProxyType(made)

        return _Codec(write, read)

    def _class(self, kind: Any, path: str) -> _Codec:
        # A class may refer to itself, so its codec is there before its fields' are.
        found = self._classes.get(kind)
        if found is None:
            made: dict[str, _Codec] = {}
            found = self._classes[kind] = _record(get_origin(kind) or kind, made)
            for name, declared in field_types(kind).items():
                made[name] = self.of(declared, f"{path}.{name}")
        return found


class _Field(typing.NamedTuple):
    """
    A field of a class.

    :ivar name: its attribute.
    :ivar parameter: its name in the constructor; ``None`` if it is set afterwards.
    :ivar type: what the field itself declares; ``None`` for nothing.
    """

    name: str
    parameter: str | None
    type: Any = None


@lru_cache(1024)
def _fields_of(cls: Hashable) -> tuple[_Field, ...] | None:
    """List the fields of a struct, attrs class or dataclass; ``None`` for others."""
    if not isinstance(cls, type):
        return None
    if issubclass(cls, msgspec.Struct):
        return tuple(_Field(name, name) for name in cls.__struct_fields__)
    if attrs.has(cls):
        return tuple(
            _Field(one.name, one.alias if one.init else None, one.type)
            for one in attrs.fields(cls)
        )
    if is_dataclass(cls):
        return tuple(
            _Field(one.name, one.name if one.init else None, one.type)
            for one in dataclass_fields(cls)
        )
    return None


def field_types(kind: Any) -> dict[str, Any]:
    """
    Return the declared type of each field of a class, which may be generic.

    :raises Misconfigured: a type cannot be read, or a field declares none.
    """
    cls = get_origin(kind) or kind
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise Misconfigured(
            f"the field types of {cls.__qualname__} cannot be read: {error}"
        ) from error
    bound = _bindings(kind)
    found = {}
    for field in _fields_of(cls) or ():
        # Classes may be made without annotations: `attrs.make_class` of older attrs.
        declared = hints.get(field.name, field.type)
        if declared is None:
            raise Misconfigured(f"{cls.__qualname__}.{field.name} declares no type")
        # Each class of a hierarchy may bind the same variable to another type.
        owner = next(
            (one for one in cls.__mro__ if field.name in _own_annotations(one)), cls
        )
        found[field.name] = _filled(declared, bound.get(owner, {}))
    return found


def _own_annotations(cls: type) -> Mapping[str, Any]:
    return inspect.get_annotations(cls)


def _bindings(kind: Any) -> dict[type, dict[Any, Any]]:
    """Find what each generic class of a hierarchy is given for its variables."""
    found: dict[type, dict[Any, Any]] = {}
    open_: list[tuple[Any, dict[Any, Any]]] = [(kind, {})]
    while open_:
        one, known = open_.pop(0)
        cls = get_origin(one) or one
        if not isinstance(cls, type) or cls in found:
            continue
        arguments = [_filled(argument, known) for argument in get_args(one)]
        names = getattr(cls, "__parameters__", ())
        mine = dict(zip(names, arguments, strict=False))
        found[cls] = mine
        bases = getattr(cls, "__orig_bases__", cls.__bases__)
        open_ += [(base, mine) for base in (*bases, *cls.__bases__)]
    return found


def _record(cls: type, codecs: Mapping[str, _Codec]) -> _Codec:
    """Make the codec of a class with fields; *codecs* is filled in later."""
    fields = _fields_of(cls) or ()
    later = [field.name for field in fields if field.parameter is None]
    name_of = cls.__name__
    set_field = object.__setattr__

    def write(value: Any, path: _Path, depth: int) -> Any:
        if type(value) is not cls:
            raise _wrong(path, value, name_of)
        if depth > DEEPEST_STATE:
            raise Misconfigured(
                f"{_spell(path)} is nested more than {DEEPEST_STATE} levels deep"
            )
        return {
            name: codec.write(getattr(value, name), (path, name), depth + 1)
            for name, codec in codecs.items()
        }

    def read(written: Any, path: _Path, depth: int) -> Any:
        if type(written) is not dict:
            raise _unreadable(path, written, f"the fields of {name_of}")
        if depth > DEEPEST_STATE:
            raise Unreadable(f"stored {_spell(path)} is nested too deep")
        if written.keys() != codecs.keys():
            missing = [name for name in codecs if name not in written]
            other = [name for name in written if name not in codecs]
            what = f"no field {missing[0]!r}" if missing else f"a field {other[0]!r}"
            raise Unreadable(f"stored {_spell(path)} has {what}, unlike {name_of}")
        values = {
            name: codec.read(written[name], (path, name), depth + 1)
            for name, codec in codecs.items()
        }
        try:
            made = cls(
                **{
                    field.parameter: values[field.name]
                    for field in fields
                    if field.parameter is not None
                }
            )
            for name in later:
                set_field(made, name, values[name])
        except Exception as error:
            raise Unreadable(
                f"stored {_spell(path)} is no {name_of}: {error}"
            ) from error
        return made

    return _Codec(write, read)


def _optional(inner: _Codec) -> _Codec:
    write_inner, read_inner, _ = inner

    def write(value: Any, path: _Path, depth: int) -> Any:
        return None if value is None else write_inner(value, path, depth)

    def read(written: Any, path: _Path, depth: int) -> Any:
        return None if written is None else read_inner(written, path, depth)

    return _Codec(write, read)


def _list_of(item: _Codec, kind: type[Any]) -> _Codec:
    """Make the codec of a tuple or frozenset with any number of equal items."""
    write_item, read_item, scalars = item

    def write(value: Any, path: _Path, depth: int) -> Any:
        if type(value) is not kind:
            raise _wrong(path, value, f"a {kind.__name__}")
        if kind is tuple and scalars and _are_written_alike(value, scalars):
            return value
        written = [
            write_item(one, (path, number), depth + 1)
            for number, one in enumerate(value)
        ]
        # Equal sets are equal bytes, in any process.
        return sorted(written, key=_encode) if kind is frozenset else written

    def read(written: Any, path: _Path, depth: int) -> Any:
        if type(written) is not list:
            raise _unreadable(path, written, "a list")
        items = [
            read_item(one, (path, number), depth + 1)
            for number, one in enumerate(written)
        ]
        try:
            made = kind(items)
        except TypeError as error:
            raise Unreadable(f"stored {_spell(path)}: {error}") from error
        if len(made) != len(items):
            raise Unreadable(f"stored {_spell(path)} has an item twice")
        return made

    return _Codec(write, read)


def _are_written_alike(values: tuple[Any, ...], scalars: frozenset[type]) -> bool:
    """Are all of these types? It is ten times as fast as to look at each."""
    kinds = set(map(type, values))
    if not kinds <= scalars:
        return False
    if int not in kinds:
        return True
    # Other kinds cannot all be compared with numbers, and are rare beside them.
    return kinds <= {int, bool} and min(values) >= -_INT64 and max(values) <= _UINT64


def _scalars(kinds: tuple[Any, ...]) -> _Codec:
    """Make the codec of numbers, text and bytes, whose kinds their bytes show."""
    allowed = set(kinds)
    # As in Python's own types: a bool may stand for an int, an int for a float. They
    # stay what they are, because a state's hash differs.
    if float in allowed:
        allowed.add(int)
    if int in allowed:
        allowed.add(bool)
    declared = " | ".join("None" if k is type(None) else k.__name__ for k in kinds)

    def write(value: Any, path: _Path, depth: int) -> Any:
        kind = type(value)
        if kind not in allowed:
            raise _wrong(path, value, declared)
        if kind is int and not -_INT64 <= value <= _UINT64:
            size = value.bit_length() // 8 + 1
            return msgpack.Ext(_BIG, value.to_bytes(size, "big", signed=True))
        return value

    def read(written: Any, path: _Path, depth: int) -> Any:
        if type(written) is msgpack.Ext and written.code == _BIG and int in allowed:
            return int.from_bytes(written.data, "big", signed=True)
        if type(written) not in allowed:
            raise _unreadable(path, written, declared)
        return written

    return _Codec(write, read, frozenset(allowed))


def _literal(values: tuple[Any, ...]) -> _Codec:
    """Make the codec of a literal: a member of an enum is written as its name."""
    written = {
        value.name if isinstance(value, enum.Enum) else value: value for value in values
    }
    by_value = {(type(value), value): key for key, value in written.items()}
    by_key = {(type(key), key): value for key, value in written.items()}
    declared = f"one of {', '.join(map(repr, values))}"

    def write(value: Any, path: _Path, depth: int) -> Any:
        try:
            return by_value[type(value), value]
        except (KeyError, TypeError):
            raise _wrong(path, value, declared) from None

    def read(stored: Any, path: _Path, depth: int) -> Any:
        try:
            return by_key[type(stored), stored]
        except (KeyError, TypeError):
            raise _unreadable(path, stored, declared) from None

    return _Codec(write, read)


def _enum(cls: type[enum.Enum]) -> _Codec:
    """Make the codec of an enum: the member's name, or the number of a set of flags."""
    is_flag = issubclass(cls, enum.Flag)

    def write(value: Any, path: _Path, depth: int) -> Any:
        if type(value) is not cls:
            raise _wrong(path, value, cls.__name__)
        return value.value if is_flag else value.name

    def read(written: Any, path: _Path, depth: int) -> Any:
        try:
            if is_flag and type(written) is int:
                return cls(written)
            if not is_flag and type(written) is str:
                return cls[written]
        except (KeyError, ValueError):
            pass
        raise _unreadable(path, written, f"a member of {cls.__name__}")

    return _Codec(write, read)


#: Turns a value into what MessagePack can hold; ``None`` stands for the value itself.
_QuickWriter = Callable[[Any], Any] | None

#: Shorter states are written whole, and so is one of which less stays the same, bytes.
_SHARED_STATE, _SHARED_LEAST = 512, 128


class _Layout(typing.NamedTuple):
    """
    How a class of states is written, field by field.

    :ivar turned: fields that the encoder of MessagePack would write in another way.
    :ivar fixed: numbers and names of fields that can only hold what nobody can change,
        and more than a number or a text.
    """

    name: str
    names: tuple[str, ...]
    get: Callable[[Any], tuple[Any, ...]]
    turned: tuple[tuple[str, Callable[[Any], Any]], ...]
    fixed: tuple[tuple[int, str], ...]


class StateWriter:
    """
    Writes the states of one match as `StateCodec.write_unchecked` does, but faster.

    Most of a state is in the next one, too: the same objects, which cannot change. A
    field that stays is written once.
    """

    def __init__(self, codec: StateCodec, layouts: Mapping[Any, _Layout]) -> None:
        """Begin; see `StateCodec.writer`."""
        self._codec, self._layouts = codec, layouts
        # Of the last state: its length, its class, and its fields.
        self._length = 0
        self._layout: _Layout | None = None
        self._values: tuple[Any, ...] = ()
        # Fields as they were written, of those that have stayed; ``None`` for others.
        self._written: list[msgspec.Raw | None] = []

    def forget(self) -> None:
        """Write all of the next state."""
        self._layout = None

    def write(self, state: Any) -> bytes:
        """
        Write a state.

        :returns: what `StateCodec.encode` puts behind its head.
        :raises Misconfigured: as `StateCodec.encode`.
        """
        if self._length < _SHARED_STATE:
            return self._write_all(state)
        layout = self._layouts.get(type(state))
        if layout is None:
            return self._write_all(state)
        values = layout.get(state)
        if layout is not self._layout:
            self._layout, self._values = layout, values
            self._written = [None] * len(values)
            return self._write_all(state)
        last, self._values = self._values, values
        written, shared = self._written, 0
        fields: dict[str, Any] = dict(zip(layout.names, values, strict=True))
        try:
            for name, turn in layout.turned:
                fields[name] = turn(fields[name])
            for at, name in layout.fixed:
                if values[at] is last[at]:
                    raw = written[at]
                    if raw is None:
                        raw = written[at] = msgspec.Raw(_encode(fields[name]))
                    fields[name] = raw
                    shared += len(raw)
                else:
                    written[at] = None
            if shared < _SHARED_LEAST:
                return self._write_all(state)
            payload = _encode((layout.name, fields))
        except Exception:
            # What `encode` can say more about. Not all fields were compared.
            self._written = [None] * len(values)
            return self._write_all(state)
        if len(payload) > LONGEST_STATE - _HEAD:
            return self._write_all(state)
        self._length = len(payload)
        return payload

    def _write_all(self, state: Any) -> bytes:
        payload = self._codec.write_unchecked(state)
        self._length = len(payload)
        return payload


def _layout_of(kind: Any, quick: _Quick) -> _Layout | None:
    """Find how a class of states is written; ``None`` if nothing can be shared."""
    cls = get_origin(kind) or kind
    if not isinstance(cls, type) or _fields_of(cls) is None:
        return None
    declared = field_types(kind)
    fixed = tuple(
        (at, name)
        for at, (name, one) in enumerate(declared.items())
        if not _is_plain(one) and _is_fixed(one, ())
    )
    if not fixed:
        return None
    names = tuple(declared)
    get = attrgetter(*names)
    turns = ((name, quick.of(one)) for name, one in declared.items())
    return _Layout(
        cls.__name__,
        names,
        get if len(names) > 1 else lambda state: (get(state),),
        tuple((name, turn) for name, turn in turns if turn is not None),
        fixed,
    )


def _is_plain(kind: Any) -> bool:
    """Can it only be a number, a text or a name?"""
    return all(
        one in _SCALARS
        or one is type(None)
        or get_origin(one) is Literal
        or (isinstance(one, type) and issubclass(one, enum.Enum))
        for one in _members(kind)
    )


def _is_fixed(kind: Any, known: tuple[Any, ...]) -> bool:
    """Can nothing that is declared so be changed? A mapping may be."""
    for one in _members(kind):
        origin = get_origin(one)
        if _is_plain(one) or one in known:
            continue
        if origin is tuple or origin is frozenset:
            parts = [part for part in get_args(one) if part is not Ellipsis]
        elif isinstance(origin or one, type) and _fields_of(origin or one) is not None:
            if not is_frozen_class(origin or one):
                return False
            parts = list(field_types(one).values())
        else:
            return False
        if not all(_is_fixed(part, (*known, one)) for part in parts):
            return False
    return True


class _Quick:
    """
    Makes writers that look at no more than they must.

    Most of a state is numbers, text, tuples, and frozen classes of them, which the
    encoder of MessagePack writes as `_Codecs` would. What it would write in another way
    is turned here, and so is what holds it.
    """

    def __init__(self) -> None:
        # While a class is being looked at it has a writer that is found later: it may
        # refer to itself.
        self._classes: dict[Any, _QuickWriter] = {}

    def of(self, kind: Any) -> _QuickWriter:
        members = _members(kind)
        if len(members) > 1:
            some = tuple(member for member in members if member is not type(None))
            if all(member in _SCALARS for member in some):
                return None
            inner = self.of(some[0]) if len(some) == 1 else self.tagged(some)
            if inner is None or len(some) == len(members):
                return inner
            return lambda value: None if value is None else inner(value)
        (kind,) = members
        origin = get_origin(kind)
        if origin is Literal:
            if not any(isinstance(value, enum.Enum) for value in get_args(kind)):
                return None
            return lambda value: value.name if isinstance(value, enum.Enum) else value
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return attrgetter("value" if issubclass(kind, enum.Flag) else "name")
        if origin is tuple:
            return self._tuple(get_args(kind))
        if origin is frozenset:
            item = self.of(get_args(kind)[0])
            turn = item or (lambda value: value)
            return lambda value: sorted(map(turn, value), key=_encode)
        if origin is not None and issubclass(origin, Mapping):
            return self._mapping(get_args(kind))
        if isinstance(origin or kind, type) and _fields_of(origin or kind) is not None:
            return self._class(kind)
        return None

    def tagged(self, members: tuple[Any, ...]) -> Callable[[Any], Any]:
        by_class: dict[Any, tuple[str, _QuickWriter]] = {}
        for member in members:
            cls = get_origin(member) or member
            name = "Literal" if cls is Literal else cls.__name__
            values = get_args(member) if cls is Literal else ()
            for one in {type(value) for value in values} or (cls,):
                by_class[one] = name, self.of(member)

        def write(value: Any) -> Any:
            name, inner = by_class[type(value)]
            return name, (value if inner is None else inner(value))

        return write

    def _tuple(self, parts: tuple[Any, ...]) -> _QuickWriter:
        if len(parts) == 2 and parts[1] is Ellipsis:
            item = self.of(parts[0])
            return None if item is None else lambda value: list(map(item, value))
        items = [self.of(part) for part in parts]
        if not any(items):
            return None
        return lambda value: [
            one if item is None else item(one)
            for item, one in zip(items, value, strict=True)
        ]

    def _mapping(self, kinds: tuple[Any, ...]) -> _QuickWriter:
        keys, items = map(self.of, kinds)
        if keys is None and items is None:
            return lambda value: list(value.items())
        return lambda value: [
            (
                key if keys is None else keys(key),
                item if items is None else items(item),
            )
            for key, item in value.items()
        ]

    def _class(self, kind: Any) -> _QuickWriter:
        if kind not in self._classes:
            self._classes[kind] = lambda value: self._classes[kind](value)  # type: ignore[misc]  # replaced below
            fields = {
                name: self.of(declared) for name, declared in field_types(kind).items()
            }
            self._classes[kind] = _quick_record(get_origin(kind) or kind, fields)
        return self._classes[kind]


def _quick_record(cls: type, fields: Mapping[str, _QuickWriter]) -> _QuickWriter:
    turned = [(name, turn) for name, turn in fields.items() if turn is not None]
    if not turned and _is_written_alike(cls, fields):
        return None
    names = tuple(fields)
    if len(names) == 1:
        (only,) = names
        get_only = attrgetter(only)
        turn_only = fields[only] or (lambda value: value)
        return lambda value: {only: turn_only(get_only(value))}
    if not names:
        return lambda _: {}
    get_all = attrgetter(*names)

    def write(value: Any) -> Any:
        written = dict(zip(names, get_all(value), strict=True))
        for name, turn in turned:
            written[name] = turn(written[name])
        return written

    return write


def _is_written_alike(cls: type, names: Collection[str]) -> bool:
    """Does the encoder write exactly these fields of a class, under their names?"""
    if issubclass(cls, msgspec.Struct):
        settings = cls.__struct_config__
        return (
            not (settings.array_like or settings.omit_defaults)
            and settings.tag is None
            and cls.__struct_encode_fields__ == cls.__struct_fields__
        )
    if not attrs.has(cls) or cls.__dictoffset__ or hasattr(cls, "__dataclass_fields__"):
        return False
    # It writes every slot but those whose names begin with an underscore.
    slots: set[str] = set()
    for one in cls.__mro__:
        own = one.__dict__.get("__slots__", ())
        slots |= {own} if isinstance(own, str) else set(own)
    return {name for name in slots if name != "__weakref__"} == set(names) and not any(
        name.startswith("_") for name in names
    )


def first_change(before: Any, after: Any, path: str = "state") -> str | None:
    """
    Find where a state that was read differs from the one that was written.

    Types count too, and not only what ``==`` compares.

    :returns: the path and both values; ``None`` if they are the same.
    """
    if type(before) is not type(after):
        return f"{path}: {_shown(before)}, then {_shown(after)}"
    if before == after and type(before) in _SCALARS:
        return None
    if isinstance(before, float) and math.isnan(before) and math.isnan(after):
        return None
    fields = _fields_of(typing.cast("Hashable", type(before)))
    if fields is not None:
        pairs = [
            (getattr(before, one.name), getattr(after, one.name), f"{path}.{one.name}")
            for one in fields
        ]
    elif isinstance(before, tuple) and len(before) == len(after):
        pairs = [
            (one, other, f"{path}[{number}]")
            for number, (one, other) in enumerate(zip(before, after, strict=True))
        ]
    elif isinstance(before, Mapping) and list(before) == list(after):
        pairs = [(before[key], after[key], f"{path}[{key!r}]") for key in before]
    else:
        return None if before == after else f"{path}: {before!r}, then {after!r}"
    return next(filter(None, (first_change(*pair) for pair in pairs)), None)

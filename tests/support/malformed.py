"""
Spoilt copies of good messages: a field missing, of another type, out of bounds.

Made from the types that the receiver reads, so that a new field is attacked from
its first day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec.inspect as shapes

#: How messages are written, for not every value can be written either way.
Wire = Literal["json", "msgpack"]

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 1.5, 1e308, 2**63, -(2**63)),
    *("", "x", "\0", "\ud7ff", "x" * 300, [], [[]], ["x"], {}, {"x": {}}, {"x": "x"}),
)
#: Values of every kind that a message can hold, and hard ones.
VALUES: dict[Wire, tuple[Any, ...]] = {
    "json": (*_VALUES, 10**30),
    "msgpack": (*_VALUES, 1.0, b"", b"x" * 300),
}


def spoilt(kind: Any, good: Any, wire: Wire) -> Iterator[tuple[str, Any]]:
    """
    Spoil a good message, or any other value, in one place at a time.

    :param kind: the type that its receiver reads.
    :param good: as data. Inside of a field that it leaves out nothing is spoilt; its
        tag is if it is given, which it must be where the type is one of several.
    :returns: the path of each place, and the whole that is wrong there.
    """
    shape = shapes.type_info(kind)
    assert is_of(shape, good), f"{good} is no {kind}"
    return _spoilt(shape, good, wire, "")


def nonsense(kind: Any, good: Any, wire: Wire) -> Iterator[Any]:
    """Give each field of a good message every value that its type allows."""
    for name, field in _fields(_of_union(shapes.type_info(kind), good)).items():
        for value in VALUES[wire]:
            if is_of(field.type, value):
                yield good | {name: value}


def is_at(told: str, place: str) -> bool:
    """Does a path name this place, or one inside of it?"""
    return told == place or not place or told.startswith((f"{place}.", f"{place}["))


def is_of(shape: shapes.Type, value: Any) -> bool:
    """Is this value one that a field of this type may have?"""
    match shape:
        case shapes.AnyType() | shapes.RawType():
            return True
        case shapes.UnionType():
            return any(
                is_of(one, value) and _has_tag(one, value) for one in shape.types
            )
        case shapes.NoneType():
            return value is None
        case shapes.IntType():
            return (
                isinstance(value, int)
                and not isinstance(value, bool)
                and _is_within(shape, value)
            )
        case shapes.FloatType():
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and _is_within(shape, value)
            )
        case shapes.BoolType():
            return isinstance(value, bool)
        case shapes.LiteralType():
            return isinstance(value, str) and value in shape.values
        case shapes.StrType():
            return (
                isinstance(value, str)
                and _has_length(shape, value)
                and re.search(shape.pattern or "", value) is not None
            )
        case shapes.BytesType():
            return isinstance(value, bytes) and _has_length(shape, value)
        case shapes.VarTupleType():
            return (
                isinstance(value, list | tuple)
                and _has_length(shape, value)
                and all(is_of(shape.item_type, each) for each in value)
            )
        case shapes.TupleType():
            return (
                isinstance(value, list | tuple)
                and len(value) == len(shape.item_types)
                and all(
                    is_of(kind, each)
                    for kind, each in zip(shape.item_types, value, strict=True)
                )
            )
        case shapes.DictType():
            return isinstance(value, dict) and all(
                is_of(shape.key_type, key) and is_of(shape.value_type, each)
                for key, each in value.items()
            )
        case shapes.StructType() | shapes.DataclassType():
            return isinstance(value, dict) and _is_struct(shape, value)
    raise AssertionError(f"the tests have no value of this type: {shape}")


def beyond(shape: shapes.Type, good: Any) -> Iterator[Any]:
    """Values just outside of a type's bounds."""
    if isinstance(shape, shapes.UnionType):
        for one in shape.types:
            yield from beyond(one, good)
    if isinstance(shape, shapes.IntType | shapes.FloatType):
        yield from (one for one in (shape.gt, shape.lt) if one is not None)
        if shape.ge is not None:
            yield shape.ge - 1
        if shape.le is not None:
            yield shape.le + 1
    if isinstance(shape, shapes.StrType | shapes.BytesType) or (
        isinstance(shape, shapes.VarTupleType) and good
    ):
        one = {shapes.StrType: "x", shapes.BytesType: b"x"}.get(type(shape), good)
        if shape.min_length:
            yield one[:1] * (shape.min_length - 1)
        if shape.max_length is not None:
            yield one[:1] * (shape.max_length + 1)


def _spoilt(
    shape: shapes.Type, good: Any, wire: Wire, path: str
) -> Iterator[tuple[str, Any]]:
    for value in (*VALUES[wire], *beyond(shape, good)):
        if not is_of(shape, value):
            yield path, value
    if good is None:
        return
    shape = _of_union(shape, good)
    match shape:
        case shapes.StructType() | shapes.DataclassType():
            yield from _spoilt_fields(shape, good, wire, path)
        case shapes.VarTupleType() | shapes.TupleType():
            for at, item in enumerate(good):
                kind = (
                    shape.item_type
                    if isinstance(shape, shapes.VarTupleType)
                    else shape.item_types[at]
                )
                for where, value in _spoilt(kind, item, wire, f"{path}[{at}]"):
                    yield where, [*good[:at], value, *good[at + 1 :]]
        case shapes.DictType():
            for key, item in good.items():
                kind = shape.value_type
                for where, value in _spoilt(kind, item, wire, f"{path}[...]"):
                    yield where, good | {key: value}


def _spoilt_fields(
    shape: shapes.StructType | shapes.DataclassType,
    good: dict[str, Any],
    wire: Wire,
    path: str,
) -> Iterator[tuple[str, Any]]:
    before = f"{path}." if path else ""
    for name, field in _fields(shape).items():
        if field.required:
            yield before + name, {key: good[key] for key in good if key != name}
        for where, value in _spoilt(field.type, good.get(name), wire, before + name):
            yield where, good | {name: value}
    if isinstance(shape, shapes.StructType):
        if (tag := shape.tag_field) is not None and tag in good:
            yield before + tag, {key: good[key] for key in good if key != tag}
            for value in VALUES[wire]:
                if value != shape.tag:
                    yield before + tag, good | {tag: value}
        if shape.forbid_unknown_fields:
            yield f"{before}spare", good | {"spare": 0}


def _fields(shape: shapes.Type) -> dict[str, shapes.Field]:
    assert isinstance(shape, shapes.StructType | shapes.DataclassType)
    return {field.encode_name: field for field in shape.fields}


def _of_union(shape: shapes.Type, good: Any) -> shapes.Type:
    """Find the member of a union that a good value is of."""
    if isinstance(shape, shapes.UnionType):
        return next(one for one in shape.types if is_of(one, good))
    return shape


def _is_struct(
    shape: shapes.StructType | shapes.DataclassType, value: Mapping[Any, Any]
) -> bool:
    fields = _fields(shape)
    known = set(fields)
    if isinstance(shape, shapes.StructType):
        if shape.tag_field is not None:
            known.add(shape.tag_field)
            if value.get(shape.tag_field, shape.tag) != shape.tag:
                return False
        if shape.forbid_unknown_fields and not value.keys() <= known:
            return False
    return all(
        is_of(field.type, value[name]) if name in value else not field.required
        for name, field in fields.items()
    )


def _has_tag(shape: shapes.Type, value: Any) -> bool:
    """Where it is one of several, can it be known as this one?"""
    tag = shape.tag_field if isinstance(shape, shapes.StructType) else None
    return tag is None or not isinstance(value, dict) or tag in value


def _is_within(shape: shapes.IntType | shapes.FloatType, value: float) -> bool:
    return (
        (shape.ge is None or value >= shape.ge)
        and (shape.gt is None or value > shape.gt)
        and (shape.le is None or value <= shape.le)
        and (shape.lt is None or value < shape.lt)
    )


def _has_length(
    shape: shapes.StrType | shapes.BytesType | shapes.VarTupleType,
    value: Sequence[Any],
) -> bool:
    return len(value) >= (shape.min_length or 0) and (
        shape.max_length is None or len(value) <= shape.max_length
    )

"""
JSON merge patches: the difference between two JSON objects.

Source: RFC 7396 (which replaced RFC 7386).
"""

from __future__ import annotations

from typing import Any


class NoPatch(ValueError):
    """No merge patch turns the one value into the other."""


def merge_diff(base: Any, target: Any) -> dict[str, Any]:
    """
    Find the patch that turns *base* into *target*; both are decoded JSON.

    :raises NoPatch: one of them isn't an object, or *target* has a new null, which
        means "remove" in a patch.
    """
    if not isinstance(base, dict) or not isinstance(target, dict):
        raise NoPatch("only objects can be patched")
    patch: dict[str, Any] = {name: None for name in base if name not in target}
    for name, value in target.items():
        before = base.get(name, _NOTHING)
        if _is_same(before, value):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[name] = merge_diff(before, value)
        else:
            patch[name] = _whole(value)
    return patch


def merge(base: Any, patch: Any) -> Any:
    """Apply a patch; *base* is not changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


_NOTHING = object()


def _is_same(one: Any, other: Any) -> bool:
    """Are they the same JSON? In Python ``True``, 1 and 1.0 are equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _is_same(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def _whole(value: Any) -> Any:
    """Return *value* if a patch can set it as a whole."""
    if value is None:
        raise NoPatch("a patch cannot set a null")
    if isinstance(value, dict):
        # Nulls inside of objects would vanish when the patch is applied; those
        # inside of arrays are kept as they are.
        for inner in value.values():
            _whole(inner)
    return value

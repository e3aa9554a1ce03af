"""Tables that operators write: error messages for their mistakes."""

from __future__ import annotations

import difflib
import re
import typing
from typing import Any

import msgspec

_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "null": "nothing",
}


def explain(error: msgspec.ValidationError, kind: type[Any]) -> str:
    """
    Explain an error in a table, for readers who do not know msgspec.

    :param kind: the type of the table.
    :returns: a sentence without its end; msgspec's own words for other errors.
    """
    text, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`").lstrip(".").replace("[...]", "")
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", text):
        near = difflib.get_close_matches(found[1], names, 1)
        known = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
        return f"there is no {found[1]!r} in it; {known}" if not place else str(error)
    if found := re.fullmatch(r"Object missing required field `(.*)`", text):
        return f"set {found[1]}" if not place else str(error)
    place = place or "it"
    if found := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", text):
        wanted, given = (
            " or ".join(_KINDS.get(one, one) for one in words.split(" | "))
            for words in found.groups()
        )
        return f"{place} must be {wanted}, not {given}"
    if found := re.fullmatch(r"Expected `([^`]*)` (.*)", text):
        return f"{place} must be {_KINDS.get(found[1], found[1])} {found[2]}"
    if found := re.fullmatch(r"Invalid enum value (.*)", text):
        choices = typing.get_args(typing.get_type_hints(kind).get(place))
        if choices:
            allowed = ", ".join(str(one) for one in choices if one != "")
            return f"{place} must be one of {allowed}, not {found[1]}"
    return str(error)

"""Tables as settings, and those that operators name, such as ``[queues.ranked]``."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import msgspec

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_Table = TypeVar("_Table")

_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "null": "nothing",
}


@attrs.frozen
class JsonTable:
    """
    A table in the file, which is JSON in the other sources.

    :ivar accept: checks it.
    :ivar show: writes a short text for it.
    """

    accept: Callable[[Any], Any]
    show: Callable[[Any], str] = ", ".join
    metavar: str = "JSON"

    def read(self, text: str) -> Any:
        try:
            table = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise ValueError(f"must be a JSON object: {error}") from None
        return self.accept(table)


def read_named(
    tables: Any, kind: type[_Table], what: str, most: int, example: str
) -> dict[str, _Table]:
    """
    Check tables and their names.

    :param tables: as they were read, by name.
    :param kind: the type of each.
    :param what: a word for one of them, for errors.
    :param most: how many there may be.
    :param example: the head of a table, for errors.
    :raises ValueError: what is wrong, as the end of a sentence about the setting.
    """
    if not isinstance(tables, dict):
        raise ValueError(f"must be tables, such as {example}")
    if len(tables) > most:
        raise ValueError(f"has {len(tables)} {what}s; at most {most} are allowed")
    read = {}
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise ValueError(
                "must have names of 1 to 64 lower-case letters, digits, - and _, not "
                f"{name!r}"
            )
        try:
            read[name] = msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            why = explain(error, kind)
            raise ValueError(f"has a wrong {what} {name!r}: {why}") from None
    return read


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

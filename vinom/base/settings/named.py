"""Tables as settings, and those that operators name, such as ``[queues.ranked]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import msgspec

from vinom.base.tables import explain

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_Table = TypeVar("_Table")


@attrs.frozen
class JsonTable:
    """
    A table in the file, which is JSON in the other sources.

    :ivar take: checks it.
    :ivar shown: writes a short text for it.
    """

    take: Callable[[Any], Any]
    shown: Callable[[Any], str] = ", ".join
    metavar: str = "JSON"

    def read(self, text: str) -> Any:
        try:
            table = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise ValueError(f"must be a JSON object: {error}") from None
        return self.accept(table)

    def accept(self, value: Any) -> Any:
        return self.take(value)

    def show(self, value: Any) -> str:
        return self.shown(value)


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

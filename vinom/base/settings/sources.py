"""
Where settings come from: the command line, then variables, then a file; and how tables
are read, also those that operators name, such as ``[queues.ranked]``.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec

from vinom.base.settings.values import PathName, Row
from vinom.errors import Misconfigured

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


@attrs.frozen(slots=False)
class Sources:
    """
    The sources of one program's settings.

    :ivar table: its settings.
    :ivar program: its command, for errors.
    :ivar prefix: prefix of its variables; ``CONFIG`` with it names the TOML file.
    :ivar others: prefixes of variables that belong to another program.
    """

    table: Sequence[Row]
    program: str
    prefix: str
    others: tuple[str, ...] = ()

    @property
    def config_variable(self) -> str:
        """The variable that names the file, and so cannot be set in the file."""
        return f"{self.prefix}CONFIG"

    @cached_property
    def rows(self) -> Mapping[str, Row]:
        """The settings by name."""
        return {row.name: row for row in self.table}

    def gather(
        self,
        command_line: Mapping[str, Any],
        environment: Mapping[str, str],
        config: Path | None = None,
    ) -> dict[str, Any]:
        """
        Combine the sources.

        :param command_line: the given options: text by setting name; a list of texts if
            it may be repeated, ``True`` for a switch.
        :param environment: variables; those with the prefix are read, if not empty.
        :param config: the TOML file; without it, the one that a variable names.
        :returns: values by name.
        :raises Misconfigured: a key is unknown or a value invalid; names its source.
        """
        variable = self.config_variable
        if config is None and environment.get(variable):
            config = checked_path(variable, environment[variable])
        values: dict[str, Any] = {}
        if config is not None:
            values |= self._from_file(config)
        values |= self._from_environment(environment)
        values |= self._from_command_line(command_line)
        return values

    def _from_command_line(self, given: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, text in given.items():
            row = self.rows[name]
            where = f"--{row.flag}"
            values[name] = True if text is True else _read(row, where, text)
        return values

    def _from_environment(self, environment: Mapping[str, str]) -> dict[str, Any]:
        known = {row.variable: row for row in self.table}
        values: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(self.prefix) or variable == self.config_variable:
                continue
            row = known.get(variable)
            if row is None and variable.startswith(self.others):
                continue
            if row is None:
                raise Misconfigured(self.unknown("variable", variable, known))
            if not text:
                # Like one that is not set: manifests cannot take variables away.
                continue
            given = text.split() if row.many else text
            values[row.name] = _read(row, variable, given)
        return values

    def _from_file(self, path: Path) -> dict[str, Any]:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise Misconfigured(
                f"cannot read {path}: {error.strerror}; set --config, or "
                f"{self.config_variable}, to a TOML file that can be read"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Misconfigured(not_toml(path, error)) from error
        values: dict[str, Any] = {}
        for name, value in document.items():
            row = self.rows.get(name)
            if row is None:
                raise Misconfigured(f"{path}: {self.unknown('key', name, self.rows)}")
            where = f"{path}: {name}"
            if not row.many:
                values[name] = checked(where, row.kind.accept, value)
            elif isinstance(value, list):
                values[name] = tuple(checked(where, row.kind.accept, v) for v in value)
            else:
                raise Misconfigured(f"{where} must be a list")
        return values

    def unknown(self, what: str, name: str, known: Iterable[str]) -> str:
        """Write that *name* is not a known *what*, with the nearest of *known*."""
        by_folded = {_folded(key): key for key in known}
        folded = _folded(name)
        # ``lobby_port`` and ``max_players`` contain a word of the right name.
        near = [key for key in by_folded if key in folded.split("_")]
        near = near or get_close_matches(folded, by_folded, n=1)
        if not near:
            return f"unknown {what} {name!r}; {self.program} --help lists all options"
        return f"unknown {what} {name!r}; did you mean {by_folded[near[0]]!r}?"


def not_toml(path: Path, error: Exception) -> str:
    """
    Say where a file is not TOML, what is wrong there, and what to write.

    :param error: what reading or decoding it raised.
    """
    if isinstance(error, UnicodeDecodeError):
        return f"{path} is not TOML: {error}; save it as UTF-8"
    # The parser ends its words with "(at line 3, column 8)".
    what, _, place = str(error).removesuffix(")").partition(" (at ")
    where = f"{path}, {place}," if place else f"{path}"
    return (
        f"{where} is not TOML: {what[:1].lower()}{what[1:]}; write name = value on a "
        "line of its own, with text in double quotes"
    )


def checked_path(where: str, text: str) -> Path:
    """
    Read the name of a file or folder.

    :param where: the option or variable that names it, for errors.
    :raises Misconfigured: there is no such home directory.
    """
    path: Path = checked(where, PathName().read, text)
    return path


def checked(where: str, read: Any, given: Any) -> Any:
    """
    Read a value.

    :param where: its source, for errors.
        :param read: a method of its kind.
        :raises Misconfigured: it is invalid.
    """
    try:
        return read(given)
    except ValueError as error:
        raise Misconfigured(f"{where} {error}") from error


def _read(row: Row, where: str, given: str | Sequence[str]) -> Any:
    """Read the text of a setting, or its texts if it may be given more than once."""
    if row.many:
        return tuple(checked(where, row.kind.read, one) for one in given)
    return checked(where, row.kind.read, given)


def _folded(name: str) -> str:
    return name.lower().strip("-").replace("-", "_")


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
        near = get_close_matches(found[1], names, 1)
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

"""Where settings come from: the command line, then variables, then a file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from vinom.base.settings.values import PathName, Row
from vinom.errors import Misconfigured


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

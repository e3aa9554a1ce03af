"""Where settings come from: the command line, then variables, then a file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vinom.errors import Misconfigured
from vinom.node.settings import TABLE, Row, Settings
from vinom.node.values import PathName

_ROWS: Mapping[str, Row] = {row.name: row for row in TABLE}
#: Names the file itself, and therefore cannot be set in it.
CONFIG_VARIABLE = "VINOM_CONFIG"


def gather(
    command_line: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> Settings:
    """
    Combine the sources.

    :param command_line: what was given: text by setting name; a list of texts if it
        may be repeated, ``True`` for a switch.
    :param environment: variables; those that begin with ``VINOM_`` are read.
    :param config: the TOML file; without it, the one that ``VINOM_CONFIG`` names.
    :raises Misconfigured: a key is unknown, or a value is invalid; says where.
    """
    if config is None and environment.get(CONFIG_VARIABLE):
        config = checked_path(CONFIG_VARIABLE, environment[CONFIG_VARIABLE])
    values: dict[str, Any] = {}
    if config is not None:
        values |= _from_file(config)
    values |= _from_environment(environment)
    values |= _from_command_line(command_line)
    return Settings(**values)


def _from_command_line(given: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in given.items():
        row = _ROWS[name]
        where = f"--{row.flag}"
        if text is True:
            values[name] = True
        elif row.many:
            values[name] = tuple(_checked(where, row.kind.read, one) for one in text)
        else:
            values[name] = _checked(where, row.kind.read, text)
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {row.variable: row for row in TABLE}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith("VINOM_") or variable == CONFIG_VARIABLE:
            continue
        row = known.get(variable)
        if row is None:
            raise Misconfigured(unknown("variable", variable, known))
        if row.many:
            values[row.name] = tuple(
                _checked(variable, row.kind.read, one) for one in text.split()
            )
        else:
            values[row.name] = _checked(variable, row.kind.read, text)
    return values


def _from_file(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(
            f"cannot read {path}: {error.strerror}; set --config, or "
            f"{CONFIG_VARIABLE}, to a TOML file that can be read"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not TOML: {error}") from error
    values: dict[str, Any] = {}
    for name, value in document.items():
        row = _ROWS.get(name)
        if row is None:
            raise Misconfigured(f"{path}: {unknown('key', name, _ROWS)}")
        where = f"{path}: {name}"
        if not row.many:
            values[name] = _checked(where, row.kind.accept, value)
        elif isinstance(value, list):
            values[name] = tuple(_checked(where, row.kind.accept, v) for v in value)
        else:
            raise Misconfigured(f"{where} must be a list")
    return values


def checked_path(where: str, text: str) -> Path:
    """
    Read the name of a file or folder.

    :param where: the option or variable that names it, for errors.
    :raises Misconfigured: there is no such home directory.
    """
    path: Path = _checked(where, PathName().read, text)
    return path


def _checked(where: str, read: Any, given: Any) -> Any:
    try:
        return read(given)
    except ValueError as error:
        raise Misconfigured(f"{where} {error}") from error


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Write that no *what* is called *name*, and which of *known* is most like it."""
    by_folded = {_folded(key): key for key in known}
    folded = _folded(name)
    # ``lobby_port`` and ``max_players`` contain a word of the right name.
    near = [key for key in by_folded if key in folded.split("_")]
    near = near or get_close_matches(folded, by_folded, n=1)
    if not near:
        return f"unknown {what} {name!r}; twistd vinom --help lists all options"
    return f"unknown {what} {name!r}; did you mean {by_folded[near[0]]!r}?"


def _folded(name: str) -> str:
    return name.lower().strip("-").replace("-", "_")

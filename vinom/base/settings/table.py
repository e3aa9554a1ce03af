"""Rows of a table of settings: one for each field of a settings class."""

from __future__ import annotations

from typing import Any

import attrs

from vinom.base.settings.values import Choice, Kind


def option(
    section: str, kind: Kind, help: str, default: Any = None, *, many: bool = False
) -> Any:
    """
    Declare one row of the table.

    :param section: the section of the reference page.
    :param kind: reads and checks the value.
    :param help: one line of ``--help``; Twisted appends the default.
    :param default: the value, or a function that makes it.
    :param many: may be given more than once; a list in TOML.
    """
    row = {"section": section, "kind": kind, "help": help, "many": many}
    if callable(default):
        return attrs.field(factory=default, metadata=row)
    return attrs.field(default=() if many else default, metadata=row)


def log_format_option() -> Any:
    """Declare the row ``log_format``, which each program has."""
    words = "write the log as text or json"
    return option("operation", Choice(("text", "json")), words, "text")


def log_level_option() -> Any:
    """Declare the row ``log_level``, which each program has."""
    levels = ("debug", "info", "warn", "error", "critical")
    words = (
        "omit less important events from the log: debug, info, warn, error or critical"
    )
    return option("operation", Choice(levels), words, "info")


#: Defaults that a function makes are not shown.
_MADE: Any = attrs.Factory


@attrs.frozen
class Row:
    """
    One setting, for the sources and the reference page.

    :ivar name: its key in the TOML file.
    :ivar default: the default as it is shown; ``None`` if there is none.
    :ivar many: may be given more than once; a list in TOML.
    :ivar prefix: prefix of its variable.
    """

    name: str
    section: str
    kind: Kind
    help: str
    default: str | None
    many: bool
    prefix: str

    @property
    def flag(self) -> str:
        """Name on the command line, without its hyphens in front."""
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name among the environment's variables."""
        return self.prefix + self.name.upper()


def row_of(field: attrs.Attribute[Any], prefix: str = "VINOM_") -> Row:
    """
    Read the row that `option` attached to a field.

    :param prefix: prefix of its variable.
    """
    row = field.metadata
    default: str | None
    if field.name == "state_dir":
        default = "~/.local/state/vinom"
    elif field.default in (None, ()) or isinstance(field.default, _MADE):
        default = None
    else:
        default = row["kind"].show(field.default)
    return Row(
        field.name,
        row["section"],
        row["kind"],
        row["help"],
        default,
        row["many"],
        prefix,
    )

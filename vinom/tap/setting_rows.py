"""How one setting is written down, and read by whoever shows the table."""

from __future__ import annotations

from typing import Any

import attrs

from vinom.tap.values import Kind


def option(
    section: str, kind: Kind, help: str, default: Any = None, *, many: bool = False
) -> Any:
    """One row of the table."""
    row = {"section": section, "kind": kind, "help": help, "many": many}
    if callable(default):
        return attrs.field(factory=default, metadata=row)
    return attrs.field(default=() if many else default, metadata=row)


@attrs.frozen
class Row:
    """
    One setting, as the sources and the reference page see it.

    :ivar name: key of the TOML file.
    :ivar default: as a reader sees it; ``None`` if there is none.
    :ivar many: may be given more than once; a list in TOML.
    """

    name: str
    section: str
    kind: Kind
    help: str
    default: str | None
    many: bool

    @property
    def flag(self) -> str:
        """Name on the command line, without its hyphens in front."""
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name among the environment's variables."""
        return f"VINOM_{self.name.upper()}"


def row_of(field: attrs.Attribute[Any]) -> Row:
    """Read what `option` wrote down."""
    told = field.metadata
    default: str | None
    if field.name == "state_dir":
        default = "~/.local/state/vinom"
    elif field.default in (None, ()):
        default = None
    else:
        default = told["kind"].show(field.default)
    return Row(
        field.name, told["section"], told["kind"], told["help"], default, told["many"]
    )

"""Read a contract's JSON Schema: what all languages need to know of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

Node = Mapping[str, Any]


def named(node: Node) -> str:
    """Name the definition that a schema refers to; empty without one."""
    return word(str(node.get("$ref", "")).rpartition("/")[2])


def word(name: str) -> str:
    """Make a name of what msgspec calls a class: "Grid_int_" of one in brackets."""
    return "".join(part if part.isalnum() else "_" for part in name.rpartition(".")[2])


def free(name: str, taken: Collection[str]) -> str:
    """Make a name of letters, digits and "_" that is not taken, by adding "_"."""
    name = "".join(one if one.isalnum() else "_" for one in name)
    name = f"_{name}" if name[:1].isdigit() else name
    while name in taken:
        name += "_"
    return name


def split(node: Node) -> tuple[list[Node], bool]:
    """List the alternatives of a schema, and tell whether null is one, too."""
    found = node.get("anyOf", [node])
    rest = [one for one in found if one.get("type") != "null"]
    return rest, len(rest) < len(found)


def items_of(node: Node) -> list[Node]:
    """List the schemas of an array's items: of each place, or one for all."""
    return node.get("prefixItems") or [node.get("items") or {}]


@attrs.frozen
class Field:
    """
    A field of a structure.

    :ivar name: as it is sent.
    :ivar node: its schema.
    :ivar is_required: is it always sent?
    """

    name: str
    node: Node
    is_required: bool

    @property
    def about(self) -> str:
        """What it is, in one line; may be empty."""
        return str(self.node.get("description", ""))


@attrs.frozen
class Record:
    """
    A structure that is sent as an object.

    :ivar name: of its class.
    :ivar about: what it is; may be empty.
    :ivar fields: without the tag.
    :ivar tag: the field and the word that tell it from others; ``None`` without one.
    """

    name: str
    about: str
    fields: list[Field]
    tag: tuple[str, str] | None


@attrs.frozen
class Reading:
    """
    A contract, read.

    :ivar title: the name of the game's class.
    :ivar parts: the schemas of "view", "setup", "action", "options" and "loadout".
    :ivar events: the schemas of events' data, by kind.
    :ivar is_closed: are there no other events?
    :ivar records: all structures.
    :ivar others: schemas of definitions that are no such structures.
    """

    title: str
    parts: Mapping[str, Node]
    events: Mapping[str, Node]
    is_closed: bool
    records: list[Record]
    others: Mapping[str, Node]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Reading:
        """Read a document of `vinom.play.contract.document`."""
        parts = dict(document["properties"])
        events = parts.pop("events")
        defs = {word(name): node for name, node in document["$defs"].items()}
        records = [
            _record(name, node) for name, node in defs.items() if _is_record(node)
        ]
        others = {name: node for name, node in defs.items() if not _is_record(node)}
        return cls(
            document["title"],
            parts,
            events["properties"],
            not events["additionalProperties"],
            records,
            others,
        )

    @property
    def actions(self) -> Iterator[str]:
        """Name the structures of actions."""
        return (named(one) for one in split(self.parts["action"])[0])


def _is_record(node: Node) -> bool:
    return node.get("type") == "object" and "properties" in node


def _record(name: str, node: Node) -> Record:
    required = node.get("required", ())
    fields: list[Field] = []
    tag = None
    for field, kind in node["properties"].items():
        words = kind.get("enum", ())
        if not fields and field in required and len(words) == 1 and tag is None:
            tag = (field, str(words[0]))
        else:
            fields.append(Field(field, kind, field in required))
    about = " ".join(str(node.get("description", "")).split("\n\n")[0].split())
    return Record(name, about, fields, tag)

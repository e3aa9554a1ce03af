"""A directive that generates the reference of messages from their types."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec.inspect as shapes
from docutils import nodes
from msgspec import UNSET, Raw, Struct, json
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vinom.base.messages.catalogue import PUSHES, REQUESTS

_IVAR = re.compile(r"^:ivar (\w+): (.*(?:\n .*)*)", re.MULTILINE)
_WORDS = {
    shapes.IntType: "integer",
    shapes.FloatType: "number",
    shapes.StrType: "text",
    shapes.BoolType: "true or false",
    shapes.RawType: "any JSON",
    shapes.AnyType: "any JSON",
    shapes.NoneType: "null",
}


def rendered(tag: str, kind: type[Struct]) -> list[str]:
    """Render one message as reST."""
    about, facts = described(kind)
    lines = [f"``{tag}``", "~" * (len(tag) + 4), "", *about, ""]
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)
    inner: dict[str, type[Struct]] = {}
    for field in shape.fields:
        lines += rendered_field(field, facts.get(field.encode_name, ""), inner)
    while inner:
        name = next(iter(inner))
        part = inner.pop(name)
        lines += ["", f"Each of {name} is an object:", ""]
        part_facts = described(part)[1]
        part_shape = shapes.type_info(part)
        assert isinstance(part_shape, shapes.StructType)
        for field in part_shape.fields:
            about = part_facts.get(field.encode_name, "")
            lines += rendered_field(field, about, inner)
    return [*lines, ""]


def rendered_field(
    field: shapes.Field, about: str, inner: dict[str, type[Struct]]
) -> list[str]:
    """Render one field as reST: its type, its default, and what it means."""
    words = in_words(field.type)
    for part in parts_of(field.type):
        inner[f"``{field.encode_name}``"] = part
    if field.default is UNSET:
        words += ", may be missing"
    elif not field.required:
        default = field.default
        if default is not shapes.NODEFAULT:
            shown = bytes(default) if isinstance(default, Raw) else json.encode(default)
            words += f", default ``{shown.decode()}``"
    lines = [f"``{field.encode_name}``: {words}"]
    if about:
        lines.append(f"   {about[0].upper()}{about[1:]}")
    else:
        lines.append("   .. no description")
    return [*lines, ""]


def parts_of(shape: shapes.Type) -> list[type[Struct]]:
    """List the structs that an object is, or an array may hold."""
    if isinstance(shape, shapes.StructType):
        return [shape.cls]
    if isinstance(shape, shapes.VarTupleType) and isinstance(
        shape.item_type, shapes.StructType
    ):
        return [shape.item_type.cls]
    return []


def in_words(shape: shapes.Type) -> str:
    """Describe the values of a field."""
    if isinstance(shape, shapes.UnionType):
        return " or ".join(filter(None, map(in_words, shape.types)))
    if isinstance(shape, shapes.LiteralType):
        return " or ".join(f"``{value}``" for value in shape.values)
    if isinstance(shape, shapes.VarTupleType):
        item = shape.item_type
        of = "objects" if isinstance(item, shapes.StructType) else in_words(item)
        return f"array of {of}"
    if isinstance(shape, shapes.DictType | shapes.StructType):
        return "object"
    words = _WORDS.get(type(shape), "")
    if isinstance(shape, shapes.StrType) and shape.max_length is not None:
        return f"{words}, {shape.min_length or 0} to {shape.max_length} characters"
    if isinstance(shape, shapes.IntType) and shape.ge is not None:
        most = "2^53 - 1" if shape.le == (1 << 53) - 1 else shape.le
        return f"{words}, {shape.ge} to {most}"
    return words


def described(kind: type[Struct]) -> tuple[list[str], dict[str, str]]:
    """Split a docstring into its text and the texts of its fields."""
    text = inspect.getdoc(kind) or ""
    facts = {name: " ".join(about.split()) for name, about in _IVAR.findall(text)}
    about = text.split("\n:ivar ")[0].strip()
    # Readers of the protocol know the types on the wire, not our class names.
    tags = {str(k.__name__): tag for tag, k in (REQUESTS | PUSHES).items()}

    def on_the_wire(text: str) -> str:
        return re.sub(
            r"(?<!`)`(\w+)`(?!`)", lambda m: f"``{tags.get(m[1], m[1])}``", text
        )

    return on_the_wire(about).splitlines(), {
        name: on_the_wire(about) for name, about in facts.items()
    }


class MessageTable(SphinxDirective):
    """``.. vinom-messages:: requests`` or ``pushes``"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        kinds = {"requests": REQUESTS, "pushes": PUSHES}[self.arguments[0]]
        lines: list[str] = []
        for tag, kind in kinds.items():
            lines += rendered(tag, kind)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive; Sphinx calls this."""
    app.add_directive("vinom-messages", MessageTable)
    return {"version": "1", "parallel_read_safe": True}

"""Records for C#, which ``System.Text.Json`` of .NET 8 reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps

from vinom.tools.schema.kinds import Field, Node, Reading, free, items_of, named, split

_PLAIN = {"integer": "long", "number": "double", "string": "string", "boolean": "bool"}
_ANY = "JsonElement"
_MEMBERS = ("EqualityContract", "Equals", "GetHashCode", "GetType", "ToString")


def csharp(reading: Reading) -> str:
    """Write the types of a contract as a C# file."""
    return "\n".join(_Writer(reading).lines()) + "\n"


class _Writer:
    """Writes one file."""

    def __init__(self, reading: Reading) -> None:
        """:param reading: what to write."""
        self._reading = reading
        records = {record.name: record for record in reading.records}
        self._actions = [records[name] for name in reading.actions if name in records]
        self._base = f"{reading.title}Action"

    def lines(self) -> Iterator[str]:
        """List the lines of the file."""
        title = self._reading.title
        yield "#nullable enable"
        yield "using System.Collections.Generic;"
        yield "using System.Text.Json;"
        yield "using System.Text.Json.Serialization;"
        yield ""
        yield f"namespace {title}Types;"
        yield from self._actions_base()
        for record in self._reading.records:
            yield ""
            yield from _comment(record.about, "")
            is_action = record in self._actions and record.tag
            parent = f" : {self._base}" if is_action else ""
            # The tag of an action is its base's.
            tag = None if is_action else record.tag
            yield f"public sealed record {record.name}{parent}"
            yield "{"
            # A member can't have the name of its class, or of what all records have.
            taken = [record.name, *_MEMBERS]
            if tag:
                taken.append(_pascal(tag[0]))
                yield f"    [JsonPropertyName({dumps(tag[0])})]"
                yield f"    public string {taken[-1]} => {dumps(tag[1])};"
            for field in record.fields:
                taken.append(free(_pascal(field.name), taken))
                yield from _comment(field.about, "    ")
                yield from self._field(taken[-1], field)
            yield "}"
        yield ""
        yield f"public static class {title}Events"
        yield "{"
        yield "    /// <summary>Read the data of an event of this kind.</summary>"
        yield "    public static object? Read(string kind, JsonElement data) =>"
        yield "    kind switch"
        yield "    {"
        for kind, node in self._reading.events.items():
            yield f"        {dumps(kind)} => data.Deserialize<{self._kind(node)}>(),"
        yield "        _ => data,"
        yield "    };"
        yield "}"

    def _actions_base(self) -> Iterator[str]:
        tags = [(one.name, *one.tag) for one in self._actions if one.tag]
        if tags:
            field = dumps(tags[0][1])
            yield ""
            yield f"[JsonPolymorphic(TypeDiscriminatorPropertyName = {field})]"
            for name, _, word in tags:
                yield f"[JsonDerivedType(typeof({name}), {dumps(word)})]"
            yield f"public abstract record {self._base};"

    def _field(self, name: str, field: Field) -> Iterator[str]:
        kind = self._kind(field.node)
        default = field.node.get("default")
        yield f"    [JsonPropertyName({dumps(field.name)})]"
        if field.is_required:
            yield f"    public required {kind} {name} {{ get; init; }}"
        elif isinstance(default, str | int | float):
            yield f"    public {kind} {name} {{ get; init; }} = {dumps(default)};"
        else:
            yield "    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]"
            yield f"    public {kind.rstrip('?')}? {name} {{ get; init; }}"

    def _kind(self, node: Node) -> str:
        if "$ref" in node:
            other = self._reading.others.get(named(node))
            return named(node) if other is None else self._kind(other)
        options, is_null = split(node)
        if len(options) != 1 or is_null:
            one = self._kind(options[0]) if len(options) == 1 else _ANY
            return f"{one.rstrip('?')}?" if is_null else one
        if "enum" in node:
            is_text = all(isinstance(value, str) for value in node["enum"])
            return "string" if is_text else _ANY
        if node.get("type") == "array":
            kinds_of = {self._kind(item) for item in items_of(node)}
            return f"IReadOnlyList<{kinds_of.pop() if len(kinds_of) == 1 else _ANY}>"
        if node.get("type") == "object":
            inner = node.get("additionalProperties") or {}
            return f"IReadOnlyDictionary<string, {self._kind(inner)}>"
        return _PLAIN.get(str(node.get("type")), _ANY)


def _comment(text: str, indent: str) -> Iterator[str]:
    if text:
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        yield f"{indent}/// <summary>{text}</summary>"


def _pascal(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))

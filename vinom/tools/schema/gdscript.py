"""Classes for GDScript, of Godot 3 and 4, that read and write dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps

from vinom.tools.schema.kinds import Node, Reading, Record, free, items_of, named, split

_EMPTY = {
    "integer": "0",
    "number": "0.0",
    "string": '""',
    "boolean": "false",
    "array": "[]",
}
#: Words of the language and its functions, which no variable may be.
_WORDS = """
and as assert await break breakpoint class class_name const continue elif else enum
export extends false for func if in is match not null onready or pass preload remote
return self signal static super true var void while yield
script free get set call connect disconnect notification from_dict to_dict
abs ceil char clamp convert ease exp floor hash len lerp load log max min ord pow print
randf randi range round seed sign sin cos tan sqrt step stepify str typeof weakref
"""
#: Native classes that a game's own structures are likely to be named like.
_NATIVE = """
Animation Area Array Button Camera Color Container Control Curve Directory Environment
Expression File Font Image Input Joint Label Light Line2D Material Mesh Mutex Node
Object Panel Particles Path Popup Position2D Range Reference Resource Script Semaphore
Shader Shape Skeleton Skin Sky Slider Sprite Texture Theme Thread TileMap TileSet Time
Timer Tree Tween Vector2 Vector3 Viewport Window World
"""
#: JSON has no whole numbers in Godot, and parts of structures are structures.
_MADE = """\
class Made:
	static func of(kind, value):
		if value is Array:
			var made = []
			for one in value:
				made.append(of(kind, one))
			return made
		if value == null or kind == null:
			return value
		return int(value) if typeof(kind) == TYPE_INT else kind.from_dict(value)

	static func plain(value):
		if value is Array:
			var made = []
			for one in value:
				made.append(plain(one))
			return made
		return value.to_dict() if value is Object else value"""


def gdscript(reading: Reading) -> str:
    """Write the types of a contract as a script, to be preloaded."""
    return "\n".join(_lines(reading)) + "\n"


def _lines(reading: Reading) -> Iterator[str]:
    yield _MADE
    for record in reading.records:
        yield ""
        yield from _record(record, reading)
    yield ""
    yield "class Events:"
    yield "\t# Read the data of an event of this kind."
    yield "\tstatic func from_dict(kind, data):"
    kinds = (
        f"{dumps(kind)}: {_leaf(node, reading)}"
        for kind, node in reading.events.items()
    )
    yield f"\t\treturn Made.of({{{', '.join(kinds)}}}.get(kind), data)"


def _record(record: Record, reading: Reading) -> Iterator[str]:
    yield from _comment(record.about, "")
    yield f"class {_class(record.name)}:"
    names: dict[str, str] = {}
    for field in record.fields:
        names[field.name] = free(field.name, (*_WORDS.split(), *names.values()))
    for field in record.fields:
        yield from _comment(field.about, "\t")
        options, is_null = split(field.node)
        is_one = len(options) == 1 and not is_null
        kind = str(options[0].get("type")) if is_one else ""
        default = dumps(field.node.get("default"))
        empty = _EMPTY.get(kind, "null") if field.is_required else default
        yield f"\tvar {names[field.name]} = {empty}"
    yield ""
    yield "\tstatic func from_dict(data):"
    yield f"\t\tvar made = {_class(record.name)}.new()"
    for field in record.fields:
        kind, key = _leaf(field.node, reading), dumps(field.name)
        name = f"made.{names[field.name]}"
        yield f"\t\t{name} = Made.of({kind}, data.get({key}, {name}))"
    yield "\t\treturn made"
    yield ""
    yield "\tfunc to_dict():"
    pairs = [": ".join(map(dumps, record.tag))] if record.tag else []
    pairs += [f"{dumps(key)}: Made.plain({name})" for key, name in names.items()]
    yield f"\t\treturn {{{', '.join(pairs)}}}"


def _leaf(node: Node, reading: Reading) -> str:
    """Name what a value is, or the items of its arrays are: a class or an integer."""
    if "$ref" in node:
        other = reading.others.get(named(node))
        return _class(named(node)) if other is None else _leaf(other, reading)
    options, _ = split(node)
    if node.get("type") == "array":
        options = items_of(node)
    elif len(options) == 1 and options[0] is node:
        return "TYPE_INT" if node.get("type") == "integer" else "null"
    found = {_leaf(one, reading) for one in options}
    return found.pop() if len(found) == 1 else "null"


def _class(name: str) -> str:
    return free(name, ("Made", "Events", *_NATIVE.split()))


def _comment(text: str, indent: str) -> Iterator[str]:
    if text:
        yield f"{indent}# {text}"

"""Types for TypeScript, which fit ``vinom.js``."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps

from vinom.tools.schema.kinds import Node, Reading, named

_PLAIN = {
    "integer": "number",
    "number": "number",
    "string": "string",
    "boolean": "boolean",
    "null": "null",
}
#: A room of ``vinom.js`` with a game's own types.
_ROOM = """\
/** A room of vinom.js with this game: `room as unknown as {title}Room`. */
export interface {title}Room
  extends Omit<vinom.Room, "act" | "on" | "options" | "setup" | "view"> {{
  /** What the game shows you; null before play begins. */
  readonly view: {view} | null;
  readonly setup: {setup};
  readonly options: {options};
  act(action: {title}Action, tick?: number): Promise<void>;
  on(name: "event", listener: (event: {title}Event) => void): () => void;
  on<Name extends Exclude<keyof vinom.RoomEvents, "event">>(
    name: Name,
    listener: (value: vinom.RoomEvents[Name]) => void,
  ): () => void;
}}"""


def typescript(reading: Reading) -> str:
    """Write the types of a contract as a TypeScript module."""
    return "\n".join(_lines(reading)) + "\n"


def _lines(reading: Reading) -> Iterator[str]:
    title = reading.title
    yield 'import type * as vinom from "./vinom.js";'
    for record in reading.records:
        yield ""
        yield from _comment(record.about, "")
        yield f"export interface {record.name} {{"
        if record.tag:
            yield f"  {_key(record.tag[0])}: {dumps(record.tag[1])};"
        for field in record.fields:
            yield from _comment(field.about, "  ")
            mark = "" if field.is_required else "?"
            yield f"  {_key(field.name)}{mark}: {_kind(field.node)};"
        yield "}"
    for name, node in reading.others.items():
        yield ""
        yield f"export type {name} = {_kind(node)};"
    parts = {name: _kind(node) for name, node in reading.parts.items()}
    yield ""
    yield f"export type {title}Action = {parts['action']};"
    yield f"export type {title}Loadout = {parts['loadout']};"
    yield ""
    yield "/** The data of each kind of event. */"
    yield f"export interface {title}Events {{"
    for kind, node in reading.events.items():
        yield f"  {_key(kind)}: {_kind(node)};"
    yield "}"
    yield ""
    more = "" if reading.is_closed else " The game may send others: it has no `tells`."
    yield f"/** Switch on `kind`, and `data` has its type.{more} */"
    events = f"{title}Events"
    if reading.events:
        own = f"{{ kind: Kind; data: {events}[Kind] }}"
        yield f'export type {title}Event = Omit<vinom.GameEvent, "kind" | "data"> &'
        yield f"  {{ [Kind in keyof {events}]: {own} }}[keyof {events}];"
    else:
        yield f"export type {title}Event = vinom.GameEvent;"
    yield ""
    # Whoever receives options and setup gets the defaults, too.
    whole = {name: f"Required<{parts[name]}>" for name in ("setup", "options")}
    if parts["setup"] in ("null", "unknown"):
        whole["setup"] = parts["setup"]
    yield _ROOM.format(title=title, view=parts["view"], **whole)


def _comment(text: str, indent: str) -> Iterator[str]:
    if text:
        yield f"{indent}/** {text.replace('*/', '* /')} */"


def _key(name: str) -> str:
    return name if name.isidentifier() else dumps(name)


def _kind(node: Node) -> str:
    match node:
        case {"$ref": _}:
            return named(node)
        case {"anyOf": options}:
            return " | ".join(dict.fromkeys(map(_kind, options)))
        case {"enum": values}:
            return " | ".join(map(dumps, values))
        case {"prefixItems": items}:
            fewest = node.get("minItems", 0)
            shown = [
                _kind(item) if number < fewest else f"({_kind(item)})?"
                for number, item in enumerate(items)
            ]
            return f"[{', '.join(shown)}]"
        case {"type": "array"}:
            return f"Array<{_kind(node.get('items') or {})}>"
        case {"type": "object", "additionalProperties": inner} if inner:
            return f"Record<string, {_kind(inner)}>"
        case {"type": "object"}:
            return "Record<string, unknown>"
    return _PLAIN.get(str(node.get("type")), "unknown")

"""
What a game and its clients agree on: actions, options, and what is shown and sent.

All of it is declared: by the game's types of actions, options and loadout; by `shows`
and `tells`, or else by what `view` and `setup` are annotated to return. A game without
a `view` of its own shows its state, so that its state's type declares its view.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

import attrs
import msgspec
from msgspec import Struct, inspect, msgpack

from vinom.errors import Misconfigured
from vinom.game import Game, setup_of, view_of
from vinom.play.game_loader import name_of
from vinom.play.states import differences, state_type
from vinom.turns import TurnGame

_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder().decode
#: How docstrings of structs describe their fields.
_IVAR = re.compile(r"\s*^:ivar (\w+): *", re.MULTILINE)
#: What clients send; all else is sent to them.
SENT = ("action", "options", "loadout")


@attrs.frozen
class Contract:
    """
    The types of what a game and its clients exchange.

    :ivar name: of the game, in requests.
    :ivar title: the name of its class.
    :ivar parts: "view", "setup", "action", "options" and "loadout", with their types;
        ``Any`` if nothing is declared.
    :ivar events: the type of each kind's data; ``None`` for an event without data.
    :ivar is_closed: does the game emit no other events?
    """

    name: str
    title: str
    parts: Mapping[str, Any]
    events: Mapping[str, Any]
    is_closed: bool


def contract_of(game: Game[Any, Any]) -> Contract:
    """Read what a game declares."""
    cls = type(game)
    events: dict[str, Any] = {}
    own = False
    for base in reversed(cls.__mro__):
        events |= base.__dict__.get("tells", {})
        own |= "tells" in base.__dict__ and base not in (Game, TurnGame)
    parts = {
        "view": _view(game),
        "setup": _setup(game),
        "action": cls.actions,
        "options": cls.options,
        "loadout": cls.loadout,
    }
    return Contract(name_of(game), cls.__name__, parts, events, own)


def _view(game: Game[Any, Any]) -> Any:
    cls: Any = type(game)
    if cls.shows is not None:
        return cls.shows
    if cls.view is not Game.view:
        return _returned(cls.view)
    try:
        return view_of(cls, state_type(game))
    except (Misconfigured, TypeError):
        return Any


def _setup(game: Game[Any, Any]) -> Any:
    cls: Any = type(game)
    if cls.setup is not Game.setup:
        return _returned(cls.setup)
    try:
        return setup_of(cls, state_type(game)) if cls.fixed else None
    except (Misconfigured, TypeError):
        return Any


def _returned(method: Any) -> Any:
    """Read the annotation of what a method returns."""
    try:
        found = get_type_hints(method).get("return", Any)
        known = inspect.type_info(found)
    except Exception:
        # A name that is imported for type checkers only, or no type of a value.
        return Any
    is_open = isinstance(found, TypeVar) or isinstance(known, inspect.CustomType)
    return Any if is_open else found


def misfit(data: bytes, kind: Any) -> str:
    """
    Say why what is sent is not of a declared type; empty if it is.

    :param data: as it is sent, MessagePack.
    :param kind: the type.
    """
    try:
        read = msgpack.decode(data, type=kind)
    except msgspec.ValidationError as error:
        return str(error)
    # Unknown fields are read as nothing, and missing ones as their defaults.
    was, now = _decode(data), _decode(_encode(read))
    return next(differences(now, was), "") if was != now else ""


def document(contract: Contract) -> dict[str, Any]:
    """
    Write a contract as a JSON Schema (2020-12).

    Its properties are the parts of the contract, and "events" with a property for the
    data of each kind.
    """
    kinds = [*contract.parts.values(), *contract.events.values()]
    schemas, defs = msgspec.json.schema_components(
        kinds, schema_hook=_of_the_author, ref_template="#/$defs/{name}"
    )
    parts = dict(zip(contract.parts, schemas, strict=False))
    events = dict(zip(contract.events, schemas[len(parts) :], strict=True))
    sent = _reached([parts[name] for name in SENT], defs)
    leaving_out = _leaving_out(kinds)
    for name, found in defs.items():
        _describe(found)
        # Whoever sends may leave out defaults; what the server sends has them all.
        if name not in sent and name not in leaving_out and "properties" in found:
            found["required"] = list(found["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.title,
        "description": f"What the game {contract.name!r} and its clients exchange.",
        "type": "object",
        "properties": {
            **parts,
            "events": {
                "type": "object",
                "properties": events,
                "additionalProperties": not contract.is_closed,
            },
        },
        "$defs": defs,
    }


def _of_the_author(kind: Any) -> dict[str, Any]:
    """Describe a type without a schema, which can be sent as JSON all the same."""
    return {"title": getattr(kind, "__name__", str(kind))}


def _describe(found: dict[str, Any]) -> None:
    """Move what a docstring says of a field to that field."""
    text, *fields = _IVAR.split(found.get("description", ""))
    if text:
        found["description"] = _plain(text)
    for name, about in zip(fields[::2], fields[1::2], strict=True):
        if name in found.get("properties", ()):
            words = " ".join(about.split("\n\n")[0].split())
            found["properties"][name]["description"] = _plain(words)


def _plain(text: str) -> str:
    """Write reST as plain words, of JSON and not of Python."""
    return text.strip().replace("``None``", "null").replace("``", "`")


def _reached(nodes: list[Any], defs: Mapping[str, Any]) -> set[str]:
    """List the definitions that schemas refer to, also by others."""
    found: set[str] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            nodes += node.values()
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                nodes.append(defs[name])
    return found


def _leaving_out(kinds: list[Any]) -> set[str]:
    """Name the structs that are sent without the fields that have their defaults."""
    found = set()
    for one in _structs([inspect.type_info(kind) for kind in kinds], set()):
        if one.__struct_config__.omit_defaults:
            found.add(one.__name__)
    return found


def _structs(node: Any, seen: set[Any]) -> Iterator[type[Struct]]:
    if isinstance(node, inspect.StructType):
        if node.cls in seen:
            return
        seen.add(node.cls)
        yield node.cls
    if isinstance(node, Struct):
        node = [getattr(node, name) for name in node.__struct_fields__]
    if isinstance(node, list | tuple):
        for one in node:
            yield from _structs(one, seen)

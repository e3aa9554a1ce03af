"""Compare a contract with the one that was agreed, and name what has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json import dumps
from typing import Any

#: What a schema says for people alone.
_WORDS = ("description", "title")


def changes(agreed: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between two documents, in a sentence each."""
    old, new = dict(_facts(agreed)), dict(_facts(now))
    found = []
    for name in dict.fromkeys((*old, *new)):
        whole = name.partition(".")[0]
        if name in old and name in new:
            if old[name] != new[name]:
                found.append(f"{name} was {old[name]}, is {new[name]}")
        # Of a structure that is new or gone, the fields go without saying.
        elif whole == name or (whole in old and whole in new):
            found.append(f"{name} is {'gone' if name in old else 'new'}")
    return found


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List what clients depend on: parts, events, structures and their fields."""
    parts = dict(document["properties"])
    events = parts.pop("events")
    for part, node in parts.items():
        yield part, _written(node)
    for kind, node in events["properties"].items():
        yield f"event {kind!r}", _written(node)
    yield "other events", "sent" if events["additionalProperties"] else "not sent"
    for name, node in document["$defs"].items():
        if "properties" not in node:
            yield name, _written(node)
            continue
        yield name, "a structure"
        for field, kind in node["properties"].items():
            lacks = "" if field in node.get("required", ()) else ", or left out"
            yield f"{name}.{field}", _written(kind) + lacks


def _written(node: Any) -> str:
    return dumps(_without_words(node), sort_keys=True)


def _without_words(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_words(one) for key, one in node.items() if key not in _WORDS
        }
    return [_without_words(one) for one in node] if isinstance(node, list) else node

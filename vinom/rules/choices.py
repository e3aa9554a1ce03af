"""What players choose before a game: options and loadouts, read by a room."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from vinom.errors import Code, Refused, field_of
from vinom.game import Game

#: Only what has so many digits can be beyond 64 bits. JSON may hold it, and MessagePack
#: may not: a game that shows it could not be shown over UDP, nor be recorded.
_LONG_NUMBER = re.compile(rb"[0-9]{19}").search
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def read_options(game: Game[Any, Any], text: bytes) -> Struct:
    """
    Read a game's options from JSON; an empty object is all defaults.

    :raises Refused: `Code.BAD_OPTIONS`, naming the field.
    """
    return _read(game.options, text, Code.BAD_OPTIONS)


def read_loadout(game: Game[Any, Any], text: bytes) -> Struct:
    """
    Read what one player brings from JSON; an empty object is all defaults.

    :raises Refused: `Code.BAD_LOADOUT`, naming the field.
    """
    return _read(game.loadout, text, Code.BAD_LOADOUT)


def action_reader(game: Game[Any, Any]) -> Callable[[bytes], Any]:
    """
    Make the function that reads this game's actions from MessagePack.

    What it makes raises `Refused`, `Code.BAD_ACTION`, naming the field.
    """
    return _reader(msgspec.msgpack.Decoder(game.actions).decode)


def json_action_reader(game: Game[Any, Any]) -> Callable[[bytes | Raw], Any]:
    """Make the function that reads this game's actions from JSON, likewise."""
    return _json_reader(game.actions)


@lru_cache(256)
def _json_reader(actions: Any) -> Callable[[bytes | Raw], Any]:
    """Each room of a game reads the same actions; to prepare for them takes long."""
    decode = _reader(msgspec.json.Decoder(actions).decode)

    def read(data: bytes | Raw) -> Any:
        action = decode(data)
        if _LONG_NUMBER(data):
            ensure_short_numbers(action, Code.BAD_ACTION)
        return action

    return read


def _reader(decode: Callable[..., Any]) -> Callable[[bytes | Raw], Any]:
    def read(data: bytes | Raw) -> Any:
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            details = {"field": field_of(str(error)) or ""}
            raise Refused(Code.BAD_ACTION, str(error), details) from error

    return read


def _read(kind: type[Struct], text: bytes, code: Code) -> Struct:
    try:
        choice = msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        details = {"field": field_of(str(error)) or ""}
        raise Refused(code, str(error), details) from error
    ensure_short_numbers(choice, code)
    return choice


def ensure_short_numbers(value: Any, code: Code, root: str = "") -> None:
    """
    Let through what can be written as MessagePack.

    :param root: where it stood, for the refusal.
    :raises Refused: a whole number in it is beyond 64 bits.
    """
    place = _long_number(msgspec.to_builtins(value), root)
    if place is not None:
        raise Refused(
            code, "a whole number has at most 64 bits", {"field": place.lstrip(".")}
        )


def _long_number(value: Any, path: str) -> str | None:
    """Find a number that is too long; gives its path."""
    # No recursion: whoever sent it says how deep it is.
    held = [(path, value)]
    while held:
        path, value = held.pop()
        if isinstance(value, dict):
            held += ((path, key) for key in value)
            held += ((f"{path}.{key}", each) for key, each in value.items())
        elif isinstance(value, list | tuple):
            held += ((f"{path}[{at}]", each) for at, each in enumerate(value))
        elif isinstance(value, int) and not _LEAST <= value <= _MOST:
            return path
    return None

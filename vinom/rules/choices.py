"""What players choose before a game: options and loadouts, read by a room."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from vinom.errors import Code, Refused, field_of
from vinom.game import Game


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
    return _reader(msgspec.json.Decoder(actions).decode)


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
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        details = {"field": field_of(str(error)) or ""}
        raise Refused(code, str(error), details) from error

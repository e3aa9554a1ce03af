"""
What players choose before a game: options and loadouts, read by a room.

What players may be called, and how their wishes are made comparable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import MsgspecError, Raw, Struct

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


def action_decoder(game: Game[Any, Any]) -> Callable[[bytes], Any]:
    """
    Make the decoder that `action_reader` uses, for who turns its errors into refusals.

    What it makes raises one of `UNREADABLE`; `unreadable` says what that means.
    """
    return msgspec.msgpack.Decoder(game.actions).decode


#: What a decoder of actions raises.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def unreadable(error: BaseException) -> Refused:
    """Say which field of an action cannot be read."""
    text = str(error)
    return Refused(Code.BAD_ACTION, text, {"field": field_of(text) or ""})


@lru_cache(256)
def _json_reader(actions: Any) -> Callable[[bytes | Raw], Any]:
    """Each room of a game reads the same actions; to prepare for them takes long."""
    decode = msgspec.json.Decoder(actions).decode

    def read(data: bytes | Raw) -> Any:
        try:
            action = decode(data)
        except UNREADABLE as error:
            raise unreadable(error) from error
        if _LONG_NUMBER(data):
            ensure_short_numbers(action, Code.BAD_ACTION)
        return action

    return read


def _reader(decode: Callable[..., Any]) -> Callable[[bytes | Raw], Any]:
    def read(data: bytes | Raw) -> Any:
        try:
            return decode(data)
        except UNREADABLE as error:
            raise unreadable(error) from error

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


#: Longest name, in characters, after it was made canonical.
NAME_LENGTH = 32


def clean_name(name: str, field: str = "data.name") -> str:
    """
    Make a name fit to be shown to other players.

    Names that look the same become the same text (Unicode NFC), and outer and
    repeated spaces go.

    :param field: where it stood, for the refusal.
    :raises Refused: it is empty, longer than `NAME_LENGTH` or not printable.
    """
    cleaned = unicodedata.normalize("NFC", " ".join(name.split()))
    if not 1 <= len(cleaned) <= NAME_LENGTH or not cleaned.isprintable():
        raise Refused(
            Code.NAME_REFUSED,
            f"a name has 1 to {NAME_LENGTH} printable characters",
            {"field": field},
        )
    return cleaned


def canonical_options(
    game: Game[Any, Any], options: bytes, field: str = "data.options"
) -> bytes:
    """
    Write options so that equal wishes are equal texts.

    Defaults are filled in and fields sorted.

    :param field: where they stood, for the refusal.
    :raises Refused: the game does not take them.
    """
    return _canonical(game.options, options, Code.BAD_OPTIONS, field)


def canonical_loadout(
    game: Game[Any, Any], loadout: bytes, field: str = "data.loadout"
) -> bytes:
    """
    Write a loadout with its defaults filled in.

    :param field: where it stood, for the refusal.
    :raises Refused: the game does not take it.
    """
    return _canonical(game.loadout, loadout, Code.BAD_LOADOUT, field)


def _canonical(kind: type[Struct], text: bytes, code: Code, root: str) -> bytes:
    try:
        if text == b"{}":
            return _defaults(kind)
        choice = msgspec.json.decode(text, type=kind)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        field = field_of(str(error))
        raise Refused(
            code, str(error), {"field": f"{root}.{field}" if field else root}
        ) from None
    ensure_short_numbers(choice, code, root)
    return _sorted(choice)


def _sorted(choice: Struct) -> bytes:
    # Keys that are numbers are texts in JSON, and are sorted only as such.
    plain = msgspec.to_builtins(choice, str_keys=True)
    return msgspec.json.encode(plain, order="sorted")


@lru_cache(256)
def _defaults(kind: type[Struct]) -> bytes:
    """Most players wish for nothing special, over and over."""
    return _sorted(msgspec.json.decode(b"{}", type=kind))

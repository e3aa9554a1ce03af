"""What players may be called, and how their wishes are made comparable."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import MsgspecError, Struct

from vinom.errors import Code, Refused, field_of
from vinom.game import Game
from vinom.rules.choices import ensure_short_numbers

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

"""
Read what players send for a game, options, loadouts, actions and names, and claims.

Options and loadouts are also written in a canonical form, so that equal choices are
equal texts. Claims are what somebody whom the server trusts says about a player: an
identity provider's token, or an outside matchmaker. They travel as canonical JSON, and
reach the game as `vinom.game.Seat.claims`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar

import msgspec
from msgspec import MsgspecError, Raw, Struct

from vinom.base.model import CLAIMS_BYTES
from vinom.errors import Code, Refused, field_of
from vinom.game import Game

#: Numbers beyond 64 bits have at least this many digits. JSON can hold them, but
#: MessagePack cannot: a game that showed one could not be shown over UDP or recorded.
_LONG_NUMBER = re.compile(rb"[0-9]{19}").search
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1
#: Deepest nesting of lists and objects in a claim.
DEEPEST_CLAIM = 8

_Known = TypeVar("_Known")


def game_named(
    games: Mapping[str, _Known], name: str | None, field: str = "data.game"
) -> _Known:
    """
    Find a game that a request names, or what is known by its name.

    :raises Refused: `Code.UNKNOWN_GAME`, naming the field.
    """
    if name is None or name not in games:
        raise Refused(
            Code.UNKNOWN_GAME,
            "this server has no game with this name",
            {"field": field, "games": sorted(games)},
        )
    return games[name]


def read_options(game: Game[Any, Any], text: bytes) -> Struct:
    """
    Read a game's options from JSON; an empty object is all defaults.

    :raises Refused: `Code.BAD_OPTIONS`, naming the field.
    """
    return _read(game.options, text, Code.BAD_OPTIONS)


def seats_for(game: Game[Any, Any], options: bytes) -> tuple[int, int]:
    """
    Return the fewest and the most players of a table with these options.

    :param options: JSON.
    :raises Refused: `Code.BAD_OPTIONS`: the game does not take them, or does not say.
    """
    if type(game).seats_for is Game.seats_for:
        return game.seats
    return _seats_for(game, options)


@lru_cache(256)
def _seats_for(game: Game[Any, Any], options: bytes) -> tuple[int, int]:
    """Ask a game once for its seats, because rooms and queues need them often."""
    chosen, (fewest, most) = read_options(game, options), game.seats
    try:
        found = game.seats_for(chosen)
        is_pair = type(found) is tuple and len(found) == 2
        if is_pair and fewest <= found[0] <= found[1] <= most:
            return found
        why = f"returned {found!r}; return two numbers from {fewest} to {most}"
    except Exception as error:
        why = f"failed: {error!r}"
    name = type(game).__name__
    raise Refused(Code.BAD_OPTIONS, f"{name}.seats_for {why}", {"field": ""})


def read_loadout(game: Game[Any, Any], text: bytes) -> Struct:
    """
    Read one player's loadout from JSON; an empty object is all defaults.

    :raises Refused: `Code.BAD_LOADOUT`, naming the field.
    """
    return _read(game.loadout, text, Code.BAD_LOADOUT)


def action_reader(game: Game[Any, Any]) -> Callable[[bytes], Any]:
    """
    Make the function that reads this game's actions from MessagePack.

    The function raises `Refused`, `Code.BAD_ACTION`, naming the field.
    """
    decode = action_decoder(game)

    def read(data: bytes) -> Any:
        try:
            return decode(data)
        except UNREADABLE as error:
            raise unreadable(error) from error

    return read


def json_action_reader(game: Game[Any, Any]) -> Callable[[bytes | Raw], Any]:
    """Make the function that reads this game's actions from JSON (`action_reader`)."""
    return _json_reader(game.actions)


def action_decoder(game: Game[Any, Any]) -> Callable[[bytes], Any]:
    """
    Make the decoder that `action_reader` uses, for callers that handle its errors.

    The decoder raises one of `UNREADABLE`; `unreadable` makes a refusal of it.
    """
    return msgspec.msgpack.Decoder(game.actions).decode


#: The errors that a decoder of actions raises.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def unreadable(error: BaseException) -> Refused:
    """Make the refusal of an action that cannot be read; it names the field."""
    text = str(error)
    return Refused(Code.BAD_ACTION, text, {"field": field_of(text) or ""})


@lru_cache(256)
def _json_reader(actions: Any) -> Callable[[bytes | Raw], Any]:
    """Make a reader once per type of actions, because that takes long."""
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


def _read(kind: type[Struct], text: bytes, code: Code, root: str = "") -> Struct:
    try:
        choice = msgspec.json.decode(text, type=kind)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        field = f"{root}.{field_of(str(error)) or ''}".strip(".")
        raise Refused(code, str(error), {"field": field}) from error
    ensure_short_numbers(choice, code, root)
    return choice


def ensure_short_numbers(value: Any, code: Code, root: str = "") -> None:
    """
    Check that *value* can be written as MessagePack.

    :param value: what was read from JSON.
    :param code: for the refusal.
    :param root: path of the value, for the refusal.
    :raises Refused: a whole number in it is beyond 64 bits.
    """
    place = _long_number(msgspec.to_builtins(value), root)
    if place is not None:
        raise Refused(
            code,
            f"a whole number must be from {_LEAST} to {_MOST}",
            {"field": place.lstrip(".")},
        )


def _long_number(value: Any, path: str) -> str | None:
    """Return the path of a number that is too long; ``None`` if there is none."""
    # No recursion: the sender decides how deep the value is.
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


#: Longest name in its canonical form, characters.
NAME_LENGTH = 32
#: Most combining marks on one character of a name; Vietnamese, Hebrew and Thai need 3.
MARKS = 3
#: Letters and symbols without a shape: fillers of Hangul, blanks of Braille, of musical
#: notation and of Egyptian hieroglyphs.
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159\U00013441\U00013442")


def clean_name(name: str, field: str = "data.name") -> str:
    """
    Return the canonical form of a name that other players will see.

    Names that look the same become the same text (Unicode NFC); outer and repeated
    spaces are removed. Characters that look like a space are refused, and so are more
    combining marks on one character than any script needs.

    :param name: as the player sent it.
    :param field: path of the name, for the refusal.
    :raises Refused: it is empty, longer than `NAME_LENGTH`, not printable or invisible.
    """
    cleaned = unicodedata.normalize("NFC", " ".join(name.split()))
    if not 1 <= len(cleaned) <= NAME_LENGTH or not cleaned.isprintable():
        why = f"a name must have 1 to {NAME_LENGTH} printable characters"
    elif not _BLANKS.isdisjoint(cleaned):
        why = "a name must not have characters that look like a space; use spaces"
    elif _most_marks(cleaned) > MARKS:
        why = f"a name must have at most {MARKS} combining marks on one character"
    elif _is_mark(cleaned[0]):
        why = "a name must have a character that can be seen, and begin with one"
    else:
        return cleaned
    raise Refused(Code.NAME_REFUSED, why, {"field": field})


def cut_name(name: str) -> str:
    """Shorten a name of somewhere else to what `clean_name` takes."""
    normal = unicodedata.normalize("NFC", " ".join(name.split()))
    return normal[:NAME_LENGTH].rstrip()


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _most_marks(name: str) -> int:
    """Count the combining marks of the character that has most of them."""
    most = marks = 0
    for character in name:
        marks = marks + 1 if _is_mark(character) else 0
        most = max(most, marks)
    return most


def canonical_options(
    game: Game[Any, Any], options: bytes, field: str = "data.options"
) -> bytes:
    """
    Write options so that equal options are equal texts.

    Defaults are filled in and fields sorted.

    :param game: whose options they are.
    :param options: JSON.
    :param field: path of the options, for the refusal.
    :raises Refused: the game does not accept them.
    """
    return _canonical(game.options, options, Code.BAD_OPTIONS, field)


def canonical_loadout(
    game: Game[Any, Any], loadout: bytes, field: str = "data.loadout"
) -> bytes:
    """
    Write a loadout with its defaults filled in.

    :param game: whose loadout it is.
    :param loadout: JSON.
    :param field: path of the loadout, for the refusal.
    :raises Refused: the game does not accept it.
    """
    return _canonical(game.loadout, loadout, Code.BAD_LOADOUT, field)


def _canonical(kind: type[Struct], text: bytes, code: Code, root: str) -> bytes:
    if text == b"{}":
        return _defaults(kind, code, root)
    return _sorted(_read(kind, text, code, root))


def _sorted(choice: Struct) -> bytes:
    # Keys that are numbers become texts in JSON, and only texts are sorted.
    plain = msgspec.to_builtins(choice, str_keys=True)
    return msgspec.json.encode(plain, order="sorted")


@lru_cache(256)
def _defaults(kind: type[Struct], code: Code, root: str) -> bytes:
    """Write a type's defaults, once per type, because most players send them."""
    return _sorted(_read(kind, b"{}", code, root))


def canonical_claims(claims: Mapping[str, Any], field: str) -> bytes:
    """
    Write claims as JSON with sorted names.

    :param claims: read from JSON.
    :param field: path of the claims, for the refusal.
    :raises Refused: `Code.BAD_FIELD`: they are too long, too deep, or hold what JSON or
        MessagePack cannot.
    """
    if not claims:
        return b"{}"
    try:
        for name, value in claims.items():
            _ensure_plain(value, name, DEEPEST_CLAIM)
        text = msgspec.json.encode(claims, order="sorted")
    except ValueError as error:
        raise Refused(Code.BAD_FIELD, f"claims: {error}", {"field": field}) from None
    if len(text) > CLAIMS_BYTES:
        raise Refused(
            Code.BAD_FIELD,
            f"the claims {', '.join(sorted(claims))} are {len(text)} bytes of JSON; at "
            f"most {CLAIMS_BYTES} are taken: send fewer",
            {"field": field, "limit": CLAIMS_BYTES},
        )
    return text


def read_claims(text: bytes) -> dict[str, Any]:
    """Read what `canonical_claims` wrote."""
    # Most players have none.
    return {} if text == b"{}" else msgspec.json.decode(text, type=dict[str, Any])


def _ensure_plain(value: Any, path: str, depth: int) -> None:
    if isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"{path} is nested deeper than {DEEPEST_CLAIM} levels")
        inner = value.values() if isinstance(value, dict) else value
        for each in inner:
            _ensure_plain(each, path, depth - 1)
    elif isinstance(value, int) and not _LEAST <= value <= _MOST:
        raise ValueError(
            f"{path} holds a whole number that is not from {_LEAST} to {_MOST}"
        )
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{path} holds {value}, which is no number in JSON")

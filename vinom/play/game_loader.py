"""Load games: installed ones by entry point, others by ``package.module:Class``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from inspect import signature
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from vinom.errors import Misconfigured
from vinom.game import Game
from vinom.play.packing import packing_of
from vinom.play.presentation import present
from vinom.play.seats import FASTEST_BOT

#: The entry point group under which packages offer games.
GROUP = "vinom.games"

_Name = Annotated[str, Meta(max_length=64)]
_Seconds = Annotated[float, Meta(ge=0.0)]
_Steps = Annotated[int, Meta(ge=0)]
#: What a game's class declares, and the words for it in errors.
_KINDS: dict[str, Any] = {
    "name": _Name,
    "seats": tuple[int, int],
    "teams": int | None,
    "levels": tuple[str, ...],
    "tick_hz": _Steps,
    "past_ticks": _Steps,
    "bot_seconds": float,
    "forfeit_seconds": float,
    **dict.fromkeys(
        ("secret", "hidden", "fixed", "reveals", "shared"), tuple[str, ...]
    ),
    "durability": Literal["store", "ahead", "behind", "none"],
    "grace_seconds": _Seconds | None,
    "linger": _Seconds,
    "time_limit": _Seconds,
}
_IN_WORDS: dict[Any, str] = {
    _Name: "text of at most 64 characters",
    tuple[int, int]: "two numbers, fewest and most players",
    int | None: "a whole number, or None",
    _Steps: "a whole number, 0 or more",
    float: "a number of seconds",
    tuple[str, ...]: 'a tuple of names, such as ("ships",)',
    Literal["store", "ahead", "behind", "none"]: '"ahead", "behind" or "none"',
    _Seconds: "a number of seconds, 0 or more",
    _Seconds | None: "a number of seconds, 0 or more, or None",
}


def installed_games() -> tuple[str, ...]:
    """Find every installed game, as ``package.module:Class``, by name."""
    found = sorted((entry.name, entry.value) for entry in entry_points(group=GROUP))
    return tuple(value for _, value in found)


def load_games(
    extra: Sequence[str] = (), installed: Sequence[str] | None = None
) -> dict[str, Game[Any, Any]]:
    """
    Load every installed game, and those of *extra*.

    A game of *extra* replaces an installed one of the same name.

    :param extra: specs of the form ``package.module:Class``.
    :param installed: the result of `installed_games`, to save a second search.
    :raises Misconfigured: a game cannot be loaded; says which and why.
    """
    if installed is None:
        installed = installed_games()
    return _by_name(installed, {}) | _by_name(extra, {})


def load_game(spec: str) -> Game[Any, Any]:
    """
    Make an instance of the game that *spec* names.

    :param spec: ``package.module:Class``.
    :raises Misconfigured: it cannot be imported, or isn't a game.
    """
    module_name, colon, class_name = spec.partition(":")
    if not (module_name and colon and class_name):
        raise Misconfigured(f"game {spec!r} must look like package.module:Class")
    # A game in this folder needs no package; installed modules still come first.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        hint = ""
        top = module_name.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            hint = f"; start this in the folder that has {top}, or install it"
        raise Misconfigured(
            f"game {spec!r}: cannot import {module_name}: {error}{hint}"
        ) from error
    if not hasattr(module, class_name):
        near = get_close_matches(class_name, dir(module), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Misconfigured(
            f"game {spec!r}: there is no {class_name} in {module_name}{hint}"
        )
    cls = getattr(module, class_name)
    if not (isinstance(cls, type) and issubclass(cls, Game)):
        raise Misconfigured(
            f"game {spec!r}: {class_name} in {module_name} is not a subclass of "
            f"vinom.game.Game"
        )
    if not hasattr(cls, "actions"):
        raise Misconfigured(f"game {spec!r}: {class_name}.actions is missing")
    mistake = _mistake_in(cls)
    if mistake:
        raise Misconfigured(f"game {spec!r}: {mistake}")
    try:
        present(cls)
        packing_of(cls.shows)
    except Misconfigured as error:
        raise Misconfigured(f"game {spec!r}: {error}") from None
    try:
        return cls()
    except Exception as error:
        raise Misconfigured(f"game {spec!r}: {class_name}() fails: {error}") from error


def _mistake_in(cls: type[Game[Any, Any]]) -> str:
    """Find the first wrong declaration of a game's class; empty without one."""
    for name, kind in _KINDS.items():
        try:
            msgspec.convert(getattr(cls, name), kind)
        except msgspec.ValidationError:
            return f"{name} {getattr(cls, name)!r} must be {_IN_WORDS[kind]}"
    if not isinstance(cls.tells, Mapping) or not all(
        kind is None or _is_of_structs(kind) for kind in cls.tells.values()
    ):
        return f"tells {cls.tells!r} must map kinds of events to msgspec structs"
    if cls.shows is not None and not _is_of_structs(cls.shows):
        return f"shows must be a msgspec struct, not {cls.shows!r}"
    for name in ("actions", "options", "loadout"):
        if not _is_of_structs(getattr(cls, name)):
            return f"{name} must be a msgspec struct, not {getattr(cls, name)!r}"
    for kind in get_args(cls.actions):
        if kind.__struct_config__.tag is None:
            word = kind.__name__.lower()
            return f'actions: {kind.__name__} needs a tag, such as tag="{word}"'
    fewest, most = cls.seats
    if not 1 <= fewest <= most:
        return f"seats {cls.seats} must be 1 or more, fewest first"
    if cls.teams is not None and not 1 <= cls.teams <= most:
        return f"teams {cls.teams} must be 1 to {most}, or None"
    if cls.past_ticks and not cls.tick_hz:
        return "past_ticks needs ticks: set tick_hz"
    if cls.absent not in ("wait", "bot", "forfeit"):
        return f'absent {cls.absent!r} must be "wait", "bot" or "forfeit"'
    if cls.absent == "bot" and cls.bot is Game.bot:
        return 'absent is "bot", but there is no bot method'
    for name in ("bot", "choose") if cls.levels else ():
        if not _takes(getattr(cls, name, cls.bot), 6):
            return f'with levels, {name}() needs a last parameter level=""'
    if "" in cls.levels:
        return f"levels {cls.levels} must have names"
    if cls.timers is not Game.timers and not _takes(cls.advance, 4):
        return 'with timers(), write advance(self, s, now, name="")'
    if cls.states not in ("latest", "every"):
        return f'states {cls.states!r} must be "latest" or "every"'
    if cls.clock not in ("match", "wall"):
        return f'clock {cls.clock!r} must be "match" or "wall"'
    if cls.clock == "wall":
        if cls.tick_hz:
            return 'clock "wall" is for games without ticks: set tick_hz = 0'
        if cls.durability not in ("ahead", "store"):
            return 'clock "wall" stores every state first: set durability = "ahead"'
        if cls.time_limit == Game.time_limit:
            return (
                'clock "wall" needs a time_limit, the seconds after which a room ends '
                "in any case, such as 60 * 86400"
            )
    if not cls.bot_seconds >= FASTEST_BOT:
        return f"bot_seconds {cls.bot_seconds} must be {FASTEST_BOT} or more"
    if not cls.forfeit_seconds >= 0:
        return f"forfeit_seconds {cls.forfeit_seconds} must be 0 or more"
    return ""


def _takes(call: Callable[..., Any], count: int) -> bool:
    """Can a game's method be called with as many arguments, itself included?"""
    try:
        signature(call).bind(*range(count))
    except TypeError:
        return False
    return True


def _is_of_structs(declared: Any) -> bool:
    """Is it a struct, or a union of structs?"""
    kinds = get_args(declared) or (declared,)
    return all(isinstance(one, type) and issubclass(one, Struct) for one in kinds)


def name_of(game: Game[Any, Any]) -> str:
    """The name by which players request a game."""
    return game.name or type(game).__name__.lower()


def _by_name(
    specs: Iterable[str], games: dict[str, Game[Any, Any]]
) -> dict[str, Game[Any, Any]]:
    for spec in specs:
        game = load_game(spec)
        name = name_of(game)
        if name in games:
            raise Misconfigured(
                f"game {spec!r}: the name {name!r} is taken by "
                f"{type(games[name]).__module__}:{type(games[name]).__qualname__}"
            )
        games[name] = game
    return games


def find_game(spec: str) -> tuple[str, Game[Any, Any]]:
    """
    Find an installed game by name, or any by ``package.module:Class``.

    :returns: its name and the game.
    :raises Misconfigured: there is no such game.
    """
    if ":" in spec:
        game = load_game(spec)
        return name_of(game), game
    games = load_games()
    if spec not in games:
        raise Misconfigured(
            f"no installed game is called {spec!r}; choose one of "
            f"{', '.join(sorted(games))}, or give package.module:Class"
        )
    return spec, games[spec]

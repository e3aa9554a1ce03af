"""Games in other languages: their tables in the settings, and the node's part."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, defstruct

from vinom.base.settings.sources import read_named
from vinom.errors import Misconfigured
from vinom.game import Game, NoLoadout, NoOptions
from vinom.play.game_loader import load_games

#: Most games that the settings may describe.
MOST_GAMES = 64
#: Types of the fields of options and loadouts.
_FIELDS = (bool, int, float, str)


class GameTable(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A game in the settings.

    An installed game also has its rules in Python: then only ``command``, ``folder``,
    ``memory_mb`` and ``warm`` are used.

    :ivar command: starts a game server: a program and its arguments.
    :ivar folder: its working directory; the node's own unless set.
    :ivar memory_mb: memory of one game server, MiB; ``server_memory_mb`` unless set.
    :ivar warm: game servers to keep ready for a match; ``warm`` unless set.
    :ivar seats: the smallest and the largest number of players.
    :ivar teams: number of teams; none unless set.
    :ivar tick_hz: fixed steps per second; sent to players.
    :ivar time_limit: the longest duration of a match, seconds; then it is ended.
    :ivar linger: how long a match stays open after its last round, at most, seconds.
    :ivar title: its title in lists.
    :ivar about: a sentence for the list of games.
    :ivar rules: how to play.
    :ivar options: the options and their defaults: numbers, texts and booleans.
    :ivar loadout: the items that players bring, and their defaults.
    """

    command: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    folder: str = ""
    memory_mb: Annotated[int, Meta(ge=16, le=1 << 20)] | None = None
    warm: Annotated[int, Meta(ge=0, le=1000)] | None = None
    seats: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]] = (2, 4)
    teams: Annotated[int, Meta(ge=1)] | None = None
    tick_hz: Annotated[int, Meta(ge=0, le=1000)] = 0
    time_limit: Annotated[float, Meta(gt=0, le=86400)] = 3600.0
    linger: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    title: Annotated[str, Meta(max_length=64)] = ""
    about: str = ""
    rules: str = ""
    options: dict[str, bool | int | float | str] = {}
    loadout: dict[str, bool | int | float | str] = {}


def read_games(tables: Any) -> dict[str, GameTable]:
    """
    Check the games of the settings.

    :raises ValueError: what is wrong, as the end of a sentence about the setting.
    """
    read = read_named(tables, GameTable, "game", MOST_GAMES, "[games.pong]")
    for name, found in read.items():
        fewest, most = found.seats
        if fewest > most:
            raise ValueError(
                f"has a wrong game {name!r}: seats {fewest} to {most} must have the "
                "smaller number first"
            )
        if not found.command[0]:
            raise ValueError(f"has a wrong game {name!r}: its command is empty")
        for key in (*found.options, *found.loadout):
            if not key.isidentifier() or key.startswith("_"):
                raise ValueError(
                    f"has a wrong game {name!r}: {key!r} must be a name of letters, "
                    "digits and _"
                )
    return read


class ElsewhereGame(Game[Any, Any]):
    """
    A game whose rules only its own game servers have, as the node uses it.

    Its rooms run in game servers, too, and its actions and views are passed on unread.
    """

    actions = Any
    durability = "none"

    def start(self, table: Any) -> Any:
        """Never called: a game server does that."""
        raise NotImplementedError("this game is played by its own game servers")

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        """Never called: a game server does that."""
        raise NotImplementedError("this game is played by its own game servers")

    def view(self, s: Any, audience: Hashable) -> Any:
        """Never called: a game server does that."""
        raise NotImplementedError("this game is played by its own game servers")

    def audience(self, s: Any, seat: int | None) -> Hashable:
        """Assume that each seat has a different view, which its game server makes."""
        return seat


def all_games(
    specs: tuple[str, ...], tables: Mapping[str, GameTable] | None
) -> dict[str, Game[Any, Any]]:
    """
    Load every game of a node: in Python, and in other languages.

    :param specs: specs of games in Python that are not installed.
    :param tables: tables of games that have a command.
    :raises Misconfigured: a game cannot be loaded; names it and the reason.
    """
    games = load_games(specs)
    for name, table in (tables or {}).items():
        # The rules of one in Python are used in the node, too.
        if name not in games:
            games[name] = _described(name, table)
    return games


def _described(name: str, table: GameTable) -> Game[Any, Any]:
    declared: dict[str, Any] = {
        key: getattr(table, key)
        for key in ("seats", "teams", "tick_hz", "time_limit", "linger", "rules")
    }
    if table.teams is not None and table.teams > table.seats[1]:
        raise Misconfigured(
            f"games: {name!r} has {table.teams} teams and {table.seats[1]} seats; "
            "there must not be more teams than seats"
        )
    declared["name"] = name
    declared["title"] = table.title or name.replace("_", " ").replace("-", " ").title()
    declared["about"] = table.about or "A game in another language."
    declared["options"] = _fields("Options", table.options, NoOptions)
    declared["loadout"] = _fields("Loadout", table.loadout, NoLoadout)
    declared["__module__"] = __name__
    declared["__doc__"] = table.about or "A game in another language."
    made = type("".join(name.title().split()), (ElsewhereGame,), declared)
    game: Game[Any, Any] = made()
    return game


def _fields(
    title: str, defaults: Mapping[str, Any], nothing: type[Struct]
) -> type[Struct]:
    """Make the struct of options or loadouts: each field has its default's type."""
    if not defaults:
        return nothing
    fields = [
        (key, next(kind for kind in _FIELDS if type(value) is kind), value)
        for key, value in defaults.items()
    ]
    return defstruct(title, fields, frozen=True, forbid_unknown_fields=True)

"""Games in other languages: tables of the settings, and what the node makes of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, defstruct

from vinom.errors import Misconfigured
from vinom.game import Game, NoLoadout, NoOptions
from vinom.game_loader import load_games
from vinom.settings.named import read_named

#: Most games that the settings may describe.
MOST_GAMES = 64
#: What the fields of options and loadouts can be.
_FIELDS = (bool, int, float, str)


class GameTable(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A game as the settings describe it.

    A game that is installed has its rules in Python too: then only ``command``,
    ``folder``, ``memory_mb`` and ``warm`` are read.

    :ivar command: starts a game server: a program and its arguments.
    :ivar folder: where it starts; the node's own working directory unless set.
    :ivar memory_mb: memory of one game server, MiB; ``server_memory_mb`` unless set.
    :ivar warm: game servers to keep ready for a match; ``warm`` unless set.
    :ivar seats: the fewest and the most players.
    :ivar teams: how many; none unless set.
    :ivar tick_hz: fixed steps per second; sent to players.
    :ivar time_limit: the longest match, seconds; a longer one is ended.
    :ivar linger: how long a match stays after its last round, at most, seconds.
    :ivar title: what people see.
    :ivar about: a sentence for the list of games.
    :ivar rules: how to play, for people.
    :ivar options: the options and their defaults: numbers, texts and booleans.
    :ivar loadout: what players bring, and its defaults.
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
                "fewest first"
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
    A game that only its own game servers know: what the node needs to know of it.

    Its rooms run in game servers too, and its actions and views are passed on unread.
    """

    actions = Any
    isolate = True
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
        """Each seat may see something else: its game server says what."""
        return seat


def all_games(
    specs: tuple[str, ...], tables: Mapping[str, GameTable] | None
) -> dict[str, Game[Any, Any]]:
    """
    Load every game of a node: in Python, and in other languages.

    :param specs: of games in Python that are not installed.
    :param tables: of games that have a command.
    :raises Misconfigured: a game cannot be loaded; says which and why.
    """
    games = load_games(specs)
    for name, table in (tables or {}).items():
        if name in games:
            games[name] = _isolated(games[name])
        else:
            games[name] = _described(name, table)
    return games


def _isolated(game: Game[Any, Any]) -> Game[Any, Any]:
    """Have the rooms of a game in Python played by game servers too."""
    cls = type(game)
    made = type(cls.__name__, (cls,), {"isolate": True, "__module__": cls.__module__})
    isolated: Game[Any, Any] = made()
    return isolated


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

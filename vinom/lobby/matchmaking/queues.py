"""
The queues of a node: for which game and options, by which rule.

Each game has a default queue, first come, first served, for any options. The settings
add queues with names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import attrs
import msgspec
from msgspec import Meta, Struct

from vinom.base.settings.sources import read_named
from vinom.errors import Code, Misconfigured, Refused
from vinom.game import Game
from vinom.lobby.matchmaking.rules.buckets import Buckets
from vinom.lobby.matchmaking.rules.fifo import Fifo, FifoSettings
from vinom.lobby.matchmaking.rules.rating import ByRating
from vinom.lobby.matchmaking.rules.rule import Rule, Shape
from vinom.play.choices import canonical_options, game_named, seats_for

#: The entry point group under which packages offer rules.
GROUP = "vinom.rules"
#: Most queues that the settings may name.
MOST_QUEUES = 256

_OWN: Mapping[str, type[Rule]] = {"buckets": Buckets, "fifo": Fifo, "rating": ByRating}

Games = Mapping[str, Game[Any, Any]]


class QueueTable(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A queue as the settings describe it.

    :ivar game: the name of its game.
    :ivar options: of the game; players choose them unless this is set.
    :ivar rule: the name of its rule.
    :ivar settings: of the rule.
    :ivar team_size: players of each team, and so of a match.
    :ivar seats: fewest and most players of a match; those of the game unless set.
    :ivar accept_seconds: how long players may take to accept a match; 0 starts it
        without asking; as the setting says unless set.
    :ivar ratings: the list of ratings that it reads and changes; that of its game if
        its rule uses ratings; empty for none.
    :ivar avoid_recent: how many of a player's latest opponents are avoided.
    :ivar backfill: are free seats of running rooms given to those who wait?
    """

    game: str
    options: dict[str, Any] | None = None
    rule: str = "fifo"
    settings: dict[str, Any] = {}
    team_size: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    seats: tuple[int, int] | None = None
    accept_seconds: Annotated[float, Meta(ge=0, le=600)] | None = None
    ratings: Annotated[str, Meta(max_length=64)] | None = None
    avoid_recent: Annotated[int, Meta(ge=0, le=16)] = 2
    backfill: bool = False


def read_tables(tables: Any) -> dict[str, QueueTable]:
    """
    Check the queues of the settings, as far as that needs no games.

    :raises ValueError: what is wrong, as the end of a sentence about the setting.
    """
    return read_named(tables, QueueTable, "queue", MOST_QUEUES, "[queues.ranked]")


@attrs.frozen
class Queue:
    """
    A queue of this node.

    :ivar name: empty for a game's default queue.
    :ivar game: the name of its game.
    :ivar options: canonical JSON; ``None`` if players choose them.
    :ivar rule: finds its matches.
    :ivar accept_seconds: how long players may take to accept a match.
    :ivar ratings: its list of ratings; empty for none.
    :ivar avoid_recent: how many of a player's latest opponents are avoided.
    :ivar backfills: are free seats of running rooms given to those who wait?
    """

    name: str
    game: str
    options: bytes | None
    rule: Rule
    accept_seconds: float = 0.0
    ratings: str = ""
    avoid_recent: int = 0
    backfills: bool = False
    _plugin: Game[Any, Any] | None = None
    _rules: dict[Shape, Rule] = attrs.field(factory=dict, init=False, repr=False)

    def rule_for(self, options: bytes) -> Rule:
        """
        Find the rule for players with these options, which may seat fewer.

        :raises Refused: `BAD_OPTIONS`: no match of this queue can have them.
        """
        shape = self.rule.shape
        if self._plugin is None or options == self.options:
            return self.rule
        fewest, most = seats_for(self._plugin, options)
        found = Shape(max(fewest, shape.fewest), min(most, shape.most), shape.teams)
        if found == shape:
            return self.rule
        if found.fewest > found.most:
            raise Refused(
                Code.BAD_OPTIONS,
                f"queue {self.name or self.game} makes matches of {shape.fewest} to "
                f"{shape.most} players, and these options are for {fewest} to {most}",
                {"field": ""},
            )
        if found not in self._rules:
            self._rules[found] = type(self.rule)(found, self.rule.chosen)
        return self._rules[found]


class Queues:
    """
    All queues of a node.

    :ivar asks: whether players have to accept a match in one of them.
    """

    def __init__(
        self,
        games: Games,
        tables: Mapping[str, QueueTable] | None = None,
        fill_seconds: float = 5.0,
        accept_seconds: float = 0.0,
    ) -> None:
        """
        Make the default queue of each game, and the queues of the settings.

        :param games: by name.
        :param tables: the queues of the settings, by name.
        :param fill_seconds: of queues that do not set it themselves.
        :param accept_seconds: likewise.
        :raises Misconfigured: a queue names what does not exist, or its settings do not
            fit; says which and why.
        """
        self._games = games
        self._default = {
            name: Queue(
                "",
                name,
                None,
                Fifo(_shape(game), FifoSettings(fill_seconds)),
                accept_seconds,
                plugin=game,
            )
            for name, game in games.items()
        }
        rules = installed_rules() if tables else {}
        self._named = {
            name: _queue(name, table, games, rules, fill_seconds, accept_seconds)
            for name, table in (tables or {}).items()
        }
        queues = (*self._default.values(), *self._named.values())
        self.asks = any(queue.accept_seconds for queue in queues)

    @property
    def named(self) -> Mapping[str, Queue]:
        """The queues of the settings, by name."""
        return self._named

    def find(self, name: str | None, game: str | None) -> Queue:
        """
        Find the queue that a player asks for.

        :param name: of the queue; ``None`` for the default one of *game*.
        :param game: its name.
        :raises Refused: `UNKNOWN_GAME` or `UNKNOWN_QUEUE`.
        """
        if name is None:
            return game_named(self._default, game)
        queue = self._named.get(name)
        if queue is None:
            raise Refused(
                Code.UNKNOWN_QUEUE,
                "this server has no queue with this name",
                {"field": "data.queue", "queues": sorted(self._named)},
            )
        if game is not None and game != queue.game:
            raise Refused(
                Code.BAD_FIELD,
                f"queue {name} is for {queue.game}, not {game}: leave out game",
                {"field": "data.game", "game": queue.game},
            )
        return queue

    def options(self, queue: Queue, given: bytes) -> bytes:
        """
        Choose the options of an entry, as canonical JSON.

        :param given: JSON, as the player sent it.
        :raises Refused: `BAD_OPTIONS`.
        """
        if queue.options is None:
            return canonical_options(self._games[queue.game], given)
        if given.strip() in (b"", b"{}"):
            return queue.options
        chosen = canonical_options(self._games[queue.game], given)
        if chosen != queue.options:
            raise Refused(
                Code.BAD_OPTIONS,
                f"queue {queue.name} sets its options itself: leave them out",
                {"field": "", "options": queue.options.decode()},
            )
        return chosen

    def of(self, game: str, name: str) -> Queue | None:
        """Find the queue of an entry; ``None`` if this node does not have it."""
        queue = self._named.get(name) if name else self._default.get(game)
        return queue if queue is not None and queue.game == game else None


def installed_rules() -> dict[str, EntryPoint]:
    """Find the rules that packages offer, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _shape(game: Game[Any, Any]) -> Shape:
    return Shape(*game.seats, game.teams)


def _queue(
    name: str,
    table: QueueTable,
    games: Games,
    rules: Mapping[str, EntryPoint],
    fill_seconds: float,
    accept_seconds: float,
) -> Queue:
    where = f"queues.{name}"
    game = games.get(table.game)
    if game is None:
        raise Misconfigured(
            f"{where}.game {table.game!r} is no game of this node; it has "
            f"{', '.join(sorted(games))}"
        )
    options = None
    if table.options is not None:
        try:
            options = canonical_options(game, msgspec.json.encode(table.options))
        except Refused as refusal:
            raise Misconfigured(
                f"{where}.options do not fit {table.game}: {refusal.message}"
            ) from refusal
    if table.backfill and not game.late_join:
        raise Misconfigured(
            f"{where}.backfill is for games that take newcomers, and {table.game} "
            "takes none: set late_join in the game, or leave backfill out"
        )
    try:
        seats = game.seats if options is None else seats_for(game, options)
    except Refused as refusal:
        raise Misconfigured(f"{where}.options: {refusal.message}") from refusal
    shape = _table_shape(where, table, game, seats)
    rule = _rule(where, table, shape, rules, fill_seconds)
    ratings = table.ratings
    if ratings is None:
        ratings = table.game if rule.uses_ratings else ""
    return Queue(
        name,
        table.game,
        options,
        rule,
        accept_seconds if table.accept_seconds is None else table.accept_seconds,
        ratings,
        table.avoid_recent,
        table.backfill,
        game,
    )


def _table_shape(
    where: str, table: QueueTable, game: Game[Any, Any], seats: tuple[int, int]
) -> Shape:
    """Find how many players a match of a queue has; its game must allow them."""
    if table.team_size is not None:
        if table.seats is not None:
            raise Misconfigured(f"{where}: set team_size or seats, not both")
        if game.teams is None:
            raise Misconfigured(
                f"{where}.team_size {table.team_size} is for a game with teams, and "
                f"{table.game} has none: set seats"
            )
        players = table.team_size * game.teams
        fewest, most = players, players
    else:
        fewest, most = table.seats or seats
    if not seats[0] <= fewest <= most <= seats[1]:
        raise Misconfigured(
            f"{where} makes matches of {fewest} to {most} players, but {table.game} "
            f"takes {seats[0]} to {seats[1]}: change team_size or seats"
        )
    return Shape(fewest, most, game.teams)


def _rule(
    where: str,
    table: QueueTable,
    shape: Shape,
    rules: Mapping[str, EntryPoint],
    fill_seconds: float,
) -> Rule:
    kind = _kind(where, table.rule, rules)
    given = dict(table.settings)
    names = {field.name for field in msgspec.structs.fields(kind.settings)}
    if "fill_seconds" in names:
        given.setdefault("fill_seconds", fill_seconds)
    try:
        return kind(shape, msgspec.convert(given, kind.settings))
    except (msgspec.ValidationError, ValueError) as error:
        raise Misconfigured(
            f"{where}.settings do not fit the rule {table.rule}: {error}"
        ) from error


def _kind(where: str, name: str, rules: Mapping[str, EntryPoint]) -> type[Rule]:
    """Find the class of a rule: ours, an installed one, or ``package.module:Class``."""
    if name in _OWN:
        return _OWN[name]
    entry = rules.get(name)
    if entry is None and ":" in name:
        entry = EntryPoint(name, name, GROUP)
        # A rule in this folder needs no package; installed modules still come first.
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.append(os.getcwd())
    if entry is None:
        raise Misconfigured(
            f"{where}.rule {name!r} is not installed; there are "
            f"{', '.join(sorted({*_OWN, *rules}))}; or write package.module:Class"
        )
    try:
        kind = entry.load()
    except Exception as error:
        raise Misconfigured(
            f"{where}.rule: cannot load {entry.value}: {error}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Rule)):
        raise Misconfigured(
            f"{where}.rule: {entry.value} is not a subclass of "
            "vinom.lobby.matchmaking.rules.rule.Rule"
        )
    return kind

"""The plan of a chaos run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from vinom.chaos.strikes import Kind, Strike
from vinom.client.load.bot import Habits
from vinom.dtls.bad_network import Conditions
from vinom.game import Game


@attrs.frozen
class Plan:
    """
    The plan of a run; durations in seconds.

    :ivar spec: the game, for the node: ``package.module:Class`` or its name.
    :ivar name: the game's name, as players request it.
    :ivar game: the rules.
    :ivar matches: how many matches are played at the same time.
    :ivar seconds: for how long matches are started and processes killed.
    :ivar grace: for how long matches may run after that.
    :ivar conditions: losses of the network; ``None`` for none.
    :ivar kinds: kinds of processes to kill.
    :ivar every: mean time between two kills.
    :ivar habits: how bots play.
    :ivar seed: seed of everything random.
    :ivar redis: path of a redis-server; empty for none.
    :ivar nodes: how many share that Redis; players come to the first one.
    :ivar keep: where to copy recordings if a promise was broken; ``None`` for nowhere.
    :ivar arguments: further arguments of ``twistd vinom``.
    :ivar strikes: the strikes, in order of time; if empty, drawn from *kinds*.
    """

    spec: str
    name: str
    game: Game[Any, Any]
    matches: int
    seconds: float
    grace: float
    conditions: Conditions | None
    kinds: tuple[Kind, ...]
    every: float
    habits: Habits
    seed: str
    redis: str = ""
    nodes: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    keep: Path | None = None
    arguments: tuple[str, ...] = ()
    strikes: tuple[Strike, ...] = ()

    @property
    def players(self) -> int:
        """How many bots there are: enough to fill all matches."""
        return self.matches * self.game.seats[1]

    def __attrs_post_init__(self) -> None:
        if self.nodes > 1 and not self.redis:
            raise ValueError("several nodes need a Redis")

    @property
    def leaves(self) -> bool:
        """Is the node restarted while matches play on?"""
        return "restart" in (*self.kinds, *(strike.kind for strike in self.strikes))

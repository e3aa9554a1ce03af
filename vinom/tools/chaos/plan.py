"""The plan of a chaos run: what is played, and what is killed when."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final, Literal, get_args

import attrs

from vinom.client.load.bot import Habits
from vinom.net.dtls.bad_network import Conditions

#: "hang" stops a game server, which its node must notice; "move" kills nothing: it is
#: an operator's order to hand a match over. "restart" sends SIGTERM to each node in
#: turn and starts it again: one alone leaves its matches to its successor (``on_stop =
#: leave``), one of several hands them to the others.
Kind = Literal["gameserver", "hang", "node", "store", "move", "restart"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: The kinds that affect one match; the others affect all players.
OF_A_MATCH: Final = ("gameserver", "hang", "move")

#: One of this many strikes is given to each kind that affects all players.
_SHARE = 6


@attrs.frozen
class Strike:
    """
    One strike.

    :ivar at: when, seconds after the bots begin.
    :ivar kind: what it does.
    """

    at: float
    kind: Kind


@attrs.frozen
class Plan:
    """
    The plan of a run; durations in seconds.

    :ivar spec: the game, for the node: ``package.module:Class`` or its name.
    :ivar matches: how many matches are played at the same time.
    :ivar seconds: for how long matches are started and processes killed.
    :ivar grace: for how long matches may run after that.
    :ivar conditions: losses of the network; ``None`` for none.
    :ivar habits: what bots play, and how.
    :ivar seed: seed of everything random.
    :ivar strikes: the strikes, in order of time.
    :ivar redis: path of a redis-server; empty for none.
    :ivar nodes: how many share that Redis; players come to the first one.
    :ivar keep: where to copy recordings if a promise was broken; ``None`` for nowhere.
    :ivar arguments: further arguments of ``twistd vinom``.
    """

    spec: str
    matches: int
    seconds: float
    grace: float
    conditions: Conditions | None
    habits: Habits
    seed: str
    strikes: tuple[Strike, ...] = ()
    redis: str = ""
    nodes: int = 1
    keep: Path | None = None
    arguments: tuple[str, ...] = ()


def plan_strikes(
    kinds: tuple[Kind, ...], seconds: float, every: float, seed: str
) -> tuple[Strike, ...]:
    """
    Draw strikes: each kind at least once, game servers most often.

    :param kinds: the kinds to draw from, without duplicates.
    :param seconds: how long the run is.
    :param every: mean time between two strikes, seconds.
    :param seed: the same one draws the same strikes.
    """
    chance = Random(f"{seed} strikes")
    count = max(len(kinds), round(seconds / every))
    frequent = [kind for kind in kinds if kind in OF_A_MATCH]
    rare = [kind for kind in kinds if kind not in frequent]
    drawn: list[Kind] = []
    if frequent:
        drawn += [kind for kind in rare for _ in range(max(1, count // _SHARE))]
        rest = max(len(frequent), count - len(drawn))
        drawn += [frequent[number % len(frequent)] for number in range(rest)]
    elif rare:
        drawn += [rare[number % len(rare)] for number in range(count)]
    chance.shuffle(drawn)
    # One in each interval, at a random time within it.
    width = seconds / max(1, len(drawn))
    return tuple(
        Strike((number + chance.random()) * width, kind)
        for number, kind in enumerate(drawn)
    )

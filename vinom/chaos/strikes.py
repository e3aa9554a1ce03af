"""The strikes of a chaos run: which kind of process is killed, and when."""

from __future__ import annotations

from random import Random
from typing import Final, Literal, get_args

import attrs

#: "hang" stops a game server, which its node must notice; "move" kills nothing: it is
#: an operator's order to hand a match over. "restart" sends SIGTERM to a node that
#: leaves its matches to the next one (``on_stop = leave``), and starts the next one.
#: "roll" does so with each of several nodes in turn, whose matches the others take.
Kind = Literal["gameserver", "hang", "node", "store", "move", "restart", "roll"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: The kinds that ``--kill`` accepts.
KILLS: Final = KINDS[:4]
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


def plan_strikes(
    kinds: tuple[Kind, ...], seconds: float, every: float, chance: Random
) -> list[Strike]:
    """
    Draw strikes: each kind at least once, game servers most often.

    :param kinds: the kinds to draw from, without duplicates.
    :param seconds: how long the run is.
    :param every: mean time between two strikes, seconds.
    :param chance: the source of randomness.
    """
    if not kinds:
        return []
    count = max(len(kinds), round(seconds / every))
    frequent = [kind for kind in kinds if kind in OF_A_MATCH]
    rare = [kind for kind in kinds if kind not in frequent]
    drawn: list[Kind] = []
    if frequent:
        drawn += [kind for kind in rare for _ in range(max(1, count // _SHARE))]
        rest = max(len(frequent), count - len(drawn))
        drawn += [frequent[number % len(frequent)] for number in range(rest)]
    else:
        drawn += [rare[number % len(rare)] for number in range(count)]
    chance.shuffle(drawn)
    # One in each interval, at a random time within it.
    width = seconds / len(drawn)
    return [
        Strike((number + chance.random()) * width, kind)
        for number, kind in enumerate(drawn)
    ]

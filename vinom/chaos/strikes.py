"""What is killed, and when."""

from __future__ import annotations

from random import Random
from typing import Final, Literal, get_args

import attrs

#: "hang" stops a game server, which its node has to notice; "move" kills nothing: it is
#: an operator's order to hand a match over. "restart" is SIGTERM for a node that leaves
#: its matches to the next one (``on_stop = leave``), and that next one. "roll" is the
#: same for each node of several in turn, which hands its matches to the others.
Kind = Literal["gameserver", "hang", "node", "store", "move", "restart", "roll"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: What can be killed.
KILLS: Final = KINDS[:4]
#: What strikes one match; the others are noticed by all players.
OF_A_MATCH: Final = ("gameserver", "hang", "move")

#: Of this many strikes, one is for each kind that all players notice.
_SHARE = 6


@attrs.frozen
class Strike:
    """
    One kill.

    :ivar at: when, seconds after the bots begin.
    :ivar kind: of process.
    """

    at: float
    kind: Kind


def plan_strikes(
    kinds: tuple[Kind, ...], seconds: float, every: float, chance: Random
) -> list[Strike]:
    """
    Draw what is killed when: each kind at least once, game servers most often.

    :param kinds: what may be killed; none twice.
    :param seconds: how long the run is.
    :param every: mean time between two kills, seconds.
    :param chance: draws.
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
    # Not in step, and not all at once.
    width = seconds / len(drawn)
    return [
        Strike((number + chance.random()) * width, kind)
        for number, kind in enumerate(drawn)
    ]

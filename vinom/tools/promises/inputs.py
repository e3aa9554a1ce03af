"""Compare the inputs that a client sent with those that were played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from vinom.tools.promises.witness import Sent

#: A pairing that is worse than the best by more than this is dropped.
_MOST_WORSE = 6


@attrs.frozen
class Played:
    """
    One input of a seat in the recording.

    :ivar action: the action, decoded.
    :ivar time: match time, seconds.
    :ivar is_foreign: may the game's bot have made it, because the player was away?
    """

    action: Any
    time: float
    is_foreign: bool = False


@attrs.frozen
class Comparison:
    """
    The result.

    :ivar missing: acknowledged inputs that were not played.
    :ivar doubled: inputs that were played again, or that the client never sent.
    """

    missing: tuple[Sent, ...] = ()
    doubled: tuple[Played, ...] = ()

    @property
    def cost(self) -> int:
        """The number of faults."""
        return len(self.missing) + len(self.doubled)


class Unreadable:
    """Stands for an action that cannot be decoded; equals nothing."""


def decoded(one: Sent, read: Callable[[bytes], Any]) -> Any:
    """Decode an action that a client sent, or make it an `Unreadable`."""
    try:
        return read(one.action)
    except Exception:
        return Unreadable()


def compare(
    sent: Sequence[Sent], played: Sequence[Played], read: Callable[[bytes], Any]
) -> Comparison:
    """
    Find acknowledged inputs that were not played, and others that were played twice.

    Both lists are in order. An input without an answer may have been played or not; a
    refused one was not. Equal actions can't be distinguished, so the inputs agree if
    there is any way to pair them; else the way with the fewest faults counts.

    :param sent: inputs that one client sent.
    :param played: inputs that its seat played.
    :param read: decodes an action; raises anything if it cannot.
    """
    asked = [(one, decoded(one, read)) for one in sent if one.fate != "refused"]
    # Nearly all matches are without a fault, and then this is quick.
    exact = _pair(asked, played, 0)
    return _pair(asked, played, _MOST_WORSE) if exact.cost else exact


def _pair(
    asked: Sequence[tuple[Sent, Any]], played: Sequence[Played], worse: int
) -> Comparison:
    """Pair inputs; forget what has more faults than the best by more than *worse*."""
    # How many of `asked` are used up, to the best way of getting there.
    pairings = {0: Comparison()}
    for one in played:
        after: dict[int, Comparison] = {}
        for start, found in pairings.items():
            unpaired = found if one.is_foreign else _doubled(found, one)
            _keep(after, start, unpaired)
            most = found.cost + worse
            for place in range(start, len(asked)):
                if asked[place][1] == one.action:
                    _keep(after, place + 1, found)
                found = _skipped(found, asked[place : place + 1])
                if found.cost > most:
                    break
        least = min(found.cost for found in after.values())
        pairings = {
            place: found
            for place, found in after.items()
            if found.cost <= least + worse
        }
    ends = [_skipped(found, asked[start:]) for start, found in pairings.items()]
    return min(ends, key=lambda end: end.cost)


def _keep(pairings: dict[int, Comparison], place: int, found: Comparison) -> None:
    """Keep the better of two pairings."""
    if place not in pairings or found.cost < pairings[place].cost:
        pairings[place] = found


def _doubled(found: Comparison, one: Played) -> Comparison:
    return Comparison(found.missing, (*found.doubled, one))


def _skipped(found: Comparison, left: Sequence[tuple[Sent, Any]]) -> Comparison:
    """Leave inputs out: those that were acknowledged are missing."""
    missing = tuple(one for one, _ in left if one.fate == "acknowledged")
    return Comparison(found.missing + missing, found.doubled) if missing else found

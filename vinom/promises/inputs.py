"""Compare the inputs that a client sent with those that were played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from vinom.promises.witness import Sent

#: A pairing that is worse than the best by more than this is dropped.
_MOST_WORSE = 6
#: Most inputs, including those without an answer, that one pairing skips at once.
_WINDOW = 100


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


def compare(
    sent: Sequence[Sent], played: Sequence[Played], read: Callable[[bytes], Any]
) -> Comparison:
    """
    Find acknowledged inputs that were not played, and others that were played twice.

    Both lists are in order. An input without an answer may have been played or not; a
    refused one was not. Equal actions can't be distinguished, so the inputs agree if
    there is any way to pair them.

    :param sent: inputs that one client sent.
    :param played: inputs that its seat played.
    :param read: decodes an action; raises anything if it cannot.
    """
    asked = [(one, _decoded(one, read)) for one in sent if one.fate != "refused"]
    # How many of `asked` can be used up before the next played input.
    reached = {0}
    for one in played:
        after = {
            place + 1
            for start in reached
            for place in _places(asked, start, one.action)
        }
        reached = after | reached if one.is_foreign else after
        if not reached:
            return _cheapest(asked, played)
    if any(not _acknowledged(asked[start:]) for start in reached):
        return Comparison()
    return _cheapest(asked, played)


@attrs.frozen
class _Pairing:
    """
    One way to pair the inputs played so far.

    :ivar cost: how many inputs are missing or doubled.
    :ivar before: the pairing that it continues; ``None`` for the first.
    :ivar missing: the range of `asked` that it leaves out: from, and up to.
    :ivar doubled: the played input that it leaves out.
    """

    cost: int = 0
    before: _Pairing | None = None
    missing: tuple[int, int] = (0, 0)
    doubled: Played | None = None


def _cheapest(asked: list[tuple[Sent, Any]], played: Sequence[Played]) -> Comparison:
    """Pair inputs so that as few as possible are missing or doubled."""
    pairings = {0: _Pairing()}
    for one in played:
        after: dict[int, _Pairing] = {}
        for start, pairing in pairings.items():
            _keep(
                after,
                start,
                pairing
                if one.is_foreign
                else _Pairing(pairing.cost + 1, pairing, doubled=one),
            )
            skipped = 0
            for place in range(start, min(len(asked), start + _WINDOW)):
                if asked[place][1] == one.action:
                    continued = _Pairing(
                        pairing.cost + skipped, pairing, (start, place)
                    )
                    _keep(after, place + 1, continued)
                skipped += asked[place][0].fate == "acknowledged"
                if skipped > _MOST_WORSE:
                    break
        least = min(pairing.cost for pairing in after.values())
        pairings = {
            place: pairing
            for place, pairing in after.items()
            if pairing.cost <= least + _MOST_WORSE
        }
    ends = [
        _Pairing(
            pairing.cost + len(_acknowledged(asked[start:])),
            pairing,
            (start, len(asked)),
        )
        for start, pairing in pairings.items()
    ]
    return _comparison(min(ends, key=lambda end: end.cost), asked)


def _keep(pairings: dict[int, _Pairing], place: int, pairing: _Pairing) -> None:
    """Keep the cheaper of two pairings."""
    if place not in pairings or pairing.cost < pairings[place].cost:
        pairings[place] = pairing


def _comparison(end: _Pairing, asked: list[tuple[Sent, Any]]) -> Comparison:
    missing: list[Sent] = []
    doubled: list[Played] = []
    at: _Pairing | None = end
    while at is not None:
        missing[:0] = _acknowledged(asked[at.missing[0] : at.missing[1]])
        if at.doubled is not None:
            doubled.insert(0, at.doubled)
        at = at.before
    return Comparison(tuple(missing), tuple(doubled))


def _places(asked: list[tuple[Sent, Any]], start: int, action: Any) -> list[int]:
    """Find the inputs that this can be if no acknowledged one before it is left out."""
    found = []
    for place in range(start, len(asked)):
        one, decoded = asked[place]
        if decoded == action:
            found.append(place)
        if one.fate == "acknowledged":
            break
    return found


def _acknowledged(asked: Sequence[tuple[Sent, Any]]) -> list[Sent]:
    return [one for one, _ in asked if one.fate == "acknowledged"]


class _Unreadable:
    """A value that equals nothing."""


def _decoded(one: Sent, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(one.action)
    except Exception:
        return _Unreadable()

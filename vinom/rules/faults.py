"""
What a game may answer, proven before anybody else relies on it.

A wrong answer is the game's own fault and ends its room; it must not surface
later, in whoever sends it to players.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from vinom.errors import VinomError
from vinom.game import Event, Outcome

_encode = msgspec.msgpack.Encoder().encode


class GameFault(VinomError):
    """A game broke the rules for games; its room ends."""


def ensure_deadline(due: Any) -> float:
    """
    Take a match time from a game.

    :raises GameFault: it is not a finite number.
    """
    if not isinstance(due, float | int) or not math.isfinite(due):
        raise GameFault(f"deadline() is {due!r}; give a number; use None for never")
    return due


def ensure_event(event: Any, seats: int) -> Event:
    """
    Take an event from a game with so many *seats*.

    :raises GameFault: it could not be sent, or to nobody who is there.
    """
    if not isinstance(event, Event) or not isinstance(event.kind, str):
        raise GameFault(f"{event!r} is not an Event with a text as its kind")
    if event.to is not None and not _is_seat(event.to, seats):
        raise GameFault(f"event {event.kind!r} is for seat {event.to!r}, which is not")
    try:
        _encode(event.data)
    except Exception as error:
        raise GameFault(f"event {event.kind!r} cannot be sent: {error}") from error
    return event


def ensure_outcome(outcome: Any, seats: int) -> None:
    """
    Look at an outcome of a game with so many *seats*.

    :raises GameFault: it does not tell how a round ended.
    """
    if not isinstance(outcome, Outcome) or not isinstance(outcome.round, int):
        raise GameFault(f"outcome() is {outcome!r}, not an Outcome with a round")
    for place in _items(outcome.places, "places"):
        for seat in _items(place, "places"):
            if not _is_seat(seat, seats):
                raise GameFault(f"outcome() places seat {seat!r}, which is not")
    for score in _items(outcome.scores, "scores"):
        if not isinstance(score, int | float):
            raise GameFault(f"outcome() has the score {score!r}, which is no number")


def _is_seat(number: Any, seats: int) -> bool:
    return isinstance(number, int) and 0 <= number < seats


def _items(value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise GameFault(
            f"outcome() has {value!r} in its {name}: places are tuples of tuples "
            f"of seats, scores a tuple of numbers"
        )
    return value

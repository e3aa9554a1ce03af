"""What a player's packets mean to its game server."""

from __future__ import annotations

from msgspec import Struct


# Structs of msgspec: an action is made for every input, and a frozen attrs
# class takes five times as long.
class JoinAsked(Struct, frozen=True, gc=False):
    """
    Somebody asks for a seat; answer with `SeatLink.welcome` or `refuse`.

    :ivar proof: a connect token, or a resume token.
    :ivar heard: last message part that arrived on an older connection.
    """

    is_resume: bool
    proof: bytes
    heard: int


class Confirmed(Struct, frozen=True, gc=False):
    """The welcome arrived: the seat is connected."""


class ActionArrived(Struct, frozen=True, gc=False):
    """The next action, each once and in order."""

    seq: int
    data: bytes


class Left(Struct, frozen=True, gc=False):
    """The player gives its seat up."""


SeatEvent = JoinAsked | Confirmed | ActionArrived | Left

"""
Seats whose players are connected to the node, which relays for them.

Source: docs/protocol/control.rst, section "Relayed seats".
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from vinom.model import SeatPlan
from vinom.wire.control_base import ToNode, ToServer


class RelayWatch(ToServer, frozen=True, tag="relay_watch"):
    """
    Somebody of the node plays in this match or watches it, or nobody does any more.

    Only while somebody does is the node told of states and events.
    """

    match_id: str
    is_on: bool


class RelaySeat(ToServer, frozen=True, tag="relay_seat"):
    """
    A seat's player came, by way of the node, or went; nothing answers.

    :ivar how: "join" (for the first time or again), "drop", "leave", or "bot": the
        game's bot has the seat from now on.
    :ivar epoch: counts the seat's joins by way of the node; what is told of one that
        is no longer the newest is too late.
    :ivar number: of the last action that the node passed on for this seat.
    """

    match_id: str
    seat: int
    how: Literal["join", "drop", "leave", "bot"]
    epoch: int = 0
    number: int = 0


class RelayNewcomer(ToServer, frozen=True, tag="relay_newcomer"):
    """
    Somebody new joins a match that is played.

    :ivar seat: the number that the room will find for it.
    """

    match_id: str
    seat: int
    plan: SeatPlan


class RelayAction(ToServer, frozen=True, tag="relay_action"):
    """
    A relayed seat acts; the next `RelayState`, or a `RelayRefusal`, answers.

    :ivar number: rises with each action of this seat.
    :ivar data: the game's own action, JSON.
    """

    match_id: str
    seat: int
    number: int
    data: bytes


class RelayState(ToNode, frozen=True, tag="relay_state"):
    """
    What one turn changed, for all relayed seats and for spectators.

    :ivar phase: "gathering", "playing", "over" or "closed".
    :ivar time: match time, seconds.
    :ivar applied: by seat: number of the last action that this state answers.
    :ivar views: each once, JSON; none if only `applied` is new.
    :ivar shown: by seat: which of the views; -1 are the spectators.
    :ivar setup: what never changes, JSON; empty if there is nothing.
    """

    match_id: str
    version: int
    phase: str
    time: float
    applied: dict[int, int]
    views: tuple[bytes, ...] = ()
    shown: dict[int, int] = field(default_factory=dict)
    setup: bytes = b""


class RelayEvent(ToNode, frozen=True, tag="relay_event"):
    """
    Something happened once in the game, before the next `RelayState`.

    :ivar to: the only seat that may know; ``None`` is everybody.
    """

    match_id: str
    version: int
    kind: str
    data: Any
    to: int | None


class RelayRefusal(ToNode, frozen=True, tag="relay_refusal"):
    """
    An action was not applied.

    :ivar code: one of `vinom.errors.Code`.
    :ivar reason: the game's own code, or the field that is wrong.
    """

    match_id: str
    seat: int
    number: int
    code: str
    reason: str
    message: str


class RelayTaken(ToNode, frozen=True, tag="relay_taken"):
    """
    A relayed seat is not the node's any more: its player came over UDP.

    :ivar epoch: of the join that this ended.
    """

    match_id: str
    seat: int
    epoch: int


class RelayFailed(ToNode, frozen=True, tag="relay_failed"):
    """
    What this match shows cannot be told by way of the node; it goes on without.

    :ivar why: for the log.
    """

    match_id: str
    why: str


#: What a room's relayed players cause, and what they are told.
ToRelayed = RelayWatch | RelaySeat | RelayNewcomer | RelayAction
FromRelayed = RelayState | RelayEvent | RelayRefusal | RelayTaken | RelayFailed

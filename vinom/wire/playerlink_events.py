"""What happens to a player on its link."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from vinom.errors import PeerError
from vinom.wire.linkmessages import Event, Message, Over, Refusal, Round
from vinom.wire.messages import SeatName


class Joined(Struct, frozen=True):
    """
    The seat is ours.

    :ivar resume: takes the seat back on a new connection; secret.
    :ivar setup: the part of the view that never changes, MessagePack; perhaps
        empty.
    :ivar tick_hz: fixed steps a second; 0 for a game that has none.
    """

    seat: int
    resume: bytes
    setup: bytes
    players: tuple[SeatName, ...]
    match_id: str
    game: str
    tick_hz: int


class StateArrived(Struct, frozen=True, gc=False):
    """
    A newer state; an older one is never shown.

    :ivar time: match time, seconds.
    :ivar view: MessagePack.
    :ivar acked: our last action that this state answers.
    """

    version: int
    time: float
    view: bytes
    acked: int


class EventArrived(Struct, frozen=True):
    """Something happened once; these come in order."""

    kind: str
    data: Any
    version: int


class ActionRefused(Struct, frozen=True):
    """
    An action changed nothing.

    :ivar code: one of `vinom.errors.Code`.
    :ivar reason: the game's own, with ``rejected``.
    """

    seq: int
    code: str
    reason: str
    message: str


class RoundEnded(Struct, frozen=True):
    """A round has an outcome: ``{round, places, scores}``."""

    outcome: dict[str, Any]
    version: int
    view_hash: str


class MatchOver(Struct, frozen=True):
    """The match is over."""

    reason: str
    outcome: dict[str, Any] | None
    version: int
    view_hash: str


class Rejected(Struct, frozen=True):
    """
    The connection is over.

    :ivar code: one of `vinom.errors.Code`.
    :ivar retry_after: when to come again, seconds; 0 does not say.
    """

    code: str
    message: str
    retry_after: float = 0.0


PlayerEvent = (
    Joined
    | StateArrived
    | EventArrived
    | ActionRefused
    | RoundEnded
    | MatchOver
    | Rejected
)


def event_of(message: Message) -> PlayerEvent:
    """Say what a reliable message means to its player."""
    if isinstance(message, Event):
        return EventArrived(message.kind, message.data, message.version)
    if isinstance(message, Refusal):
        return ActionRefused(message.seq, message.code, message.reason, message.message)
    if isinstance(message, Round):
        return RoundEnded(message.outcome, message.version, message.view_hash)
    if isinstance(message, Over):
        return MatchOver(
            message.reason, message.outcome, message.version, message.view_hash
        )
    raise PeerError("a message nobody knows")

"""The seats of a hosted room: who may sit, and what outlives connections."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

import attrs

from vinom.errors import Code, Refused
from vinom.rules.room import Room
from vinom.wire.linkmessages import MessageStream, Welcome
from vinom.wire.messages import SeatName
from vinom.wire.packets import RESUME_BYTES
from vinom.wire.tokens import Claims

if TYPE_CHECKING:
    from vinom.services.gameserver_line import Line

#: Tokens that were used up and are remembered. The lobby mints one each time a
#: player comes back, for itself only; the oldest have expired by then.
_MOST_USED = 256


@attrs.define(eq=False)
class SeatDoor:
    """
    Decide who gets one seat; a newer one takes it from an older.

    A proof is used up when its owner has shown that it got the answer, so
    that a lost answer locks nobody out. Resume tokens are kept as hashes.

    :ivar epoch: counts the joins.
    """

    epoch: int = 0
    _used: dict[str, None] = attrs.field(factory=dict, init=False)
    _resume: bytes = attrs.field(default=b"", init=False)
    _offered: bytes = attrs.field(default=b"", init=False)
    _pending: str = attrs.field(default="", init=False)

    def enter_by_token(self, claims: Claims) -> None:
        """
        Somebody shows a token that was verified.

        :raises Refused: `Code.TOKEN_USED`.
        """
        if claims.token_id in self._used:
            raise Refused(
                Code.TOKEN_USED, "this token was used; resume, or ask the lobby"
            )
        self._pending = claims.token_id

    def is_resumed_by(self, resume: bytes) -> bool:
        """Is this the seat that a resume token is for?"""
        offered = sha256(resume).digest()
        # Not `or`: both are compared, in the same time whatever they hold.
        return hmac.compare_digest(offered, self._resume) | hmac.compare_digest(
            offered, self._offered
        )

    def enter_by_resume(self, resume: bytes) -> None:
        """Somebody shows a resume token of this seat."""
        if hmac.compare_digest(sha256(resume).digest(), self._offered):
            # Whoever has it got the answer, even if we did not hear so.
            self.confirm()
        self._pending = ""

    def shut(self) -> None:
        """The node vouches for another connection: what we offered is worthless."""
        self.epoch += 1
        self._resume = self._offered = b""
        self._pending = ""

    def offer(self, entropy: Callable[[int], bytes]) -> bytes:
        """Raise the epoch; returns the resume token that goes with it."""
        self.epoch += 1
        resume = entropy(RESUME_BYTES)
        self._offered = sha256(resume).digest()
        return resume

    def confirm(self) -> None:
        """The offer arrived: what it was asked with is used up."""
        self._resume = self._offered
        if self._pending:
            self._used[self._pending] = None
            if len(self._used) > _MOST_USED:
                del self._used[next(iter(self._used))]
            self._pending = ""


@attrs.define(eq=False)
class HostedSeat:
    """
    One seat and what outlives its connections.

    :ivar line: the connection that holds it.
    :ivar is_relayed: its player is connected to the node.
    :ivar relay_epoch: counts its joins by way of the node.
    :ivar present: the room counts it as connected.
    :ivar came: it was connected once.
    :ivar acted: the last action that reached the game.
    :ivar applied: the last action that a state answers.
    :ivar shown: version of the state last sent.
    """

    number: int
    door: SeatDoor = attrs.field(factory=SeatDoor)
    messages: MessageStream = attrs.field(factory=MessageStream)
    line: Line | None = None
    is_relayed: bool = False
    relay_epoch: int = 0
    present: bool = False
    came: bool = False
    acted: int = 0
    applied: int = 0
    shown: int = 0


def welcome_to(
    room: Room, seat: HostedSeat, names: tuple[SeatName, ...], resume: bytes
) -> Welcome:
    """Tell a player all about the seat that it gets."""
    return Welcome(
        seat=seat.number,
        epoch=seat.door.epoch,
        resume=resume,
        match_id=room.plan.match_id,
        game=room.plan.game,
        players=names,
        tick_hz=room.game.tick_hz,
        input=seat.acted,
        message=seat.messages.first,
        setup=room.setup(),
    )

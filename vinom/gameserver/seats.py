"""
The seats of a hosted room: who may sit, and what outlives connections.

What a game server is handed: sockets' ways out, and places to write to.

One player's connection, as its game server knows it.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import attrs
from twisted.internet.interfaces import IReactorTime, IReactorUDP

from vinom.dtls.association import Association
from vinom.errors import Code, Refused
from vinom.hosting.recorded import Recording, RecordingPlace
from vinom.limits.buckets import TokenBucket
from vinom.messages.catalogue import SeatName
from vinom.packets.codec import RESUME_BYTES
from vinom.packets.reliable import MessageStream, Welcome
from vinom.packets.seat import SeatLink
from vinom.play.room import Room
from vinom.tokens import Claims

if TYPE_CHECKING:
    from vinom.gameserver.room import HostedRoom


__all__ = ["IGameReactor", "PayloadPort", "Recording", "RecordingPlace"]


class IGameReactor(IReactorTime, IReactorUDP):
    """What a game server needs of a reactor; its seconds are of the Unix epoch."""


class PayloadPort(Protocol):
    """What carries our payloads: `vinom.dtls.port.DatagramPort`."""

    def send(self, association: Association, *payloads: bytes) -> None:
        """Seal *payloads* for one peer."""

    def send_each(self, payloads: Iterable[tuple[Association, bytes]]) -> None:
        """Seal one payload for each of some peers; cheaper."""

    def close(self, association: Association) -> None:
        """Say close_notify to one peer."""


@attrs.frozen
class LineLimits:
    """
    How much one connection may ask of us.

    :ivar packets: a second, and `packet_burst` at once.
    :ivar inputs: actions a second, and `input_burst` at once.
    """

    packets: float = 250.0
    packet_burst: float = 500.0
    inputs: float = 100.0
    input_burst: float = 200.0


@attrs.define(eq=False)
class Line:
    """
    A connection; it has a room and a seat once its JOIN was accepted.

    :ivar allowance: for packets.
    :ivar figures: counts, for all connections, what was refused by code.
    """

    association: Association
    link: SeatLink
    allowance: TokenBucket
    figures: Counter[str]
    room: HostedRoom | None = None
    seat: HostedSeat | None = None

    @classmethod
    def open(
        cls,
        association: Association,
        limits: LineLimits,
        now: float,
        figures: Counter[str],
    ) -> Line:
        """
        Serve a connection that was just made.

        :raises PeerError: it cannot carry a packet.
        """
        inputs = TokenBucket(limits.inputs, limits.input_burst)
        return cls(
            association,
            SeatLink(association.max_payload, now, inputs.take),
            TokenBucket(limits.packets, limits.packet_burst),
            figures,
        )

    def refuse(
        self, code: str, message: str, now: float, retry_after: float = 0.0
    ) -> None:
        """
        End the connection and say why.

        :param retry_after: when to come again, seconds; 0 does not say.
        """
        if self.link.phase not in ("refused", "over"):
            self.figures[f"errors_{code}"] += 1
        self.link.refuse(code, message, now, retry_after)

    def flush(self, port: PayloadPort) -> bool:
        """
        Send what the link has; close the connection if the link is over.

        :returns: is it over?
        """
        link = self.link
        packets = link.take_packets()
        if packets:
            port.send(self.association, *packets)
        if link.phase != "over":
            return False
        self.association.owner = None
        port.close(self.association)
        return True


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

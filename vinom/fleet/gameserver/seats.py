"""The proofs that open a seat of a match, and the limits of a connection."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256

import attrs
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime, IReactorUDP

from vinom.base.tokens import Claims
from vinom.errors import Code, Refused
from vinom.net.packets.codec import RESUME_BYTES


class IGameReactor(IReactorTime, IReactorUDP):
    """The reactor of a game server; its seconds are of the Unix epoch."""


@attrs.frozen
class Runtime:
    """
    What players are served with.

    :ivar reactor: its clock counts seconds since the Unix epoch.
    :ivar seconds: a clock that never goes back.
    :ivar entropy: returns as many random bytes as its argument.
    """

    reactor: IGameReactor
    seconds: Callable[[], float]
    entropy: Callable[[int], bytes]


@attrs.frozen
class ConnectionLimits:
    """
    The limits of one connection.

    :ivar packets: packets per second.
    :ivar packet_burst: most packets at once.
    :ivar inputs: actions per second.
    :ivar input_burst: most actions at once.
    """

    packets: float = 250.0
    packet_burst: float = 500.0
    inputs: float = 100.0
    input_burst: float = 200.0


#: Most used tokens that are stored. The lobby mints a new one each time a player comes
#: back, so the oldest have expired when they are dropped.
_MOST_USED = 256


class KeptDoor(Struct, frozen=True, array_like=True):
    """
    The proofs of one seat, as a checkpoint has them: hashes, and no token.

    :ivar epoch: counts the joins.
    :ivar resume: hash of the resume token that is valid; empty if there is none.
    :ivar offered: hash of the one that was offered last.
    :ivar pending: id of the connect token that the next confirmation uses up.
    :ivar used: ids of connect tokens that were used, oldest first.
    """

    epoch: int
    resume: bytes
    offered: bytes
    pending: str
    used: tuple[str, ...]


@attrs.define(eq=False)
class SeatDoor:
    """
    Check the proofs for one seat; a newer connection takes it from an older one.

    A proof is used up once its owner has confirmed the answer, so a lost answer locks
    nobody out. Resume tokens are stored as hashes.

    :ivar epoch: counts the joins.
    :ivar changes: counts what a checkpoint must have before its player is answered.
    """

    epoch: int = 0
    changes: int = 0
    _used: dict[str, None] = attrs.field(factory=dict, init=False)
    _resume: bytes = attrs.field(default=b"", init=False)
    _offered: bytes = attrs.field(default=b"", init=False)
    _pending: str = attrs.field(default="", init=False)

    def enter_by_token(self, claims: Claims) -> None:
        """
        Accept a token that was verified.

        :raises Refused: `Code.TOKEN_USED`: it was used before.
        """
        if claims.token_id in self._used:
            raise Refused(
                Code.TOKEN_USED,
                "this token was used before; resume, or ask the lobby for a new one",
            )
        self._pending = claims.token_id

    def is_resumed_by(self, resume: bytes) -> bool:
        """Is this resume token for this seat?"""
        offered = sha256(resume).digest()
        # Not `or`: always compare both, so that the time reveals nothing.
        return hmac.compare_digest(offered, self._resume) | hmac.compare_digest(
            offered, self._offered
        )

    def enter_by_resume(self, resume: bytes) -> None:
        """Accept a resume token that is for this seat."""
        if hmac.compare_digest(sha256(resume).digest(), self._offered):
            # Its owner got our answer, even if the confirmation was lost.
            self.confirm()
        self._pending = ""

    def shut(self) -> None:
        """Invalidate all resume tokens: the node has given the seat to its player."""
        self.epoch += 1
        self.changes += 1
        self._resume = self._offered = b""
        self._pending = ""

    def offer(self, entropy: Callable[[int], bytes]) -> bytes:
        """Raise the epoch; returns the resume token for it."""
        self.epoch += 1
        self.changes += 1
        resume = entropy(RESUME_BYTES)
        self._offered = sha256(resume).digest()
        return resume

    def confirm(self) -> None:
        """Note that the offer arrived: the proof shown for it is used up."""
        self.changes += 1
        self._resume = self._offered
        if self._pending:
            self._used[self._pending] = None
            if len(self._used) > _MOST_USED:
                del self._used[next(iter(self._used))]
            self._pending = ""

    def keep(self) -> KeptDoor:
        """Describe what another process needs to check the same proofs."""
        return KeptDoor(
            self.epoch, self._resume, self._offered, self._pending, tuple(self._used)
        )

    @classmethod
    def of(cls, kept: KeptDoor) -> SeatDoor:
        """Go on with the proofs of another process."""
        door = cls(kept.epoch)
        door._resume, door._offered = kept.resume, kept.offered
        door._pending, door._used = kept.pending, dict.fromkeys(kept.used)
        return door

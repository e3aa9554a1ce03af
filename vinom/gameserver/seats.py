"""Who may sit in a seat of a match, and how much a connection may ask for."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256

import attrs
from twisted.internet.interfaces import IReactorTime, IReactorUDP

from vinom.errors import Code, Refused
from vinom.packets.codec import RESUME_BYTES
from vinom.tokens import Claims


class IGameReactor(IReactorTime, IReactorUDP):
    """What a game server needs of a reactor; its seconds are of the Unix epoch."""


@attrs.frozen
class ConnectionLimits:
    """
    How much one connection may ask of us.

    :ivar packets: a second, and `packet_burst` at once.
    :ivar inputs: actions a second, and `input_burst` at once.
    """

    packets: float = 250.0
    packet_burst: float = 500.0
    inputs: float = 100.0
    input_burst: float = 200.0


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

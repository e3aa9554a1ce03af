"""Who may sit: connect tokens, resume tokens and epochs of one seat."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256

import attrs

from vinom.errors import Code, Refused
from vinom.wire.packets import RESUME_BYTES
from vinom.wire.tokens import Claims

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

    def enter_by_resume(self) -> None:
        """Somebody shows a resume token of this seat."""
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

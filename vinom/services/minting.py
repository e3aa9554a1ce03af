"""What sessions hand out: match ids and seeds, tickets, tokens, server names."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from typing import Protocol

import attrs

from vinom.model import MatchPlan, SeatPlan, Ticket
from vinom.wire.tokens import Claims


class Signer(Protocol):
    """What makes tokens; its key may change."""

    def sign(self, claims: Claims) -> str:
        """Make the token that says *claims*."""


@attrs.frozen
class Mint:
    """
    Make the secrets and names of matches.

    :ivar realm: domain that game servers' names end with.
    :ivar entropy: gives that many random bytes.
    :ivar ticket_seconds: how long a ticket and a token are good.
    """

    realm: str
    signer: Signer
    entropy: Callable[[int], bytes]
    ticket_seconds: float = 120.0

    def plan(self, game: str, options: bytes, seats: tuple[SeatPlan, ...]) -> MatchPlan:
        """Name a match and give it its chance."""
        seed = int.from_bytes(self.entropy(8))
        return MatchPlan(self._label(), game, seats, seed, options)

    def ticket(self, match_id: str, seat: int, now: float) -> Ticket:
        """Make what lets one player's handshakes in."""
        return Ticket(self._label(), match_id, seat, now + self.ticket_seconds)

    def is_stale(self, ticket: Ticket, now: float) -> bool:
        """Is so little of its time left that a new one is better?"""
        return ticket.expires_at - now < self.ticket_seconds / 2

    def token(self, ticket: Ticket, player_id: str, now: float) -> tuple[str, float]:
        """Sign the proof of a seat; gives it and its expiry, Unix seconds."""
        expires_at = now + self.ticket_seconds
        claims = Claims(
            self.realm,
            ticket.match_id,
            player_id,
            ticket.seat,
            expires_at,
            self._label(),
        )
        return self.signer.sign(claims), expires_at

    def server_name(self, ticket: Ticket, server: str) -> str:
        """Name the host for the player's ClientHello."""
        return f"{ticket.label}.{server}.{self.realm}"

    def _label(self) -> str:
        """128 random bits as 26 base32 characters."""
        return b32encode(self.entropy(16)).decode().rstrip("=").lower()

"""Ways into a match: its id and seed, tickets, tokens, and where its server is."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from vinom.base.messages.lobby import MatchFound, SeatName
from vinom.base.model import SEED_BYTES, MatchPlan, Placement, SeatPlan, Ticket
from vinom.base.tokens import Claims


class Signer(Protocol):
    """Signs tokens; its key may change."""

    def sign(self, claims: Claims) -> str:
        """Sign a token with these *claims*."""


@attrs.frozen
class JoinTickets:
    """
    Make the names and secrets of matches.

    :ivar realm: the domain that game servers' names end with.
    :ivar signer: signs tokens.
    :ivar entropy: called with a number, returns that many random bytes.
    :ivar now: the time, seconds since the Unix epoch.
    :ivar ticket_seconds: how long a ticket and a token are valid.
    """

    realm: str
    signer: Signer
    entropy: Callable[[int], bytes]
    now: Callable[[], float]
    ticket_seconds: float = 120.0

    def plan(
        self, game: str, options: bytes, seats: tuple[SeatPlan, ...]
    ) -> tuple[MatchPlan, list[Ticket]]:
        """Name a match and draw its seed; make a ticket for each seat."""
        seed = self.entropy(SEED_BYTES)
        plan = MatchPlan(self._label(), game, seats, seed, options)
        tickets = [self.ticket(plan.match_id, seat) for seat in range(len(seats))]
        return plan, tickets

    def ticket(self, match_id: str, seat: int) -> Ticket:
        """Make a ticket that admits the handshakes of one seat's player."""
        expires_at = self.now() + self.ticket_seconds
        return Ticket(self._label(), match_id, seat, expires_at)

    def found(
        self, plan: MatchPlan, placement: Placement, *tickets: Ticket
    ) -> list[MatchFound]:
        """
        Make the message for each ticket that brings its player to its seat.

        :param placement: where the match is played.
        """
        players = seat_names(plan.seats)
        expires_at = self.now() + self.ticket_seconds
        found = []
        for ticket in tickets:
            claims = Claims(
                self.realm,
                ticket.match_id,
                plan.seats[ticket.seat].player_id,
                ticket.seat,
                expires_at,
                self.entropy(16).hex(),
            )
            message = MatchFound(
                match_id=plan.match_id,
                game=plan.game,
                host=placement.address,
                port=placement.port,
                server_name=f"{ticket.label}.{placement.server}.{self.realm}",
                certificate=placement.certificate,
                token=self.signer.sign(claims),
                seat=ticket.seat,
                players=players,
                expires_at=expires_at,
                went_back=placement.went_back,
            )
            found.append(message)
        return found

    def _label(self) -> str:
        """Draw 128 random bits as 26 base32 characters."""
        return b32encode(self.entropy(16)).decode().rstrip("=").lower()


def seat_names(seats: Sequence[SeatPlan]) -> tuple[SeatName, ...]:
    """Describe the players of a match to each other."""
    return tuple(
        SeatName(number, seat.name, seat.player_id, seat.team)
        for number, seat in enumerate(seats)
    )

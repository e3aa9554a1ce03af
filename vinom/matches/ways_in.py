"""
What sessions hand out: match ids and seeds, tickets, tokens, server names.

Ways into a match's seats: tickets, tokens, and the way back in.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.errors import StoreUnavailable, VinomError
from vinom.matches.match import Hosting
from vinom.messages.catalogue import MatchFound, Push, QueueStatus, SeatName
from vinom.model import MatchPlan, Placement, SeatPlan, Ticket
from vinom.play.seats import seat_of
from vinom.ports import IMatchStore
from vinom.tokens import Claims


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


_log = Logger()


@attrs.frozen
class Seating:
    """Hand out what players need to take their seats."""

    fleet: Hosting
    matches: IMatchStore
    mint: Mint
    clock: IReactorTime

    def tickets(self, plan: MatchPlan) -> list[Ticket]:
        """Make one for each seat; a game server is told of them with the match."""
        now = self.clock.seconds()
        return [
            self.mint.ticket(plan.match_id, seat, now)
            for seat in range(len(plan.seats))
        ]

    async def renewed(self, tickets: list[Ticket]) -> list[Ticket]:
        """Replace tickets that became old while their match waited for a place."""
        if not self.mint.is_stale(tickets[0], self.clock.seconds()):
            return tickets
        return [await self._announce(old.match_id, old.seat) for old in tickets]

    def found(
        self, plan: MatchPlan, placement: Placement, ticket: Ticket
    ) -> MatchFound:
        """Say to the ticket's player where to go, with what."""
        player_id = plan.seats[ticket.seat].player_id
        token, expires_at = self.mint.token(ticket, player_id, self.clock.seconds())
        return MatchFound(
            match_id=plan.match_id,
            game=plan.game,
            host=placement.host,
            port=placement.port,
            server_name=self.mint.server_name(ticket, placement.server),
            certificate=placement.certificate,
            token=token,
            seat=ticket.seat,
            players=tuple(
                SeatName(number, seat.name, seat.player_id)
                for number, seat in enumerate(plan.seats)
            ),
            expires_at=expires_at,
        )

    async def rejoin(self, player_id: str) -> Push | None:
        """
        Tell a player where its running match is, with a new ticket and token.

        :returns: `MatchFound`; `QueueStatus` "matched" while the match has no
            place or its game server does not answer; ``None`` without a match.
        """
        running = await self.matches.match_of(player_id)
        if running is None:
            return None
        plan, placement = running
        seat = seat_of(plan.seats, player_id)
        if placement is None or seat is None:
            return QueueStatus("matched", plan.game)
        try:
            ticket = await self._announce(plan.match_id, seat)
        except StoreUnavailable:
            raise
        except VinomError as error:
            # Its end is under way; the player hears of it on this line.
            _log.info(
                "no way back into match {match_id}: {error}",
                match_id=plan.match_id,
                error=error,
                player_id=player_id,
            )
            return QueueStatus("matched", plan.game)
        return self.found(plan, placement, ticket)

    async def _announce(self, match_id: str, seat: int) -> Ticket:
        ticket = self.mint.ticket(match_id, seat, self.clock.seconds())
        await self.fleet.add_ticket(ticket)
        return ticket

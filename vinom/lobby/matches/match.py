"""
One match of this node; and the ways into it: its id and seed, tickets, tokens, and
where its server is.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred

from vinom.base.messages.lobby import MatchFound, SeatName
from vinom.base.model import (
    SEED_BYTES,
    MatchEnd,
    MatchPlan,
    Placement,
    Player,
    QueueEntry,
    SeatPlan,
    Ticket,
)
from vinom.base.tokens import Claims
from vinom.fleet.interfaces import IMatchWatch

MatchState = Literal["forming", "placed", "playing"]


@attrs.define(eq=False)
class Match:
    """
    A match that is not over, and what waits for it.

    :ivar since: when it was made, seconds since the Unix epoch.
    :ivar entries: the queue entries it was made of; none if an outside matchmaker
        made it.
    :ivar state: *forming* until a game server listens for it, then *placed*, and
        *playing* once its time runs.
    :ivar placement: where it is played, once a game server has it.
    :ivar end: how it ended, while that is being recorded.
    :ivar withdrawn: players who gave up while it was forming.
    :ivar seat_states: the last state of each seat that its game server reported.
    :ivar has_result: whether a round was over.
    :ivar tickets: one for each seat; replaced if they expire before it has a place.
    :ivar hosting: while it is forming: the fleet's answer. Cancelling withdraws it.
    :ivar unplaced: the reason of its end, if it never gets a place.
    :ivar hosts: one address of its players for each network.
    :ivar counted: those of them that it counts for.
    :ivar watches: what else is called when it starts, changes or ends.
    :ivar delay: why no game server could be had for it so far; empty if none is known.
    :ivar is_adopted: another node has made it: its entries are not known here.
    :ivar is_missing: the store may have lost it, and perhaps has not got it back.
    :ivar lacks_keys: the store lacks the keys of its players.
    :ivar known: its players, each with the hash of the key that proves who it is.
    :ivar again: ids of its entries that wait again, while its end is being recorded.
    """

    plan: MatchPlan
    since: float
    entries: tuple[QueueEntry, ...] = ()
    state: MatchState = "forming"
    placement: Placement | None = None
    end: MatchEnd | None = None
    withdrawn: set[str] = attrs.field(factory=set)
    seat_states: dict[int, str] = attrs.field(factory=dict)
    has_result: bool = False
    tickets: Sequence[Ticket] = ()
    hosting: Deferred[Placement] | None = None
    unplaced: str = "lost"
    watches: list[IMatchWatch] = attrs.field(factory=list)
    hosts: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    delay: str = ""
    is_adopted: bool = False
    is_missing: bool = False
    lacks_keys: bool = False
    known: Sequence[tuple[str, Player]] = ()
    again: Sequence[str] = ()

    @property
    def match_id(self) -> str:
        """Its id."""
        return self.plan.match_id

    def players(self) -> list[str]:
        """List the players who have not left it."""
        return [
            seat.player_id
            for number, seat in enumerate(self.plan.seats)
            if seat.player_id and self.seat_states.get(number) != "left"
        ]

    def seated(self) -> set[str]:
        """List the players who have, or had, a seat."""
        return {seat.player_id for seat in self.plan.seats if seat.player_id}

    def withdraw(self, reason: str) -> bool:
        """Give it up while it is forming; ``False`` if it is too late."""
        if self.hosting is None:
            return False
        self.unplaced = reason
        self.hosting.cancel()
        return True

    def unplaced_end(self, reason: str) -> MatchEnd:
        """
        Make the end of a match that never got a place.

        Players who did not give up count as present.
        """
        present = tuple(
            number
            for number, seat in enumerate(self.plan.seats)
            if seat.player_id not in self.withdrawn
        )
        return MatchEnd(self.plan.match_id, reason, present=present)

    def entries_to_put_back(self, end: MatchEnd) -> list[QueueEntry]:
        """
        List the entries to queue again: all their players came to a match that is void,
        or no game server could be had for it.
        """
        if end.reason != "void" and not (end.reason == "lost" and not self.placement):
            return []
        came = {self.plan.seats[seat].player_id for seat in end.present}
        return [
            entry
            for entry in self.entries
            if all(player.player_id in came for player in entry.players)
        ]

    def queued_at(self, player_id: str) -> float:
        """Find out since when a player of it waits, seconds since the Unix epoch."""
        for entry in self.entries:
            if player_id in entry.player_ids:
                return entry.since
        return self.since

    def players_to_inform(self, put_back: list[QueueEntry]) -> list[str]:
        """List the players to send its end to: not those who left or queue again."""
        again = {player.player_id for entry in put_back for player in entry.players}
        return [
            seat.player_id
            for number, seat in enumerate(self.plan.seats)
            if seat.player_id not in again
            and seat.player_id not in self.withdrawn
            and self.seat_states.get(number) != "left"
        ]

    def describe(self, now: float) -> dict[str, Any]:
        """
        Describe it to an operator.

        :param now: seconds since the Unix epoch.
        """
        place = self.placement
        return {
            "match_id": self.plan.match_id,
            "game": self.plan.game,
            "state": self.state,
            "age": round(max(0.0, now - self.since), 3),
            "host": place.address if place else None,
            "port": place.port if place else None,
            "server": place.server if place else None,
            "players": [
                {
                    "seat": number,
                    "player_id": seat.player_id,
                    "name": seat.name,
                    "state": self.seat_states.get(number, "absent"),
                }
                for number, seat in enumerate(self.plan.seats)
            ],
        }


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

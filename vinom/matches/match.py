"""One match of this node, and whom its life concerns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred

from vinom.messages.catalogue import MatchFound
from vinom.model import MatchEnd, MatchPlan, Placement, QueueEntry, Ticket
from vinom.ports import IMatchWatch

#: Puts entries whose match could not be back to where they waited.
PutBack = Callable[[Sequence[QueueEntry]], None]


class Hosting(Protocol):
    """What sessions ask of `vinom.fleet.fleet.Fleet`."""

    def host(
        self, plan: MatchPlan, tickets: Sequence[Ticket], watch: Any
    ) -> Deferred[Placement]:
        """Find the match a game server that listens; cancelling withdraws."""

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """Let one more handshake in."""

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good."""

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match."""


class Follower(Protocol):
    """Who must know what becomes of sessions: the matchmaker."""

    def match_opened(self, plan: MatchPlan) -> None:
        """These players are in a match now."""

    def draining(self) -> None:
        """No new matches from here on."""


@attrs.define(eq=False)
class Match:
    """
    A match that is not over: *forming* until a game server listens for it, then
    *placed*, then *playing*.

    :ivar since: when it was made, seconds since the Unix epoch.
    :ivar entries: the queue entries it was made of, if it was.
    :ivar hosting: while it is forming: the fleet's answer.
    :ivar verdict: why it is over, if it never gets a place.
    :ivar withdrawn: players who gave up while it was forming.
    :ivar seat_states: what the game server told of each seat.
    :ivar placed: whom to tell that it is placed (an outside matchmaker).
    :ivar watches: who else is told what becomes of it.
    """

    plan: MatchPlan
    since: float
    entries: tuple[QueueEntry, ...] = ()
    put_back: PutBack | None = None
    hosting: Deferred[Placement] | None = None
    placement: Placement | None = None
    is_playing: bool = False
    is_over: bool = False
    verdict: str = "lost"
    withdrawn: set[str] = attrs.field(factory=set)
    seat_states: dict[int, str] = attrs.field(factory=dict)
    placed: Deferred[list[MatchFound]] | None = None
    watches: list[IMatchWatch] = attrs.field(factory=list)

    @property
    def state(self) -> Literal["forming", "placed", "playing"]:
        """How far it came."""
        if self.placement is None:
            return "forming"
        return "playing" if self.is_playing else "placed"

    def withdraw(self, verdict: str) -> bool:
        """Give it up while it is forming; ``False`` if it is too late."""
        if self.hosting is None:
            return False
        self.verdict = verdict
        self.hosting.cancel()
        return True

    def unplaced_end(self) -> MatchEnd:
        """Its end, if it never got a place: who did not give up was present."""
        present = tuple(
            number
            for number, seat in enumerate(self.plan.seats)
            if seat.player_id not in self.withdrawn
        )
        return MatchEnd(self.plan.match_id, self.verdict, present=present)

    def who_waits_again(self, end: MatchEnd) -> set[str]:
        """Players who came to a match that could not be, and were in the queue."""
        if end.reason != "void" or self.put_back is None:
            return set()
        return {self.plan.seats[seat].player_id for seat in end.present}

    def who_is_told(self, again: set[str]) -> list[str]:
        """Players to whom its end is news, but for those who wait *again*."""
        return [
            seat.player_id
            for number, seat in enumerate(self.plan.seats)
            if seat.player_id not in again
            and seat.player_id not in self.withdrawn
            and self.seat_states.get(number) != "left"
        ]

    def describe(self, now: float) -> dict[str, Any]:
        """Show it to an operator."""
        place = self.placement
        return {
            "match_id": self.plan.match_id,
            "game": self.plan.game,
            "state": self.state,
            "age": round(max(0.0, now - self.since), 3),
            "host": place.host if place else None,
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

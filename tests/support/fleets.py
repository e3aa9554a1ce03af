"""A fleet without processes: tests say what its game servers do."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from vinom.base.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.errors import NoCapacity


@attrs.define
class Hosted:
    """One call of `MemoryFleet.place`."""

    plan: MatchPlan
    tickets: list[Ticket]
    watch: object
    answer: Deferred[Placement]
    hosts: tuple[str, ...] = ()
    is_withdrawn: bool = False
    kicked: list[int] = attrs.field(factory=list)
    closed: list[str] = attrs.field(factory=list)


@attrs.define
class MemoryFleet:
    """
    Hosts matches at once while `capacity` lasts, and then lets them wait.

    :ivar capacity: matches that get a place without being asked for.
    """

    capacity: int = 1000
    hosted: list[Hosted] = attrs.field(factory=list)
    is_answering: bool = True

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: object,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        def withdraw(_: object) -> None:
            hosted.is_withdrawn = True

        hosted = Hosted(plan, list(tickets), watch, Deferred(withdraw), hosts)
        self.hosted.append(hosted)
        if self.capacity > 0:
            self.capacity -= 1
            self.answer(len(self.hosted) - 1)
        return hosted.answer

    def answer(self, index: int) -> None:
        """A game server listens for the match."""
        self.hosted[index].answer.callback(
            Placement(f"s{index}", "127.0.0.1", 46000 + index, "CERTIFICATE")
        )

    def end(self, index: int, reason: str = "finished", **facts: object) -> None:
        """The match is over."""
        hosted = self.hosted[index]
        hosted.watch.ended(MatchEnd(hosted.plan.match_id, reason, **facts))

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        known = (hosted.plan.match_id for hosted in self.hosted)
        if not self.is_answering or ticket.match_id not in known:
            return fail(NoCapacity("its game server is gone"))
        self._of(ticket.match_id).tickets.append(ticket)
        return succeed(None)

    def kick(self, match_id: str, seat: int) -> None:
        self._of(match_id).kicked.append(seat)

    def close_room(self, match_id: str, reason: str) -> None:
        self._of(match_id).closed.append(reason)

    def _of(self, match_id: str) -> Hosted:
        return next(h for h in self.hosted if h.plan.match_id == match_id)

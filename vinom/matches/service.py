"""
Sessions: from agreed players to seats in a running match, and to its end.

Players are told of their match only when a game server listens for it.

What the store of matches has to hear, however long that takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.conversation.presence import Presence
from vinom.errors import Code, Refused, StoreUnavailable, VinomError
from vinom.game import Game
from vinom.matches.match import Follower, Hosting, Match, PutBack
from vinom.matches.ways_in import Mint, Seating
from vinom.messages.catalogue import MatchEnded, MatchFound, Push, QueueStatus
from vinom.model import MatchEnd, Placement, QueueEntry, SeatPlan, Ticket
from vinom.play.seats import seat_of, seat_plans
from vinom.ports import IMatchStore


class MatchRecords:
    """
    Tell the store of ends and of leavers until it answers.

    A player whose match is over, or who left it, must not stay in it.

    :param memory_seconds: how long the end of a match is remembered.
    """

    _log = Logger()

    def __init__(
        self, matches: IMatchStore, clock: IReactorTime, memory_seconds: float
    ) -> None:
        self._matches, self._clock = matches, clock
        self._memory_seconds = memory_seconds

    async def end(self, end: MatchEnd) -> None:
        """A match is over."""
        expires_at = self._clock.seconds() + self._memory_seconds
        await self._surely(lambda: self._matches.end(end, expires_at))

    async def release(self, match_id: str, player_id: str) -> None:
        """A player is no longer in a match that goes on."""
        await self._surely(lambda: self._matches.release(match_id, player_id))

    async def _surely(self, step: Callable[[], Deferred[bool]]) -> None:
        while True:
            try:
                await step()
            except StoreUnavailable as error:
                self._log.error("storage does not answer: {error}", error=error)
                await deferLater(self._clock, 1.0)
            else:
                return


class Sessions(Service):
    """
    Start matches, give seats, bring players back, and see matches to their end.

    :param mint: makes ids, tickets and tokens.
    :param memory_seconds: how long the end of a match is remembered.
    """

    name = "sessions"
    _log = Logger()

    def __init__(
        self,
        fleet: Hosting,
        matches: IMatchStore,
        presence: Presence,
        games: Mapping[str, Game[Any, Any]],
        mint: Mint,
        clock: IReactorTime,
        memory_seconds: float = 600.0,
    ) -> None:
        self._fleet, self._matches, self._presence = fleet, matches, presence
        self._games, self._mint, self._clock = games, mint, clock
        self._seating = Seating(fleet, matches, mint, clock)
        self._records = MatchRecords(matches, clock, memory_seconds)
        self._live: dict[str, Match] = {}
        self._followers: list[Follower] = []
        self._drained: list[Deferred[None]] = []
        self._ended: dict[str, int] = {}
        self.is_draining = False

    def follow(self, follower: Follower) -> None:
        """Tell *follower* of what happens from now on."""
        self._followers.append(follower)

    # Starting.

    async def start_match(
        self,
        game: str,
        options: bytes,
        entries: Sequence[QueueEntry],
        put_back: PutBack,
    ) -> bool:
        """
        Start a match for claimed entries; players are told when it is placed.

        :returns: ``False`` if one of the players is in another match.
        """
        seats = seat_plans(entries, self._games[game].teams)
        match = await self._open(game, options, seats)
        if match is None:
            return False
        match.entries, match.put_back = tuple(entries), put_back
        for seat in seats:
            self._presence.tell(seat.player_id, QueueStatus("matched", game))
        self._host(match)
        return True

    async def start_seats(
        self, game: str, options: bytes, seats: tuple[SeatPlan, ...]
    ) -> list[MatchFound]:
        """
        Start a match that somebody else made; gives what each seat needs.

        :raises Refused: `ALREADY_IN_MATCH`, `DRAINING`, or `UNAVAILABLE` if no
            game server was to be had.
        """
        match = await self._open(game, options, seats)
        if match is None:
            playing = [
                s.player_id for s in seats if await self.is_in_match(s.player_id)
            ]
            raise Refused(
                Code.ALREADY_IN_MATCH,
                "a player is in another match",
                {"player_ids": playing},
            )

        def withdraw(_: Deferred[list[MatchFound]]) -> None:
            if match.hosting is not None:
                match.hosting.cancel()

        placed: Deferred[list[MatchFound]] = Deferred(withdraw)
        match.placed = placed
        self._host(match)
        found: list[MatchFound] = await placed
        return found

    async def _open(
        self, game: str, options: bytes, seats: tuple[SeatPlan, ...]
    ) -> Match | None:
        if self.is_draining:
            raise Refused(Code.DRAINING, "this node takes no new matches")
        plan = self._mint.plan(game, options, seats)
        try:
            if not await self._matches.open(plan):
                return None
        except StoreUnavailable:
            # It may be there after all, and would hold its players for ever.
            await self._records.end(MatchEnd(plan.match_id, "void"))
            raise
        match = Match(plan, self._clock.seconds())
        self._live[plan.match_id] = match
        for follower in self._followers:
            follower.match_opened(plan)
        return match

    def _host(self, match: Match) -> None:
        tickets = self._seating.tickets(match.plan)
        match.hosting = self._fleet.host(match.plan, tickets, self)
        match.hosting.addCallback(
            lambda placement: Deferred.fromCoroutine(
                self._place(match, placement, tickets)
            )
        ).addErrback(lambda failure: self._not_placed(match, failure))

    async def _place(
        self, match: Match, placement: Placement, tickets: list[Ticket]
    ) -> None:
        match_id = match.plan.match_id
        if match_id not in self._live:
            return
        # From here on nobody can withdraw: the room is there.
        match.hosting = None
        tickets = await self._seating.renewed(tickets)
        if not await self._matches.place(match_id, placement):
            return
        match.placement = placement
        found = [
            self._seating.found(match.plan, placement, ticket) for ticket in tickets
        ]
        self._log.info(
            "match {match_id} of {game} is at {host}:{port}",
            match_id=match_id,
            game=match.plan.game,
            host=placement.host,
            port=placement.port,
        )
        if match.placed is not None:
            match.placed.callback(found)
            match.placed = None
        for seat, push in zip(match.plan.seats, found, strict=True):
            # One who is not here gets it with the next hello.
            self._presence.tell(seat.player_id, push)

    def _not_placed(self, match: Match, failure: Failure) -> Deferred[None]:
        if match.hosting is None:
            # There is a room, of which we could not tell anybody.
            self._fleet.close_room(match.plan.match_id, "ended")
        match.hosting = None
        if failure.check(VinomError):
            self._log.warn(
                "no game server for match {match_id}: {why}",
                match_id=match.plan.match_id,
                why=failure.getErrorMessage(),
            )
        elif not failure.check(CancelledError):
            self._log.failure(
                "match {match_id} was not placed",
                failure,
                match_id=match.plan.match_id,
            )
        return Deferred.fromCoroutine(self._finish(match.unplaced_end()))

    # Coming back, and giving up.

    async def rejoin(self, player_id: str) -> Push | None:
        """
        Tell a player where its running match is, with a new ticket and token.

        :returns: `MatchFound`; `QueueStatus` "matched" while the match has no
            place or its game server does not answer; ``None`` without a match.
        """
        return await self._seating.rejoin(player_id)

    async def last_end(self, player_id: str) -> MatchEnded | None:
        """How this player's latest match ended, while that is remembered."""
        end = await self._matches.last_end(player_id)
        if end is None:
            return None
        return MatchEnded(end.match_id, end.reason, end.outcome)

    def withdraw(self, player_id: str) -> bool:
        """
        A player gives up before its match has a place; the others wait again.

        :returns: ``False`` if there is nothing to give up (any more).
        """
        for match in self._live.values():
            if (
                match.hosting is not None
                and match.put_back is not None
                and seat_of(match.plan.seats, player_id) is not None
            ):
                match.withdrawn.add(player_id)
                return match.withdraw("void")
        return False

    async def is_in_match(self, player_id: str) -> bool:
        """Has this player a match, forming or running?"""
        return await self._matches.match_of(player_id) is not None

    # What operators do.

    async def kick(self, match_id: str, player_id: str) -> None:
        """
        Remove a player from its match for good.

        :raises Refused: `NO_SUCH_MATCH` or `NO_SUCH_PLAYER`.
        """
        match = self._find(match_id)
        seat = seat_of(match.plan.seats, player_id)
        if seat is None or match.seat_states.get(seat) == "left":
            raise Refused(Code.NO_SUCH_PLAYER, "no such player in this match")
        if match.hosting is None:
            self._fleet.kick(match_id, seat)
            match.seat_states[seat] = "left"
            await self._records.release(match_id, player_id)
        else:
            match.withdrawn.add(player_id)
            match.withdraw("void")
        self._presence.tell(player_id, MatchEnded(match_id, Code.KICKED.value))

    async def end(self, match_id: str) -> None:
        """
        End a match.

        :raises Refused: `NO_SUCH_MATCH`.
        """
        match = self._find(match_id)
        if not match.withdraw("ended"):
            self._fleet.close_room(match_id, "ended")

    def matches(self) -> list[dict[str, Any]]:
        """Every match of this node, oldest first, as operators see it."""
        now = self._clock.seconds()
        return [match.describe(now) for match in self._live.values()]

    def status(self) -> dict[str, Any]:
        """Matches by state, and how those that are over ended."""
        states = {"forming": 0, "placed": 0, "playing": 0}
        for match in self._live.values():
            states[match.state] += 1
        return {**states, "draining": self.is_draining, "ended": dict(self._ended)}

    def drain(self) -> Deferred[None]:
        """Take no new matches; fires when no match runs."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        if not self.is_draining:
            self.is_draining = True
            for follower in self._followers:
                follower.draining()
            for match in tuple(self._live.values()):
                match.withdraw("shutdown")
        self._check_drained()
        return drained

    # What rooms ask, in which matches are played or watched.

    def placed_match(self, match_id: str) -> Match | None:
        """Find a match for which a game server listens."""
        match = self._live.get(match_id)
        return None if match is None or match.placement is None else match

    def placed_matches(self) -> Iterator[Match]:
        """All of them, oldest first."""
        return (match for match in self._live.values() if match.placement is not None)

    # What the fleet tells (IMatchWatch).

    def started(self, match_id: str) -> None:
        """Match time runs."""
        if (match := self._live.get(match_id)) is not None:
            match.is_playing = True
            for watch in tuple(match.watches):
                watch.started(match_id)

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's connection changed; one who left for good may queue again."""
        match = self._live.get(match_id)
        if match is None:
            return
        match.seat_states[seat] = state
        for watch in tuple(match.watches):
            watch.seat_changed(match_id, seat, state)
        if state == "left":
            player_id = match.plan.seats[seat].player_id
            released = self._records.release(match_id, player_id)
            Deferred.fromCoroutine(released).addErrback(
                lambda failure: self._log.failure(
                    "seat not released", failure, match_id=match_id
                )
            )

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome; the room may go on."""
        self._log.info(
            "match {match_id}: round over, {outcome}",
            match_id=match_id,
            outcome=outcome,
        )
        if (match := self._live.get(match_id)) is not None:
            for watch in tuple(match.watches):
                watch.round_ended(match_id, outcome)

    def ended(self, end: MatchEnd) -> None:
        """The room is closed, or its process is gone."""
        if (match := self._live.get(end.match_id)) is not None:
            for watch in tuple(match.watches):
                watch.ended(end)
        Deferred.fromCoroutine(self._finish(end)).addErrback(
            lambda failure: self._log.failure(
                "end of match not recorded", failure, match_id=end.match_id
            )
        )

    async def _finish(self, end: MatchEnd) -> None:
        match = self._live.get(end.match_id)
        if match is None or match.is_over:
            return
        match.is_over = True
        await self._records.end(end)
        del self._live[end.match_id]
        self._ended[end.reason] = self._ended.get(end.reason, 0) + 1
        self._log.info(
            "match {match_id} is over: {reason}",
            match_id=end.match_id,
            reason=end.reason,
        )
        again = set() if self.is_draining else match.who_waits_again(end)
        told = MatchEnded(end.match_id, end.reason, end.outcome)
        for player_id in match.who_is_told(again):
            self._presence.tell(player_id, told)
        if match.put_back is not None and again:
            match.put_back(
                [
                    entry
                    for entry in match.entries
                    if all(player.player_id in again for player in entry.players)
                ]
            )
        if match.placed is not None:
            placed, match.placed = match.placed, None
            placed.errback(
                Refused(
                    Code.UNAVAILABLE,
                    "the match could not be placed",
                    {"reason": end.reason},
                )
            )
        self._check_drained()

    def _find(self, match_id: str) -> Match:
        match = self._live.get(match_id)
        if match is None:
            raise Refused(Code.NO_SUCH_MATCH, "it ended, or never was")
        return match

    def _check_drained(self) -> None:
        if self.is_draining and not self._live:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

"""
A match of a game process, as a room: for those who play or watch it from the node.

The room's id is the match's. It is there while somebody of the node is in it, and
costs nothing otherwise; its players may as well come and go over UDP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Literal, Protocol

from zope.interface import implementer

from vinom.control.messages import FromRelayed, RelayFailed, RelayTaken
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.limits.load import busy
from vinom.matches.match import Match
from vinom.matches.service import Matches
from vinom.messages.rooms import (
    ClientJoined,
    ClientLeft,
    ListRooms,
    RoomFacts,
    RoomList,
)
from vinom.model import MatchEnd, Player
from vinom.play.room import Closed
from vinom.play.seats import seat_of
from vinom.ports import IMatchWatch
from vinom.rooms.member import DialedSeat, Member
from vinom.rooms.relay import IsolatedRoom, RelayFleet, RemoteRoom
from vinom.rooms.room import House, RoomTerms

#: Who may watch a match without a seat in it: nobody, who knows its id, or anybody:
#: then it is listed as well.
Watching = Literal["none", "by_id", "listed"]

#: How `vinom.matches.ways_in.WaysIn` names matches; no other room may be named so.
_MATCH_ID = re.compile(r"[a-z2-7]{26}")


class FollowFleet(RelayFleet, Protocol):
    """Where matches are played: `vinom.fleet.fleet.Fleet`."""

    def follow(
        self, match_id: str, relay: Callable[[FromRelayed], None] | None
    ) -> None:
        """Hear what players of the node are told in a match, or no more."""


class FollowedRoom(RemoteRoom):
    """
    Stands where `vinom.play.room.Room` would, for a match that is played already.

    :param taken: hears of seats whose players came over UDP.
    :ivar is_followed: was its game server asked to tell of it?
    """

    def __init__(
        self,
        match: Match,
        game: Game[Any, Any],
        fleet: FollowFleet,
        around: IsolatedRoom,
        taken: Callable[[int], None],
    ) -> None:
        super().__init__(match.plan, game, fleet, around)
        self._followed, self._match, self._tell_taken = fleet, match, taken
        # It has its place: nothing waits.
        self._unsent = None
        self.is_followed = False

    def follow(self) -> None:
        """Hear of it from now on."""
        self.is_followed = True
        self._followed.follow(self.plan.match_id, self.relayed)

    def close(self, reason: str, now: float) -> None:
        """Hear of it no more; the match goes on."""
        if self.phase != "closed":
            # Whoever is refused a place must not cost the game server anything.
            if self.is_followed:
                self._followed.follow(self.plan.match_id, None)
            self.ended(MatchEnd(self.plan.match_id, reason, version=self.version))

    def relayed(self, message: FromRelayed) -> None:
        """Something for the players."""
        if isinstance(message, RelayFailed):
            self._log.error(
                "match {match_id} cannot be shown by way of the node: {why}",
                match_id=message.match_id,
                why=message.why,
            )
            self.close("crashed", 0.0)
        elif not isinstance(message, RelayTaken):
            super().relayed(message)
        elif message.epoch == self.epoch_of(message.seat):
            # One that was joined again meanwhile is ours.
            self._tell_taken(message.seat)


@implementer(IMatchWatch)
class MatchRoom(IsolatedRoom):
    """
    The members of one match who are connected to the node.

    Its seats are the match's; nobody is its host. How long an absent player is waited
    for is the match's affair.

    :param watching: who may watch.
    """

    def __init__(
        self,
        house: House,
        matches: Matches,
        match: Match,
        game: Game[Any, Any],
        fleet: FollowFleet,
        watching: Watching,
    ) -> None:
        plan = match.plan
        terms = RoomTerms(plan.match_id, plan.game, game, plan.options, False)
        super().__init__(house, terms, fleet)
        self._matches, self._match, self._watching = matches, match, watching
        states = match.seat_states
        for number, seat in enumerate(plan.seats):
            state = states.get(number)
            is_here = state in ("joined", "returned")
            self.seats.append(
                None if state == "left" else DialedSeat(number, seat, is_here)
            )
        self._remote = FollowedRoom(match, game, fleet, self, self.seat_taken)
        self.room = self._remote

    # What it is.

    @property
    def state(self) -> Literal["gathering", "playing", "over"]:
        """Tell how far it is."""
        if self._remote.phase == "over":
            return "over"
        return "playing" if self._match.state == "playing" else "gathering"

    @property
    def is_open(self) -> bool:
        """Can a newcomer take a seat now? A match has its players."""
        return False

    def facts(self) -> RoomFacts:
        """Describe it for a list."""
        return match_facts(self._match, self)

    # Who comes and goes.

    def enter(self, player: Player, loadout: bytes, spectates: bool) -> Member:
        """
        Give somebody a place: its own seat, or one to watch from.

        :raises Refused: there is none, or there is too much to do for newcomers.
        """
        number = seat_of(self._match.plan.seats, player.player_id)
        has_seat = number is not None and self.seats[number] is not None
        if has_seat and spectates:
            raise Refused(
                Code.ALREADY_IN_MATCH,
                "you have a seat in this match; join without spectate",
                {"seat": number},
            )
        if not has_seat and (not spectates or self._watching == "none"):
            may = "" if self._watching == "none" else "; you may spectate"
            raise Refused(Code.NOT_SEATED, f"you have no seat in this match{may}")
        if not self._has_come(number) and self._remote.is_overloaded:
            raise busy()
        if not has_seat:
            member = super().enter(player, loadout, True)
        else:
            assert number is not None
            member = Member(self, player, number, loadout)
            self.seats[number] = member
            self.members.append(member)
            self._empty_since = inf
        if not self._remote.is_followed:
            self._matches.watch(self.room_id, self)
            self._remote.follow()
        return member

    def _has_come(self, number: int | None) -> bool:
        """Did this seat's player play here before, by whatever way?"""
        return number is not None and number in self._match.seat_states

    def lost(self, member: Member) -> None:
        """A connection is gone; a seat waits as long as the match wants."""
        super().lost(member)
        if member.seat is not None:
            member.lost_at = inf
            self.find_deadlines()

    def leave(self, member: Member, reason: str) -> None:
        """A member gives its place up, or loses it, for good."""
        super().leave(member, reason)
        self._close_if_empty()

    def seat_taken(self, seat: int) -> None:
        """A seat's player came over UDP: whoever has it here does not any more."""
        who = self.seats[seat]
        if not isinstance(who, Member):
            return
        is_here = who.conversation is not None
        who.warn(
            Refused(
                Code.SEAT_TAKEN,
                "a newer connection has your place in this room",
                {"room_id": self.room_id},
            )
        )
        self._disconnect(who)
        self.members.remove(who)
        self._house.forget(who)
        plan = self._match.plan.seats[seat]
        self.seats[seat] = DialedSeat(seat, plan, is_here)
        self._acks.pop(str(seat), None)
        self._acks_text = b""
        self.find_deadlines()
        self._close_if_empty()

    def _choose_host(self) -> None:
        """Nobody is: what a host may is settled in a match."""

    def _close_if_empty(self) -> None:
        if not self.members:
            self.close("abandoned")

    # What the match tells (IMatchWatch).

    def started(self, match_id: str) -> None:
        """Match time runs; the first state says so too."""

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's player came or went, by whatever way."""
        who: Any = self.seats[seat]
        if not isinstance(who, DialedSeat):
            # A member: the others were told when we knew.
            self._remote.seat_changed(match_id, seat, state)
            return
        facts = (seat, who.name, who.player_id)
        if state in ("joined", "returned"):
            who.is_here = True
            self.announce(
                ClientJoined(self.room_id, self.next_number(), *facts, state, None)
            )
            return
        who.is_here = False
        reason = "left" if state == "left" else "lost"
        if state == "left":
            self.seats[seat] = None
        self.announce(
            ClientLeft(self.room_id, self.next_number(), *facts, reason, None)
        )

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome."""
        self._remote.round_ended(match_id, outcome)

    def ended(self, end: MatchEnd) -> None:
        """It is over, or its game process is."""
        self._remote.ended(end)

    def _ended(self, closed: Closed) -> None:
        end = closed.end
        self.close(end.reason, end.outcome, end.view_hash)

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """Let everybody go; the match itself goes on if it is not over."""
        if not self.is_closed and self._remote.is_followed:
            self._matches.unwatch(self.room_id, self)
        super().close(reason, outcome, view_hash)


class MatchRooms:
    """
    Make rooms of matches.

    :param watching: who may watch those of others.
    """

    def __init__(
        self,
        matches: Matches,
        fleet: FollowFleet,
        games: Mapping[str, Game[Any, Any]],
        watching: Watching,
    ) -> None:
        self._matches, self._fleet, self._games = matches, fleet, games
        self._watching = watching

    def open(self, house: House, match_id: str) -> MatchRoom | None:
        """Make a match's room; ``None`` if no such match is played."""
        match = self._matches.placed_match(match_id)
        if match is None:
            return None
        game = self._games[match.plan.game]
        return MatchRoom(house, self._matches, match, game, self._fleet, self._watching)

    def listed(self, asked: ListRooms, rooms: Mapping[str, Any]) -> RoomList:
        """
        List matches that may be watched, oldest first.

        :param rooms: those there are, by id.
        """
        found: list[RoomFacts] = []
        total = 0
        if self._watching != "listed":
            return RoomList((), 0)
        for match in self._matches.placed_matches():
            if asked.game not in (None, match.plan.game):
                continue
            room = rooms.get(match.plan.match_id)
            facts = match_facts(match, room if isinstance(room, MatchRoom) else None)
            if asked.state in (None, facts.state):
                total += 1
                if len(found) < asked.limit:
                    found.append(facts)
        return RoomList(tuple(found), total)


def match_places(rooms: Iterable[object]) -> dict[str, int]:
    """Count the seats of matches that are relayed, and those who watch, for metrics."""
    members = [
        member
        for room in rooms
        if isinstance(room, MatchRoom)
        for member in room.members
    ]
    seats = sum(member.seat is not None for member in members)
    return {"relayed_seats": seats, "match_spectators": len(members) - seats}


def is_match_id(room_id: str) -> bool:
    """Is this the id of a match, which nobody else may give to a room?"""
    return _MATCH_ID.fullmatch(room_id) is not None


def match_facts(match: Match, room: MatchRoom | None) -> RoomFacts:
    """Describe a match as a room of a list."""
    plan = match.plan
    left = sum(state == "left" for state in match.seat_states.values())
    if room is not None:
        state: str = room.state
    else:
        state = "playing" if match.state == "playing" else "gathering"
    watching = [] if room is None else [m for m in room.members if m.seat is None]
    return RoomFacts(
        plan.match_id,
        plan.game,
        state,
        "",
        len(plan.seats),
        len(plan.seats) - left,
        len(watching),
        False,
    )

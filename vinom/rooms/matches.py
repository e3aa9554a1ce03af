"""
A match of a game process, as a room: for those who play or watch it from the node.

The room's id is the match's. The room is there while somebody of the node is in it,
and costs nothing otherwise; the match's players may as well come and go over UDP.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.limits.pressure import busy
from vinom.base.messages.rooms import (
    ClientJoined,
    ClientLeft,
    ListRooms,
    RoomFacts,
    RoomList,
)
from vinom.base.model import MatchEnd, MatchPlan, Placement, Player
from vinom.errors import Code, Refused
from vinom.fleet.control.messages import FromRelayed, RelayFailed, RelayTaken
from vinom.fleet.interfaces import IMatchWatch
from vinom.fleet.relay.room import Host, RelayedRoom, RelayFleet
from vinom.game import Game
from vinom.lobby.matches.match import Match
from vinom.lobby.matches.service import Matches
from vinom.play.seats import seat_of
from vinom.rooms.room import Directory, NodeRoom, State, taken_over
from vinom.rooms.round import RoomContext, RoomTerms
from vinom.rooms.seating import DialedSeat, Member

#: Who may watch a match without a seat in it: nobody; players who know its id; or
#: anybody, and then it is listed as well.
Watching = Literal["none", "by_id", "listed"]

#: How `vinom.lobby.matches.match` names matches; no other room may have such a
#: name.
_MATCH_ID = re.compile(r"[a-z2-7]{26}")


class FollowFleet(RelayFleet, Protocol):
    """Where matches are played: `vinom.fleet.fleet.Fleet`."""

    def follow(
        self, match_id: str, relay: Callable[[FromRelayed], None] | None
    ) -> None:
        """Pass on what the node's players are to see of a match; ``None`` ends that."""


@implementer(IMatchWatch)
class MatchPolicy:
    """
    A room that shows a match: its seats are the match's, and nobody is its host.

    How long an absent player is waited for is up to the match. Its game server sends
    what members are to see from the time when the first of them has come.
    """

    is_own = False
    _log = Logger()

    def __init__(
        self,
        matches: Matches,
        match: Match,
        game: Game[Any, Any],
        fleet: FollowFleet,
        watching: Watching,
    ) -> None:
        """
        Make the policy of one match.

        :param matches: reports what becomes of it.
        :param match: is played by a game server.
        :param game: its rules.
        :param fleet: passes messages between the node and the game server.
        :param watching: who may watch.
        """
        self._matches, self._match, self._game = matches, match, game
        self._fleet, self._watching = fleet, watching
        self.may_watch = watching != "none"
        self._is_followed = False
        self._room: NodeRoom
        self._relayed: RelayedRoom

    def opened(self, room: NodeRoom) -> None:
        """Show the match's seats, and relay it."""
        match, plan = self._match, self._match.plan
        states = match.seat_states
        for number, seat in enumerate(plan.seats):
            state = states.get(number)
            is_here = state in ("joined", "returned")
            dialed = DialedSeat(number, seat, is_here)
            room.seating.seats.append(dialed)
            if state == "left":
                room.seating.stand_up(dialed, is_played=True)
        self._room = room
        self._relayed = RelayedRoom(
            plan,
            self._game,
            self._fleet,
            is_placed=True,
            end=self._unfollow,
            changed=room.round.arrived,
            refused=room.round.refused,
        )
        room.round.play(self._relayed)

    # What it is.

    def state(self, room: NodeRoom) -> State:
        """Find how far the match is."""
        if room.round.phase == "over":
            return "over"
        return "playing" if self._match.state == "playing" else "gathering"

    def facts(self, room: NodeRoom) -> RoomFacts:
        """Describe the match for a list."""
        return match_facts(self._match, room)

    # Who comes and goes.

    def seat_for(
        self, room: NodeRoom, player: Player, loadout: bytes, spectates: bool
    ) -> int | None:
        """
        Give somebody its own seat, or let it watch.

        :raises Refused: it may not, or there is too much to do for newcomers.
        """
        number = seat_of(self._match.plan.seats, player.player_id)
        has_seat = number is not None and room.seating.at(number) is not None
        if has_seat and spectates:
            raise Refused(
                Code.ALREADY_IN_MATCH,
                "you have a seat in this match; join without spectate",
                {"seat": number},
            )
        if not has_seat and (not spectates or self._watching == "none"):
            may = "" if self._watching == "none" else "; you may spectate"
            raise Refused(Code.NOT_SEATED, f"you have no seat in this match{may}")
        if not self._has_come(number) and self._relayed.is_overloaded:
            raise busy()
        return number if has_seat else None

    def _has_come(self, number: int | None) -> bool:
        """Did this seat's player play here before, over whichever transport?"""
        return number is not None and number in self._match.seat_states

    def entered(self) -> None:
        """Follow the match for its first member."""
        # A player who is refused a place must not cost the game server anything.
        if not self._is_followed:
            self._is_followed = True
            match_id = self._match.plan.match_id
            self._matches.watch(match_id, self)
            self._fleet.follow(match_id, self._relay)

    def lay(self, room: NodeRoom, plan: MatchPlan, now: float) -> Host:
        """
        Start nothing: a match is played already.

        :raises Refused: always.
        """
        raise Refused(Code.NOT_NOW, "a match is played once")

    def revise(self, room: NodeRoom) -> str:
        """Change nothing: a match goes on as it began."""
        return ""

    def closed(self) -> None:
        """Watch the match no more."""
        if self._is_followed:
            self._matches.unwatch(self._match.plan.match_id, self)

    # What the game server sends.

    def _unfollow(self, reason: str) -> None:
        if self._is_followed:
            self._fleet.follow(self._match.plan.match_id, None)

    def _relay(self, message: FromRelayed) -> None:
        relayed = self._relayed
        if isinstance(message, RelayFailed):
            self._log.error(
                "match {match_id} cannot be shown by way of the node: {why}",
                match_id=message.match_id,
                why=message.why,
            )
            relayed.close("crashed", 0.0)
        elif not isinstance(message, RelayTaken):
            relayed.relayed(message)
        elif message.epoch == relayed.epoch_of(message.seat):
            # A seat that was joined again meanwhile is ours.
            self._seat_taken(message.seat)

    def _seat_taken(self, seat: int) -> None:
        """A seat's player came over UDP; it has left us if it was here."""
        room = self._room
        who = room.seating.at(seat)
        if isinstance(who, Member):
            is_here = who.conversation is not None
            who.warn(taken_over(room.room_id))
            self._relayed.forget(seat)
            plan = self._match.plan.seats[seat]
            room.hand_over(who, DialedSeat(seat, plan, is_here))

    # What the match reports (IMatchWatch).

    def delayed(self, match_id: str, why: str) -> None:
        """Do nothing: the match has a game server already."""

    def started(self, match_id: str) -> None:
        """Do nothing: the first state says that match time runs."""

    def resumed(self, match_id: str, placement: Placement) -> None:
        """Do nothing: what is relayed goes on."""

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's player came or went, over whichever transport."""
        room = self._room
        who = room.seating.at(seat)
        if not isinstance(who, DialedSeat):
            # A member: it was announced when we knew.
            self._relayed.seat_changed(match_id, seat, state)
            return
        who.is_here = state in ("joined", "returned")
        if who.is_here:
            room.announce(ClientJoined, who, state)
        elif state in ("left", "vacated"):
            room.seating.stand_up(who, is_played=True)
            room.announce(ClientLeft, who, state)
        else:
            room.announce(ClientLeft, who, "lost")

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        self._relayed.round_ended(match_id, outcome)

    def ended(self, end: MatchEnd) -> None:
        """It is over, or its game process is."""
        self._relayed.ended(end)


class MatchRooms:
    """Make rooms that show matches, and list matches as rooms."""

    def __init__(
        self,
        matches: Matches,
        fleet: FollowFleet,
        games: Mapping[str, Game[Any, Any]],
        watching: Watching,
    ) -> None:
        """
        Make rooms of the matches of one node.

        :param matches: which there are.
        :param fleet: passes messages between the node and game servers.
        :param games: by name.
        :param watching: who may watch the matches of others.
        """
        self._matches, self._fleet, self._games = matches, fleet, games
        self._watching = watching

    def open(
        self, context: RoomContext, directory: Directory, match_id: str
    ) -> NodeRoom | None:
        """Make a match's room; ``None`` if no such match is played."""
        match = self._matches.placed_match(match_id)
        if match is None:
            return None
        plan = match.plan
        game = self._games[plan.game]
        terms = RoomTerms(plan.match_id, plan.game, game, plan.options, False)
        policy = MatchPolicy(self._matches, match, game, self._fleet, self._watching)
        return NodeRoom(context, directory, terms, policy)

    def has(self, match_id: str) -> bool:
        """Is this a match of this node, for which a game server listens?"""
        return self._matches.placed_match(match_id) is not None

    def owner(self, match_id: str) -> Awaitable[str | None]:
        """
        Find the node that has a match: see `vinom.store.interfaces.ILobbyStore.owner`.
        """
        return self._matches.owner(match_id)

    def listed(self, asked: ListRooms, rooms: Mapping[str, NodeRoom]) -> RoomList:
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
            facts = match_facts(match, rooms.get(match.plan.match_id))
            if asked.state in (None, facts.state):
                total += 1
                if len(found) < asked.limit:
                    found.append(facts)
        return RoomList(tuple(found), total)


def match_members(rooms: Iterable[NodeRoom]) -> dict[str, int]:
    """Count the members of rooms that show matches, for metrics."""
    members = [member for room in rooms if not room.is_own for member in room.members]
    seats = sum(member.seat is not None for member in members)
    return {"relayed_seats": seats, "match_spectators": len(members) - seats}


def is_match_id(room_id: str) -> bool:
    """Is this the id of a match, which nobody else may give to a room?"""
    return _MATCH_ID.fullmatch(room_id) is not None


def match_facts(match: Match, room: NodeRoom | None) -> RoomFacts:
    """Describe a match as a room of a list."""
    plan = match.plan
    left = sum(state == "left" for state in match.seat_states.values())
    if room is not None:
        state: str = room.state
    else:
        state = "playing" if match.state == "playing" else "gathering"
    watching = [] if room is None else [m for m in room.members if m.seat is None]
    here = sum(state in ("joined", "returned") for state in match.seat_states.values())
    connected = here + sum(member.conversation is not None for member in watching)
    return RoomFacts(
        plan.match_id,
        plan.game,
        state,
        "",
        len(plan.seats),
        len(plan.seats) - left,
        len(watching),
        False,
        connected,
    )

"""The rooms that one game server hosts, seen from its node, and their matches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.control.messages import (
    AddTicket,
    CloseRoom,
    FromRelayed,
    Kick,
    OpenRoom,
    RelayWatch,
    ToServer,
)
from vinom.errors import NoCapacity
from vinom.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.ports import IMatchWatch


class MatchFiles(Protocol):
    """The files of matches, which the node opens and game servers write."""

    def lend(self, match_id: str) -> tuple[int, ...]:
        """
        Open the files of a match.

        :returns: descriptors, which the caller closes; empty if nothing is written.
        """

    def take_back(self, match_id: str, is_over: bool = True) -> None:
        """
        Keep what was written.

        :param match_id: the match.
        :param is_over: if not, it begins again elsewhere: what was written goes.
        """


@attrs.frozen
class RoomTimeouts:
    """
    How long a room may take, seconds; a late room is closed, then its process killed.

    :ivar longest: the longest possible match, by game.
    :ivar open: from `OpenRoom` to its answer.
    :ivar join: from that answer to the first player.
    :ivar grace: added to the times that the room itself should keep.
    :ivar ticket: from `AddTicket` to its answer.
    """

    longest: Mapping[str, float]
    open: float = 10.0
    join: float = 10.0
    grace: float = 5.0
    ticket: float = 5.0


@attrs.define(eq=False)
class MatchRequest:
    """
    A match that needs a game server, or has one.

    :ivar plan: what is played.
    :ivar tickets: admit its players' handshakes.
    :ivar watch: receives what happens to the match.
    :ivar placed: gets the placement; ``None`` once it has, or once nobody waits.
    :ivar relay: receives what players of the node are shown; see `Fleet.place`.
    :ivar hosts: the addresses of its players, as far as they are known.
    :ivar attempts: game servers asked so far.
    :ivar is_withdrawn: *watch* and *relay* are no longer called.
    """

    plan: MatchPlan
    tickets: tuple[Ticket, ...]
    watch: IMatchWatch
    placed: Deferred[Placement] | None = None
    relay: Callable[[FromRelayed], None] | None = None
    hosts: tuple[str, ...] = ()
    attempts: int = 0
    is_withdrawn: bool = False

    @property
    def match_id(self) -> str:
        return self.plan.match_id

    def fail(self, why: str) -> None:
        """The match gets no game server."""
        if self.placed is not None:
            placed, self.placed = self.placed, None
            placed.errback(NoCapacity(why))

    def succeed(self, placement: Placement) -> None:
        """The match has this place."""
        if self.placed is not None:
            placed, self.placed = self.placed, None
            placed.callback(placement)


@attrs.define(eq=False)
class _Room:
    """
    A match on this game server.

    :ivar stage: "closing" once it is late and was sent `CloseRoom`.
    :ivar deadline: when it is late.
    :ivar ends_by: latest end of the match.
    :ivar verdict: the reason of its end, unless the game server reports one.
    """

    request: MatchRequest
    deadline: float
    stage: Literal["opening", "open", "played", "closing"] = "opening"
    ends_by: float = inf
    verdict: str = "lost"


class HostedRooms:
    """
    The rooms of one game server: opened, checked for lateness, and each ended once.

    :ivar spare: number of rooms that it can still host.
    """

    _log = Logger()

    def __init__(
        self,
        rooms: int,
        send: Callable[[ToServer, tuple[int, ...]], None],
        clock: IReactorTime,
        now: Callable[[], float],
        timeouts: RoomTimeouts,
        files: MatchFiles | None = None,
    ) -> None:
        """
        :param rooms: how many it hosts in its life.
        :param send: sends it a message, and open files with it.
        :param clock: for the time that tickets may take.
        :param now: seconds on a clock that nobody sets.
        :param timeouts: how long rooms may take.
        :param files: of its matches; ``None``: they have none of ours.
        """
        self.spare = rooms
        self._files, self._deliver = files, send
        self._clock, self._now = clock, now
        self._timeouts = timeouts
        self._rooms: dict[str, _Room] = {}
        self._tickets: dict[str, tuple[str, Deferred[None]]] = {}

    def __contains__(self, match_id: str) -> bool:
        return match_id in self._rooms

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def match_ids(self) -> tuple[str, ...]:
        """The matches that are not over."""
        return tuple(self._rooms)

    @property
    def is_used_up(self) -> bool:
        """Was the last room it could host closed?"""
        return not self._rooms and not self.spare

    def _send(self, message: ToServer) -> None:
        self._deliver(message, ())

    # Requests of the fleet.

    def open(self, request: MatchRequest) -> None:
        """Host a match."""
        self.spare -= 1
        request.attempts += 1
        late_at = self._now() + self._timeouts.open
        self._rooms[request.match_id] = _Room(request, late_at)
        is_relayed = request.relay is not None
        files = () if self._files is None else self._files.lend(request.match_id)
        inodes = tuple(os.fstat(one).st_ino for one in files)
        order = OpenRoom(request.plan, request.tickets, is_relayed, inodes)
        self._deliver(order, files)

    def follow(
        self, match_id: str, relay: Callable[[FromRelayed], None] | None
    ) -> None:
        """Receive what players of the node are shown; ``None`` to stop."""
        room = self._rooms.get(match_id)
        if room is not None:
            room.request.relay = relay
            self._send(RelayWatch(match_id, relay is not None))

    def close(self, match_id: str, reason: str) -> None:
        """End a match."""
        if match_id in self._rooms:
            self._send(CloseRoom(match_id, reason))

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a player for good."""
        if match_id in self._rooms:
            self._send(Kick(match_id, seat))

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Admit one more handshake.

        :raises NoCapacity: the match is over, or the game server does not answer.
        """
        if ticket.match_id not in self._rooms:
            return fail(NoCapacity("the match is over"))

        def too_late(_: object, seconds: float) -> None:
            self._tickets.pop(ticket.label, None)
            raise NoCapacity(f"the game server did not answer for {seconds} s")

        added: Deferred[None] = Deferred()
        added.addTimeout(self._timeouts.ticket, self._clock, onTimeoutCancel=too_late)
        self._tickets[ticket.label] = (ticket.match_id, added)
        self._send(AddTicket(ticket))
        return added

    def late(self) -> str | None:
        """
        Close late rooms.

        :returns: the match of a room that does not close (or open) either: its
            process must be killed.
        """
        now = self._now()
        for match_id, room in tuple(self._rooms.items()):
            if now < room.deadline:
                continue
            if room.stage in ("opening", "closing"):
                return match_id
            room.verdict = "void" if room.stage == "open" else "time_limit"
            room.stage, room.deadline = "closing", now + self._timeouts.grace
            self.close(match_id, room.verdict)
        return None

    # Reports of the game server.

    def opened(self, match_id: str, placement: Placement) -> None:
        """The room is open: players can connect."""
        room = self._rooms.get(match_id)
        if room is None or room.stage != "opening":
            return
        late = self._now() + self._timeouts.grace
        room.stage, room.deadline = "open", late + self._timeouts.join
        if room.request.relay is None:
            room.ends_by = late + self._timeouts.longest[room.request.plan.game]
        room.request.succeed(placement)

    def ticket_added(self, label: str) -> None:
        """The game server accepts this ticket."""
        _, added = self._tickets.pop(label, (None, None))
        if added is not None:
            added.callback(None)

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's connection changed."""
        room = self._rooms.get(match_id)
        if room is not None and room.stage == "open":
            # A player came: from here on the room itself waits for the others.
            room.stage, room.deadline = "played", room.ends_by
        self._report(match_id, lambda watch: watch.seat_changed(match_id, seat, state))

    def started(self, match_id: str) -> None:
        """Match time has started."""
        self._report(match_id, lambda watch: watch.started(match_id))

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome."""
        self._report(match_id, lambda watch: watch.round_ended(match_id, outcome))

    def relayed(self, message: FromRelayed) -> None:
        """A message for players of the node."""
        room = self._rooms.get(message.match_id)
        if room is not None and (relay := room.request.relay) is not None:
            self._call(room.request, lambda _: relay(message))

    def ended(self, end: MatchEnd) -> None:
        """A match is over."""
        room = self._rooms.pop(end.match_id, None)
        if room is None:
            return
        self._fail_tickets(end.match_id)
        self._end(room, end)

    def unreachable(self) -> None:
        """The game server can no longer be sent anything."""
        for match_id in self._rooms:
            self._fail_tickets(match_id)

    def gone(self, verdict: str | None) -> list[MatchRequest]:
        """
        End the matches of a game server that is gone.

        :param verdict: the reason, if it is not the usual one.
        :returns: matches that had not begun: another game server can play them.
        """
        self.unreachable()
        rooms, self._rooms = self._rooms, {}
        displaced = []
        for room in rooms.values():
            if room.stage == "opening" and verdict is None:
                if self._files is not None:
                    self._files.take_back(room.request.match_id, False)
                displaced.append(room.request)
            else:
                why = verdict or room.verdict
                self._end(room, MatchEnd(room.request.match_id, why))
        return displaced

    def _end(self, room: _Room, end: MatchEnd) -> None:
        request = room.request
        if self._files is not None:
            self._files.take_back(request.match_id)
        self._call(request, lambda watch: watch.ended(end))
        request.fail(f"the match is over: {end.reason}")

    def _report(self, match_id: str, step: Callable[[IMatchWatch], Any]) -> None:
        room = self._rooms.get(match_id)
        if room is not None:
            self._call(room.request, step)

    def _call(self, request: MatchRequest, step: Callable[[IMatchWatch], Any]) -> None:
        if request.is_withdrawn:
            return
        try:
            step(request.watch)
        except Exception:
            self._log.failure(
                "failed to handle a report about match {match_id}",
                match_id=request.match_id,
            )

    def _fail_tickets(self, of_match: str) -> None:
        for label, (match_id, added) in tuple(self._tickets.items()):
            if match_id == of_match:
                del self._tickets[label]
                added.errback(NoCapacity("the game server of the match is gone"))

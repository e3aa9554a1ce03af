"""The rooms of one game server: opened, watched for lateness, and ended once."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Literal

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.errors import NoCapacity
from vinom.interfaces import IMatchWatch
from vinom.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.wire.control import AddTicket, CloseRoom, Kick, OpenRoom, ToServer
from vinom.wire.control_relay import FromRelayed, RelayWatch, ToRelayed


@attrs.frozen
class RoomPatience:
    """
    How long a room may take, seconds; what is late is closed, then killed.

    :ivar open: from `OpenRoom` to its answer.
    :ivar join: from there to the first player.
    :ivar grace: on top of what the room should see to itself.
    :ivar ticket: from `AddTicket` to its answer.
    :ivar longest: how long a match can be at most.
    """

    longest: Callable[[MatchPlan], float]
    open: float = 10.0
    join: float = 10.0
    grace: float = 5.0
    ticket: float = 5.0


@attrs.define(eq=False)
class Hosting:
    """
    One wish for a place to play.

    :ivar placed: fires with the place; ``None`` when it did, or nobody cares.
    :ivar relay: hears what players of the node are told; see `Fleet.host`.
    :ivar attempts: game servers that were asked.
    """

    plan: MatchPlan
    tickets: tuple[Ticket, ...]
    watch: IMatchWatch
    placed: Deferred[Placement] | None = None
    relay: Callable[[FromRelayed], None] | None = None
    attempts: int = 0
    is_withdrawn: bool = False

    @property
    def match_id(self) -> str:
        return self.plan.match_id

    def fail(self, why: str) -> None:
        """There is no place for it."""
        if self.placed is not None:
            placed, self.placed = self.placed, None
            placed.errback(NoCapacity(why))

    def place(self, placement: Placement) -> None:
        """It is played here."""
        if self.placed is not None:
            placed, self.placed = self.placed, None
            placed.callback(placement)


@attrs.define(eq=False)
class _Room:
    """
    A match on this game server.

    :ivar stage: "closing" when it was told to close because it is late.
    :ivar deadline: when it is late.
    :ivar ends_by: latest end of the match.
    :ivar verdict: why it is over if nobody says so.
    """

    hosting: Hosting
    deadline: float
    stage: Literal["opening", "open", "played", "closing"] = "opening"
    ends_by: float = inf
    verdict: str = "lost"


class HostedRooms:
    """
    What one game server plays.

    :param rooms: how many it hosts in its life.
    :param send: tells it something.
    """

    _log = Logger()

    def __init__(
        self,
        rooms: int,
        send: Callable[[ToServer], None],
        clock: IReactorTime,
        now: Callable[[], float],
        patience: RoomPatience,
    ) -> None:
        self.spare = rooms
        self._send, self._clock, self._now = send, clock, now
        self._patience = patience
        self._rooms: dict[str, _Room] = {}
        self._tickets: dict[str, tuple[str, Deferred[None]]] = {}

    @property
    def match_ids(self) -> list[str]:
        """The matches that are not over."""
        return list(self._rooms)

    @property
    def is_used_up(self) -> bool:
        """Was the last room it could host closed?"""
        return not self._rooms and not self.spare

    # What the fleet wants.

    def open(self, hosting: Hosting) -> None:
        """Host a match."""
        self.spare -= 1
        hosting.attempts += 1
        late_at = self._now() + self._patience.open
        self._rooms[hosting.match_id] = _Room(hosting, late_at)
        is_relayed = hosting.relay is not None
        self._send(OpenRoom(hosting.plan, hosting.tickets, is_relayed))

    def pass_on(self, message: ToRelayed) -> None:
        """Tell a match what a player of the node did."""
        if message.match_id in self._rooms:
            self._send(message)

    def follow(
        self, match_id: str, relay: Callable[[FromRelayed], None] | None
    ) -> None:
        """Hear what players of the node are told, or no more."""
        room = self._rooms.get(match_id)
        if room is not None:
            room.hosting.relay = relay
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
        Let one more handshake in.

        :raises NoCapacity: the match is over, or nobody answers.
        """
        if ticket.match_id not in self._rooms:
            return fail(NoCapacity("the match is over"))

        def too_late(_: object, seconds: float) -> None:
            self._tickets.pop(ticket.label, None)
            raise NoCapacity(f"the game server did not answer for {seconds} s")

        added: Deferred[None] = Deferred()
        added.addTimeout(self._patience.ticket, self._clock, onTimeoutCancel=too_late)
        self._tickets[ticket.label] = (ticket.match_id, added)
        self._send(AddTicket(ticket))
        return added

    def late(self) -> str | None:
        """
        Close what is late.

        :returns: the match of a room that does not even close (or open): its
            process must be ended.
        """
        now = self._now()
        for match_id, room in tuple(self._rooms.items()):
            if now < room.deadline:
                continue
            if room.stage in ("opening", "closing"):
                return match_id
            room.verdict = "void" if room.stage == "open" else "time_limit"
            room.stage, room.deadline = "closing", now + self._patience.grace
            self.close(match_id, room.verdict)
        return None

    # What the game server tells.

    def opened(self, match_id: str, placement: Placement) -> None:
        """Players may come."""
        room = self._rooms.get(match_id)
        if room is None or room.stage != "opening":
            return
        late = self._now() + self._patience.grace
        room.stage, room.deadline = "open", late + self._patience.join
        if room.hosting.relay is None:
            room.ends_by = late + self._patience.longest(room.hosting.plan)
        room.hosting.place(placement)

    def ticket_added(self, label: str) -> None:
        """This ticket is known."""
        _, added = self._tickets.pop(label, (None, None))
        if added is not None:
            added.callback(None)

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's connection changed."""
        room = self._rooms.get(match_id)
        if room is not None and room.stage == "open":
            # Somebody came: the room sees to the others.
            room.stage, room.deadline = "played", room.ends_by
        self._tell(match_id, lambda watch: watch.seat_changed(match_id, seat, state))

    def started(self, match_id: str) -> None:
        """Match time runs."""
        self._tell(match_id, lambda watch: watch.started(match_id))

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome."""
        self._tell(match_id, lambda watch: watch.round_ended(match_id, outcome))

    def relayed(self, message: FromRelayed) -> None:
        """What players of the node are to be told."""
        room = self._rooms.get(message.match_id)
        if room is not None and (relay := room.hosting.relay) is not None:
            self._call(room.hosting, lambda _: relay(message))

    def ended(self, end: MatchEnd) -> None:
        """A match is over."""
        room = self._rooms.pop(end.match_id, None)
        if room is None:
            return
        self._fail_tickets(end.match_id)
        self._end(room, end)

    def unreachable(self) -> None:
        """The game server hears nothing any more."""
        for match_id in self._rooms:
            self._fail_tickets(match_id)

    def gone(self, verdict: str | None) -> list[Hosting]:
        """
        The game server is gone, and its matches with it.

        :param verdict: why, if not for the usual reasons.
        :returns: those that had not begun: they can be played elsewhere.
        """
        self.unreachable()
        rooms, self._rooms = self._rooms, {}
        displaced = []
        for room in rooms.values():
            if room.stage == "opening" and verdict is None:
                displaced.append(room.hosting)
            else:
                why = verdict or room.verdict
                self._end(room, MatchEnd(room.hosting.match_id, why))
        return displaced

    def _end(self, room: _Room, end: MatchEnd) -> None:
        hosting = room.hosting
        self._call(hosting, lambda watch: watch.ended(end))
        hosting.fail(f"the match is over: {end.reason}")

    def _tell(self, match_id: str, step: Callable[[IMatchWatch], Any]) -> None:
        room = self._rooms.get(match_id)
        if room is not None:
            self._call(room.hosting, step)

    def _call(self, hosting: Hosting, step: Callable[[IMatchWatch], Any]) -> None:
        if hosting.is_withdrawn:
            return
        try:
            step(hosting.watch)
        except Exception:
            self._log.failure("not dealt with", match_id=hosting.match_id)

    def _fail_tickets(self, of_match: str) -> None:
        for label, (match_id, added) in tuple(self._tickets.items()):
            if match_id == of_match:
                del self._tickets[label]
                added.errback(NoCapacity("the match's game server is gone"))

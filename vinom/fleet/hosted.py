"""The rooms that one game server hosts, seen from its node, and their matches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Literal

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.errors import NoCapacity, PeerError
from vinom.fleet.control.checkpoints import apply_change
from vinom.fleet.control.messages import (
    AddTicket,
    CloseRoom,
    FromRelayed,
    HandOver,
    Kept,
    KeptTaken,
    Kick,
    OpenRoom,
    Playing,
    RecordingData,
    RelayAgain,
    RelayWatch,
    ToServer,
)
from vinom.fleet.interfaces import IMatchWatch
from vinom.fleet.records import MatchCopy, MatchRecord, StoredMatch
from vinom.net.frames import FRAME_LIMIT
from vinom.play.hosting.checkpoints import FORGOTTEN
from vinom.play.hosting.recordings import Recordings

#: Returns why nobody here can read a checkpoint; an empty text if somebody can.
Readable = Callable[[MatchPlan, bytes], str]


@attrs.frozen
class RoomTimeouts:
    """
    How long a room may take, seconds; a late room is closed, then its process killed.

    :ivar longest: the longest possible match, by game.
    :ivar open: from `OpenRoom` to its answer.
    :ivar join: from that answer to the first player.
    :ivar grace: added to the times that the room itself should keep.
    :ivar ticket: from `AddTicket` to its answer.
    :ivar stored: games that show only what the store of several nodes has.
    """

    longest: Mapping[str, float]
    open: float = 10.0
    join: float = 10.0
    grace: float = 5.0
    ticket: float = 5.0
    stored: frozenset[str] = frozenset()


#: Most bytes of a recording that are kept: more than a game server holds back.
_MOST_RECORDED = 32 * 1024
#: Tickets of one seat that another game server is given.
_MOST_TICKETS = 8
#: How long tickets are valid at least when a match goes on elsewhere, seconds.
_TICKET_SECONDS = 120.0
#: A match may go on elsewhere so often within so many seconds; then it is lost.
MOST_RESUMED, RESUMED_WITHIN = 10, 60.0
#: A match whose game servers die so often, one after the other, is lost, if each dies
#: within so many seconds and before more is played than that its players come back.
MOST_IN_VAIN, IN_VAIN_WITHIN = 3, 5.0


@attrs.define(eq=False)
class KeptCheckpoint:
    """
    The newest checkpoint of a match, and how often it was needed.

    :ivar number: of the checkpoint; 0 if there is none yet.
    :ivar data: the whole checkpoint; empty if the match does not outlive its process.
    :ivar part: which part of its recording is being written.
    :ivar length: of that part, bytes.
    :ivar recorded: the last bytes of it.
    :ivar version: of its state.
    :ivar copied_at: when it was written, seconds since the Unix epoch, if players may
        have seen more than is in it.
    """

    number: int = 0
    data: bytes = b""
    part: int = 1
    length: int = 0
    recorded: bytearray = attrs.field(factory=bytearray)
    version: int = 0
    copied_at: float | None = None
    _resumed: list[float] = attrs.field(factory=list)
    _in_vain: int = 0
    _least: int = 0

    def take(self, message: Kept) -> None:
        """
        Take a checkpoint.

        :raises PeerError: it does not follow the one before.
        """
        if message.number != self.number + 1 or message.base not in (0, self.number):
            raise PeerError(
                f"checkpoint {message.number} of match {message.match_id}, based on "
                f"{message.base}, does not follow {self.number}"
            )
        data = message.data
        if message.base:
            data = apply_change(self.data, data)
        if len(data) > FRAME_LIMIT:
            raise PeerError(f"a checkpoint has {len(data)} bytes, limit {FRAME_LIMIT}")
        self.number, self.data = message.number, data
        # Bytes that are not here were written to the file before this was sent.
        recorded = self.recorded
        if self.length + len(message.recorded) != message.length:
            recorded.clear()
        recorded += message.recorded
        if len(recorded) > 2 * _MOST_RECORDED:
            del recorded[:-_MOST_RECORDED]
        self.length, self.version = message.length, message.version
        self.copied_at = None

    def take_unsent(self, message: Kept) -> None:
        """
        Take a checkpoint that was written while there was no link.

        :raises PeerError: it does not follow the one before.
        """
        # One that did not fit into the first message over a new link is only here.
        is_missing = message.number == self.number and not (self.data or message.base)
        if message.number <= self.number and not is_missing:
            return
        if not message.base:
            # Those before it were lost with the link.
            self.number = message.number - 1
        self.take(message)

    def restart(self, one: Playing) -> None:
        """
        Take what a game server brings that has a link again.

        :param one: the match, with its newest checkpoint.
        """
        self.number, self.data, self.part = one.number, one.checkpoint, one.part
        self.version, self.length = one.version, one.length
        self.recorded[:] = one.recorded

    def resume(self, now: float, seats: int, is_planned: bool) -> str:
        """
        Note that the match is to go on elsewhere.

        :param seats: how many it has.
        :param is_planned: its game server was asked to hand it over.
        :returns: why it may not, in a sentence; empty if it may.
        """
        if not self.data:
            return "its game process died, and its game keeps no checkpoints"
        made, self._least = self.version - self._least, self.version
        if is_planned:
            return ""
        is_soon = bool(self._resumed) and now < self._resumed[-1] + IN_VAIN_WITHIN
        # Each player's absence and return may make a version.
        is_in_vain = is_soon and made <= 2 * seats + 2
        self._in_vain = self._in_vain + 1 if is_in_vain else 0
        since = now - RESUMED_WITHIN
        self._resumed = [at for at in self._resumed if at > since] + [now]
        if self._in_vain >= MOST_IN_VAIN:
            return f"{self._in_vain + 1} game processes died, one right after the other"
        if len(self._resumed) > MOST_RESUMED:
            return (
                f"{len(self._resumed)} game processes died with it within "
                f"{RESUMED_WITHIN:g} s"
            )
        return ""

    @classmethod
    def of(cls, stored: StoredMatch) -> KeptCheckpoint:
        """Go on from the copy of a match whose machine is gone."""
        number, data, part = stored.number, stored.checkpoint, stored.part
        kept = cls(number, data, part, version=stored.version, copied_at=stored.at)
        kept.next_part()
        return kept

    def next_part(self) -> None:
        """Another process writes the recording from here on."""
        self.part += 1
        self.length = 0
        self.recorded.clear()


@attrs.frozen
class Resumable:
    """
    A match that goes on elsewhere.

    :ivar request: with its checkpoint.
    :ivar tickets: those that its players may still show.
    :ivar is_played: did any player come?
    :ivar left: seconds that it may still take.
    :ivar since: when its game server was gone, seconds on the fleet's clock.
    """

    request: MatchRequest
    tickets: tuple[Ticket, ...]
    is_played: bool
    left: float
    since: float

    def end(self, verdict: str, why: str = "") -> None:
        """It does not go on."""
        request = self.request
        request.over()
        if not request.is_withdrawn:
            request.watch.ended(MatchEnd(request.plan.match_id, verdict, why=why))
        request.fail(f"the match is over: {verdict}")


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
    :ivar is_packed: whether *relay* is for players over UDP: see `RelayWatch`.
    :ivar is_withdrawn: *watch* and *relay* are no longer called.
    :ivar is_own: is it a room of this node, whose players are connected here?
    :ivar kept: what it goes on from if its game server dies.
    :ivar kicked: seats whose players an operator removed.
    :ivar closing: the reason for which it was ordered to end; empty if it was not.
    :ivar is_delayed: *watch* was called because no game server can be had.
    :ivar copy: what other machines go on from; ``None`` if none does.
    :ivar rescue: called if its game server was gone before it had a link: goes on from
        that copy instead, or returns ``False``.
    """

    plan: MatchPlan
    tickets: tuple[Ticket, ...]
    watch: IMatchWatch
    placed: Deferred[Placement] | None = None
    relay: Callable[[FromRelayed], None] | None = None
    hosts: tuple[str, ...] = ()
    attempts: int = 0
    is_withdrawn: bool = False
    is_packed: bool = False
    is_own: bool = False
    kept: KeptCheckpoint = attrs.field(factory=KeptCheckpoint)
    kicked: set[int] = attrs.field(factory=set)
    closing: str = ""
    is_delayed: bool = False
    copy: MatchCopy | None = None
    rescue: Callable[[MatchEnd], bool] = lambda _: False

    def over(self) -> None:
        """Nobody goes on with it."""
        if self.copy is not None:
            self.copy.over()

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


def round_of(outcome: Mapping[str, Any]) -> int:
    """Find the number of the round that is over; 0 if the report makes no sense."""
    number = outcome.get("round")
    return number if isinstance(number, int) else 0


@attrs.define(eq=False)
class _Room:
    """
    A match on this game server.

    :ivar stage: "closing" once it is late and was sent `CloseRoom`.
    :ivar deadline: when it is late.
    :ivar ends_by: latest end of the match.
    :ivar verdict: the reason of its end, unless the game server reports one.
    :ivar rounds: number of the latest round that an earlier node has reported.
    """

    request: MatchRequest
    deadline: float
    stage: Literal["opening", "open", "played", "closing"] = "opening"
    ends_by: float = inf
    verdict: str = "lost"
    why: str = ""
    # By label; of each seat those that its player may still show.
    tickets: dict[str, Ticket] = attrs.field(factory=dict)
    is_resumed: bool = False
    went_back: bool = False
    was_played: bool = False
    rounds: int = 0


class HostedRooms:
    """
    The rooms of one game server: opened, checked for lateness, and each ended once.

    :ivar spare: number of rooms that it can still host.
    :ivar is_handing_over: was it asked to hand its matches over?
    """

    _log = Logger()

    def __init__(
        self,
        rooms: int,
        send: Callable[[ToServer, tuple[int, ...]], None],
        clock: IReactorTime,
        now: Callable[[], float],
        timeouts: RoomTimeouts,
        files: Recordings | None = None,
    ) -> None:
        """
        :param rooms: how many it hosts in its life.
        :param send: sends it a message, and open files with it.
        :param clock: for the time that tickets may take.
        :param now: seconds on a clock that nobody sets.
        :param timeouts: how long rooms may take.
        :param files: of its matches; ``None``: they have none of ours.
        """
        self.spare, self.is_handing_over = rooms, False
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
    def can_go_on(self) -> bool:
        """Can another game server go on with one of its matches?"""
        return any(
            room.request.kept.data and self._may_go_on(room)
            for room in self._rooms.values()
        )

    def why_not_moved(self, readable: Readable) -> str:
        """
        Find out whether another game server can go on with all of its matches.

        :param readable: see `Fleet.move`.
        :returns: why not, in a sentence; empty if it can.
        """
        if not self._rooms:
            return "it has no match"
        for match_id, room in self._rooms.items():
            kept = room.request.kept
            if not (kept.data and self._may_go_on(room)):
                return f"match {match_id} has no checkpoint"
            why = readable(room.request.plan, kept.data)
            if why:
                return f"match {match_id}: {why}"
        return ""

    def end_what_stays(self, readable: Readable) -> bool:
        """
        End the matches that no other game server can go on with.

        :returns: whether others are left.
        """
        can_go_on = False
        for match_id, room in tuple(self._rooms.items()):
            kept = room.request.kept
            if (
                kept.data
                and self._may_go_on(room)
                and not readable(room.request.plan, kept.data)
            ):
                can_go_on = True
            elif not room.request.is_own:
                self.close(match_id, "shutdown")
        return can_go_on

    def hand_over(self) -> None:
        """Have it hand its matches over, and exit."""
        self.is_handing_over, self.spare = True, 0
        self._send(HandOver())

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
        room = self._rooms[request.plan.match_id] = _Room(request, late_at)
        room.tickets = {one.label: one for one in request.tickets}
        files: tuple[int, ...] = ()
        if self._files is not None:
            files = self._files.lend(request.plan.match_id, request.kept.part)
        inodes = tuple(os.fstat(one).st_ino for one in files)
        order = OpenRoom(request.plan, request.tickets, request.is_own, inodes)
        self._deliver(order, files)

    def resume(self, match: Resumable) -> None:
        """Go on with a match whose game server is gone; `spare` was lowered before."""
        request, kept = match.request, match.request.kept
        now = self._now()
        room = _Room(request, now + self._timeouts.open, is_resumed=True)
        forgotten = 0
        if kept.copied_at is not None:
            age = max(0.0, self._clock.seconds() - kept.copied_at)
            room.went_back, forgotten = True, FORGOTTEN + round(1000 * age)
        self._rooms[request.plan.match_id] = room
        room.was_played, room.ends_by = match.is_played, now + match.left
        room.tickets = {one.label: one for one in match.tickets}
        files: tuple[int, ...] = ()
        if self._files is not None:
            files = self._files.lend(request.plan.match_id, kept.part)
        order = OpenRoom(
            request.plan,
            match.tickets,
            False,
            tuple(os.fstat(one).st_ino for one in files),
            kept.data,
            kept.number,
            kept.part,
            forgotten,
        )
        self._deliver(order, files)
        if (relay := request.relay) is not None:
            self._send(RelayWatch(request.plan.match_id, True, request.is_packed))
            self._call(request, lambda _: relay(RelayAgain(request.plan.match_id)))
        self._order_again(request)

    def _order_again(self, request: MatchRequest) -> None:
        """Repeat what was ordered: it may have been sent to nobody."""
        for seat in sorted(request.kicked):
            self._send(Kick(request.plan.match_id, seat))
        if request.closing:
            self._send(CloseRoom(request.plan.match_id, request.closing))

    @property
    def outlive(self) -> bool:
        """Is there a match that can be played on without a link?"""
        rooms = self._rooms.values()
        return any(
            not room.request.is_own and room.stage != "opening" for room in rooms
        )

    def adopt(self, request: MatchRequest, rounds: int = 0) -> None:
        """
        Have a match that the game server got from an earlier node.

        :param rounds: number of the latest round that this one has reported.
        """
        self.spare, ends_by = 0, self._ends_by(request)
        room = _Room(request, ends_by, "played", ends_by, rounds=rounds)
        self._rooms[request.plan.match_id] = room

    def _ends_by(self, request: MatchRequest) -> float:
        """Find by when a match that runs now is over at the latest."""
        # The game may have been removed since: then its process must know.
        longest = self._timeouts.longest.get(request.plan.game, inf)
        return self._now() + self._timeouts.grace + longest

    def cut_off(self) -> list[str]:
        """
        The link is lost, and matches are played on without it.

        :returns: the rooms of the node, which are over now.
        """
        self.unreachable()
        own = [
            match_id for match_id, room in self._rooms.items() if room.request.is_own
        ]
        for match_id in own:
            self.ended(MatchEnd(match_id, "lost"))
        return own

    def linked_again(
        self, playing: Sequence[Playing], placement: Placement
    ) -> list[str]:
        """
        The game server has a link again, and reports what it plays.

        :param placement: where.
        :returns: matches that it does not have any more; they are lost, and over.
        """
        reported = {one.match_id: one for one in playing}
        lost = [match_id for match_id in self._rooms if match_id not in reported]
        for match_id in lost:
            self.ended(MatchEnd(match_id, "lost"))
        for match_id, room in tuple(self._rooms.items()):
            # It may have been cut off between the order and the answer.
            self.opened(match_id, placement)
            one = reported[match_id]
            room.request.kept.restart(one)
            if one.tickets:
                # An earlier node made them, or it did not get the newest of ours.
                room.tickets = {ticket.label: ticket for ticket in one.tickets}
            self._report_playing(one, room.rounds)
            request = room.request
            if (relay := request.relay) is not None:
                self._send(RelayWatch(match_id, True, request.is_packed))
                if request.is_packed:
                    # It has given up the seats of players who are connected here.
                    relay(RelayAgain(match_id))
            self._order_again(request)
        return lost

    def _report_playing(self, one: Playing, rounds: int) -> None:
        """Report what an earlier node, or a lost link, may have kept from us."""
        for seat, state in one.seats.items():
            if 0 <= seat < len(one.plan.seats):
                self.seat_changed(one.match_id, seat, state)
        if one.is_started:
            self.started(one.match_id)
        outcome = one.outcome
        if outcome is not None and not 0 < round_of(outcome) <= rounds:
            self.round_ended(one.match_id, outcome)

    def follow(
        self,
        match_id: str,
        relay: Callable[[FromRelayed], None] | None,
        packed: bool = False,
    ) -> None:
        """Receive what players of the node are shown; ``None`` to stop."""
        room = self._rooms.get(match_id)
        if room is not None:
            room.request.relay, room.request.is_packed = relay, packed
            self._send(RelayWatch(match_id, relay is not None, packed))

    def close(self, match_id: str, reason: str) -> None:
        """End a match, also if it goes on elsewhere meanwhile."""
        if (room := self._rooms.get(match_id)) is not None:
            room.request.closing = reason
            self._send(CloseRoom(match_id, reason))

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a player for good, also if the match goes on elsewhere meanwhile."""
        if (room := self._rooms.get(match_id)) is not None:
            room.request.kicked.add(seat)
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
        tickets = self._rooms[ticket.match_id].tickets
        tickets[ticket.label] = ticket
        of_seat = [one for one in tickets.values() if one.seat == ticket.seat]
        if len(of_seat) > _MOST_TICKETS:
            del tickets[of_seat[0].label]
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
        if room.is_resumed and room.was_played:
            # Its players come back; how long it waits for them is its own matter.
            room.stage, room.deadline = "played", room.ends_by
        else:
            late = self._now() + self._timeouts.grace
            room.stage, room.deadline = "open", late + self._timeouts.join
            if not room.request.is_own:
                room.ends_by = late + self._timeouts.longest[room.request.plan.game]
            room.request.succeed(placement)
        if room.is_resumed and not room.request.is_withdrawn:
            if room.went_back:
                placement = attrs.evolve(placement, went_back=True)
            room.request.watch.resumed(match_id, placement)

    def kept(self, message: Kept) -> None:
        """
        A checkpoint of a match came.

        :raises PeerError: it does not follow the one before.
        """
        room = self._rooms.get(message.match_id)
        if room is not None:
            room.request.kept.take(message)

    def recorded(self, message: RecordingData) -> None:
        """Write what a game server on another machine has recorded."""
        room = self._rooms.get(message.match_id)
        if (
            room is not None
            and self._files is not None
            and message.part == room.request.kept.part
        ):
            self._files.append(
                message.match_id,
                message.part,
                message.at,
                message.data,
                message.is_report,
            )

    def store(self, record: MatchRecord, server_id: str, placement: Placement) -> bool:
        """
        Bring the copy of a match up to date.

        :returns: ``False`` if it was older.
        """
        match_id, now = record.plan.match_id, self._clock.seconds()
        room = self._rooms.get(match_id)
        if room is None:
            return True
        kept, copy = room.request.kept, room.request.copy
        if copy is None or not kept.data or copy.number >= kept.number:
            return True
        if self.awaits_store(match_id):
            copy.stored = lambda number: self._send(KeptTaken(match_id, number))
        copy.write(
            StoredMatch(
                record,
                server_id,
                placement,
                now,
                kept.data,
                kept.number,
                kept.version,
                kept.part,
                room.stage == "played",
                now + room.ends_by - self._now(),
            )
        )
        return False

    def _copies(self) -> list[MatchCopy]:
        copies = (room.request.copy for room in self._rooms.values())
        return [one for one in copies if one is not None]

    @property
    def old_copies(self) -> int:
        """Count the matches of which the store may lack more than a second."""
        return sum(one.is_old for one in self._copies())

    def forget_copies(self) -> None:
        """The store may have lost them."""
        for one in self._copies():
            one.number = 0

    def awaits_store(self, match_id: str) -> bool:
        """Does a match wait until the store has its checkpoint?"""
        room = self._rooms.get(match_id)
        return room is not None and room.request.plan.game in self._timeouts.stored

    def take_away(self, match_id: str) -> bool:
        """
        Another node has gone on with a match: nobody hears of this one any more.

        :returns: ``True`` if it was the only one here; else it is closed.
        """
        if (room := self._rooms.get(match_id)) is not None:
            room.request.is_withdrawn = True
        if len(self._rooms) > 1:
            self.close(match_id, "lost")
        return len(self._rooms) == 1

    def give_up(self) -> None:
        """Another node goes on with the game server, and writes copies of its own."""
        for one in self._copies():
            one.over()

    def unsent(self, checkpoints: Sequence[Kept]) -> None:
        """Take what the game server wrote, before it died, while it had no link."""
        for message in checkpoints:
            room = self._rooms.get(message.match_id)
            if room is None:
                continue
            kept = room.request.kept
            try:
                kept.take_unsent(message)
            except PeerError as error:
                # Players may have seen more than can be had.
                self._log.error("{why}", why=str(error))
                kept.data = b""

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

    def gone(self, verdict: str | None) -> tuple[list[MatchRequest], list[Resumable]]:
        """
        End the matches of a game server that is gone, unless they go on elsewhere.

        :param verdict: the reason, if it is not the usual one.
        :returns: matches that had not begun: another game server can play them; and
            those that another one can go on with.
        """
        self.unreachable()
        rooms, self._rooms = self._rooms, {}
        displaced, resumable = [], []
        for room in rooms.values():
            if verdict is None and self._can_resume(room):
                resumable.append(self._resumable(room))
            elif room.stage == "opening" and verdict is None and not room.is_resumed:
                if self._files is not None:
                    self._files.take_back(room.request.plan.match_id, False)
                displaced.append(room.request)
            else:
                why = verdict or room.verdict
                self._end(room, MatchEnd(room.request.plan.match_id, why, why=room.why))
        return displaced, resumable

    def _may_go_on(self, room: _Room) -> bool:
        request = room.request
        return (
            not (request.is_withdrawn or request.is_own)
            and room.stage != "closing"
            and request.kept.number > 0
        )

    def _can_resume(self, room: _Room) -> bool:
        request = room.request
        if not self._may_go_on(room):
            return False
        room.why = request.kept.resume(
            self._now(), len(request.plan.seats), self.is_handing_over
        )
        if room.why:
            self._log.error(
                "match {match_id} is lost: {why}",
                match_id=request.plan.match_id,
                why=room.why,
            )
        return not room.why

    def _resumable(self, room: _Room) -> Resumable:
        request, now = room.request, self._clock.seconds()
        if self._files is not None:
            kept = request.kept
            last = (kept.length, bytes(kept.recorded))
            self._files.take_back(request.plan.match_id, part=kept.part, last=last)
        request.kept.next_part()
        # Players may need longer to notice than a ticket is valid.
        tickets = tuple(
            attrs.evolve(one, expires_at=max(one.expires_at, now + _TICKET_SECONDS))
            for one in room.tickets.values()
        )
        return Resumable(
            request,
            tickets,
            room.was_played or room.stage == "played",
            room.ends_by - self._now(),
            self._now(),
        )

    def _end(self, room: _Room, end: MatchEnd) -> None:
        request = room.request
        if self._files is not None:
            kept = request.kept
            # A game server that ended the match has written all of it.
            last = (kept.length if end.reason == "lost" else 0, bytes(kept.recorded))
            self._files.take_back(request.plan.match_id, part=kept.part, last=last)
        is_unknown = end.reason == "lost" and not request.kept.number
        if is_unknown and not request.is_withdrawn and request.rescue(end):
            return
        request.over()
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
                match_id=request.plan.match_id,
            )

    def _fail_tickets(self, of_match: str) -> None:
        for label, (match_id, added) in tuple(self._tickets.items()):
            if match_id == of_match:
                del self._tickets[label]
                added.errback(NoCapacity("the game server of the match is gone"))

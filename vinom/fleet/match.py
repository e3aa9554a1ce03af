"""Matches that are played in game servers, seen from their node."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Literal, Protocol

import attrs
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.errors import NoCapacity, PeerError
from vinom.fleet.control.checkpoints import apply_change
from vinom.fleet.control.messages import (
    AddTicket,
    AnyToNode,
    CloseRoom,
    FromRelayed,
    HandOver,
    Kept,
    KeptTaken,
    Kick,
    MatchStarted,
    OpenRoom,
    Playing,
    RecordingData,
    RelayAgain,
    RelayEvent,
    RelayFailed,
    RelayRefusal,
    RelayState,
    RelayTaken,
    RelayWatch,
    RoundEnded,
    SeatChanged,
    ToServer,
)
from vinom.fleet.interfaces import IMatchWatch
from vinom.fleet.records import MatchCopy, MatchRecord, StoredMatch
from vinom.net.frames import FRAME_LIMIT
from vinom.play.hosting.checkpoints import FORGOTTEN
from vinom.play.hosting.recordings import Recordings

_log = Logger()

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

        If it does not follow the one before, players may have seen what cannot be had.
        """
        # One that did not fit into the first message over a new link is only here.
        is_missing = message.number == self.number and not (self.data or message.base)
        if message.number <= self.number and not is_missing:
            return
        if not message.base:
            # Those before it were lost with the link.
            self.number = message.number - 1
        try:
            self.take(message)
        except PeerError as error:
            _log.error("{why}", why=str(error))
            self.data = b""

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


class Host(Protocol):
    """A game server, as its matches see it: `vinom.fleet.server.ServerProcess`."""

    is_overloaded: bool

    @property
    def is_handing_over(self) -> bool:
        """Was it asked to hand its matches over?"""

    def kill(self) -> None:
        """End it at once."""

    def drop(self, match: RunningMatch) -> None:
        """Another node has gone on with a match: end it without a word."""

    def send(self, message: ToServer, descriptors: tuple[int, ...] = ()) -> None:
        """Send it a message, and open files with it."""


@attrs.frozen
class MatchMeans:
    """
    What all matches of games with the same program share.

    :ivar clock: its seconds are those of the Unix epoch.
    :ivar now: seconds on a clock that nobody sets.
    :ivar timeouts: how long rooms may take.
    :ivar files: what matches write; ``None``: game servers open their own files.
    :ivar over: called with each match that this node has no more.
    :ivar rescue: called with a match, and its end, whose game server was gone before it
        had a link to this node: goes on from its copy, or returns ``False``.
    """

    clock: IReactorTime
    now: Callable[[], float]
    timeouts: RoomTimeouts
    files: Recordings | None
    over: Callable[[RunningMatch], None]
    rescue: Callable[[RunningMatch, MatchEnd], bool]


@attrs.define(eq=False)
class Admissions:
    """
    The tickets of a match, with which its players may connect.

    :ivar tickets: by label; of each seat the newest.
    """

    clock: IReactorTime
    timeout: float
    tickets: dict[str, Ticket]
    # Somebody waits for these.
    _awaited: dict[str, tuple[Ticket, Deferred[None]]] = attrs.field(factory=dict)

    def add(self, ticket: Ticket) -> Deferred[None]:
        """
        Add a ticket; the result comes when a game server accepts it.

        :raises NoCapacity: the match is over, or no game server answers.
        """
        label = ticket.label

        def too_late(_: object, seconds: float) -> None:
            self._awaited.pop(label, None)
            raise NoCapacity(f"no game server answered for {seconds} s")

        added: Deferred[None] = Deferred()
        added.addTimeout(self.timeout, self.clock, onTimeoutCancel=too_late)
        self._awaited[label] = ticket, added
        self.tickets[label] = ticket
        of_seat = [one for one in self.tickets.values() if one.seat == ticket.seat]
        if len(of_seat) > _MOST_TICKETS:
            del self.tickets[of_seat[0].label]
        return added

    def accepted(self, label: str) -> None:
        """A game server accepts a ticket."""
        _, added = self._awaited.pop(label, (None, None))
        if added is not None:
            added.callback(None)

    def fail(self) -> None:
        """No game server will accept those that wait for it."""
        awaited, self._awaited = self._awaited, {}
        for _, added in awaited.values():
            added.errback(NoCapacity("the game server of the match is gone"))

    def extend(self) -> None:
        """Players may need longer to notice a move than a ticket is valid."""
        until = self.clock.seconds() + _TICKET_SECONDS
        self.tickets = {
            label: attrs.evolve(one, expires_at=max(one.expires_at, until))
            for label, one in self.tickets.items()
        }

    def sent_with_order(self) -> tuple[Ticket, ...]:
        """List those that a game server gets with the room; it is not asked about."""
        tickets = self.tickets.items()
        return tuple(one for label, one in tickets if label not in self._awaited)

    def asked_after_it(self) -> list[Ticket]:
        """List the others, which somebody waits for."""
        return [ticket for ticket, _ in self._awaited.values()]


#: Where a match is: without a game server; its room is being opened; nobody has come;
#: somebody has; it is late, and was told to end.
MatchStage = Literal["waiting", "opening", "open", "played", "closing"]


@attrs.define(eq=False)
class RunningMatch:
    """
    One match, from when it needs a game server to its end, wherever it is played.

    :ivar plan: what is played.
    :ivar match_id: its id.
    :ivar watch: receives what happens to it.
    :ivar admissions: its tickets.
    :ivar placed: gets the placement; ``None`` once it has, or once nobody waits.
    :ivar relay: receives what players of the node are shown; see `Fleet.place`.
    :ivar hosts: the addresses of its players, as far as they are known.
    :ivar is_own: is it a room of this node, whose players are connected here?
    :ivar server: that it is on.
    :ivar attempts: game servers asked so far.
    :ivar is_packed: whether *relay* is for players over UDP: see `RelayWatch`.
    :ivar is_withdrawn: *watch* and *relay* are no longer called.
    :ivar kept: what it goes on from if its game server dies.
    :ivar kicked: seats whose players an operator removed.
    :ivar closing: the reason for which it was ordered to end; empty if it was not.
    :ivar is_delayed: *watch* was called because no game server can be had.
    :ivar copy: what other machines go on from; ``None`` if none does.
    :ivar awaits_store: does it show only what the store of several nodes has?
    :ivar record: what later nodes have to know; ``None`` if none will.
    :ivar deadline: when it is late.
    :ivar ends_by: latest end.
    :ivar left: seconds that it may still take, once it goes on.
    :ivar since: when its game server was gone.
    :ivar goes_on: has it been on another game server?
    """

    means: MatchMeans
    plan: MatchPlan
    watch: IMatchWatch
    admissions: Admissions
    match_id: str = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: self.plan.match_id, takes_self=True),
    )
    placed: Deferred[Placement] | None = None
    relay: Callable[[FromRelayed], None] | None = None
    hosts: tuple[str, ...] = ()
    is_own: bool = False
    awaits_store: bool = False
    server: Host | None = None
    attempts: int = 0
    is_packed: bool = False
    is_withdrawn: bool = False
    kept: KeptCheckpoint = attrs.field(factory=KeptCheckpoint)
    kicked: set[int] = attrs.field(factory=set)
    closing: str = ""
    is_delayed: bool = False
    copy: MatchCopy | None = None
    record: MatchRecord | None = None
    stage: MatchStage = "waiting"
    deadline: float = inf
    ends_by: float = inf
    left: float = inf
    since: float = inf
    goes_on: bool = False
    # Why it ends, unless its game server reports a reason, and more about it.
    _verdict: str = "lost"
    _why: str = ""
    _went_back: bool = False
    _was_played: bool = False

    @classmethod
    def make(
        cls,
        means: MatchMeans,
        plan: MatchPlan,
        watch: IMatchWatch,
        tickets: Sequence[Ticket] = (),
        hosts: tuple[str, ...] = (),
    ) -> RunningMatch:
        """Make one that is on no game server."""
        admitted = {ticket.label: ticket for ticket in tickets}
        admissions = Admissions(means.clock, means.timeouts.ticket, admitted)
        awaits_store = plan.game in means.timeouts.stored
        return cls(
            means, plan, watch, admissions, hosts=hosts, awaits_store=awaits_store
        )

    # What is ordered; also while it is on no game server.

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Admit one more handshake, perhaps when another game server goes on with it.

        :raises NoCapacity: the match is over, or no game server answers.
        """
        added = self.admissions.add(ticket)
        if self.server is not None and not self.server.is_handing_over:
            self.server.send(AddTicket(ticket))
        return added

    def kick(self, seat: int) -> None:
        """Remove a player for good."""
        self.kicked.add(seat)
        self.send(Kick(self.match_id, seat))

    def close(self, reason: str) -> None:
        """End it."""
        self.closing = reason
        self.send(CloseRoom(self.match_id, reason))

    def follow(
        self, relay: Callable[[FromRelayed], None] | None, packed: bool = False
    ) -> None:
        """Receive what players of the node are shown; ``None`` to stop."""
        self.relay, self.is_packed = relay, packed
        self.send(RelayWatch(self.match_id, relay is not None, packed))

    def send(self, message: ToServer) -> None:
        """Send its game server a message, if it has one."""
        if self.server is not None:
            self.server.send(message)

    def fail(self, why: str) -> None:
        """It gets no game server."""
        self.means.over(self)
        self._not_placed(why)

    def _not_placed(self, why: str) -> None:
        if self.placed is not None:
            placed, self.placed = self.placed, None
            placed.errback(NoCapacity(why))

    def delay(self, why: str) -> None:
        """Let its players know why they wait, once."""
        if not self.is_delayed:
            self.is_delayed = True
            self._report(lambda watch: watch.delayed(self.match_id, why))

    # Its game servers.

    def open(self, server: Host) -> None:
        """Begin on a game server."""
        self.attempts += 1
        self._order(server, OpenRoom(self.plan, (), self.is_own))
        self._order_again()

    def resume(self, server: Host) -> None:
        """Go on on a game server."""
        kept, forgotten = self.kept, 0
        self._went_back = kept.copied_at is not None
        self.ends_by = self.means.now() + self.left
        if kept.copied_at is not None:
            age = max(0.0, self.means.clock.seconds() - kept.copied_at)
            forgotten = FORGOTTEN + round(1000 * age)
        order = OpenRoom(
            self.plan,
            (),
            checkpoint=kept.data,
            number=kept.number,
            part=kept.part,
            forgotten=forgotten,
        )
        self._order(server, order)
        if (relay := self.relay) is not None:
            self.send(RelayWatch(self.match_id, True, self.is_packed))
            self._report(lambda _: relay(RelayAgain(self.match_id)))
        self._order_again()

    def _order(self, server: Host, order: OpenRoom) -> None:
        self.server, self.stage = server, "opening"
        self.deadline = self.means.now() + self.means.timeouts.open
        files: tuple[int, ...] = ()
        if self.means.files is not None:
            files = self.means.files.lend(self.match_id, self.kept.part)
        inodes = tuple(os.fstat(one).st_ino for one in files)
        tickets = self.admissions.sent_with_order()
        server.send(replace(order, tickets=tickets, files=inodes), files)

    def _order_again(self) -> None:
        """Repeat what was ordered: it may have been sent to nobody."""
        for ticket in self.admissions.asked_after_it():
            self.send(AddTicket(ticket))
        for seat in sorted(self.kicked):
            self.send(Kick(self.match_id, seat))
        if self.closing:
            self.send(CloseRoom(self.match_id, self.closing))

    def adopt(self, server: Host, record: MatchRecord) -> None:
        """Go on where an earlier node has left it."""
        self.server, self.stage, self.attempts = server, "played", 1
        self.record = record
        # The game may have been removed since: then its process must know.
        longest = self.means.timeouts.longest.get(self.plan.game, inf)
        self.ends_by = self.means.now() + self.means.timeouts.grace + longest
        self.deadline = self.ends_by

    def go_on(self, stored: StoredMatch, copy: MatchCopy) -> None:
        """Prepare to go on from the copy of a machine that is gone."""
        self.kept, self.copy = KeptCheckpoint.of(stored), copy
        left = stored.ends_at - self.means.clock.seconds()
        self._leave(stored.is_played, left)

    def _leave(self, was_played: bool, left: float) -> None:
        """It goes on on another game server."""
        self.server, self.stage, self.deadline = None, "waiting", inf
        self.goes_on, self._was_played, self.left = True, was_played, left
        self.since = self.means.now()

    def opened(self, placement: Placement) -> None:
        """The room is open: players can connect."""
        if self.stage != "opening":
            return
        if self.goes_on and self._was_played:
            # Its players come back; how long it waits for them is its own matter.
            self.stage, self.deadline = "played", self.ends_by
        else:
            times = self.means.timeouts
            late = self.means.now() + times.grace
            self.stage, self.deadline = "open", late + times.join
            if not self.is_own:
                self.ends_by = late + times.longest[self.plan.game]
            if self.placed is not None:
                placed, self.placed = self.placed, None
                placed.callback(placement)
        if self.goes_on:
            placement = attrs.evolve(placement, went_back=self._went_back)
            self._report(lambda watch: watch.resumed(self.match_id, placement))

    def linked_again(self, one: Playing, placement: Placement) -> None:
        """Its game server has a link again, and reports what it plays."""
        # It may have been cut off between the order and the answer.
        self.opened(placement)
        self.kept.restart(one)
        if one.tickets:
            # An earlier node made them, or it did not get the newest of ours.
            self.admissions.tickets = {ticket.label: ticket for ticket in one.tickets}
        # What an earlier node, or a lost link, may have kept from us.
        for seat, state in one.seats.items():
            if 0 <= seat < len(one.plan.seats):
                self._seat_changed(seat, state)
        if one.is_started:
            self._report(lambda watch: watch.started(self.match_id))
        rounds = 0 if self.record is None else self.record.rounds
        if one.outcome is not None and not 0 < _round_of(one.outcome) <= rounds:
            self._round_ended(one.outcome)
        if (relay := self.relay) is not None:
            self.send(RelayWatch(self.match_id, True, self.is_packed))
            if self.is_packed:
                # It has given up the seats of players who are connected here.
                relay(RelayAgain(self.match_id))
        self._order_again()

    def is_stuck(self) -> bool:
        """
        End it if it is late.

        :returns: ``True`` if it was told to, or should have begun, and its process must
            be killed.
        """
        now = self.means.now()
        if now < self.deadline:
            return False
        if self.stage in ("opening", "closing"):
            return True
        self._verdict = "void" if self.stage == "open" else "time_limit"
        self.stage, self.deadline = "closing", now + self.means.timeouts.grace
        self.close(self._verdict)
        return False

    def server_gone(
        self, verdict: str | None, is_planned: bool
    ) -> Literal["begins", "goes on", "over"]:
        """
        Its game server is gone: another one begins with it, or goes on, or it is over.

        :param verdict: the reason of its end, if it is not the usual one.
        :param is_planned: it was asked to hand its matches over.
        """
        if verdict is None and self._may_go_on:
            seats = len(self.plan.seats)
            self._why = self.kept.resume(self.means.now(), seats, is_planned)
            if not self._why:
                self._take_back_files(self.kept.length)
                self.kept.next_part()
                self.admissions.extend()
                was_played = self._was_played or self.stage == "played"
                self._leave(was_played, self.ends_by - self.means.now())
                return "goes on"
            _log.error(
                "match {match_id} is lost: {why}", match_id=self.match_id, why=self._why
            )
        self.admissions.fail()
        if verdict is None and self.stage == "opening" and not self.goes_on:
            if self.means.files is not None:
                self.means.files.take_back(self.match_id, False)
            self.server, self.stage, self.deadline = None, "waiting", inf
            # If it has to wait again its players learn it again.
            self.is_delayed = False
            return "begins"
        self.end(verdict or self._verdict, self._why)
        return "over"

    @property
    def _may_go_on(self) -> bool:
        is_ours = not (self.is_withdrawn or self.is_own)
        return is_ours and self.stage != "closing" and self.kept.number > 0

    @property
    def can_go_on(self) -> bool:
        """Can another game server go on with it, if that can read its checkpoint?"""
        return self._may_go_on and bool(self.kept.data)

    # What its game server reports.

    def received(self, message: AnyToNode) -> bool:
        """
        Handle a message about it.

        :returns: ``True`` if later nodes have to know more than before.
        """
        match message:
            case (
                RelayState()
                | RelayEvent()
                | RelayRefusal()
                | RelayTaken()
                | RelayFailed()
            ):
                if (relay := self.relay) is not None:
                    self._report(lambda _: relay(message))
            case SeatChanged(_, seat, state):
                self._seat_changed(seat, state)
            case MatchStarted():
                self._report(lambda watch: watch.started(self.match_id))
            case RoundEnded(_, outcome):
                return self._round_ended(outcome)
            case RecordingData(_, part, at, data, is_report):
                # Its game server is on another machine.
                if self.means.files is not None and part == self.kept.part:
                    files = self.means.files
                    files.append(self.match_id, part, at, data, is_report)
        return False

    def _seat_changed(self, seat: int, state: str) -> None:
        if self.stage == "open":
            # A player came: from here on the room itself waits for the others.
            self.stage, self.deadline = "played", self.ends_by
        self._report(lambda watch: watch.seat_changed(self.match_id, seat, state))

    def _round_ended(self, outcome: dict[str, Any]) -> bool:
        self._report(lambda watch: watch.round_ended(self.match_id, outcome))
        number = _round_of(outcome)
        if self.record is None or number <= self.record.rounds:
            return False
        # Its result is kept here: the next node must not keep it again.
        self.record = replace(self.record, rounds=number)
        return True

    # Its copy.

    def store(self, server_id: str, placement: Placement) -> bool:
        """
        Bring its copy up to date.

        :returns: ``False`` if it was older.
        """
        kept, copy = self.kept, self.copy
        if (
            copy is None
            or self.record is None
            or not kept.data
            or copy.number >= kept.number
        ):
            return True
        if self.awaits_store:
            copy.stored = lambda number: self.send(KeptTaken(self.match_id, number))
        at = self.means.clock.seconds()
        copy.write(
            StoredMatch(
                self.record,
                server_id,
                placement,
                at,
                kept.data,
                kept.number,
                kept.version,
                kept.part,
                self.stage == "played",
                at + self.ends_by - self.means.now(),
            )
        )
        return False

    # Its end.

    def ended(self, end: MatchEnd) -> None:
        """It is over, or could be, if nobody goes on with it."""
        if self.server is not None:
            # A game server that ended the match has written all of it.
            self._take_back_files(self.kept.length if end.reason == "lost" else 0)
            self.server, self.stage, self.deadline = None, "waiting", inf
        is_unknown = end.reason == "lost" and not self.kept.number
        if is_unknown and not self.is_withdrawn and self.means.rescue(self, end):
            return
        self.means.over(self)
        self.admissions.fail()
        if self.copy is not None:
            self.copy.over()
        self._report(lambda watch: watch.ended(end))
        self._not_placed(f"the match is over: {end.reason}")

    def end(self, reason: str, why: str = "") -> None:
        """No game server has it any more, and none goes on with it."""
        self.ended(MatchEnd(self.match_id, reason, why=why))

    def _take_back_files(self, length: int) -> None:
        if self.means.files is not None:
            kept = self.kept
            last = (length, bytes(kept.recorded))
            self.means.files.take_back(self.match_id, part=kept.part, last=last)

    def _report(self, step: Callable[[IMatchWatch], Any]) -> None:
        if self.is_withdrawn:
            return
        try:
            step(self.watch)
        except Exception:
            _log.failure(
                "failed to handle a report about match {match_id}",
                match_id=self.match_id,
            )


def _round_of(outcome: Mapping[str, Any]) -> int:
    """Find the number of the round that is over; 0 if the report makes no sense."""
    number = outcome.get("round")
    return number if isinstance(number, int) else 0


class HostedMatches:
    """
    The matches of one game server.

    :ivar spare: how many more it can host.
    :ivar were_used: has it had a match?
    :ivar is_handing_over: was it asked to hand its matches over?
    """

    def __init__(self, spare: int) -> None:
        """Begin without matches."""
        self.spare, self.is_handing_over, self.were_used = spare, False, False
        self._matches: dict[str, RunningMatch] = {}

    def __len__(self) -> int:
        return len(self._matches)

    def __iter__(self) -> Iterator[RunningMatch]:
        # They may end, one after the other.
        return iter(tuple(self._matches.values()))

    def get(self, match_id: str) -> RunningMatch | None:
        """Find one."""
        return self._matches.get(match_id)

    def add(self, match: RunningMatch) -> None:
        """Add one."""
        self.were_used = True
        self._matches[match.match_id] = match

    def remove(self, match: RunningMatch) -> bool:
        """Remove one; ``False`` if it is not here."""
        return self._matches.pop(match.match_id, None) is not None

    @property
    def match_ids(self) -> tuple[str, ...]:
        """The matches that are not over."""
        return tuple(self._matches)

    @property
    def is_used_up(self) -> bool:
        """Was the last one that it could host closed?"""
        return not self._matches and not self.spare

    def why_not_moved(self, readable: Readable) -> str:
        """
        Find out whether another game server can go on with all of its matches.

        :param readable: see `Fleet.move`.
        :returns: why not, in a sentence; empty if it can.
        """
        if not self._matches:
            return "it has no match"
        for match in self:
            if not match.can_go_on:
                return f"match {match.match_id} has no checkpoint"
            if why := readable(match.plan, match.kept.data):
                return f"match {match.match_id}: {why}"
        return ""

    def end_what_stays(self, readable: Readable) -> bool:
        """
        End the matches that no other game server can go on with.

        :returns: whether others are left.
        """
        can_go_on = False
        for match in self:
            if match.can_go_on and not readable(match.plan, match.kept.data):
                can_go_on = True
            elif not match.is_own:
                match.close("shutdown")
        return can_go_on

    def hand_over(self, server: Host) -> None:
        """Have it hand its matches over, and exit."""
        self.is_handing_over, self.spare = True, 0
        server.send(HandOver())

"""
A match on a game server, and its players' connections: inputs in, states out.

The caller passes in a turn's inputs and then calls `HostedRoom.end_turn` once, which
makes one broadcast. Times are seconds on a monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from math import inf
from typing import Any

import attrs
from twisted.logger import Logger

from vinom.base.limits.buckets import TokenBucket
from vinom.base.messages.lobby import SeatName
from vinom.base.model import MatchEnd, SeatPlan
from vinom.base.packed import Layout
from vinom.base.reactor.alarm import Alarms
from vinom.errors import Code, Refused
from vinom.fleet.control.messages import (
    MatchStarted,
    RelayTaken,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    ToNode,
)
from vinom.fleet.gameserver.seats import ConnectionLimits, SeatDoor
from vinom.game import Outcome
from vinom.net.dtls.association import Association
from vinom.net.dtls.port import DatagramPort
from vinom.net.packets.codec import BASE, COUNTER_LIMIT, state_tails
from vinom.net.packets.quality import ACK_DELAY
from vinom.net.packets.reliable import (
    LONGEST_MESSAGE,
    Event,
    Message,
    MessageStream,
    Over,
    Refusal,
    Round,
    Welcome,
    encode,
)
from vinom.net.packets.seat import (
    ActionArrived,
    Confirmed,
    JoinAsked,
    Left,
    SeatEvent,
    SeatLink,
)
from vinom.play.choices import action_decoder, json_action_reader
from vinom.play.hosting.host import RoomHost
from vinom.play.hosting.recordings import MatchRecording
from vinom.play.packing import Bases
from vinom.play.room import Emitted, Forfeited, Room, outcome_facts
from vinom.play.views import EVERYBODY, Recipients, reaches

#: Pause between resends in a room that is over, seconds: short, so that the end
#: arrives even if many datagrams are lost.
_FAREWELL_PAUSE = 0.15


#: How long a closed room waits for its players' acknowledgements, seconds.
FAREWELL = 2.0
#: How soon a match looks again whether its checkpoint has left, seconds, if nothing
#: else wakes it.
_HELD_PAUSE = 0.05
#: Games with this many ticks per second acknowledge inputs with their states.
SOON_HZ = 20


@attrs.define(eq=False)
class Connection:
    """
    A player's connection; it has a room and a seat once its JOIN was accepted.

    :ivar association: the DTLS association.
    :ivar port: sends to it.
    :ivar link: its packets.
    :ivar allowance: for packets.
    :ivar figures: counts refusals by code, for all connections.
    :ivar room: the room; ``None`` without a seat.
    :ivar seat: the seat.
    """

    association: Association
    port: DatagramPort
    link: SeatLink
    allowance: TokenBucket
    figures: Counter[str]
    room: HostedRoom | None = None
    seat: HostedSeat | None = None

    @classmethod
    def open(
        cls,
        association: Association,
        port: DatagramPort,
        limits: ConnectionLimits,
        now: float,
        figures: Counter[str],
    ) -> Connection:
        """
        Make the connection of a new association.

        :param association: the DTLS association, just opened.
        :param port: sends to it.
        :param limits: for packets and inputs.
        :param now: the time.
        :param figures: counts refusals by code.
        :raises PeerError: it cannot carry a packet.
        """
        inputs = TokenBucket(limits.inputs, limits.input_burst)
        return cls(
            association,
            port,
            SeatLink(association.max_payload, now, inputs.take),
            TokenBucket(limits.packets, limits.packet_burst),
            figures,
        )

    def refuse(
        self, code: str, message: str, now: float, retry_after: float = 0.0
    ) -> None:
        """
        End the connection, with a reason.

        :param code: one of `vinom.errors.Code`.
        :param message: the reason, as a text.
        :param now: the time.
        :param retry_after: when the player may try again, seconds; 0 if unknown.
        """
        if self.link.phase not in ("refused", "over"):
            self.figures[f"errors_{code}"] += 1
        self.link.refuse(code, message, now, retry_after)

    def flush(self) -> bool:
        """
        Send the link's packets; close the connection if the link is over.

        :returns: whether it is over.
        """
        link = self.link
        packets = link.take_packets()
        if packets:
            self.port.send(self.association, *packets)
        if link.phase != "over":
            return False
        self.association.owner = None
        self.port.close(self.association)
        return True


@attrs.define(eq=False)
class HostedSeat:
    """
    One seat, with everything that outlives its connections.

    :ivar number: of the seat.
    :ivar door: checks proofs for it.
    :ivar messages: its reliable messages.
    :ivar connection: the connection that holds it.
    :ivar is_relayed: whether its player is connected to the node.
    :ivar relay_epoch: counts its joins through the node.
    :ivar present: whether the room counts it as connected.
    :ivar came: whether it has ever been connected.
    :ivar shown: version of the state last sent.
    :ivar audience: whose views it is sent, and `since` which version.
    :ivar state: as the node was last sent it; empty before anything was.
    """

    number: int
    door: SeatDoor = attrs.field(factory=SeatDoor)
    messages: MessageStream = attrs.field(factory=MessageStream)
    connection: Connection | None = None
    is_relayed: bool = False
    relay_epoch: int = 0
    present: bool = False
    came: bool = False
    shown: int = 0
    audience: Hashable = EVERYBODY
    since: int = 0
    state: str = ""

    def replace(self, connection: Connection | None, now: float) -> Connection | None:
        """
        Give the seat to a newer connection.

        :returns: the older one, which is refused.
        """
        older, self.connection = self.connection, connection
        if older is not None:
            older.refuse(Code.SEAT_TAKEN, "a newer connection has this seat", now)
            older.room, older.seat = None, None
        return older

    def release(self, connection: Connection) -> None:
        """Take the seat from a connection, if it has it."""
        connection.room, connection.seat = None, None
        if self.connection is connection:
            self.connection = None

    def send(self, data: bytes, now: float) -> None:
        """Send its player an encoded message, until it is acknowledged."""
        if self.messages.add(data):
            if self.connection is not None:
                self.connection.link.messages_added(now)
        elif self.connection is not None:
            # Its player connects again, and sees from the numbers that some are lost.
            self.connection.refuse(Code.BUSY, "too many messages unacknowledged", now)


@attrs.frozen
class Played:
    """
    What gets the inputs of a match's players, and makes its states.

    :ivar host: a `RoomHost`, or what is the same to players for a room that another
        process plays (`vinom.fleet.relay.room.RelayedRoom`).
    :ivar read: reads an action from MessagePack; as in `RoomHost.act`.
    :ivar read_json: reads an action from JSON.
    :ivar is_elsewhere: whether another process plays it.
    """

    host: Any
    read: Callable[[bytes], Any]
    read_json: Callable[[bytes], Any]
    is_elsewhere: bool = False

    @classmethod
    def here(cls, room: Room, recording: MatchRecording, part: int = 1) -> Played:
        """
        Play a match in this process.

        :param room: just opened, and recorded by *recording*.
        :param recording: gets the end.
        :param part: which part of its recording *recording* is.
        """
        host = RoomHost(room, recording, counts_refused=True, part=part)
        return cls(host, action_decoder(room.game), json_action_reader(room.game))


class HostedRoom:
    """
    One match on a game server; its players' connections are one outlet of its room.

    :ivar host: owns the room; other outlets (see `vinom.fleet.gameserver.relay`) join
        it.
    :ivar room: the same room, here because every packet needs it.
    :ivar seats: by number; a newcomer's is added.
    :ivar is_relayed: whether it is a room of the node.
    :ivar match_id: its id.
    :ivar is_started: whether the node was sent that match time has started.
    :ivar is_paused: whether nothing may happen: players' packets count as lost.
    :ivar outcome: of the last round; ``None`` before one was over.
    :ivar read: reads an action of a player over UDP.
    :ivar read_json: reads an action of a player of the node.
    :ivar ticks_soon: whether ticks are so frequent that states acknowledge in time; or
        whatever arrives is answered by a state of another process.
    :ivar name: for the log.
    """

    _log = Logger()

    def __init__(
        self,
        played: Played,
        alarms: Alarms,
        report: Callable[[ToNode], None],
        over: Callable[[HostedRoom], None],
        is_relayed: bool = False,
    ) -> None:
        """
        Let players come.

        :param played: the match.
        :param alarms: rings this room; its deadlines are on the caller's clock.
        :param report: sends to the node.
        :param over: called once, when all players have received the end or had time to.
        :param is_relayed: see `vinom.fleet.control.messages.OpenRoom`.
        """
        self.host: RoomHost = played.host
        self.room: Room = played.host.room
        plan, game = self.room.plan, self.room.game
        self.read, self.read_json = played.read, played.read_json
        self.host.outlets = (self,)
        self.seats = tuple(HostedSeat(number) for number in range(len(plan.seats)))
        self.is_relayed, self.is_started = is_relayed, False
        self.ticks_soon = game.tick_hz >= SOON_HZ or played.is_elsewhere
        self.match_id = plan.match_id
        self.name = f"match {plan.match_id}"
        self._alarms, self._report, self._over = alarms, report, over
        self._shown = 0
        self._has_one_audience = self.room.has_one_audience
        self._layout: Layout | None = self.room.layout
        self._bases = Bases()
        self._shows_each = game.states == "every" and not game.tick_hz
        self._names = tuple(
            SeatName(number, seat.name, seat.player_id, seat.team)
            for number, seat in enumerate(plan.seats)
        )
        self._links_at = inf
        self._is_over = False
        self.is_paused = False
        self.outcome: dict[str, Any] | None = None
        alarms.add(self)

    @property
    def is_open(self) -> bool:
        """Is the match not over?"""
        return self.host.ended_at is None

    # Players who come and go.

    def welcome(
        self,
        connection: Connection,
        seat: HostedSeat,
        asked: JoinAsked,
        now: float,
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        Give a seat to a connection whose proof was valid.

        :param connection: the player's.
        :param seat: the seat.
        :param asked: the connection's request.
        :param now: the time.
        :param entropy: returns as many random bytes as its argument.
        :raises Refused: the match is over.
        """
        if self.room.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        room, resume = self.room, seat.door.offer(entropy)
        seat.replace(connection, now)
        if seat.is_relayed:
            # The older connection is the node's, which must release it.
            seat.is_relayed = False
            self._report(RelayTaken(self.match_id, seat.number, seat.relay_epoch))
        connection.room, connection.seat = self, seat
        seat.messages.acknowledge(asked.last_message)
        layout = self._layout
        welcome = Welcome(
            seat=seat.number,
            epoch=seat.door.epoch,
            resume=resume,
            match_id=self.match_id,
            game=room.plan.game,
            players=self._names,
            tick_hz=room.game.tick_hz,
            input=self.host.acted[seat.number],
            message=seat.messages.first,
            setup=room.setup(),
            layout=layout.description if layout and connection.link.is_packed else None,
        )
        try:
            connection.link.welcome(welcome, seat.messages, now)
        except ValueError as error:
            self.cannot_send("setup", error, now)
            connection.refuse(Code.INTERNAL, "this game's setup cannot be sent", now)

    def take(
        self,
        connection: Connection,
        seat: HostedSeat,
        news: list[SeatEvent],
        now: float,
    ) -> None:
        """Handle the events of a connection of this room."""
        host = self.host
        for item in news:
            if isinstance(item, ActionArrived):
                refused = host.act(
                    seat.number, item.seq, item.data, self.read, now, item.tick
                )
                if refused is not None:
                    self.refuse(seat, item.seq, refused, now)
                elif self._shows_each:
                    host.end_turn(now)
            elif isinstance(item, Confirmed):
                seat.door.confirm()
                self.sit(seat, now)
            elif isinstance(item, Left):
                connection.link.end()
                self.give_up(connection, seat, now)
                return

    def refuse(self, seat: HostedSeat, seq: int, no: Refused, now: float) -> None:
        """Send a seat why an action of it was not applied."""
        if not self.is_open:
            # The end is the last message; no later state acknowledges anything.
            return
        if seat.connection is not None:
            seat.connection.figures[f"errors_{no.code}"] += 1
        reason = str(no.details.get("reason") or no.details.get("field") or "")
        seat.send(encode(Refusal(seq, no.code, reason, no.message)), now)

    def sit(self, seat: HostedSeat, now: float) -> None:
        """Count a seat's player as connected."""
        self.host.run_clock(now)
        try:
            self.room.join(seat.number, now)
        except Refused as no:
            if seat.connection is not None:
                seat.connection.refuse(no.code, no.message, now)
            return
        was_present, seat.present = seat.present, True
        seat.shown = 0
        if not was_present:
            self.seat_changed(seat, "returned" if seat.came else "joined")
        seat.came = True

    def give_up(
        self, connection: Connection | None, seat: HostedSeat, now: float
    ) -> None:
        """Give up a seat whose player has left for good."""
        if connection is not None:
            connection.flush()
            seat.release(connection)
        seat.present = False
        self.room.leave(seat.number, now)
        self.seat_changed(seat, "left")

    def lost(self, connection: Connection, seat: HostedSeat, now: float) -> None:
        """Release a seat whose connection is lost."""
        if seat.connection is not connection:
            return
        seat.release(connection)
        self.miss(seat, now)

    def add_seat(self, plan: SeatPlan, now: float) -> HostedSeat:
        """
        Seat a newcomer.

        :raises Refused: there is no seat for them.
        """
        number = self.host.add_seat(plan, now)
        seat = HostedSeat(number, present=True, came=True)
        seats = list(self.seats)
        seats[number : number + 1] = [seat]
        self.seats = tuple(seats)
        return seat

    def miss(self, seat: HostedSeat, now: float) -> None:
        """Count a seat's player as disconnected; the seat is kept."""
        if seat.present:
            self.host.run_clock(now)
            seat.present = False
            self.room.drop(seat.number, now)
            if self.host.ended_at is None:
                self.seat_changed(seat, "dropped")

    # To players and the node (vinom.play.hosting.host.Outlet).

    def started(self, now: float) -> None:
        """Report that match time has started."""
        self.is_started = True
        self._report(MatchStarted(self.match_id))

    def emitted(self, emitted: Emitted, now: float) -> None:
        """Send an event of the game to the seats that it is addressed to."""
        event = Event(emitted.event.kind, emitted.event.data, emitted.version)
        self._send_all(event, now, emitted.to)

    def round_over(self, outcome: Outcome, now: float) -> None:
        """Send the outcome of a round to all players and the node."""
        room, facts = self.room, outcome_facts(outcome)
        self.outcome = facts
        self._report(RoundEnded(self.match_id, facts))
        self._send_all(Round(facts, room.version, room.view_hash()), now)

    def forfeited(self, given_up: Forfeited, now: float) -> None:
        """Report a seat that was given up; over UDP nobody can watch."""
        seat = self.seats[given_up.seat]
        if given_up.may_watch:
            # What its player may still see.
            self.show(now)
            seat.present = False
            if seat.connection is not None:
                seat.connection.flush()
                why = "the game gave up your seat; you may watch this match in a room"
                seat.connection.refuse(Code.KICKED, why, now)
        self.seat_changed(seat, "vacated" if given_up.may_watch else "left")

    def closed(self, end: MatchEnd, report: str | None, now: float) -> None:
        """Send the end of the match to all players and the node."""
        for seat in self.seats:
            if seat.connection is not None:
                seat.connection.link.hasten(_FAREWELL_PAUSE, now)
        self._send_all(Over(end.reason, end.outcome, end.version, end.view_hash), now)
        self._report(RoomEnded(end))

    def show(self, now: float) -> bool:
        """
        Send the newest state to each seat that does not have it.

        :returns: whether no connection has anything else to send.
        """
        room = self.room
        self._shown = version = room.version
        if not version:
            return False
        if version >= COUNTER_LIMIT - 1:
            room.close("time_limit", now)
        sent: list[tuple[Association, bytes]] = []
        port: DatagramPort | None = None
        applied = self.host.applied
        is_shared = self._has_one_audience and self._layout is None
        made: dict[tuple[Hashable, int | None], list[bytes]] = {}
        tails: list[bytes] | None = None
        is_all = True
        for seat in self.seats:
            connection = seat.connection
            if connection is None:
                continue
            if seat.shown == version or not seat.present:
                is_all = False
                continue
            if tails is None or not is_shared:
                tails = self._tails(seat, connection.link, made, now)
                if not tails:
                    # The game failed; or nothing has come for this seat yet.
                    is_all = False
                    continue
            seat.shown = version
            answered = applied[seat.number]
            packet = connection.link.make_state(version, tails, answered, now)
            if packet is not None:
                # All players of a process come to the same one.
                port = connection.port
                sent.append((connection.association, packet))
            else:
                connection.link.state(version, tails, answered, now)
                is_all = False
        if sent and port is not None:
            port.send_each(sent)
        return is_all and room.phase != "closed"

    def _tails(
        self,
        seat: HostedSeat,
        link: SeatLink,
        made: dict[tuple[Hashable, int | None], list[bytes]],
        now: float,
    ) -> list[bytes]:
        """Write the newest state for a seat, once for all who get the same."""
        room = self.room
        version = room.version
        audience: Hashable = EVERYBODY
        if not self._has_one_audience:
            audience = room.audience_of(seat.number)
        if audience != seat.audience:
            seat.audience, seat.since = audience, version
        base: int | None = None
        if link.is_packed and self._layout is not None:
            base = link.seen if link.seen >= seat.since else 0
        tails = made.get((audience, base))
        if tails is None:
            time = min(int(room.match_time(now) * 1000.0), COUNTER_LIMIT)
            view = (
                room.view(audience)
                if base is None
                else _packed_view(room, self._bases, audience, base)
            )
            try:
                tails = state_tails(version, time, room.ticks, view) if view else []
            except ValueError as error:
                self.cannot_send("view", error, now)
                tails = []
            made[audience, base] = tails
        return tails

    def cannot_send(self, what: str, why: object, now: float) -> None:
        """
        End the room, because its game made something that cannot be sent.

        :param what: what it is, for the log.
        :param why: why it cannot be sent, for the log.
        :param now: the time.
        """
        self._log.error(
            "match {match_id} ends: its {what} cannot be sent: {why}",
            match_id=self.match_id,
            what=what,
            why=why,
        )
        self.room.close("crashed", now)

    def _send_all(self, message: Message, now: float, to: Recipients = None) -> None:
        if all(seat.is_relayed for seat in self.seats):
            return
        data = encode(message)
        if len(data) > LONGEST_MESSAGE:
            self.cannot_send(
                "message", f"{len(data)} bytes, limit {LONGEST_MESSAGE}", now
            )
            return
        for seat in self.seats:
            if reaches(to, seat.number) and not seat.is_relayed:
                seat.send(data, now)

    def seat_changed(self, seat: HostedSeat, state: str) -> None:
        """Report a seat's new state to the node."""
        seat.state = state
        self._log.debug(
            "match {match_id}: seat {seat} {state}",
            match_id=self.match_id,
            seat=seat.number,
            state=state,
        )
        self._report(SeatChanged(self.match_id, seat.number, state))

    def end_turn(self, now: float) -> None:
        """Send what this turn changed to all players, and set the alarm."""
        if not self.host.end_turn(now):
            if self.host.is_held:
                self._alarms.arm(self, now + _HELD_PAUSE)
                return
            self._flush_links(now)
        if now + ACK_DELAY < self._links_at:
            self._links_at = now + ACK_DELAY
        if self.host.ended_at is None:
            # `deadline` written out, for each turn.
            at, links_at = self.room.time.alarm_at, self._links_at
            self._alarms.arm(self, links_at if links_at < at else at)
        elif self.is_done(now):
            self.part()
        else:
            self._alarms.arm(self, self.deadline())

    def _flush_links(self, now: float) -> None:
        """Send what the links have beside states, and let go of those that are over."""
        for seat in self.seats:
            connection = seat.connection
            if connection is not None and connection.flush():
                self.lost(connection, seat, now)

    def can_wait(self, connection: Connection) -> bool:
        """
        Is there nothing to do after a packet?

        If ticks are frequent, the next one's state acknowledges what arrived; and so
        does the answer of another process that plays the room. Else it had no news.
        """
        if self.ticks_soon:
            room = self.room
            return (
                room.phase == "playing"
                and not room.has_news(self._shown)
                and connection.link.is_silent()
            )
        return self.host.ended_at is None and connection.link.is_at_rest()

    def pause(self, now: float) -> None:
        """Let match time stand still, and inputs count as lost: nothing can be kept."""
        self.is_paused = True
        self.room.freeze(now)
        self.end_turn(now)

    def go_on(self, now: float) -> None:
        """Go on where it was paused; no effect if it was not."""
        if self.is_paused:
            self.is_paused = False
            self.room.thaw(now)

    # Time.

    def deadline(self) -> float | None:
        """When to call `ring` next, at the latest."""
        at = self.room.time.alarm_at
        if self.host.ended_at is not None and not self.host.is_held:
            at = self.host.ended_at + FAREWELL
        return min(at, self._links_at)

    def ring(self, now: float) -> None:
        """Do what is due, and find out exactly when a link's alarm is due next."""
        self.host.run_clock(now)
        # As `end_turn`, but nothing is armed before it is known for when.
        is_all = self.host.end_turn(now)
        if self.host.is_held:
            # Links would pile up what they may not send.
            self._links_at = now + _HELD_PAUSE
            return
        if now >= self._links_at:
            # After the states: those acknowledge what has arrived.
            for seat in self.seats:
                if seat.connection is not None:
                    seat.connection.link.alarm(now)
        if not is_all or now >= self._links_at:
            self._flush_links(now)
        first = inf
        for seat in self.seats:
            if seat.connection is not None:
                at = seat.connection.link.deadline()
                if at is not None and at < first:
                    first = at
        self._links_at = first
        if self.host.ended_at is not None and self.is_done(now):
            self.part()

    def is_done(self, now: float) -> bool:
        """Have all players received the end, or had time to?"""
        if self.host.ended_at is None:
            return False
        return now >= self.host.ended_at + FAREWELL or all(
            seat.connection is None or seat.connection.link.is_settled
            for seat in self.seats
        )

    def let_go(self) -> None:
        """Close all connections, without an end: the match goes on elsewhere."""
        self._is_over = True
        self._alarms.discard(self)
        for seat in self.seats:
            connection = seat.connection
            if connection is not None:
                connection.link.end()
                connection.flush()

    def part(self) -> None:
        """Close the remaining connections, and call *over*."""
        if self._is_over:
            return
        self.let_go()
        for seat in self.seats:
            if seat.connection is not None:
                seat.release(seat.connection)
        self._over(self)


def _packed_view(room: Room, bases: Bases, audience: Hashable, base: int) -> bytes:
    """Write a packed view, as a difference where the base is kept; perhaps empty."""
    layout, view = room.layout, room.pack(audience)
    if layout is None or view is None:
        return b""
    before = bases.keep(audience, base, room.version, view)
    head = BASE.pack(0 if before is None else base)
    return head + layout.write_whole(view, before)

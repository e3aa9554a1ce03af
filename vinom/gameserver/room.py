"""
A room with its players' connections: inputs in, states and messages out.

One broadcast per turn of the reactor: whoever feeds this room calls `flush`
once when the turn's inputs are in. Times are seconds on a monotonic clock.

What a hosted room tells: states and messages to its players, news to its node.

Times are seconds on a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from vinom.control.messages import (
    MatchStarted,
    RelayTaken,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    ToNode,
)
from vinom.dtls.association import Association
from vinom.errors import Code, Refused, Rejected
from vinom.game import Game
from vinom.gameserver.seats import HostedSeat, Line, PayloadPort, Recording, welcome_to
from vinom.hosting.recorded import log_bot_failed, write_end
from vinom.messages.catalogue import SeatName
from vinom.model import MatchPlan
from vinom.packets.codec import COUNTER_LIMIT, state_tails
from vinom.packets.quality import ACK_DELAY
from vinom.packets.reliable import (
    LONGEST_MESSAGE,
    Event,
    Message,
    Over,
    Refusal,
    Round,
    encode,
)
from vinom.packets.seat import ActionArrived, Confirmed, JoinAsked, Left, SeatEvent
from vinom.play.clock import AWAY_PATIENCE, JOIN_PATIENCE
from vinom.play.guard import Guard
from vinom.play.room import (
    BotFailed,
    Closed,
    Emitted,
    Forfeited,
    Room,
    RoundOver,
    Started,
    outcome_facts,
)
from vinom.play.views import EVERYBODY

if TYPE_CHECKING:
    from vinom.gameserver.relay import RelayedSeats


#: Pause between tries of a room that is over, seconds: much may be lost, but not
#: the end.
_FAREWELL_PAUSE = 0.15


class HostedOut:
    """
    What a hosted room keeps and tells; nothing here moves the room on.

    :param port: sends to players.
    :param tell: sends to the node.
    :ivar ended_at: when the room closed; ``None`` while it runs.
    :ivar relay: its seats whose players are connected to the node.
    """

    _log = Logger()

    def __init__(
        self,
        room: Room,
        port: PayloadPort,
        tell: Callable[[ToNode], None],
        recording: Recording,
    ) -> None:
        self.room, self._port = room, port
        self.relay: RelayedSeats | None = None
        self.seats = tuple(HostedSeat(number) for number in range(len(room.plan.seats)))
        self.ended_at: float | None = None
        self._tell, self._recording = tell, recording
        self._told = 0
        self._ticks = bool(room.game.tick_hz)
        self._has_one_audience = room.has_one_audience

    def show(self, now: float) -> bool:
        """
        Send what this turn changed, or put it where it will be sent from.

        :returns: was all sent?
        """
        self._settle(now)
        sent: list[tuple[Association, bytes]] = []
        is_all = self._show_states(sent, now)
        if sent:
            self._port.send_each(sent)
        if self.relay is not None:
            self.relay.show(now)
        if self.room.phase != "closed":
            return is_all
        # A game may fail while it is looked at.
        self._settle(now)
        return False

    def _show_states(self, sent: list[tuple[Association, bytes]], now: float) -> bool:
        """
        Show each seat the state that it has not seen.

        :param sent: gets what can leave as it is.
        :returns: is that all that any connection has to send?
        """
        room = self.room
        self._told = version = room.version
        if not version:
            return False
        if version >= COUNTER_LIMIT - 1:
            room.close("time_limit", now)
        has_one_audience, has_ticks = self._has_one_audience, self._ticks
        made: dict[Hashable, list[bytes]] = {}
        tails: list[bytes] | None = None
        is_all = True
        for seat in self.seats:
            line = seat.line
            if line is None:
                continue
            if seat.shown == version or not seat.present:
                is_all = False
                continue
            if tails is None or not has_one_audience:
                audience = (
                    EVERYBODY if has_one_audience else room.audience_of(seat.number)
                )
                tails = made.get(audience)
                if tails is None:
                    tails = made[audience] = self._encode(audience, version, now)
                if not tails:
                    return False
            seat.shown = version
            if not has_ticks:
                seat.applied = seat.acted
            packet = line.link.make_state(version, tails, seat.applied, now)
            if packet is not None:
                sent.append((line.association, packet))
            else:
                line.link.state(version, tails, seat.applied, now)
                is_all = False
        return is_all

    def _encode(self, audience: Hashable, version: int, now: float) -> list[bytes]:
        room = self.room
        view = room.view(audience)
        if not view:
            return []
        time = min(int(room.match_time(now) * 1000.0), COUNTER_LIMIT)
        try:
            return state_tails(version, time, view)
        except ValueError as error:
            self.cannot_send("view", error, now)
            return []

    def cannot_send(self, what: str, why: object, now: float) -> None:
        """End the room: its game makes what players cannot be told."""
        self._log.error(
            "match {match_id} ends: its {what} cannot be sent: {why}",
            match_id=self.room.plan.match_id,
            what=what,
            why=why,
        )
        self.room.close("crashed", now)

    def _settle(self, now: float) -> None:
        """Act on what the room did."""
        for effect in self.room.take_effects():
            if isinstance(effect, Emitted):
                event = effect.event
                if self.relay is not None:
                    self.relay.emit(event, effect.version)
                told = Event(event.kind, event.data, effect.version)
                self._tell_all(told, now, event.to)
            elif isinstance(effect, Started):
                self._tell(MatchStarted(self.room.plan.match_id))
            elif isinstance(effect, RoundOver):
                self._round_over(effect, now)
            elif isinstance(effect, Closed):
                self._closed(effect, now)
            elif isinstance(effect, Forfeited):
                self.seat_changed(self.seats[effect.seat], "left")
            elif isinstance(effect, BotFailed):
                log_bot_failed(self.room, effect)

    def _round_over(self, effect: RoundOver, now: float) -> None:
        room = self.room
        facts = outcome_facts(effect.outcome)
        self._tell(RoundEnded(room.plan.match_id, facts))
        self._tell_all(Round(facts, room.version, room.view_hash()), now)

    def _closed(self, effect: Closed, now: float) -> None:
        end = write_end(self._recording, self.room, effect)
        if self.relay is not None:
            # Nothing is told of a room after its end.
            self.relay.show(now, is_last=True)
        self.ended_at = now
        for line in filter(None, (seat.line for seat in self.seats)):
            line.link.hasten(_FAREWELL_PAUSE, now)
        self._tell_all(Over(end.reason, end.outcome, end.version, end.view_hash), now)
        self._tell(RoomEnded(end))

    def _tell_all(self, message: Message, now: float, to: int | None = None) -> None:
        if all(seat.is_relayed for seat in self.seats):
            return
        data = encode(message)
        if len(data) > LONGEST_MESSAGE:
            self.cannot_send("message", f"{len(data)} bytes", now)
            return
        for seat in self.seats:
            if (to is None or seat.number == to) and not seat.is_relayed:
                self.say(seat, data, now)

    def say(self, seat: HostedSeat, data: bytes, now: float) -> None:
        """Tell one seat something encoded, until it is acknowledged."""
        if seat.messages.add(data):
            if seat.line is not None:
                seat.line.link.told(now)
        elif seat.line is not None:
            # It comes anew, and learns from the numbers that it missed some.
            seat.line.refuse(Code.BUSY, "too many messages unacknowledged", now)

    def seat_changed(self, seat: HostedSeat, state: str) -> None:
        """Tell the node who came or went."""
        plan = self.room.plan
        self._log.debug(
            "match {match_id}: seat {seat} {state}",
            match_id=plan.match_id,
            seat=seat.number,
            state=state,
        )
        self._tell(SeatChanged(plan.match_id, seat.number, state))


#: How long a closed room waits for its players' acknowledgements, seconds.
FAREWELL = 2.0
#: Ticks of games that have so many a second acknowledge inputs in time.
SOON_HZ = 20
#: Longest text of a refusal, characters.
_LONGEST_TEXT = 200


class HostedRoom(HostedOut):
    """
    One match on a game server.

    :ivar is_relayed: it is a room of the node's.
    :ivar ticks_soon: does the next tick come as soon as an acknowledgement must?
    """

    def __init__(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        now: float,
        *,
        port: PayloadPort,
        tell: Callable[[ToNode], None],
        recording: Recording,
        guard: Guard | None = None,
        is_relayed: bool = False,
        join_patience: float = JOIN_PATIENCE,
    ) -> None:
        """
        Open the room.

        :param is_relayed: see `vinom.control.messages.OpenRoom`.

        :raises Refused: the game does not take this plan.
        """
        room = Room(
            plan,
            game,
            now,
            join_patience,
            record=recording.record,
            guard=guard,
            away_patience=inf if is_relayed else AWAY_PATIENCE,
        )
        super().__init__(room, port, tell, recording)
        self.is_relayed = is_relayed
        self.ticks_soon = game.tick_hz >= SOON_HZ
        self._tells_each = game.states == "every" and not game.tick_hz
        self._names = tuple(
            SeatName(number, seat.name, seat.player_id)
            for number, seat in enumerate(plan.seats)
        )
        self._links_at = inf

    # Who comes and goes.

    def seat_of(self, resume: bytes) -> HostedSeat | None:
        """Find the seat that a resume token is for."""
        found = None
        for seat in self.seats:
            if seat.door.is_resumed_by(resume):
                found = seat
        return found

    def welcome(
        self,
        line: Line,
        seat: HostedSeat,
        asked: JoinAsked,
        now: float,
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        Give a seat whose proof was good to a connection.

        :raises Refused: the match is over.
        """
        if self.room.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        resume = seat.door.offer(entropy)
        self.replace(seat, line, now)
        if seat.is_relayed:
            # The older connection is one of the node's, which is to let it go.
            seat.is_relayed = False
            self._tell(
                RelayTaken(self.room.plan.match_id, seat.number, seat.relay_epoch)
            )
        line.room, line.seat = self, seat
        seat.messages.acknowledge(asked.heard)
        welcome = welcome_to(self.room, seat, self._names, resume)
        try:
            line.link.welcome(welcome, seat.messages, now)
        except ValueError as error:
            self.cannot_send("setup", error, now)
            line.refuse(Code.INTERNAL, "this game's setup is too long", now)

    def replace(self, seat: HostedSeat, line: Line | None, now: float) -> Line | None:
        """Give a seat to a newer connection; returns the older, which is refused."""
        older, seat.line = seat.line, line
        if older is not None:
            older.refuse(Code.SEAT_TAKEN, "a newer connection has this seat", now)
            older.room, older.seat = None, None
            older.flush(self._port)
        return older

    def take(
        self, line: Line, seat: HostedSeat, news: list[SeatEvent], now: float
    ) -> None:
        """Act on what a connection of this room brought."""
        room = self.room
        # Python looks for a method first when an attribute is called at once.
        decode_action = room.decode_action
        for item in news:
            if isinstance(item, ActionArrived):
                if self._ticks:
                    # A tick that is due takes the actions before this one.
                    self.run_clock(now)
                seq = seat.acted = item.seq
                try:
                    room.act(seat.number, decode_action(item.data), now)
                    if self._tells_each:
                        self.show(now)
                except Rejected as no:
                    self._refuse(seat, seq, Code.REJECTED, no.code, no.message, now)
                except Refused as no:
                    field = str(no.details.get("field") or "")
                    self._refuse(seat, seq, no.code, field, no.message, now)
            elif isinstance(item, Confirmed):
                self._confirmed(seat, now)
            elif isinstance(item, Left):
                self._leave(line, seat, now)
                return

    def _refuse(
        self, seat: HostedSeat, seq: int, code: str, reason: str, text: str, now: float
    ) -> None:
        if seat.is_relayed and self.relay is not None:
            self.relay.refuse(seat, seq, code, reason, text[:_LONGEST_TEXT])
        elif self.room.phase != "closed":
            if seat.line is not None:
                seat.line.figures[f"errors_{code}"] += 1
            refusal = Refusal(seq, code, reason, text[:_LONGEST_TEXT])
            self.say(seat, encode(refusal), now)

    def _confirmed(self, seat: HostedSeat, now: float) -> None:
        seat.door.confirm()
        self.sit(seat, now)

    def sit(self, seat: HostedSeat, now: float) -> None:
        """A seat's player is here."""
        self.run_clock(now)
        try:
            self.room.join(seat.number, now)
        except Refused as no:
            if seat.line is not None:
                seat.line.refuse(no.code, no.message, now)
            return
        was_present, seat.present = seat.present, True
        seat.shown, seat.applied = 0, seat.acted
        if not was_present:
            self.seat_changed(seat, "returned" if seat.came else "joined")
        seat.came = True

    def _leave(self, line: Line, seat: HostedSeat, now: float) -> None:
        line.link.end()
        self.give_up(line, seat, now)

    def give_up(self, line: Line | None, seat: HostedSeat, now: float) -> None:
        """A seat's player is gone for good."""
        if line is not None:
            line.flush(self._port)
            self._release(line, seat)
        seat.present = False
        self.room.leave(seat.number, now)
        self.seat_changed(seat, "left")

    def lost(self, line: Line, seat: HostedSeat, now: float) -> None:
        """A connection of this room is gone."""
        if seat.line is not line:
            return
        self._release(line, seat)
        self.miss(seat, now)

    def add_seat(self, number: int) -> HostedSeat:
        """Make a place for a newcomer, whom the room has seated."""
        seat = HostedSeat(number, present=True, came=True)
        seats = list(self.seats)
        seats[number : number + 1] = [seat]
        self.seats = tuple(seats)
        return seat

    def miss(self, seat: HostedSeat, now: float) -> None:
        """A seat's player is not here any more; the seat is kept."""
        if seat.present:
            self.run_clock(now)
            seat.present = False
            self.room.drop(seat.number, now)
            if self.ended_at is None:
                self.seat_changed(seat, "dropped")

    def kick(self, number: int, now: float) -> Line | None:
        """Remove a player for good; returns its connection, refused and not ours."""
        if not 0 <= number < len(self.seats):
            return None
        line = (seat := self.seats[number]).line
        if line is not None:
            line.refuse(Code.KICKED, "an operator removed you", now)
        self.give_up(line, seat, now)
        return line

    def _release(self, line: Line, seat: HostedSeat) -> None:
        line.room, line.seat = None, None
        if seat.line is line:
            seat.line = None

    # What goes out.

    def flush(self, now: float) -> None:
        """Tell everybody what this turn changed."""
        if not self.show(now):
            port = self._port
            for seat in self.seats:
                line = seat.line
                if line is not None and line.flush(port):
                    self.lost(line, seat, now)
        if now + ACK_DELAY < self._links_at:
            self._links_at = now + ACK_DELAY

    def can_wait(self, line: Line, news: list[SeatEvent]) -> bool:
        """
        Is nothing to be done now that a packet brought *news*, mostly none?

        A tick that comes soon tells soon enough what arrived.
        """
        if self.ticks_soon:
            room = self.room
            return (
                room.phase == "playing"
                and not room.has_news(self._told)
                and line.link.is_silent()
            )
        return not news and self.ended_at is None and line.link.is_at_rest()

    # Time.

    def deadline(self) -> float | None:
        """When to call `alarm` next, at the latest."""
        at = self.room.deadline()
        if self.ended_at is not None:
            at = self.ended_at + FAREWELL
        return self._links_at if at is None else min(at, self._links_at)

    def alarm(self, now: float) -> None:
        """Do what is due; `flush` follows."""
        self.run_clock(now)
        if now < self._links_at:
            return
        for seat in self.seats:
            if seat.line is not None:
                seat.line.link.alarm(now)

    def rearm(self) -> None:
        """Find out exactly when a link wants attention; after `flush`."""
        first = inf
        for seat in self.seats:
            if seat.line is not None:
                at = seat.line.link.deadline()
                if at is not None and at < first:
                    first = at
        self._links_at = first

    def run_clock(self, now: float) -> None:
        """Do what is due in the game; a tick takes the actions before it."""
        before = self.room.ticks
        self.room.alarm(now)
        if self.room.ticks != before:
            for seat in self.seats:
                seat.applied = seat.acted

    def is_done(self, now: float) -> bool:
        """Has everybody heard the end, or had time to?"""
        if self.ended_at is None:
            return False
        return now >= self.ended_at + FAREWELL or all(
            seat.line is None or seat.line.link.is_settled for seat in self.seats
        )

    def part(self) -> None:
        """Close the connections that are left."""
        for seat in self.seats:
            line = seat.line
            if line is not None:
                line.link.end()
                line.flush(self._port)
                self._release(line, seat)

"""
What a hosted room tells: states and messages to its players, news to its node.

Times are seconds on a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from vinom.errors import Code
from vinom.rules.room import Closed, Emitted, Room, RoundOver, Started, outcome_facts
from vinom.rules.room_effects import BotFailed, Forfeited
from vinom.rules.room_views import EVERYBODY
from vinom.services.gameserver_ports import PayloadPort, Recording
from vinom.services.gameserver_seats import HostedSeat
from vinom.services.recorded import tell_bot_failed, write_end
from vinom.wire.control import (
    MatchStarted,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    ToNode,
)
from vinom.wire.dtls import Association
from vinom.wire.linkmessages import (
    LONGEST_MESSAGE,
    Event,
    Message,
    Over,
    Round,
    encode,
)
from vinom.wire.packets import COUNTER_LIMIT
from vinom.wire.packets_server import state_tails

if TYPE_CHECKING:
    from vinom.services.gameserver_relay import RelayedSeats

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
                tell_bot_failed(self.room, effect)

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

"""
One live room of this node: who comes and goes, and its time.

Times are seconds on the rooms' clock, which never goes back. What one turn of the
reactor brings makes one broadcast, unless the game wants every change told.
"""

from __future__ import annotations

from math import inf
from typing import Any

from msgspec import MsgspecError

from vinom.errors import Code, Refused, Rejected
from vinom.model import MatchPlan, SeatPlan
from vinom.rules.choices import json_action_reader
from vinom.rules.room import Closed, Emitted, Room, RoundOver, outcome_facts
from vinom.rules.room_effects import BotFailed, Forfeited
from vinom.services.recorded import Recording, tell_bot_failed, write_end
from vinom.services.rooms_member import BotSeat, Member
from vinom.services.rooms_ports import House, PlayedRoom, RoomTerms
from vinom.services.rooms_seats import LiveRoomSeats
from vinom.wire.envelope import Envelope
from vinom.wire.messages_rooms import Kicked, RoomClosed, RoomStarted
from vinom.wire.messages_rooms import (
    RoundOver as RoundOverTold,
)

#: Longest text of a refusal, characters.
_LONGEST_TEXT = 200
#: Everybody is told the ids of actions, and JavaScript cannot count further.
_HIGHEST_ID = (1 << 53) - 1


class LiveRoom(LiveRoomSeats):
    """One room, its seats and its game."""

    def __init__(self, house: House, terms: RoomTerms) -> None:
        super().__init__(house, terms)
        game = self.game
        self._recording: Recording | None = None
        self._decode = json_action_reader(game)
        self._ticks, self._tells_each = bool(game.tick_hz), game.states == "every"
        self._armed_for = -inf
        self._alarm = house.alarm(self)
        self.find_deadlines()
        self._arm()

    # What the host asks.

    def start(self) -> None:
        """
        Begin with those who are there.

        :raises Refused: they are too few, or play has begun.
        """
        if self.room is not None:
            raise Refused(Code.NOT_NOW, "play has begun", {"state": self.state})
        fewest = self.game.seats[0]
        if self.taken() < fewest:
            raise Refused(
                Code.NOT_NOW,
                f"{self.name} takes at least {fewest} players",
                {"state": self.state, "seats": fewest},
            )
        self._fill_at = -inf
        self.find_deadlines()
        self._house.turn(self)

    def rematch(self) -> None:
        """
        Play anew with the same seats; gather again if too few are left.

        :raises Refused: no round is over.
        """
        if self.room is None or self.state != "over":
            raise Refused(Code.NOT_NOW, "no round is over", {"state": self.state})
        room, now = self.room, self._house.seconds()
        room.close("finished", now)
        closed = self._settle(now)
        if closed is None or closed.end.reason != "finished":
            # The game failed at its last view.
            self._house.turn(self)
            return
        if self._recording is not None:
            write_end(self._recording, room, closed)
        self._clear_table()
        self._fill_at = -inf
        self._house.turn(self)

    # Play.

    def act(self, member: Member, envelope: Envelope) -> None:
        """
        A member acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        if envelope.seen is not None:
            self.saw(member, envelope.seen)
        room, seat, id = self.room, member.seat, envelope.id
        if seat is None:
            raise Refused(Code.NOT_SEATED, "spectators only watch")
        if room is None:
            raise Refused(Code.NOT_NOW, "play has not begun", {"state": "gathering"})
        if id is not None:
            if type(id) is not int or not 1 <= id <= _HIGHEST_ID:
                raise Refused(
                    Code.BAD_FIELD,
                    "the id of an action is a whole number that rises, from 1 to "
                    f"{_HIGHEST_ID}",
                    {"field": "id"},
                )
            if id <= member.acting:
                # It was applied: say so again, as soon as everybody is told.
                self._owed.append(member)
                self._house.turn(self)
                return
        house = self._house
        now = house.seconds()
        if self._ticks:
            # A tick that is due takes the actions before this one.
            self._run_clock(room, now)
        try:
            room.act(seat, self._decode(envelope.data), now)
        except Rejected as no:
            raise Refused(
                Code.REJECTED,
                no.message[:_LONGEST_TEXT],
                {"reason": no.code, "room_id": self.room_id},
            ) from None
        finally:
            if room.phase == "closed":
                house.turn(self)
        if id is not None:
            member.acting = id
            if not self._ticks:
                member.acted = id
                self.acknowledge(seat, id)
                if self.version == self._shown:
                    self._owed.append(member)
        if self._tells_each and not self._ticks:
            self._tell(now)
        else:
            house.turn(self)

    def flush(self) -> None:
        """Tell everybody what this turn changed."""
        if self.is_closed:
            return
        now = self._house.seconds()
        if self.room is None:
            self._start_if_ready(now)
        self._tell(now)

    def _tell(self, now: float) -> None:
        room, closed = self.room, None
        if room is not None:
            if room.has_effects:
                closed = self._settle(now)
            if closed is None or closed.report is None:
                self.show(now)
                # A game may fail while it is looked at.
                if room.has_effects:
                    closed = self._settle(now) or closed
        if closed is not None:
            self._ended(closed)
        elif not self.is_closed:
            self._arm()

    def _start_if_ready(self, now: float) -> None:
        fewest, most = self.game.seats
        taken = self.taken()
        if taken < fewest:
            return
        if taken == most or self.game.late_join or now >= self._fill_at:
            self._start(now)

    def _start(self, now: float) -> None:
        """Lay the table; seats that are free go, and the others move up."""
        self.seats = [who for who in self.seats if who is not None]
        for seat, who in enumerate(self.seats):
            if who is not None:
                who.seat = seat
        self._fill_at = inf
        plan = MatchPlan(
            match_id=f"{self.room_id}-{self._house.entropy(5).hex()}",
            game=self.name,
            seats=tuple(
                SeatPlan(who.player_id or f"bot-{seat}", who.name, who.loadout)
                for seat, who in enumerate(self.seats)
                if who is not None
            ),
            seed=int.from_bytes(self._house.entropy(8), "big"),
            options=self.options,
            # Away or not: the game does not learn who is host later.
            host=next((who.seat for who in self.members if who.seat is not None), 0),
        )
        try:
            room = self._lay(plan, now)
        except Refused as refusal:
            # Options and loadouts were checked when they came; teams were not.
            self._log.error(
                "room {room_id} cannot start: {why}", room_id=self.room_id, why=refusal
            )
            self.close("crashed")
            return
        self.room = room
        for seat, who in enumerate(self.seats):
            if isinstance(who, BotSeat):
                self._play("seat_bot", seat)
        # Whoever is away just now takes part, and drops at once.
        for seat, who in enumerate(self.seats):
            if isinstance(who, Member):
                self._play("join", seat)
        for seat, who in enumerate(self.seats):
            if isinstance(who, Member) and who.conversation is None:
                self._play("drop", seat)
        self._acks = {
            str(member.seat): member.acted
            for member in self.members
            if member.acted and member.seat is not None
        }
        self._acks_text = b""
        self.find_deadlines()
        self._changed()
        self._tell_started()

    def _lay(self, plan: MatchPlan, now: float) -> PlayedRoom:
        """
        Lay the table.

        :raises Refused: the game does not take this plan.
        """
        house = self._house
        recording = house.recordings.open(plan, self.game, house.wall_seconds())
        self._recording = recording
        return Room(
            plan,
            self.game,
            now,
            record=recording.record,
            guard=house.guard,
            away_patience=inf,
        )

    def _tell_started(self) -> None:
        players, setup = self.players(), self.setup()
        number = self.next_number()
        for member in tuple(self.live):
            member.tell(
                RoomStarted(
                    self.room_id,
                    number,
                    member.seat,
                    self.host_seat(),
                    players,
                    setup,
                )
            )

    def _settle(self, now: float) -> Closed | None:
        """Act on what the room did; returns how it ended, if it has."""
        room = self.room
        if room is None:
            return None
        for effect in room.take_effects():
            if isinstance(effect, Emitted):
                event = effect.event
                try:
                    self.emit(event.kind, event.data, event.to, effect.version)
                except (TypeError, ValueError, RecursionError, MsgspecError) as error:
                    room.fail(error)
                    return self._settle(now)
            elif isinstance(effect, RoundOver):
                self._round_over(effect)
            elif isinstance(effect, Forfeited):
                who = self.seats[effect.seat]
                if isinstance(who, Member):
                    # Mostly it is away; who is not learns that it is out.
                    who.tell(Kicked(self.room_id))
                    self.leave(who, "forfeited")
            elif isinstance(effect, BotFailed):
                tell_bot_failed(room, effect)
            elif isinstance(effect, Closed):
                return effect
        return None

    def _round_over(self, effect: RoundOver) -> None:
        facts = outcome_facts(effect.outcome)
        number = self.next_number()
        self.announce(RoundOverTold(self.room_id, number, self.version, facts))
        self._changed()

    def _ended(self, closed: Closed) -> None:
        if self.room is not None and self._recording is not None:
            write_end(self._recording, self.room, closed)
            self._recording = None
        if closed.report is None and not self.taken():
            # All who played have left: the room waits a while for others.
            self._clear_table()
            self.find_deadlines()
            self._arm()
            return
        end = closed.end
        self.close(end.reason, end.outcome, end.view_hash)

    def _clear_table(self) -> None:
        """Play is over, and another may begin."""
        self._before = self.version
        self.room = self._recording = None
        self._changed()

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """
        End the room, for one of the reasons of `vinom.model.EndReason`.

        :param view_hash: of the last public view, if that is known.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self._alarm.stop()
        now = self._house.seconds()
        if self.room is not None and self._recording is not None:
            self.room.close(reason, now)
            closed = self._settle(now)
            if closed is not None:
                write_end(self._recording, self.room, closed)
                outcome = closed.end.outcome
                view_hash = closed.end.view_hash
        told = RoomClosed(self.room_id, reason, outcome, self.version, view_hash)
        for member in tuple(self.members):
            conversation = member.conversation
            self._house.forget(member, told)
            member.disconnect()
            if conversation is not None:
                conversation.tell(told)
        self.members.clear()
        self.live.clear()
        self._house.closed(self, told)

    # Time.

    def deadline(self) -> float | None:
        """When to call `ring` next."""
        at = self._others_at
        room = self.room
        if room is not None:
            due = room.deadline()
            if due is not None and due < at:
                return due
        return None if at == inf else at

    def ring(self) -> None:
        """Do what is due."""
        now = self._house.seconds()
        if (
            not self.members
            and now >= self._empty_since + self._house.bounds.close_seconds
        ):
            self.close("abandoned")
            return
        if now >= self._others_at:
            for member in tuple(self.members):
                if now >= member.lost_at + self.grace:
                    self.leave(member, "expired")
        if self.room is not None:
            self._run_clock(self.room, now)
        self.flush()

    def _run_clock(self, room: PlayedRoom, now: float) -> None:
        """Let the room's time pass; a tick takes the actions that waited."""
        before = room.ticks
        room.alarm(now)
        if room.ticks != before:
            for member in self.members:
                if member.acted != member.acting and member.seat is not None:
                    member.acted = member.acting
                    self.acknowledge(member.seat, member.acted)

    def _arm(self) -> None:
        at = self.deadline()
        if at is not None and at != self._armed_for:
            self._armed_for = at
            self._alarm.arm()

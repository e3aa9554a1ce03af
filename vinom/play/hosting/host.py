"""
Hosting one room: the only door between a game and its players and spectators.

Connections, WebSockets and the control link bring actions in, and each has an outlet
that shows the results. In `RoomHost.end_turn` effects settle first, then everything
that players will see is handed to the outlets: nothing is shown in any other way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import attrs
from msgspec import MsgspecError
from twisted.logger import Logger

from vinom.base.model import MatchEnd, MatchPlan, SeatPlan
from vinom.errors import Code, Refused, Rejected
from vinom.game import Outcome
from vinom.play.choices import UNREADABLE, unreadable
from vinom.play.hosting.recordings import MatchRecording
from vinom.play.recording import History
from vinom.play.room import (
    BotFailed,
    Closed,
    Emitted,
    Forfeited,
    Room,
    RoundOver,
    Started,
    where_of,
)

_log = Logger()

#: Longest text of a refusal, characters.
LONGEST_TEXT = 200
#: What encoding an event of a game may raise.
UNSENDABLE: Final = (TypeError, ValueError, RecursionError, MsgspecError)

_Data = TypeVar("_Data")


class Keeper(Protocol):
    """Keeps checkpoints of a room."""

    def may_show(self, now: float) -> bool:
        """
        Is everything kept that the outlets would show now?

        If not, it has `RoomHost.end_turn` called again when it is. It is asked about
        the end once the outlets have it.
        """


class Played(Protocol):
    """
    The match that was played.

    :ivar plan: of the match.
    """

    plan: MatchPlan

    @property
    def state(self) -> Any:
        """The game's state."""


class Outlet(Protocol):
    """
    One way out of a room: to players' connections, to WebSockets, or to the node.

    Only `RoomHost.end_turn` makes these calls, in the order of what happened; `show` is
    the last one of a turn. Each gets the time on the caller's clock.
    """

    def started(self, now: float) -> None:
        """Report that play has begun: match time runs."""

    def emitted(self, emitted: Emitted, now: float) -> None:
        """
        Send an event, to those who get it, with the state that it belongs to.

        :raises Exception: the event cannot be encoded for this outlet.
        """

    def round_over(self, outcome: Outcome, now: float) -> None:
        """Send the outcome of a round."""

    def forfeited(self, given_up: Forfeited, now: float) -> None:
        """Report a seat that is given up for the game."""

    def closed(self, end: MatchEnd, report: str | None, now: float) -> None:
        """
        Report that the room is over; a last `show` follows.

        :param end: how the match ended.
        :param report: what went wrong in the game; ``None`` if nothing did.
        :param now: the time.
        """

    def show(self, now: float) -> bool:
        """
        Send the newest state to everybody who does not have it.

        :returns: whether nothing is left to send.
        """


class RoomHost:
    """
    Own one room, its recording and its outlets.

    Seats number their actions; a number rises with each action of a seat.

    :ivar room: the room.
    :ivar recording: gets what happens in it, and its end.
    :ivar outlets: get its states and events, in this order.
    :ivar acted: by seat, the number of the last action that reached the game.
    :ivar applied: by seat, the number of the last action that a state answers.
    :ivar ended_at: when the outlets might show its end; ``None`` while it runs.
    :ivar has_ticks: whether the game has fixed steps.
    :ivar keeper: keeps checkpoints; ``None`` if the room lives in this process only.
    :ivar is_held: must what happened wait, because it is not kept yet?
    :ivar part: which part of its recording it writes; 1 is the first.
    :ivar history: all that happened in it, if its game may change meanwhile.
    :ivar before: the number of the part before, and its length; of the first part none.
    :ivar turns: seats that the game waited for when their turns were noted last.
    """

    def __init__(
        self,
        room: Room,
        recording: MatchRecording,
        counts_refused: bool = False,
        part: int = 1,
        history: History | None = None,
    ) -> None:
        """
        Host a room.

        :param room: just opened, and recorded by *recording*.
        :param recording: gets the end.
        :param counts_refused: whether a refused action uses up its number; if not, its
            seat may use the number again.
        :param part: which part of its recording *recording* is.
        :param history: gets what happens in it, too.
        """
        self.room, self.part, self.history = room, part, history
        self.keeper: Keeper | None = None
        self.before: tuple[int, int] | None = None
        self.turns: tuple[int, ...] = ()
        self.is_held = False
        self.outlets: tuple[Outlet, ...] = ()
        self.acted = [0] * len(room.plan.seats)
        self.applied = [0] * len(room.plan.seats)
        self.ended_at: float | None = None
        self.has_ticks = bool(room.game.tick_hz)
        self.recording, self._counts_refused = recording, counts_refused

    def act(
        self,
        seat: int,
        number: int | None,
        data: _Data,
        read: Callable[[_Data], Any],
        now: float,
        tick: int = 0,
    ) -> Refused | None:
        """
        Let a seat act.

        :param seat: the seat.
        :param number: the action's number; ``None`` if the seat does not number them.
        :param data: the action, as it was received.
        :param read: decodes it; raises `Refused`, or one of
            `vinom.play.choices.UNREADABLE`.
        :param now: the time.
        :param tick: the tick that the player was shown; 0 if it does not say.
        :returns: why nothing has changed; ``None`` if the action was accepted.
        """
        if self.has_ticks:
            # A tick that is due takes the actions before this one.
            self.run_clock(now)
        refused: Refused | None = None
        try:
            self.room.act(seat, read(data), now, tick)
        except Rejected as no:
            refused = Refused(Code.REJECTED, no.message, {"reason": no.code})
        except Refused as no:
            refused = no
        except UNREADABLE as error:
            refused = unreadable(error)
        if refused is not None:
            refused.message = refused.message[:LONGEST_TEXT]
            if not self._counts_refused:
                return refused
        if number is not None:
            self.acted[seat] = number
            if not self.has_ticks:
                self.applied[seat] = number
        return refused

    def add_seat(self, seat: SeatPlan, now: float) -> int:
        """
        Seat a newcomer after the start.

        :returns: the number of its seat.
        :raises Refused: see `vinom.play.room.Room.add_seat`.
        """
        number = self.room.add_seat(seat, now)
        self.acted[number : number + 1] = [0]
        self.applied[number : number + 1] = [0]
        return number

    def run_clock(self, now: float) -> None:
        """Do what is due in the game; a tick takes the actions before it."""
        before = self.room.ticks
        self.room.alarm(now)
        if self.room.ticks != before:
            self.applied[:] = self.acted

    def end_turn(self, now: float) -> bool:
        """
        Settle the effects of this turn, then have the outlets show the results.

        :returns: whether nothing is left to send.
        """
        room, keeper = self.room, self.keeper
        if keeper is not None and room.phase != "closed" and self._must_wait(now):
            return False
        if room.effects:
            self._settle(now)
        if room.phase == "closed" and self._must_wait(now):
            return False
        # Here everything that players will see is settled, and nothing is shown yet.
        is_all = True
        for outlet in self.outlets:
            is_all = outlet.show(now) and is_all
        if room.effects:
            # A game may fail while it makes its views.
            self._settle(now)
            if room.phase == "closed" and self._must_wait(now):
                return False
            for outlet in self.outlets:
                outlet.show(now)
            return False
        return is_all

    def _must_wait(self, now: float) -> bool:
        """Must everything that happened wait, because it is not kept yet?"""
        if self.keeper is not None:
            self.is_held = not self.keeper.may_show(now)
            if self.is_held and self.ended_at is not None:
                # Its players have time to get the end once it is shown.
                self.ended_at = now
        return self.is_held

    def _settle(self, now: float) -> None:
        room, outlets = self.room, self.outlets
        while room.effects:
            for effect in room.take_effects():
                if isinstance(effect, Emitted):
                    self._emit(effect, now)
                elif isinstance(effect, Started):
                    for outlet in outlets:
                        outlet.started(now)
                elif isinstance(effect, RoundOver):
                    for outlet in outlets:
                        outlet.round_over(effect.outcome, now)
                elif isinstance(effect, Forfeited):
                    for outlet in outlets:
                        outlet.forfeited(effect, now)
                elif isinstance(effect, BotFailed):
                    _log.error(
                        "match {match_id}: the bot of seat {seat} failed: {report}",
                        match_id=room.plan.match_id,
                        seat=effect.seat,
                        report=effect.report,
                    )
                elif isinstance(effect, Closed):
                    self.ended_at = now
                    end = write_end(self.recording, room, effect)
                    for outlet in outlets:
                        outlet.closed(end, effect.report, now)

    def _emit(self, effect: Emitted, now: float) -> None:
        for outlet in self.outlets:
            try:
                outlet.emitted(effect, now)
            except UNSENDABLE as error:
                # What cannot be sent is the game's fault: the room ends.
                self.room.fail(error)
                return


def write_end(recording: MatchRecording, room: Played, closed: Closed) -> MatchEnd:
    """
    Record and log the end of a room.

    :param recording: the match's.
    :param room: the room.
    :param closed: its end.
    :returns: the end, with the path of the crash report if there is one.
    """
    where = recording.close(closed.end, room.state, closed.report)
    end = attrs.evolve(closed.end, report=where)
    if closed.report is not None:
        why = closed.report.strip().rpartition("\n")[2]
        line = where_of(closed.report)
        why = f"{why} ({line})" if line else why
        told = f"game {room.plan.game} failed: {why}; see {where or 'no report'}"
        _log.error("{told}", told=told, match_id=end.match_id)
    _log.info(
        "match {match_id} is over: {reason}, version {version}",
        match_id=end.match_id,
        reason=end.reason,
        version=end.version,
    )
    return end

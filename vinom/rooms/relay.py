"""
What is played in a live room of the node, when that is in a game process.

Members, seats, news and returns stay with the node; only the room itself, with the
game's state, is elsewhere. What happens travels over the control link, and what the
room shows comes back, a moment later.

A live room whose game is to be played in a process of its own (`Game.isolate`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.control.messages import (
    FromRelayed,
    RelayAction,
    RelayEvent,
    RelayNewcomer,
    RelayRefusal,
    RelaySeat,
    RelayState,
    ToRelayed,
)
from vinom.errors import Code, Refused
from vinom.game import Event, Game, Outcome
from vinom.hosting.host import PlayedRoom
from vinom.limits.load import busy
from vinom.messages.envelope import Envelope
from vinom.model import MatchEnd, MatchPlan, Placement, SeatPlan
from vinom.play.room import Closed, Effect, Emitted, Forfeited, RoundOver
from vinom.ports import IMatchWatch
from vinom.rooms.member import Member
from vinom.rooms.room import House, LiveRoom, RoomTerms

#: Actions of one seat that may be on their way.
_MOST_PENDING = 1024


class RelayFleet(Protocol):
    """Where rooms are played elsewhere: `vinom.fleet.fleet.Fleet`."""

    def place(
        self,
        plan: MatchPlan,
        tickets: tuple[()],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
    ) -> Deferred[Placement]:
        """Find it a game server."""

    def pass_on(self, message: ToRelayed) -> None:
        """Tell its room what a player did."""

    def is_overloaded(self, match_id: str) -> bool:
        """Has its game server too much to do for new players?"""

    def close_room(self, match_id: str, reason: str) -> None:
        """End it."""


class Around(Protocol):
    """Who is told what a remote room answers."""

    def stirred(self) -> None:
        """There is something new."""

    def applied(self, seat: int, id: int) -> None:
        """An action with an id was applied."""

    def refused(self, seat: int, id: Any, refusal: Refused, latest: int) -> None:
        """An action was not applied; *latest* id of the seat is still on its way."""


@implementer(IMatchWatch)
class RemoteRoom:
    """
    Stands where `vinom.play.room.Room` would, for a room in a game process.

    What is told before the room is open waits. Methods are those of `Room`; `now` is
    not looked at, for the game process has a clock of its own.
    """

    _log = Logger()

    def __init__(
        self, plan: MatchPlan, game: Game[Any, Any], fleet: RelayFleet, around: Around
    ) -> None:
        self.plan, self.game = plan, game
        self.phase: Literal["gathering", "playing", "over", "closed"] = "gathering"
        self.version = 0
        # Where it is played, they are counted.
        self.ticks = 0
        self._fleet, self._around = fleet, around
        self._time = 0.0
        self._views: tuple[bytes, ...] = ()
        self._shown: dict[int, int] = {}
        self._setup = b""
        self._effects: list[Effect] = []
        # What is here before the state that it led to, and that state's version.
        self._early: deque[tuple[int, Effect]] = deque()
        self._unsent: list[ToRelayed] | None = []
        self._numbers: dict[int, int] = {}
        # By seat: numbers of actions on their way, and what their players call them.
        self._pending: dict[int, deque[tuple[int, Any]]] = {}
        self._mine: set[int] = set()
        # By seat: how often it was joined; whatever we tell is of the newest.
        self._epochs: dict[int, int] = {}

    def host(self) -> None:
        """Have it played; called once."""
        plan = self.plan
        self._fleet.place(plan, (), self, self.relayed).addCallbacks(
            self._placed, self._not_placed
        )

    # What the node does with it.

    def join(self, seat: int, now: float) -> None:
        """A seat's player is here."""
        self._epochs[seat] = self._epochs.get(seat, 0) + 1
        self._tell_seat(seat, "join")

    def drop(self, seat: int, now: float) -> None:
        """A seat's connection was lost."""
        self._tell_seat(seat, "drop")

    def leave(self, seat: int, now: float) -> None:
        """A seat is given up."""
        self._pending.pop(seat, None)
        self._mine.add(seat)
        self._tell_seat(seat, "leave")

    def seat_bot(self, seat: int, now: float) -> None:
        """The game's bot has a seat."""
        self._tell_seat(seat, "bot")

    def add_seat(self, seat: SeatPlan, now: float) -> int:
        """
        Seat a newcomer, at the number that the room will find too.

        :raises Refused: the room is full, is not open yet, or has too much to do.
        """
        if self.phase not in ("playing", "over"):
            raise Refused(Code.ROOM_STARTED, "this room takes no newcomers just now")
        if self.is_overloaded:
            raise busy()
        seats = list(self.plan.seats)
        if len(seats) < self.game.seats[1]:
            number = len(seats)
            seats.append(seat)
        elif self._mine:
            number = min(self._mine)
            seats[number] = seat
        else:
            raise Refused(Code.ROOM_FULL, "every seat is taken")
        self._mine.discard(number)
        plan = self.plan = attrs.evolve(self.plan, seats=tuple(seats))
        self._send(RelayNewcomer(plan.match_id, number, seat))
        return number

    def act(self, seat: int, action: tuple[Any, bytes], now: float) -> None:
        """
        A seat acts; `Around` hears the answer.

        :param action: what the player calls it, or ``None``, and its JSON.
        :raises Refused: too much of this seat is on its way.
        """
        id, data = action
        pending = self._pending.setdefault(seat, deque())
        if len(pending) >= _MOST_PENDING:
            raise Refused(Code.RATE_LIMITED, "your actions pile up; wait for a state")
        number = self._numbers[seat] = self._numbers.get(seat, 0) + 1
        pending.append((number, id))
        self._send(RelayAction(self.plan.match_id, seat, number, data))

    def close(self, reason: str, now: float) -> None:
        """End it, as far as we are concerned."""
        if self.phase != "closed":
            self._fleet.close_room(self.plan.match_id, reason)
            self._unsent = []
            self.ended(MatchEnd(self.plan.match_id, reason, version=self.version))

    def fail(self, error: BaseException) -> None:
        """The game told what cannot be passed on."""
        self.close("crashed", 0.0)

    def alarm(self, now: float) -> None:
        """Nothing is due here."""

    def deadline(self) -> float | None:
        """Nothing ever is."""
        return None

    @property
    def is_overloaded(self) -> bool:
        """Is there too much to do for new players where it is played?"""
        return self._fleet.is_overloaded(self.plan.match_id)

    # What it shows.

    @property
    def state(self) -> Any:
        """The game's state stays where it is."""
        return None

    @property
    def has_effects(self) -> bool:
        """Is there something to take?"""
        return bool(self._effects)

    @property
    def has_one_audience(self) -> bool:
        """Does everybody see the same?"""
        return type(self.game).audience is Game.audience

    def audience_of(self, seat: int | None) -> Hashable:
        """Tell which view a seat sees: the first of those that do."""
        # Who has just come, and is not known there yet, sees what anybody may.
        return self._shown.get(-1 if seat is None else seat, self._shown.get(-1))

    def view_json(self, audience: Hashable) -> bytes:
        """Show the newest state that has arrived; empty if none has."""
        if audience == "all":
            return self._views[0] if self._views else b""
        if not isinstance(audience, int) or audience >= len(self._views):
            return b""
        return self._views[audience]

    def setup_json(self) -> bytes:
        """Show what never changes."""
        return self._setup

    def match_time(self, now: float) -> float:
        """Tell the time of the newest state that has arrived."""
        return self._time

    def take_effects(self) -> list[Effect]:
        """Hand over what happened since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # What its game process tells.

    def relayed(self, message: FromRelayed) -> None:
        """Something for the players."""
        if self.phase == "closed":
            return
        if isinstance(message, RelayState):
            self._see(message)
        elif isinstance(message, RelayEvent):
            event = Event(message.kind, message.data, message.to)
            self._early.append((message.version, Emitted(event, message.version)))
            self._release(self.version)
        elif isinstance(message, RelayRefusal):
            self._refuse(message)
        self._around.stirred()

    def _release(self, version: float) -> None:
        """Let out, in order, what led to no later state than this."""
        early = self._early
        while early and early[0][0] <= version:
            self._effects.append(early.popleft()[1])

    def _see(self, state: RelayState) -> None:
        self.version, self._time = state.version, state.time
        self._release(state.version)
        if state.phase in ("playing", "over"):
            self.phase = state.phase  # type: ignore[assignment]  # one of these two
        if state.views:
            self._views, self._shown = state.views, state.shown
        self._setup = state.setup or self._setup
        for seat, number in state.applied.items():
            pending = self._pending.get(seat, deque())
            while pending and pending[0][0] <= number:
                id = pending.popleft()[1]
                if id is not None:
                    self._around.applied(seat, id)

    def _refuse(self, no: RelayRefusal) -> None:
        if not no.number:
            # A newcomer for whom the room found no seat after all.
            self._effects.append(Forfeited(no.seat))
        pending = self._pending.get(no.seat)
        for entry in tuple(pending or ()):
            if entry[0] == no.number and pending is not None:
                pending.remove(entry)
                latest = max((id for _, id in pending if id is not None), default=0)
                self._around.refused(no.seat, entry[1], self._refusal(no), latest)

    def _refusal(self, no: RelayRefusal) -> Refused:
        """Read why an action was not applied; whoever waits is told in any case."""
        if no.code == Code.REJECTED:
            return Refused(Code.REJECTED, no.message, {"reason": no.reason})
        try:
            return Refused(Code(no.code), no.message, {"field": no.reason})
        except ValueError:
            # Game servers may be newer than we are, and a game may do anything to its.
            self._log.error(
                "match {match_id}: an action is refused with the unknown code {code!r}",
                match_id=no.match_id,
                code=no.code,
            )
            details = {"code": no.code, "reason": no.reason}
            return Refused(Code.INTERNAL, no.message, details)

    def started(self, match_id: str) -> None:
        """Match time runs; the first state says so too."""

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's player came or went; what we did not do the game did."""
        if state == "left" and seat not in self._mine:
            self._mine.add(seat)
            self._effects.append(Forfeited(seat))
            self._around.stirred()

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome."""
        # States of before came before: the next one shows how the round ended.
        self._early.append((self.version + 1, RoundOver(_outcome(outcome))))

    def ended(self, end: MatchEnd) -> None:
        """It is over, or its game process is."""
        if self.phase != "closed":
            self.phase = "closed"
            self._release(inf)
            self._effects.append(Closed(end))
            self._around.stirred()

    def _placed(self, placement: Placement) -> None:
        unsent, self._unsent = self._unsent or [], None
        for message in unsent:
            self._fleet.pass_on(message)

    def _not_placed(self, failure: Failure) -> None:
        # A match that ended was told so; one that found no place was not.
        self.ended(MatchEnd(self.plan.match_id, "lost"))

    def epoch_of(self, seat: int) -> int:
        """Count how often a seat was joined."""
        return self._epochs.get(seat, 0)

    def _tell_seat(
        self, seat: int, how: Literal["join", "drop", "leave", "bot"]
    ) -> None:
        number = self._numbers.get(seat, 0)
        epoch = self.epoch_of(seat)
        self._send(RelaySeat(self.plan.match_id, seat, how, epoch, number))

    def _send(self, message: ToRelayed) -> None:
        if self._unsent is not None:
            self._unsent.append(message)
        else:
            self._fleet.pass_on(message)


def _outcome(facts: dict[str, Any]) -> Outcome:
    """Read what `vinom.play.room.outcome_facts` wrote."""
    return Outcome(
        facts["round"],
        tuple(tuple(place) for place in facts["places"]),
        tuple(facts["scores"]),
    )


class IsolatedRoom(LiveRoom):
    """A live room of a game that is played in a process of its own."""

    def __init__(self, house: House, terms: RoomTerms, fleet: RelayFleet) -> None:
        super().__init__(house, terms)
        self._fleet = fleet
        # An action counts when its answer comes, as with a game that has ticks.
        self._ticks = True
        self._id: Any = None
        self._decode = lambda data: (self._id, bytes(data))
        self._has_told_start = False

    def act(self, member: Member, envelope: Envelope) -> None:
        """
        A member acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        self._id = envelope.id
        super().act(member, envelope)

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """End the room, for one of the reasons of `vinom.model.EndReason`."""
        if not self.is_closed and self.room is not None:
            self.room.close(reason, self._house.seconds())
        super().close(reason, outcome, view_hash)

    def _lay(self, plan: MatchPlan, now: float) -> PlayedRoom:
        self._has_told_start = False
        room = RemoteRoom(plan, self.game, self._fleet, self)
        room.host()
        return room

    def _tell_started(self) -> None:
        # The part of the view that never changes comes with the first state.
        if self.room is not None and self.room.version and not self._has_told_start:
            self._has_told_start = True
            super()._tell_started()

    # What its game process answers.

    def stirred(self) -> None:
        """There is something new."""
        self._tell_started()
        self._house.turn(self)

    def applied(self, seat: int, id: int) -> None:
        """An action was applied."""
        who = self.seats[seat] if seat < len(self.seats) else None
        if isinstance(who, Member):
            who.acted = id
            self.acknowledge(seat, id)
            if self.version == self._shown:
                self._owed.append(who)

    def refused(self, seat: int, id: Any, refusal: Refused, latest: int) -> None:
        """An action was not applied; its id may be used again."""
        who = self.seats[seat] if seat < len(self.seats) else None
        if not isinstance(who, Member):
            return
        who.acting = max(who.acted, latest)
        if who.conversation is not None:
            details = {**refusal.details, "room_id": self.room_id}
            told = Refused(refusal.code, refusal.message, details)
            who.conversation.refuse(told, id)

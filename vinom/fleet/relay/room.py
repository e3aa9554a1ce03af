"""
A room of this node whose game is played in a game process.

Members, seats, news and returns stay with the node; only the game and its state are
elsewhere. What players do travels over the control link, and what they are to see
comes back the same way, a moment later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Literal, Protocol

import attrs
from msgspec import Raw
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.pressure import busy
from vinom.base.model import MatchEnd, MatchPlan, Placement, SeatPlan
from vinom.base.packed import Layout, Packed
from vinom.errors import Code, Refused
from vinom.fleet.control.messages import (
    FromRelayed,
    RelayAction,
    RelayAgain,
    RelayEvent,
    RelayNewcomer,
    RelayRefusal,
    RelaySeat,
    RelayState,
    ToRelayed,
)
from vinom.fleet.interfaces import IMatchWatch
from vinom.game import Event, Game, Outcome, has_one_audience
from vinom.play.choices import UNREADABLE, seats_for, unreadable
from vinom.play.clock import RoomTime
from vinom.play.hosting.host import UNSENDABLE, Outlet, RoomHost
from vinom.play.room import Closed, Effect, Emitted, Forfeited, RoundOver
from vinom.play.states import fingerprint

#: Actions of one seat that may be on their way.
_MOST_PENDING = 1024


class RelayFleet(Protocol):
    """Where isolated rooms are played: `vinom.fleet.fleet.Fleet`."""

    def place(
        self,
        plan: MatchPlan,
        tickets: tuple[()],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        """Find it a game server."""

    def pass_on(self, message: ToRelayed) -> None:
        """Send its game server what a player did."""

    def is_overloaded(self, match_id: str) -> bool:
        """Has its game server too much to do for new players?"""

    def close_room(self, match_id: str, reason: str) -> None:
        """End it."""


@implementer(IMatchWatch)
class RelayedRoom:
    """
    Host a room for the node's members that a game process plays.

    It is to them what `vinom.play.hosting.host.RoomHost` is, and its `room` as well. No
    method looks at ``now``, for the game process has a clock of its own.

    :ivar phase: as of `vinom.play.room.Room`.
    :ivar version: of the newest state that has arrived.
    :ivar effects: what happened since `take_effects` was called, oldest first.
    :ivar layout: none: what arrives is not packed.
    :ivar outlets: where states and news go, in this order.
    :ivar acted: by seat, the id of the last action that was sent and not refused.
    :ivar applied: by seat, the id of the last action that a state answers.
    :ivar ticks: the last fixed step before that state; 0 if the game has none.
    :ivar has_ticks: always false: states answer actions, however the game takes them.
    :ivar is_held: always false: checkpoints are kept where it is played.
    :ivar ended_at: when the outlets got the end; ``None`` before.
    """

    _log = Logger()

    def __init__(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        fleet: RelayFleet,
        *,
        is_placed: bool,
        end: Callable[[str], None],
        changed: Callable[[], None],
        refused: Callable[[int, Any, Refused], None],
        is_packed: bool = False,
    ) -> None:
        """
        Relay a room; until it is placed, what is to be sent waits.

        :param plan: of the room.
        :param game: its rules.
        :param fleet: passes messages on to its game server.
        :param is_placed: does a game server play it already? Else `open` finds one.
        :param end: ends it where it is played, for a reason.
        :param changed: is called when something came for which `end_turn` is needed.
        :param refused: gets the seat of an action that was not applied, its id, and
            why; the id may be used again.
        :param is_packed: whether it is relayed to players over UDP: actions and views
            are MessagePack, and what is refused uses up its id.
        """
        self.plan, self.game = plan, game
        self.phase: Literal["gathering", "playing", "over", "closed"] = "gathering"
        self.version = 0
        # Nothing is ever due here.
        self.time = RoomTime(inf, inf)
        self.layout: Layout | None = None
        self.outlets: tuple[Outlet, ...] = ()
        self.acted = [0] * len(plan.seats)
        self.applied = [0] * len(plan.seats)
        self.ticks = 0
        self.has_ticks = self.is_held = False
        self.ended_at: float | None = None
        self._fleet, self._end = fleet, end
        self._changed, self._refused = changed, refused
        self._is_packed = is_packed
        self._time = 0.0
        self._views: tuple[bytes, ...] = ()
        self._shown: dict[int, int] = {}
        self._setup = b""
        self.effects: list[Effect] = []
        # What is here before the state that it led to, and that state's version.
        self._early: deque[tuple[int, Effect]] = deque()
        self._unsent: list[ToRelayed] | None = None if is_placed else []
        self._numbers: dict[int, int] = {}
        # By seat: numbers of actions on their way, what their players call them, and
        # the actions, and the ticks that their players were shown.
        self._pending: dict[int, deque[tuple[int, Any, bytes, int]]] = {}
        # Seats whose players are here.
        self._here: set[int] = set()
        self._is_resumed = False
        self._mine: set[int] = set()
        # By seat: how often it was joined; each message about a seat has the newest.
        self._epochs: dict[int, int] = {}

    def open(self, host: str = "") -> None:
        """
        Have a game server play it; called once, if none does.

        :param host: the address of the player who opened the room.
        """
        hosts = (host,) if host else ()
        placed = self._fleet.place(self.plan, (), self, self.relayed, hosts)
        placed.addCallbacks(self._placed, self._not_placed)

    @property
    def room(self) -> RelayedRoom:
        """What members are shown: the states that have arrived here."""
        return self

    # What members do.

    def join(self, seat: int, now: float) -> None:
        """
        A seat's player is here.

        :raises Refused: it is relayed to players over UDP, and was given up or is over.
        """
        if self._is_packed and self.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        if self._is_packed and seat in self._mine:
            raise Refused(Code.WRONG_SEAT, "this seat was given up")
        self._epochs[seat] = self._epochs.get(seat, 0) + 1
        self._here.add(seat)
        self._send_seat(seat, "join")

    def drop(self, seat: int, now: float) -> None:
        """A seat's connection was lost."""
        self._here.discard(seat)
        self._send_seat(seat, "drop")

    def leave(self, seat: int, now: float) -> None:
        """A seat is given up."""
        self.forget(seat)
        self._mine.add(seat)
        self._here.discard(seat)
        self._send_seat(seat, "leave")

    def forget(self, seat: int) -> None:
        """Forget what a seat did: whoever acts next there counts from 1 again."""
        self._pending.pop(seat, None)
        self.acted[seat] = self.applied[seat] = 0

    def disown(self, seat: int) -> None:
        """What a seat's actions on their way bring is not for who has it now."""
        pending = self._pending.get(seat)
        if pending:
            self._pending[seat] = deque(
                (sent, None, data, tick) for sent, _, data, tick in pending
            )

    def seat_bot(self, seat: int, now: float) -> None:
        """The game's bot has a seat."""
        self._here.discard(seat)
        self._send_seat(seat, "bot")

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
        if len(seats) < seats_for(self.game, self.plan.options)[1]:
            number = len(seats)
            seats.append(seat)
        elif self._mine:
            number = min(self._mine)
            seats[number] = seat
        else:
            raise Refused(Code.ROOM_FULL, "every seat is taken")
        self._mine.discard(number)
        self.acted[number : number + 1] = [0]
        self.applied[number : number + 1] = [0]
        plan = self.plan = attrs.evolve(self.plan, seats=tuple(seats))
        self._send(RelayNewcomer(plan.match_id, number, seat))
        return number

    def act(
        self,
        seat: int,
        number: int | None,
        data: bytes | Raw,
        read: Callable[[bytes | Raw], Any],
        now: float,
        tick: int = 0,
    ) -> Refused | None:
        """
        Send an action to where it is played; the answer comes later.

        :param number: what the seat calls this action; ``None`` if it does not number.
        :param data: the action.
        :param read: writes it as MessagePack, if this is to be sent; otherwise it is
            not used. The action itself is read where it is played.
        :param now: the time.
        :param tick: the tick that the player was shown; 0 if it does not say.
        :returns: why it was not sent: too much of this seat is on its way, or it can be
            no action.
        """
        if self._is_packed:
            try:
                data = read(data)
            except UNREADABLE as error:
                return unreadable(error)
            except Refused as no:
                return no
        pending = self._pending.setdefault(seat, deque())
        if len(pending) >= _MOST_PENDING:
            text = "your actions pile up; wait for a state"
            return Refused(Code.RATE_LIMITED, text)
        sent = self._numbers[seat] = self._numbers.get(seat, 0) + 1
        action = bytes(data)
        pending.append((sent, number, action, tick))
        self._send(RelayAction(self.plan.match_id, seat, sent, action, tick))
        if number is not None:
            self.acted[seat] = number
        return None

    def close(self, reason: str, now: float) -> None:
        """End it, here and where it is played."""
        if self.phase != "closed":
            self._end(reason)
            if self._unsent:
                self._unsent = []
            self.ended(MatchEnd(self.plan.match_id, reason, version=self.version))

    def run_clock(self, now: float) -> None:
        """Do nothing: time passes where it is played."""

    @property
    def is_overloaded(self) -> bool:
        """Is there too much to do for new players where it is played?"""
        return self._fleet.is_overloaded(self.plan.match_id)

    # What it shows.

    def has_news(self, shown: int) -> bool:
        """Is there an effect, or another version than *shown*?"""
        return self.version != shown or bool(self.effects)

    def pack(self, audience: Hashable) -> Packed | None:
        """Return no packed view."""
        return None

    def view_hash(self) -> str:
        """Return the fingerprint of what spectators see."""
        shown = self.view(self.audience_of(None))
        return fingerprint(shown) if shown else ""

    @property
    def has_one_audience(self) -> bool:
        """Does everybody see the same?"""
        return has_one_audience(type(self.game))

    def audience_of(self, seat: int | None) -> Hashable:
        """Find the view that a seat sees: the first of those that do."""
        if self._is_packed:
            # A seat whose view has not come yet gets it in a moment.
            return self._shown.get(-1 if seat is None else seat)
        # The game server does not know this newcomer yet: show it what anybody may see.
        return self._shown.get(-1 if seat is None else seat, self._shown.get(-1))

    def view(self, audience: Hashable) -> bytes:
        """Show the newest state that has arrived; empty if none has."""
        if audience == "all":
            return self._views[0] if self._views else b""
        if not isinstance(audience, int) or not 0 <= audience < len(self._views):
            return b""
        return self._views[audience]

    def setup(self) -> bytes:
        """Show what never changes."""
        return self._setup

    # They are MessagePack if it is relayed to players over UDP, and otherwise JSON.
    view_json, setup_json = view, setup

    def match_time(self, now: float) -> float:
        """Return the time of the newest state that has arrived."""
        return self._time

    def take_effects(self) -> list[Effect]:
        """Hand over what happened since the last call, in order."""
        effects, self.effects = self.effects, []
        return effects

    def end_turn(self, now: float) -> bool:
        """
        Hand the outlets what has arrived.

        :returns: whether nothing is left to send.
        """
        outlets = self.outlets
        while self.effects:
            for effect in self.take_effects():
                for outlet in outlets:
                    self._hand_over(effect, outlet, now)
        is_all = True
        for outlet in outlets:
            is_all = outlet.show(now) and is_all
        return is_all

    def _hand_over(self, effect: Effect, outlet: Outlet, now: float) -> None:
        if isinstance(effect, Emitted):
            try:
                outlet.emitted(effect, now)
            except UNSENDABLE:
                self.close("crashed", now)
        elif isinstance(effect, RoundOver):
            outlet.round_over(effect.outcome, now)
        elif isinstance(effect, Forfeited):
            outlet.forfeited(effect, now)
        elif isinstance(effect, Closed):
            self.ended_at = now
            outlet.closed(effect.end, effect.report, now)

    # What its game process sends.

    def relayed(self, message: FromRelayed) -> None:
        """Take what the game process has for the players."""
        if self.phase == "closed":
            return
        if isinstance(message, RelayState):
            self._is_resumed = self._is_resumed and not message.version
            self._see(message)
        elif isinstance(message, RelayEvent):
            if self._is_resumed and message.version <= self.version:
                # It came from the process before this one.
                return
            version, event = message.version, Event(message.kind, message.data)
            self._early.append((version, Emitted(event, version, message.to)))
            self._release(self.version)
        elif isinstance(message, RelayRefusal):
            self._refuse(message)
        elif isinstance(message, RelayAgain):
            self._join_again()
        self._changed()

    def _join_again(self) -> None:
        """Another game process goes on: say who is here, and what they did."""
        match_id = self.plan.match_id
        # These are sent again, with the state that they belong to.
        for entry in [one for one in self._early if isinstance(one[1], Emitted)]:
            self._early.remove(entry)
        self._is_resumed = True
        if self._is_packed:
            # The game process may not have read that they were given up. No epoch: to
            # this one nobody has them.
            for seat in sorted(self._mine):
                self._send(RelaySeat(match_id, seat, "leave"))
        for seat in sorted(self._here):
            pending = self._pending.get(seat, ())
            taken = pending[0][0] - 1 if pending else self._numbers.get(seat, 0)
            self._send(RelaySeat(match_id, seat, "again", self.epoch_of(seat), taken))
            for number, _, action, tick in pending:
                if action:
                    self._send(RelayAction(match_id, seat, number, action, tick))

    def _release(self, version: float) -> None:
        """Let out, in order, what led to no later state than this."""
        early = self._early
        while early and early[0][0] <= version:
            self.effects.append(early.popleft()[1])

    def _see(self, state: RelayState) -> None:
        self._time = state.time
        if state.version:
            # The setup alone comes as version 0.
            self.version, self.ticks = state.version, state.tick
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
                # A player who is back over UDP counts on from what it sent before.
                if id is not None and not (self._is_packed and id < self.applied[seat]):
                    self.applied[seat] = id

    def _refuse(self, no: RelayRefusal) -> None:
        if not no.number:
            # A newcomer for whom the game server's room has no seat after all.
            self.effects.append(Forfeited(no.seat))
        pending = self._pending.get(no.seat)
        for entry in tuple(pending or ()):
            if entry[0] == no.number and pending is not None and self._is_packed:
                # It is over, even if the game goes on elsewhere.
                pending[pending.index(entry)] = (*entry[:2], b"", 0)
                self._refused(no.seat, entry[1], self._refusal(no))
            elif entry[0] == no.number and pending is not None:
                pending.remove(entry)
                latest = max((id for _, id, *_ in pending if id is not None), default=0)
                self.acted[no.seat] = max(self.applied[no.seat], latest)
                self._refused(no.seat, entry[1], self._refusal(no))

    def _refusal(self, no: RelayRefusal) -> Refused:
        """Read why an action was not applied; its player is answered in any case."""
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

    def delayed(self, match_id: str, why: str) -> None:
        """Do nothing: its members see that the room does not begin."""

    def started(self, match_id: str) -> None:
        """Do nothing: the first state says that match time runs."""

    def resumed(self, match_id: str, placement: Placement) -> None:
        """Do nothing: `RelayAgain` has come."""

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat was given up: by the node, or else by the game."""
        if state in ("left", "vacated") and seat not in self._mine:
            self._mine.add(seat)
            # After the events that its player may still see.
            at = self._early[-1][0] if self._early else self.version
            self._early.append((at, Forfeited(seat, state == "vacated")))
            self._release(self.version)
            self._changed()

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        # Earlier states have arrived already: the next one shows how the round ended.
        self._early.append((self.version + 1, RoundOver(_outcome(outcome))))

    def ended(self, end: MatchEnd) -> None:
        """It is over, or its game process is."""
        if self.phase != "closed":
            self.phase = "closed"
            self._release(inf)
            self.effects.append(Closed(end))
            self._changed()

    def _placed(self, placement: Placement) -> None:
        unsent, self._unsent = self._unsent or [], None
        for message in unsent:
            self._fleet.pass_on(message)

    def _not_placed(self, failure: Failure) -> None:
        # A match that ended was reported; one that found no place was not.
        self.ended(MatchEnd(self.plan.match_id, "lost"))

    def epoch_of(self, seat: int) -> int:
        """Count how often a seat was joined."""
        return self._epochs.get(seat, 0)

    def _send_seat(
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


#: What hosts a room of this node: the node, or a game process.
Host = RoomHost | RelayedRoom

"""
Seats of a hosted room whose players are connected to the node.

The control link brings what they do, whole and in order, and takes along what
each turn changed: one message for all seats and spectators of a room, each view once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from msgspec import MsgspecError, json, msgpack
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vinom.control.messages import (
    FRAME_LIMIT,
    RelayAction,
    RelayEvent,
    RelayFailed,
    RelayNewcomer,
    RelayRefusal,
    RelaySeat,
    RelayState,
    RelayWatch,
    ToNode,
    ToRelayed,
)
from vinom.errors import Code, Refused, Rejected
from vinom.game import Event
from vinom.gameserver.room import HostedRoom
from vinom.gameserver.seats import HostedSeat, Line
from vinom.play.choices import json_action_reader

#: A message that is nearly as long as a frame may be cannot be sent, bytes.
_MOST_BYTES = FRAME_LIMIT - 64 * 1024
#: How soon a node that is behind is looked at again, seconds.
_BEHIND_PAUSE = 0.05
_write = json.Encoder().encode
_unpack = msgpack.Decoder().decode


class RelayedSeats:
    """
    The relayed seats of one room, and its spectators in the node.

    :param dismiss: hears of a player's own connection whose seat is relayed now.
    :param must_wait: does the node not read fast enough? Then this room shows its
        newest state a moment later.
    """

    def __init__(
        self,
        hosted: HostedRoom,
        tell: Callable[[ToNode], None],
        dismiss: Callable[[Line], None],
        must_wait: Callable[[HostedRoom], bool],
    ) -> None:
        self._hosted, self._tell, self._dismiss = hosted, tell, dismiss
        self._must_wait = must_wait
        self._match_id = hosted.room.plan.match_id
        self._decode = json_action_reader(hosted.room.game)
        self._ticks = bool(hosted.room.game.tick_hz)
        self._shown = 0
        self._has_failed = False
        self._phase = ""
        self._applied: dict[int, int] = {}

    # What the node brings.

    def take(self, message: ToRelayed, now: float) -> None:
        """Do what a player of the node did."""
        hosted = self._hosted
        if isinstance(message, RelayWatch):
            # Whoever is new is shown everything.
            self._shown = 0
            return
        if isinstance(message, RelayNewcomer):
            self._add(message, now)
            return
        if not 0 <= message.seat < len(hosted.seats):
            return
        seat = hosted.seats[message.seat]
        if isinstance(message, RelayAction):
            if seat.is_relayed:
                self._act(seat, message, now)
            else:
                why = "a newer connection has this seat"
                self.refuse(seat, message.number, Code.SEAT_TAKEN, "", why)
            return
        if message.how == "join":
            self._join(seat, message, now)
            return
        if message.epoch and (message.epoch != seat.relay_epoch or not seat.is_relayed):
            # Its player came over UDP meanwhile.
            return
        match message.how:
            case "drop":
                hosted.miss(seat, now)
            case "leave":
                hosted.give_up(None, seat, now)
            case "bot":
                hosted.room.seat_bot(seat.number, now)

    def _join(self, seat: HostedSeat, message: RelaySeat, now: float) -> None:
        hosted = self._hosted
        seat.door.shut()
        older = hosted.replace(seat, None, now)
        if older is not None:
            self._dismiss(older)
        seat.is_relayed, seat.relay_epoch = True, message.epoch
        # Its own connections number actions for themselves.
        seat.acted = message.number
        # Whatever this seat was shown before, it is shown again.
        self._shown = 0
        hosted.sit(seat, now)

    def _add(self, message: RelayNewcomer, now: float) -> None:
        hosted = self._hosted
        try:
            number = hosted.room.add_seat(message.plan, now)
        except Refused as no:
            self._tell(
                RelayRefusal(self._match_id, message.seat, 0, no.code, "", no.message)
            )
            return
        hosted.add_seat(number).is_relayed = True
        self._shown = 0

    def _act(self, seat: HostedSeat, action: RelayAction, now: float) -> None:
        room = self._hosted.room
        if self._ticks:
            self._hosted.run_clock(now)
        seat.acted = action.number
        try:
            room.act(seat.number, self._decode(action.data), now)
        except Rejected as no:
            self.refuse(seat, action.number, Code.REJECTED, no.code, no.message)
        except Refused as no:
            field = str(no.details.get("field") or "")
            self.refuse(seat, action.number, no.code, field, no.message)

    # What the node is told.

    def refuse(
        self, seat: HostedSeat, number: int, code: str, reason: str, text: str
    ) -> None:
        """An action was not applied."""
        self._tell(
            RelayRefusal(self._match_id, seat.number, number, code, reason, text[:200])
        )

    def emit(self, event: Event, version: int) -> None:
        """The game told something once."""
        told = RelayEvent(self._match_id, version, event.kind, event.data, event.to)
        self._tell(told)

    def show(self, now: float, is_last: bool = False) -> None:
        """
        Tell what this turn changed.

        :param is_last: there will be no later moment for it.
        """
        hosted = self._hosted
        room = hosted.room
        version = room.version
        if not version or self._has_failed:
            return
        if not is_last and version != self._shown and self._must_wait(hosted):
            return
        applied = {}
        for seat in hosted.seats:
            if not seat.is_relayed:
                continue
            if not self._ticks:
                seat.applied = seat.acted
            if self._applied.get(seat.number) != seat.applied:
                applied[seat.number] = self._applied[seat.number] = seat.applied
        is_new = version != self._shown
        if not is_new and not applied and room.phase == self._phase:
            return
        views: list[bytes] = []
        shown: dict[int, int] = {}
        setup = b""
        if is_new:
            try:
                setup = b"" if self._shown else self._setup()
                places: dict[Hashable, int] = {}
                for number in self._seats():
                    audience = room.audience_of(None if number < 0 else number)
                    if audience not in places:
                        places[audience] = len(views)
                        views.append(self._view(audience))
                    shown[number] = places[audience]
                _check_length(setup, *views)
            except (TypeError, ValueError, RecursionError, MsgspecError) as error:
                self._fail(str(error), now)
                return
            if not all(views):
                # The game failed at it: its end follows.
                return
        self._shown, self._phase = version, room.phase
        self._tell(
            RelayState(
                self._match_id,
                version,
                room.phase,
                room.match_time(now),
                applied,
                tuple(views),
                shown,
                setup,
            )
        )

    def _view(self, audience: Hashable) -> bytes:
        room = self._hosted.room
        if self._hosted.is_relayed:
            return room.view_json(audience)
        return self._as_json(room.view(audience))

    def _setup(self) -> bytes:
        room = self._hosted.room
        if self._hosted.is_relayed:
            return room.setup_json()
        return self._as_json(room.setup())

    def _as_json(self, packed: bytes) -> bytes:
        """
        Write what players over UDP are shown as JSON; empty if there is nothing.

        The game is not asked again: whoever watches a match must not be able to
        break it, and who packs what it reads has the same bytes, and their hash.

        :raises Exception: it cannot be JSON.
        """
        return _write(_unpack(packed)) if packed else b""

    def _fail(self, why: str, now: float) -> None:
        """What is shown cannot be told by way of the node."""
        self._has_failed = True
        if self._hosted.is_relayed:
            self._hosted.cannot_send("views", why, now)
        else:
            self._tell(RelayFailed(self._match_id, why[:200]))

    def _seats(self) -> list[int]:
        relayed = [seat.number for seat in self._hosted.seats if seat.is_relayed]
        return [-1, *relayed]


def _check_length(*parts: bytes) -> None:
    """
    Do they fit into one message?

    :raises ValueError: they do not.
    """
    length = sum(map(len, parts))
    if length > _MOST_BYTES:
        raise ValueError(f"{length} bytes")


class RelayDesk:
    """
    Hand what the node relays to rooms; what one turn brings makes one broadcast.

    :param rooms: by match.
    :param turn: called with each room when its turn's inputs are in.
    :param dismiss: hears of connections that a relayed player replaced.
    :ivar is_behind: does the node not read what it was told?
    """

    is_behind: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(
        self,
        rooms: Mapping[str, HostedRoom],
        clock: IReactorTime,
        seconds: Callable[[], float],
        tell: Callable[[ToNode], None],
        turn: Callable[[HostedRoom, float], None],
        dismiss: Callable[[Line], None],
    ) -> None:
        self._rooms, self._clock, self._seconds = rooms, clock, seconds
        self._tell, self._turn, self._dismiss = tell, turn, dismiss
        self._touched: dict[HostedRoom, None] = {}
        self._later: IDelayedCall | None = None

    def take(self, message: ToRelayed) -> None:
        """Do what a player of the node did; in vain when the match is over."""
        hosted = self._rooms.get(message.match_id)
        if hosted is None or hosted.ended_at is not None:
            return
        now = self._seconds()
        if isinstance(message, RelayWatch) and not message.is_on:
            self._let_go(hosted, now)
            return
        if hosted.relay is None:
            hosted.relay = RelayedSeats(
                hosted, self._tell, self._dismiss, self._must_wait
            )
        hosted.relay.take(message, now)
        if hosted.room.game.states == "every":
            self._turn(hosted, now)
            return
        self._touched[hosted] = None
        if self._later is None:
            self._later = self._clock.callLater(0, self._end_turn)

    def _let_go(self, hosted: HostedRoom, now: float) -> None:
        """Nobody of the node is there any more."""
        hosted.relay = None
        for seat in hosted.seats:
            if seat.is_relayed:
                seat.is_relayed = False
                hosted.miss(seat, now)
        self._turn(hosted, now)

    def _must_wait(self, hosted: HostedRoom) -> bool:
        """Newest wins: while the node is behind, states are not made for it."""
        if not self.is_behind():
            return False
        self._touched[hosted] = None
        if self._later is None:
            self._later = self._clock.callLater(_BEHIND_PAUSE, self._end_turn)
        return True

    def _end_turn(self) -> None:
        self._later = None
        touched, self._touched = self._touched, {}
        now = self._seconds()
        for hosted in touched:
            self._turn(hosted, now)

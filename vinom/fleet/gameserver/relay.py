"""
A hosted room's outlet to the node, for seats and spectators connected there.

The control link brings their actions, whole and in order, and carries back what each
turn changed: one message for all seats and spectators of a room, with each view once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from msgspec import MsgspecError, json, msgpack

from vinom.base.model import MatchEnd
from vinom.base.reactor.alarm import Timer
from vinom.errors import Code, Refused
from vinom.fleet.control.messages import (
    RelayAction,
    RelayEvent,
    RelayFailed,
    RelayNewcomer,
    RelayRefusal,
    RelaySeat,
    RelayState,
    RelayTaken,
    RelayWatch,
    ToNode,
    ToRelayed,
)
from vinom.fleet.gameserver.room import Connection, HostedRoom, HostedSeat
from vinom.fleet.gameserver.seats import Runtime
from vinom.game import Outcome
from vinom.net.frames import FRAME_LIMIT
from vinom.play.room import Emitted, Forfeited

#: Most bytes of views in a message; it has to fit into a frame.
_MOST_BYTES = FRAME_LIMIT - 64 * 1024
#: How soon the link is checked again if the node is behind, seconds.
_BEHIND_PAUSE = 0.05
#: Most events of one match that wait for a link.
_MOST_MISSED = 1000
_write = json.Encoder().encode
_unpack = msgpack.Decoder().decode


class Relay:
    """
    An outlet: one room's relayed seats, and its spectators in the node.

    :ivar missed: while there is no link, the newest events of the game, oldest first:
        the node has to show them later. ``None`` while there is one.
    """

    def __init__(self, hosted: HostedRoom, relays: Relays) -> None:
        """
        Relay a room.

        :param hosted: the room; this relay becomes its first outlet, because nothing
            may be sent after the room's own report of its end.
        :param relays: has the link to the node.
        """
        self._hosted, self._relays, self._report = hosted, relays, relays.report
        self._match_id = hosted.match_id
        room = hosted.room
        self._read: Callable[[bytes], Any] = hosted.read_json
        self._view: Callable[[Hashable], bytes] = room.view_json
        self._setup: Callable[[], bytes] = room.setup_json
        if not hosted.is_relayed:
            self._view = lambda audience: _as_json(room.view(audience))
            self._setup = lambda: _as_json(room.setup())
        self._shown = 0
        self._has_failed = self._has_ended = False
        self._phase = ""
        self._applied: dict[int, int] = {}
        self.missed: deque[RelayEvent] | None = None
        hosted.host.outlets = (self, *hosted.host.outlets)

    def stop(self) -> None:
        """Stop relaying: no player of the node plays or watches any more."""
        host = self._hosted.host
        host.outlets = tuple(outlet for outlet in host.outlets if outlet is not self)

    # From the node.

    def take(self, message: ToRelayed, now: float) -> None:
        """Handle a message about a player of the node."""
        hosted = self._hosted
        if isinstance(message, RelayWatch):
            # A new spectator needs everything.
            self._shown = 0
            if message.packed:
                self._begin_packed(now)
            return
        if isinstance(message, RelayNewcomer):
            self._add(message, now)
            return
        if not 0 <= message.seat < len(hosted.seats):
            return
        seat = hosted.seats[message.seat]
        if isinstance(message, RelayAction):
            self._act(seat, message, now)
            return
        if message.how in ("join", "again"):
            self._join(seat, message, now)
            return
        if message.epoch and (message.epoch != seat.relay_epoch or not seat.is_relayed):
            # Its player has connected over UDP meanwhile.
            return
        match message.how:
            case "drop":
                hosted.miss(seat, now)
            case "leave":
                hosted.give_up(None, seat, now)
            case "bot":
                hosted.room.seat_bot(seat.number, now)

    def _begin_packed(self, now: float) -> None:
        """Relay what players over UDP are sent; they need the setup to begin with."""
        hosted = self._hosted
        room = hosted.room
        self._read, self._view, self._setup = hosted.read, room.view, room.setup
        setup = self._setup()
        if len(setup) > _MOST_BYTES:
            self._fail(f"a setup of {len(setup)} bytes, limit {_MOST_BYTES}", now)
            return
        # Version 0: a state follows, if there is one.
        time = room.match_time(now)
        self._report(RelayState(self._match_id, 0, room.phase, time, {}, setup=setup))

    def _join(self, seat: HostedSeat, message: RelaySeat, now: float) -> None:
        hosted = self._hosted
        seat.door.shut()
        older = seat.replace(None, now)
        if older is not None:
            self._relays.dismiss(older)
        if message.how == "join" or not seat.relay_epoch:
            # Over UDP the seat's actions have other numbers. If another process had
            # the match, its checkpoint says which of them were taken.
            host, number = hosted.host, message.number
            host.acted[seat.number] = host.applied[seat.number] = number
        seat.is_relayed, seat.relay_epoch = True, message.epoch
        # This seat needs everything again.
        self._shown = 0
        hosted.sit(seat, now)

    def _add(self, message: RelayNewcomer, now: float) -> None:
        try:
            self._hosted.add_seat(message.plan, now).is_relayed = True
        except Refused as no:
            self.refuse(message.seat, 0, no)
            return
        self._shown = 0

    def _act(self, seat: HostedSeat, action: RelayAction, now: float) -> None:
        if seat.is_relayed:
            number, data = action.number, action.data
            if number <= self._hosted.host.acted[seat.number]:
                # The process that had the match before has taken it.
                return
            refused = self._hosted.host.act(
                seat.number, number, data, self._read, now, action.tick
            )
        else:
            refused = Refused(Code.SEAT_TAKEN, "a newer connection has this seat")
        if refused is not None:
            self.refuse(seat.number, action.number, refused)

    def refuse(self, seat: int, number: int, no: Refused) -> None:
        """Send the node why an action of a relayed seat was not applied."""
        reason = str(no.details.get("reason") or no.details.get("field") or "")
        text = no.message[:200]
        self._report(RelayRefusal(self._match_id, seat, number, no.code, reason, text))

    # To the node (vinom.play.hosting.host.Outlet).

    def started(self, now: float) -> None:
        """Do nothing: the next state's phase reports it."""

    def emitted(self, emitted: Emitted, now: float) -> None:
        """Send an event of the game."""
        event, version = emitted.event, emitted.version
        relayed = RelayEvent(
            self._match_id, version, event.kind, event.data, emitted.to
        )
        if self.missed is None:
            self._report(relayed)
        else:
            self.missed.append(relayed)

    def round_over(self, outcome: Outcome, now: float) -> None:
        """Do nothing: the room itself reports the outcome to the node."""

    def forfeited(self, given_up: Forfeited, now: float) -> None:
        """Do nothing: the room itself reports the seat to the node."""

    def closed(self, end: MatchEnd, report: str | None, now: float) -> None:
        """Send the last state: nothing follows the room's own report of its end."""
        if self.missed is None:
            self._send_state(now)
        self._has_ended = True

    def show(self, now: float) -> bool:
        """
        Send what this turn changed, unless the node is behind.

        :returns: ``True``; players' own connections do not wait for the node.
        """
        hosted = self._hosted
        is_new = hosted.room.version != self._shown
        if self._has_ended or self.missed is not None:
            return True
        if not (is_new and self._relays.must_wait(hosted)):
            self._send_state(now)
        return True

    def _send_state(self, now: float) -> None:
        hosted = self._hosted
        room = hosted.room
        version = room.version
        if not version or self._has_failed or self._has_ended:
            return
        applied = {}
        for seat in hosted.seats:
            if seat.is_relayed:
                number = hosted.host.applied[seat.number]
                if self._applied.get(seat.number) != number:
                    applied[seat.number] = self._applied[seat.number] = number
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
                for seat_number in self._seats():
                    audience = room.audience_of(
                        None if seat_number < 0 else seat_number
                    )
                    if audience not in places:
                        places[audience] = len(views)
                        views.append(self._view(audience))
                    shown[seat_number] = places[audience]
                _check_length(setup, *views)
            except (TypeError, ValueError, RecursionError, MsgspecError) as error:
                self._fail(str(error), now)
                return
            if not all(views):
                # The game failed to make one: its end follows.
                return
        self._shown, self._phase = version, room.phase
        self._report(
            RelayState(
                self._match_id,
                version,
                room.phase,
                room.match_time(now),
                applied,
                tuple(views),
                shown,
                setup,
                room.ticks,
            )
        )

    def _fail(self, why: str, now: float) -> None:
        """Handle a view that cannot be sent through the node."""
        self._has_failed = True
        if self._hosted.is_relayed:
            self._hosted.cannot_send("views", why, now)
        else:
            self._report(RelayFailed(self._match_id, why[:200]))

    def _seats(self) -> list[int]:
        relayed = [seat.number for seat in self._hosted.seats if seat.is_relayed]
        return [-1, *relayed]


def _as_json(packed: bytes) -> bytes:
    """
    Convert a MessagePack view to JSON; empty if there is nothing.

    The game is not called again: spectators of a match must not be able to break it,
    and a client that encodes what it reads gets the same bytes, and their hash.

    :raises Exception: it cannot be converted.
    """
    return _write(_unpack(packed)) if packed else b""


def _check_length(*parts: bytes) -> None:
    """
    Check that *parts* fit into one message.

    :raises ValueError: they do not.
    """
    length = sum(map(len, parts))
    if length > _MOST_BYTES:
        raise ValueError(f"{length} bytes, limit {_MOST_BYTES}")


class Relays:
    """
    Pass what the node relays to rooms; the actions of one turn make one broadcast.

    :ivar report: sends to the node.
    :ivar dismiss: gets connections that a relayed player has replaced.
    :ivar is_behind: whether the node does not read what it was sent.
    """

    is_behind: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(
        self,
        rooms: Mapping[str, HostedRoom],
        runtime: Runtime,
        report: Callable[[ToNode], None],
        dismiss: Callable[[Connection], None],
    ) -> None:
        """
        Start without relays.

        :param rooms: by match id.
        :param runtime: its reactor ends a turn.
        :param report: see the attribute.
        :param dismiss: see the attribute.
        """
        self._rooms, self._seconds = rooms, runtime.seconds
        self.report, self.dismiss = report, dismiss
        self._relays: dict[HostedRoom, Relay] = {}
        self._touched: dict[HostedRoom, None] = {}
        self._later = Timer(runtime.reactor)

    def take(self, message: ToRelayed) -> None:
        """Handle a message about a player of the node; ignored after the match."""
        hosted = self._rooms.get(message.match_id)
        if hosted is None or hosted.host.ended_at is not None:
            return
        now = self._seconds()
        if isinstance(message, RelayWatch) and not message.is_on:
            self._let_go(hosted, now)
            return
        relay = self._relays.get(hosted)
        if relay is None or relay.missed is not None:
            older, relay = relay, Relay(hosted, self)
            self._relays[hosted] = relay
            if older is not None and older.missed is not None:
                # The node shows them before the state after them.
                older.stop()
                for event in older.missed:
                    self.report(event)
        relay.take(message, now)
        if hosted.room.game.states == "every":
            hosted.end_turn(now)
            return
        self._touched[hosted] = None
        self._later.ensure(0, self._end_turn)

    def unlinked(self, now: float) -> None:
        """Let go of all players of the node: it cannot be sent anything."""
        for hosted, relay in tuple(self._relays.items()):
            if hosted.is_relayed or relay.missed is not None:
                continue
            for seat in hosted.seats:
                if seat.is_relayed:
                    number, epoch = seat.number, seat.relay_epoch
                    self.report(RelayTaken(hosted.match_id, number, epoch))
            relay.missed = deque(maxlen=_MOST_MISSED)
            self._release(hosted, now)

    def refuse(self, hosted: HostedRoom, seat: int, number: int, no: Refused) -> None:
        """Send the node why an action of a relayed seat was not applied."""
        relay = self._relays.get(hosted)
        if relay is not None:
            relay.refuse(seat, number, no)

    def forget(self, hosted: HostedRoom) -> None:
        """Drop the relay of a room that is over."""
        self._relays.pop(hosted, None)

    def _let_go(self, hosted: HostedRoom, now: float) -> None:
        """Stop relaying a room: no player of the node plays or watches any more."""
        relay = self._relays.pop(hosted, None)
        if relay is not None:
            relay.stop()
        self._release(hosted, now)

    def _release(self, hosted: HostedRoom, now: float) -> None:
        for seat in hosted.seats:
            if seat.is_relayed:
                seat.is_relayed = False
                hosted.miss(seat, now)
        hosted.end_turn(now)

    def must_wait(self, hosted: HostedRoom) -> bool:
        """Is the node behind? Then no states are made for it; the newest wins."""
        if not self.is_behind():
            return False
        self._touched[hosted] = None
        self._later.ensure(_BEHIND_PAUSE, self._end_turn)
        return True

    def _end_turn(self) -> None:
        touched, self._touched = self._touched, {}
        now = self._seconds()
        for hosted in touched:
            hosted.end_turn(now)

"""A seat played over a lobby line: in a room, or where UDP does not get through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, json, msgpack, to_builtins
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from vinom.base.messages.envelope import Failed, Push
from vinom.base.messages.lobby import MatchEnded, MatchFound, Moved, Ping, SeatName
from vinom.base.messages.rooms import (
    EventTold,
    GameState,
    JoinRoom,
    JoinRoomResult,
    Kicked,
    LeaveRoom,
    Reconnect,
    ReconnectResult,
    RoomClosed,
    RoomStarted,
    RoundOver,
    merge,
)
from vinom.base.reactor.alarm import Timer
from vinom.client.game_line import LineOwner
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal, SentAway
from vinom.client.lobby import LobbyClient
from vinom.errors import Code
from vinom.net.packets.player import (
    ActionRefused,
    EventArrived,
    Joined,
    MatchOver,
    PlayerEvent,
    Rejected,
    RoundEnded,
    StateArrived,
)

#: How the server describes our place in a room.
PlaceDescription = JoinRoomResult | ReconnectResult

#: Most actions of a place that may wait for an answer.
_MOST_WAITING = 64
#: Most views kept as bases of patches.
_MOST_VIEWS = 32

_read = json.Decoder().decode
_write = json.Encoder().encode


class LineSeat:
    """
    One place in a room, or in a match, that is played over a lobby line.

    It outlives lines: `take` asks for the place on each new one. It keeps what the
    states have shown, finds the events that are new, and keeps actions until they are
    answered, so that they can be sent again; its owner sends and receives.

    :param join: the first request for the place.
    :param patches: ask for differences where they are shorter than views.
    :ivar room_id: of the room or match; empty if any room will do and none is found.
    :ivar seat: ours; ``None`` if we watch, and before `sit`.
    :ivar setup: what never changes in a round; ``None`` if the game has none.
    :ivar view: the latest; ``None`` before the first.
    :ivar version: of the view.
    :ivar time: of the view, seconds of match time.
    :ivar tick: the last fixed step before it; 0 if the game has none.
    :ivar acked: number of our latest action that was applied.
    :ivar skipped: number of states that the server left out because we read slowly.
    :ivar waiting: the actions without an answer, by number, as messages.
    :ivar news: which news and events have arrived, and the resume token.
    """

    def __init__(self, join: JoinRoom, *, patches: bool = False) -> None:
        self._join, self._patches = join, patches
        self.game, self.room_id = join.game, join.room_id or ""
        self.seat: int | None = None
        self.setup: Any = None
        self.view: Any = None
        self.version = self.tick = self.acked = self.skipped = 0
        self.time = 0.0
        self.waiting: dict[int, bytes] = {}
        self.news = RoomNews()
        self._views: dict[int, Any] = {}

    async def take(self, line: LobbyLine) -> PlaceDescription:
        """
        Ask for the place: with the resume token, or else with our player key.

        :raises LobbyRefusal: the lobby refuses.
        :raises LineLost: the line closed, or nothing useful was answered.
        :raises SentAway: it is on another node, and the line's hello named `Moved`.
        """
        news = self.news
        if news.resume:
            try:
                return _place(await line.ask(Reconnect(news.resume, news.heard)))
            except LobbyRefusal as refusal:
                # The token may have been used up by an answer that got lost.
                if refusal.code != Code.BAD_RESUME:
                    raise
        return _place(await line.ask(self._join))

    def sit(self, place: PlaceDescription) -> None:
        """Note that the place is ours, for the first time or again."""
        self.room_id, self.seat = place.room_id, place.seat
        self.setup = _read(bytes(place.setup))
        self._join = JoinRoom(
            self.game, place.room_id, spectate=place.seat is None, create=False
        )
        self.news.sit(place)
        self._views.clear()
        self._settle(place.acted)

    def begin(self, push: RoomStarted) -> None:
        """Note that play begins, for the first time or again."""
        self.seat, self.setup = push.seat, _read(bytes(push.setup))
        self._views.clear()

    @property
    def is_full(self) -> bool:
        """Must `act` wait until more actions are answered?"""
        return len(self.waiting) >= _MOST_WAITING

    def act(self, number: int, data: Any, tick: int = 0) -> bytes:
        """
        Encode an action, and keep it in `waiting`.

        :param number: its id, which `acked` reaches.
        :param data: a dict, or the game's own struct.
        :param tick: the tick that the player was shown; 0 if that is unknown.
        """
        message = {
            "type": "action",
            "room_id": self.room_id,
            "id": number,
            "data": data if isinstance(data, Mapping) else to_builtins(data),
        }
        if tick:
            message["tick"] = tick
        encoded = self.waiting[number] = _write(message)
        if not self._patches or self.view is None or len(self._views) >= _MOST_VIEWS:
            return encoded
        # The server sends differences from it; an action that is sent again has no use
        # for them.
        self._views[self.version] = self.view
        return _write({**message, "seen": self.version})

    def _settle(self, acked: int) -> None:
        """Forget the actions that were applied."""
        self.acked = max(self.acked, acked)
        for number in [one for one in self.waiting if one <= self.acked]:
            del self.waiting[number]

    def see(self, shown: GameState, deliver: Callable[[EventTold], None]) -> bool:
        """
        Receive a state: deliver its new events, then take its view.

        :param deliver: called with each new event, in order.
        :returns: whether there is a new `view`.
        """
        self.skipped += shown.skipped
        for event in self.news.new_events(shown.events):
            deliver(event)
        if shown.view is not UNSET:
            self.view = _read(bytes(shown.view))
        elif shown.patch is not UNSET and shown.base in self._views:
            base = self._views[shown.base]
            self.view = merge(base, _read(bytes(shown.patch)))
            for version in [old for old in self._views if old < shown.base]:
                del self._views[version]
        else:
            return False
        self.version, self.time, self.tick = shown.version, shown.time, shown.tick
        self._settle(shown.ack.get(str(self.seat), 0))
        return True


def reason_of(failed: Failed) -> str:
    """Find the game's own short reason for a refusal, or the field that is wrong."""
    return str(failed.details.get("reason") or failed.details.get("field") or "")


def _place(answer: Push) -> PlaceDescription:
    if isinstance(answer, Moved):
        raise SentAway(answer.address)
    if not isinstance(answer, JoinRoomResult | ReconnectResult):
        raise LineLost(f"the lobby answered a join with {type(answer).__name__}")
    return answer


class RoomNews:
    """
    Find which of a room's announcements and events are new: each counts once.

    Announcements overtake events that wait for their state, so what arrived since the
    last state is kept number by number. Source: docs/protocol/rooms.rst, "Coming back".

    :ivar resume: the secret that gives the place back; empty before `sit`.
    :ivar heard: everything up to this number has arrived.
    """

    def __init__(self) -> None:
        self.resume = ""
        self.heard = self._latest = 0
        self._since: set[int] = set()

    def sit(self, place: PlaceDescription) -> None:
        """Note that the place is ours, for the first time or again."""
        if place.number < self.heard:
            # Numbers never go back, so this is another room: all of it is new.
            self.heard = 0
            self._since.clear()
        self.resume, self._latest = place.resume, place.number

    def is_new(self, number: int) -> bool:
        """Note an announcement; is it the first with this number?"""
        if number <= self.heard or number in self._since:
            return False
        self._since.add(number)
        self._latest = max(self._latest, number)
        return True

    def new_events(self, events: Sequence[EventTold]) -> list[EventTold]:
        """Note a state's events; gives those that did not arrive before."""
        new = [event for event in events if event.number > self.heard]
        # Every state brings all events up to its own moment.
        self.heard = self._latest = max([self._latest, *(e.number for e in new)])
        self._since.clear()
        return new


#: Between two pings of the lobby, seconds.
_PING = 2.0
_pack = msgpack.Encoder().encode
_unpack = msgpack.Decoder().decode


class RoomLine:
    """
    Carry a seat's actions and states over a lobby line, until it is lost or closed.

    The match is joined like a room (docs/protocol/rooms.rst), and delivers the same
    events as a `vinom.client.game_line.GameLine`. Actions that were not answered on the
    line before are sent again, with their numbers.

    :param clock: measures and schedules time; the reactor.
    :param lobby: opens the line.
    :param found: the match.
    :param first: number of the latest action on older lines.
    :param place: our seat; it outlives lines.
    :param owner: gets what happens.
    :ivar number: of the latest action.
    :ivar heard: when the server was last heard, on the reactor's clock.
    :ivar rtt: of the latest ping, seconds; ``None`` before the first answer.
    """

    #: Silence after which the line counts as broken, seconds: TCP repeats what gets
    #: lost, and may take its time.
    silence = 10.0
    is_answered = True
    loss: float | None = None

    def __init__(
        self,
        clock: IReactorTime,
        lobby: LobbyClient,
        found: MatchFound,
        first: int,
        place: LineSeat,
        owner: LineOwner,
    ) -> None:
        self._clock, self._found, self._place = clock, found, place
        self._owner = owner
        self.heard = clock.seconds()
        self.number = first
        self.rtt: float | None = None
        self._line: LobbyLine | None = None
        self._is_joined = self._is_over = False
        self._next_ping = Timer(clock)
        self._dialing: Deferred[None] | None = None
        self._dialing = Deferred.fromCoroutine(self._dial(lobby))
        self._dialing.addErrback(self._failed)

    def act(self, action: bytes, tick: int = 0) -> int:
        """
        Send an action.

        :param action: MessagePack.
        :param tick: the tick that the player was shown; 0 if that is unknown.
        :returns: the number it is acknowledged by; 0 if it could not be sent.
        """
        if self._line is None or not self._is_joined or self._place.is_full:
            return 0
        self.number += 1
        self._line.say(self._place.act(self.number, _unpack(action), tick))
        return self.number

    def leave(self) -> None:
        """Give the seat up."""
        if self._line is not None and self._is_joined:
            self._line.ask(LeaveRoom(self._found.match_id)).addErrback(_drop)
        self.close()

    def close(self) -> None:
        """Hang up; nothing is delivered any more."""
        self._is_over = True
        self._next_ping.cancel()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._line is not None:
            self._line.close()

    async def _dial(self, lobby: LobbyClient) -> None:
        line = self._line = await lobby.open_line(self._take, self._gone)
        description = await self._place.take(line)
        if description.seat is None:
            raise LineLost("the lobby made us a spectator of our own match")
        self._is_joined = True
        self._place.sit(description)
        self.number = max(self.number, self._place.acked)
        for action in self._place.waiting.values():
            line.say(action)
        self._ping()
        self._report_seat(description.seat)

    def _report_seat(self, seat: int) -> None:
        """Deliver that the seat is ours, and the setup once it is known."""
        found, setup = self._found, self._place.setup
        self._deliver(
            Joined(
                seat,
                b"",
                b"" if setup is None else _pack(setup),
                tuple(
                    SeatName(s.seat, s.name, s.player_id, s.team) for s in found.players
                ),
                found.match_id,
                found.game,
                0,
            )
        )

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if not failure.check(LobbyRefusal, LineLost):
            self.close()
            failure.raiseException()
        error = failure.value
        if self._is_over:
            return
        if isinstance(error, LobbyRefusal) and error.code == Code.BUSY:
            self._deliver(Rejected(error.code, error.message, error.retry_after))
        else:
            self._break(failure.getErrorMessage())

    def _gone(self) -> None:
        self._break("the line to the lobby closed")

    def _break(self, why: str) -> None:
        if not self._is_over:
            self.close()
            self._owner.lost(self, why)

    # Is the lobby still there?

    def _ping(self) -> None:
        line = self._line
        if line is None or self._is_over:
            return
        asked_at = self._clock.seconds()

        def answered(_: Push) -> None:
            self.heard = self._clock.seconds()
            self.rtt = self.heard - asked_at

        line.ask(Ping()).addCallbacks(answered, _drop)
        self._next_ping.start(_PING, self._ping)

    # What the line brings.

    def _take(self, push: Push | Failed) -> None:
        if self._is_over:
            return
        self.heard = self._clock.seconds()
        if isinstance(push, Failed):
            self._refuse(push)
        elif isinstance(push, GameState):
            self._see(push)
        elif isinstance(push, RoomStarted):
            self._place.begin(push)
            if push.seat is not None:
                self._report_seat(push.seat)
        elif isinstance(push, RoundOver):
            if self._place.news.is_new(push.number):
                self._deliver(RoundEnded(push.outcome, push.version, ""))
        elif isinstance(push, RoomClosed):
            self._deliver(
                MatchOver(push.reason, push.outcome, push.version, push.view_hash)
            )
        elif isinstance(push, Kicked) or (
            isinstance(push, MatchEnded) and push.reason == Code.KICKED
        ):
            self._deliver(Rejected(Code.KICKED, "you were removed from the match"))

    def _refuse(self, failed: Failed) -> None:
        if isinstance(failed.id, int):
            self._place.waiting.pop(failed.id, None)
            self._deliver(
                ActionRefused(failed.id, failed.code, reason_of(failed), failed.message)
            )
        elif failed.code in (Code.SEAT_TAKEN, Code.REPLACED):
            self._deliver(Rejected(Code.SEAT_TAKEN, failed.message))

    def _see(self, shown: GameState) -> None:
        place = self._place
        if place.see(shown, self._deliver_event) and not self._is_over:
            view = _pack(place.view)
            self._deliver(
                StateArrived(place.version, place.time, view, place.acked, place.tick)
            )

    def _deliver(self, event: PlayerEvent) -> None:
        self._owner.took(self, event)

    def _deliver_event(self, event: EventTold) -> None:
        self._deliver(EventArrived(event.kind, event.data, event.version))


def _drop(failure: Failure) -> None:
    """Ignore the failure: the line's end is reported elsewhere."""

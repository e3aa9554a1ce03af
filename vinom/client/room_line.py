"""A match that is played over a lobby line, where UDP does not get through."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import msgpack
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from vinom.base.messages.envelope import Failed, Push
from vinom.base.messages.lobby import MatchEnded, MatchFound, Ping, SeatName
from vinom.base.messages.rooms import (
    EventTold,
    GameState,
    Kicked,
    LeaveRoom,
    RoomClosed,
    RoomStarted,
    RoundOver,
)
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.client.line_seat import LineSeat, reason_of
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
    :param deliver: called with this line and each event.
    :param lost: called with this line once if it breaks, with a short reason.
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
        *,
        deliver: Callable[[RoomLine, PlayerEvent], None],
        lost: Callable[[RoomLine, str], None],
    ) -> None:
        self._clock, self._found, self._place = clock, found, place
        self._deliver_from, self._lost = deliver, lost
        self.heard = clock.seconds()
        self.number = first
        self.rtt: float | None = None
        self._line: LobbyLine | None = None
        self._is_joined = self._is_over = False
        self._next_ping: IDelayedCall | None = None
        self._dialing: Deferred[None] | None = None
        self._dialing = Deferred.fromCoroutine(self._dial(lobby))
        self._dialing.addErrback(self._failed)

    def act(self, action: bytes) -> int:
        """
        Send an action.

        :param action: MessagePack.
        :returns: the number it is acknowledged by; 0 if it could not be sent.
        """
        if self._line is None or not self._is_joined or self._place.is_full:
            return 0
        self.number += 1
        self._line.say(self._place.act(self.number, _unpack(action)))
        return self.number

    def leave(self) -> None:
        """Give the seat up."""
        if self._line is not None and self._is_joined:
            self._line.ask(LeaveRoom(self._found.match_id)).addErrback(_drop)
        self.close()

    def close(self) -> None:
        """Hang up; nothing is delivered any more."""
        self._is_over = True
        if self._next_ping is not None and self._next_ping.active():
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
            self._lost(self, why)

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
        self._next_ping = self._clock.callLater(_PING, self._ping)

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
            self._deliver(StateArrived(place.version, place.time, view, place.acked))

    def _deliver(self, event: PlayerEvent) -> None:
        self._deliver_from(self, event)

    def _deliver_event(self, event: EventTold) -> None:
        self._deliver(EventArrived(event.kind, event.data, event.version))


def _drop(failure: Failure) -> None:
    """Ignore the failure: the line's end is reported elsewhere."""

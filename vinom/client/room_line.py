"""A seat that is played by way of the lobby, where UDP does not get through."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET, json, msgpack
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.client.lobby import LobbyClient
from vinom.client.room_news import Place, RoomNews
from vinom.errors import Code
from vinom.messages.envelope import Failed, Push
from vinom.messages.lobby import MatchEnded, MatchFound, Ping, SeatName
from vinom.messages.rooms import (
    GameState,
    JoinRoom,
    Kicked,
    LeaveRoom,
    Reconnect,
    RoomClosed,
    RoomStarted,
    RoundOver,
)
from vinom.packets.player import (
    ActionRefused,
    EventArrived,
    Joined,
    MatchOver,
    PlayerEvent,
    Rejected,
    RoundEnded,
    StateArrived,
)

#: Between two questions whether the lobby is still there, seconds.
_PING = 2.0
_read = json.Decoder().decode
_write = json.Encoder().encode
_pack = msgpack.Encoder().encode
_unpack = msgpack.Decoder().decode


class RoomLine:
    """
    Carry a seat's actions and states over a lobby line, until it is lost or closed.

    The match is joined like a room (docs/protocol/rooms.rst); whoever holds this
    hears the same events as from a `vinom.client.game_line.GameLine`.

    :param first: the number of the latest action on older lines.
    :param news: what was heard on older lines.
    :param deliver: gets each event.
    :param lost: called once if the line breaks, with a short reason.
    :ivar heard: when the node was last heard, on the reactor's clock.
    :ivar rtt: of the latest question, seconds.
    """

    #: TCP repeats by itself what gets lost, and may take its time.
    silence = 10.0
    is_answered = True
    message = 0
    loss: float | None = None

    def __init__(
        self,
        clock: IReactorTime,
        lobby: LobbyClient,
        found: MatchFound,
        first: int,
        news: RoomNews,
        *,
        deliver: Callable[[PlayerEvent], None],
        lost: Callable[[str], None],
    ) -> None:
        self._clock, self._found = clock, found
        self._deliver, self._lost = deliver, lost
        self.heard = clock.seconds()
        self.number, self._news = first, news
        self.rtt: float | None = None
        self._seat, self._version = found.seat, 0
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
        if self._line is None or not self._is_joined:
            return 0
        self.number += 1
        envelope = {"type": "action", "room_id": self._found.match_id}
        self._line.say(_write({**envelope, "id": self.number, "data": _unpack(action)}))
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
        place = await self._ask_for_place(line)
        if not isinstance(place, Place) or place.seat is None:
            raise LineLost("the lobby answers with something else")
        self._is_joined = True
        self._news.sit(place)
        self._seat = place.seat
        self.number = max(self.number, place.acted)
        self._ping()
        self._sit(bytes(place.setup))

    async def _ask_for_place(self, line: LobbyLine) -> Push:
        found, news = self._found, self._news
        if news.resume:
            try:
                return await line.ask(Reconnect(news.resume, news.heard))
            except LobbyRefusal as refusal:
                # It may have been used up by an answer that got lost.
                if refusal.code != Code.BAD_RESUME:
                    raise
        return await line.ask(JoinRoom(found.game, found.match_id))

    def _sit(self, setup: bytes) -> None:
        """Tell that the seat is ours, or what was not known yet when it became so."""
        found, shown = self._found, _read(setup)
        self._deliver(
            Joined(
                self._seat,
                b"",
                b"" if shown is None else _pack(shown),
                tuple(SeatName(s.seat, s.name, s.player_id) for s in found.players),
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
        no = failure.value
        if self._is_over:
            return
        if isinstance(no, LobbyRefusal) and no.code == Code.BUSY:
            retry_after = float(no.details.get("retry_after") or 0.0)
            self._deliver(Rejected(no.code, no.message, retry_after))
        else:
            self._break(failure.getErrorMessage())

    def _gone(self) -> None:
        self._break("the line to the lobby closed")

    def _break(self, why: str) -> None:
        if not self._is_over:
            self.close()
            self._lost(why)

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

    # What the node tells.

    def _take(self, push: Push | Failed) -> None:
        if self._is_over:
            return
        self.heard = self._clock.seconds()
        if isinstance(push, Failed):
            self._refused(push)
        elif isinstance(push, GameState):
            self._see(push)
        elif isinstance(push, RoomStarted):
            self._sit(bytes(push.setup))
        elif isinstance(push, RoundOver):
            if self._news.is_new(push.number):
                self._deliver(RoundEnded(push.outcome, push.version, ""))
        elif isinstance(push, RoomClosed):
            self._deliver(
                MatchOver(push.reason, push.outcome, push.version, push.view_hash)
            )
        elif isinstance(push, Kicked) or (
            isinstance(push, MatchEnded) and push.reason == Code.KICKED
        ):
            self._deliver(Rejected(Code.KICKED, "you were removed from the match"))

    def _refused(self, no: Failed) -> None:
        if isinstance(no.id, int):
            reason = str(no.details.get("reason") or no.details.get("field") or "")
            self._deliver(ActionRefused(no.id, no.code, reason, no.message))
        elif no.code in (Code.SEAT_TAKEN, Code.REPLACED):
            self._deliver(Rejected(Code.SEAT_TAKEN, no.message))

    def _see(self, state: GameState) -> None:
        for event in self._news.new_events(state.events):
            self._deliver(EventArrived(event.kind, event.data, event.version))
        if state.view is UNSET or self._is_over:
            return
        view = _pack(_read(bytes(state.view)))
        acked = state.ack.get(str(self._seat), 0)
        self._deliver(StateArrived(state.version, state.time, view, acked))


def _drop(failure: Failure) -> None:
    """The line's end was told already."""

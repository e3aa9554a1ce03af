"""A player's rooms, over one lobby line that is made again whenever it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from msgspec import structs
from twisted.internet.defer import Deferred

from vinom.base.messages.envelope import Failed, Push, Request
from vinom.base.messages.rooms import (
    ClientJoined,
    ClientLeft,
    EventTold,
    GameState,
    JoinRoom,
    Kicked,
    LeaveRoom,
    MyGames,
    OwnGame,
    OwnGames,
    RoomClosed,
    RoomPaused,
    RoomSeat,
    RoomStarted,
    RoundBegan,
    RoundOver,
    TeamSet,
)
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal, SentAway
from vinom.client.line_seat import LineSeat, PlaceDescription, reason_of
from vinom.client.lobby import PASSING_ON_RETURN, Answer, LineUser, SharedLine
from vinom.client.match import Refusal, shown_tick
from vinom.errors import Code

#: How long to try, seconds: as long as a server keeps places by default.
TIMEOUT = 900.0
#: How often one request may be sent to another node: rooms move seldom.
_MOST_MOVES = 3


@attrs.frozen
class RoomResult:
    """
    How a room ended for us.

    :ivar room_id: its id.
    :ivar reason: the room's, such as ``finished`` or ``abandoned``; else ``left``,
        ``kicked``, ``replaced`` (this player logged in elsewhere), or ``lost`` (we
        could not get our place back).
    :ivar outcome: ``{round, places, scores}``, if a round has ended.
    """

    room_id: str
    reason: str
    outcome: dict[str, Any] | None = None


class LiveRoom:
    """
    A place in a room; it outlives lines. Made by `PlayerRooms.join`.

    :param rooms: sends what we do.
    :param place: our place, once the lobby has given it.
    :param description: what the lobby said of it.
    :ivar place: our place as the server knows it: its resume token, and what was seen.
    :ivar players: who has which seat.
    :ivar host: the seat that may start, kick and so on.
    :ivar state: ``gathering``, ``playing`` or ``over``.
    :ivar is_paused: does play stand still, because the server cannot keep what happens?
    :ivar is_connected: is there a line?
    :ivar is_over: has `closed` fired?
    :ivar closed: fires with a `RoomResult`, and never fails.
    """

    def __init__(
        self, rooms: PlayerRooms, place: LineSeat, description: PlaceDescription
    ) -> None:
        self._rooms, self.place = rooms, place
        self.room_id, self.game = description.room_id, description.game
        self.is_over = False
        self.closed: Deferred[RoomResult] = Deferred()
        self._on_state: list[Callable[[LiveRoom], None]] = []
        self._on_event: list[Callable[[str, Any], None]] = []
        self._on_refusal: list[Callable[[Refusal], None]] = []
        self._on_news: list[Callable[[Push], None]] = []
        self.sit(description)

    # What the player sees.

    @property
    def seat(self) -> int | None:
        """Our seat; ``None`` if we watch."""
        return self.place.seat

    @property
    def setup(self) -> Any:
        """What never changes in a round; ``None`` if the game has none."""
        return self.place.setup

    @property
    def view(self) -> Any:
        """What the game shows us; ``None`` before play begins."""
        return self.place.view

    @property
    def version(self) -> int:
        """Version of the view."""
        return self.place.version

    @property
    def time(self) -> float:
        """Match time of the view, seconds."""
        return self.place.time

    @property
    def tick(self) -> int:
        """The last fixed step before the view; 0 if the game has none."""
        return self.place.tick

    @property
    def acked(self) -> int:
        """Id of our latest action that was applied."""
        return self.place.acked

    @property
    def skipped(self) -> int:
        """Number of states that the server left out because we read slowly."""
        return self.place.skipped

    # What the player does.

    def act(self, action: Any, tick: float | None = None) -> int:
        """
        Send an action.

        Actions without an answer are sent again when a line breaks; each is applied
        once.

        :param action: a dict, or the game's own struct.
        :param tick: the tick that the player was shown, which may lie between two
            states; ``None`` for that of `view`.
        :returns: its id, which `acked` reaches; 0 if 64 are waiting already, or the
            room is over.
        """
        if self.is_over or self.place.is_full:
            return 0
        number = self._rooms.next_id()
        message = self.place.act(number, action, shown_tick(tick, self.tick))
        if self.is_connected:
            self._rooms.say(message)
        return number

    def leave(self) -> None:
        """Give the place up."""
        if not self.is_over:
            self._rooms.leave(self)
            self.end(RoomResult(self.room_id, "left"))

    def on_state(self, call: Callable[[LiveRoom], None]) -> None:
        """Call this when a newer state is in `view`."""
        self._on_state.append(call)

    def on_event(self, call: Callable[[str, Any], None]) -> None:
        """Call this with the kind and data of each event, once and in order."""
        self._on_event.append(call)

    def on_refusal(self, call: Callable[[Refusal], None]) -> None:
        """Call this when an action is refused."""
        self._on_refusal.append(call)

    def on_news(self, call: Callable[[Push], None]) -> None:
        """Call this with the room's other news: who comes and goes, round results."""
        self._on_news.append(call)

    # What the line brings.

    def sit(self, description: PlaceDescription) -> None:
        """Note that the place is ours, for the first time or again."""
        self.place.sit(description)
        self.host, self.state = description.host, description.state
        self.players: dict[int, RoomSeat] = {
            player.seat: player for player in description.players
        }
        self.is_connected, self._known = True, description.number
        self.is_paused = False
        for message in self.place.waiting.values():
            self._rooms.say(message)

    def lose(self) -> None:
        """Note that the line is gone."""
        self.is_connected = False

    def end(self, result: RoomResult) -> None:
        """Close the room for the player; only the first result counts."""
        if not self.is_over:
            self.is_over, self.is_connected = True, False
            self.place.waiting.clear()
            self.closed.callback(result)

    def receive(self, push: Push) -> None:
        """Take one message of the room."""
        if isinstance(push, GameState):
            self._see(push)
            return
        number = getattr(push, "number", 0)
        if number and not self.place.news.is_new(number):
            return
        if number <= self._known:
            # It was missed; the description of our place has its effect already.
            pass
        elif isinstance(push, RoomStarted):
            self.place.begin(push)
            self.host, self.state = push.host, "playing"
            self.players = {player.seat: player for player in push.players}
        elif isinstance(push, TeamSet):
            if (who := self.players.get(push.seat)) is not None:
                self.players[push.seat] = structs.replace(who, team=push.team)
        elif isinstance(push, ClientJoined | ClientLeft):
            self._note_player(push)
        elif isinstance(push, RoundOver):
            self.state = "over"
        elif isinstance(push, RoundBegan):
            self.state = "playing"
        elif isinstance(push, RoomPaused):
            self.is_paused = push.is_paused
        for call in self._on_news:
            call(push)

    def refuse(self, failed: Failed) -> bool:
        """Report a refused action; ``False`` if it is not one of this room's."""
        number = failed.id
        if not isinstance(number, int) or self.place.waiting.pop(number, None) is None:
            return False
        for call in self._on_refusal:
            call(Refusal(number, failed.code, reason_of(failed), failed.message))
        return True

    def _note_player(self, push: ClientJoined | ClientLeft) -> None:
        self.host, seat = push.host, push.seat
        if seat is None:
            return
        if isinstance(push, ClientLeft) and push.reason != "lost":
            self.players.pop(seat, None)
            if push.reason == "vacated" and seat == self.place.seat:
                self.place.seat = None
            return
        state = "away" if isinstance(push, ClientLeft) else "here"
        if isinstance(push, ClientJoined) and push.how == "bot":
            state = "bot"
        if isinstance(push, ClientJoined):
            team = push.team
        else:
            before = self.players.get(seat)
            team = None if before is None else before.team
        self.players[seat] = RoomSeat(seat, push.name, push.player_id, state, team)

    def _see(self, shown: GameState) -> None:
        if not self.place.see(shown, self._deliver):
            return
        if self.state == "gathering":
            self.state = "playing"
        for call in self._on_state:
            call(self)

    def _deliver(self, event: EventTold) -> None:
        for call in self._on_event:
            call(event.kind, event.data)


class PlayerRooms(LineUser):
    """
    Hold the places of one player.

    :param shared: the player's line.
    :param timeout: how long to try to get places back, seconds.
    """

    first_pause = 0.0

    def __init__(self, shared: SharedLine, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._rooms: dict[str, LiveRoom] = {}
        self._has_left = False
        self._shared = shared
        shared.users.append(self)
        self._left: LobbyLine | None = None
        self._number = 0

    def join(self, request: JoinRoom, *, patches: bool = False) -> Deferred[LiveRoom]:
        """
        Take a place in a room.

        Fails with `LobbyRefusal` or `LineLost`.

        :param patches: ask for differences where they are shorter than views.
        """
        return Deferred.fromCoroutine(self._join(LineSeat(request, patches=patches)))

    def ask(self, request: Request) -> Deferred[Push]:
        """
        Send any other request about rooms: `ListRooms`, `AddBot`, `StartRoom`...

        Fails with `LobbyRefusal` or `LineLost`.
        """
        return Deferred.fromCoroutine(self._ask(request, Push))

    def my_games(self) -> Deferred[tuple[OwnGame, ...]]:
        """
        List the rooms in which we have a seat, see `MyGames`: `join` gives it to us.

        Fails with `LobbyRefusal` or `LineLost`.
        """
        asked = Deferred.fromCoroutine(self._ask(MyGames(), OwnGames))
        return asked.addCallback(lambda found: found.games)

    def close(self) -> None:
        """
        Hang up, unless our party needs the line; the server keeps our places for as
        long as its settings say.
        """
        self._has_left = True
        self._shared.release()

    # What a room sends.

    def say(self, message: bytes) -> None:
        """Send a whole message, if there is a line."""
        if (line := self._shared.line) is not None:
            line.say(message)

    def next_id(self) -> int:
        """Take the id of the next action; all rooms share them."""
        self._number += 1
        return self._number

    def leave(self, room: LiveRoom) -> None:
        """Give a place up."""
        self._rooms.pop(room.room_id, None)
        if (line := self._shared.line) is not None:
            line.ask(LeaveRoom(room.room_id)).addErrback(lambda _: None)

    # The line.

    async def _join(self, place: LineSeat) -> LiveRoom:
        self._has_left = False
        await self._shared.open()
        description = await self._take(place)
        self._number = max(self._number, description.acted)
        room = LiveRoom(self, place, description)
        self._rooms[room.room_id] = room
        return room

    async def _take(self, place: LineSeat) -> PlaceDescription:
        """Take a place on the line, or on one to the node of its room."""
        for _ in range(_MOST_MOVES):
            if (line := self._shared.line) is None:
                raise LineLost("the line to the lobby closed")
            try:
                return await place.take(line)
            except SentAway as sent:
                # Another place may have been taken there meanwhile.
                if line is self._shared.line:
                    self._shared.line, self._left = None, line
                    self._shared.at = sent.address
                    line.close()
            except LineLost:
                if line is not self._left:
                    raise
                # We left it ourselves, to take another place.
            await self._shared.open()
        raise LineLost("the room is on another node each time")

    async def _ask(self, request: Request, kind: type[Answer]) -> Answer:
        self._has_left = False
        return await self._shared.ask(request, kind)

    def may_move(self) -> bool:
        # Rooms on several nodes would send us back and forth.
        return len(self._rooms) < 2

    def lost(self) -> None:
        for room in self._rooms.values():
            room.lose()

    def is_needed(self) -> bool:
        return bool(self._rooms) and not self._has_left

    async def back(self) -> None:
        for room in tuple(self._rooms.values()):
            await self._take_back(room)

    def kept_out(self, why: LineLost | LobbyRefusal, seconds: float) -> None:
        if seconds >= self._timeout:
            for room in tuple(self._rooms.values()):
                self._end(room, "lost")

    async def _take_back(self, room: LiveRoom) -> None:
        """
        Take the place on the new line, or end the room if it is lost.

        :raises LineLost: try again on another line.
        :raises LobbyRefusal: try again in a while.
        """
        if room.is_connected:
            return
        try:
            description = await self._take(room.place)
        except LobbyRefusal as refusal:
            if refusal.code in PASSING_ON_RETURN:
                # Its node died, perhaps, and its lease is not over yet.
                raise
            reason = str(refusal.details.get("reason") or "lost")
            self._end(room, reason, refusal.details.get("outcome"))
            return
        if description.version < room.version:
            # Versions never go back: it is another room of the same name.
            if (line := self._shared.line) is not None:
                left = line.ask(LeaveRoom(description.room_id))
                left.addErrback(lambda _: None)
            self._end(room, "lost")
            return
        self._number = max(self._number, description.acted)
        room.sit(description)

    def _end(
        self, room: LiveRoom, reason: str, outcome: dict[str, Any] | None = None
    ) -> None:
        self._rooms.pop(room.room_id, None)
        room.end(RoomResult(room.room_id, reason, outcome))

    def receive(self, push: Push | Failed) -> None:
        if isinstance(push, Failed):
            self._refuse(push)
            return
        room = self._rooms.get(getattr(push, "room_id", ""))
        if room is None:
            return
        if isinstance(push, RoomClosed):
            self._end(room, push.reason, push.outcome)
        elif isinstance(push, Kicked):
            self._end(room, "kicked")
        else:
            room.receive(push)

    def _refuse(self, failed: Failed) -> None:
        for room in self._rooms.values():
            if room.refuse(failed):
                return
        if failed.code == Code.REPLACED:
            for room in tuple(self._rooms.values()):
                self._end(room, "replaced")
        elif failed.code == Code.SEAT_TAKEN:
            taken = self._rooms.get(str(failed.details.get("room_id")))
            if taken is not None:
                self._end(taken, "replaced")

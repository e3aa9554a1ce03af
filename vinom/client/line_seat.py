"""A seat played over a lobby line: how to ask for it, and what it has been shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, json, to_builtins

from vinom.base.messages.envelope import Failed, Push
from vinom.base.messages.lobby import Moved
from vinom.base.messages.merge import merge
from vinom.base.messages.rooms import (
    EventTold,
    GameState,
    JoinRoom,
    JoinRoomResult,
    Reconnect,
    ReconnectResult,
    RoomStarted,
)
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal, SentAway
from vinom.errors import Code

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
        self.version = self.acked = self.skipped = 0
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

    def act(self, number: int, data: Any) -> bytes:
        """
        Encode an action, and keep it in `waiting`.

        :param number: its id, which `acked` reaches.
        :param data: a dict, or the game's own struct.
        """
        message = {
            "type": "action",
            "room_id": self.room_id,
            "id": number,
            "data": data if isinstance(data, Mapping) else to_builtins(data),
        }
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
        self.version, self.time = shown.version, shown.time
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

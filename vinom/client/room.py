"""One room of a node, as its player sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from msgspec import UNSET, json, to_builtins
from twisted.internet.defer import Deferred

from vinom.client.match import Refusal
from vinom.client.room_news import Place, RoomNews
from vinom.messages.envelope import Failed, Push
from vinom.messages.merge import merge
from vinom.messages.rooms import (
    ClientJoined,
    ClientLeft,
    GameState,
    RoomSeat,
    RoomStarted,
    RoundOver,
)

#: Actions that may wait for an answer.
MOST_WAITING = 64
#: Views that are kept for patches, at most.
_MOST_VIEWS = 32

_read = json.Decoder().decode
_write = json.Encoder().encode


@attrs.frozen
class RoomResult:
    """
    How a room ended for us.

    :ivar reason: the room's, such as ``finished`` or ``abandoned``; else ``left``,
        ``kicked``, ``replaced`` (the same player said hello elsewhere), or ``lost``: we
        could not get our place back.
    :ivar outcome: ``{round, places, scores}``, if a round was ended.
    """

    room_id: str
    reason: str
    outcome: dict[str, Any] | None = None


class Said(Protocol):
    """What carries what we say, while there is a line."""

    def say(self, message: bytes) -> bool:
        """Send a whole message; ``False`` if there is no line."""

    def next_id(self) -> int:
        """Take the id of the next action."""

    def leave(self, room: LiveRoom) -> None:
        """Give up the place."""


class LiveRoom:
    """
    A place in a room; it outlives lines.

    :ivar seat: ours; ``None`` if we watch.
    :ivar players: who sits where, by seat.
    :ivar host: the seat that may start, kick and so on.
    :ivar state: ``gathering``, ``playing`` or ``over``.
    :ivar view: what the game shows us; ``None`` before play begins.
    :ivar version: of the view.
    :ivar time: of the view, seconds of match time.
    :ivar acked: id of our latest action that was applied.
    :ivar skipped: how many states were left out for us because we read slowly.
    :ivar news: what was heard of it, and the secret of the place.
    :ivar is_connected: do we have a line just now?
    :ivar closed: fires with a `RoomResult`, and never fails.
    """

    def __init__(self, said: Said, place: Place, patches: bool) -> None:
        self._said, self._patches = said, patches
        self.room_id, self.game = place.room_id, place.game
        self.view: Any = None
        self.version = self.acked = self.skipped = 0
        self.time = 0.0
        self.news = RoomNews()
        self.is_over = False
        self.closed: Deferred[RoomResult] = Deferred()
        self._waiting: dict[int, bytes] = {}
        self._views: dict[int, Any] = {}
        self._on_state: list[Callable[[LiveRoom], None]] = []
        self._on_event: list[Callable[[str, Any], None]] = []
        self._on_refusal: list[Callable[[Refusal], None]] = []
        self._on_news: list[Callable[[Push], None]] = []
        self.sit(place)

    # What the player asks.

    def act(self, action: Any) -> int:
        """
        Act; *action* is a dict, or the game's own struct.

        What is not answered when the line breaks is sent again with the next one, and
        is applied once.

        :returns: its id, which `acked` reaches; 0 if 64 wait already, or all is over.
        """
        if self.is_over or len(self._waiting) >= MOST_WAITING:
            return 0
        number = self._said.next_id()
        data = action if isinstance(action, Mapping) else to_builtins(action)
        envelope = {
            "type": "action",
            "room_id": self.room_id,
            "id": number,
            "data": data,
        }
        self._waiting[number] = _write(envelope)
        if self._patches and self.view is not None and len(self._views) < _MOST_VIEWS:
            self._views[self.version] = self.view
            envelope["seen"] = self.version
        if self.is_connected:
            self._said.say(_write(envelope))
        return number

    def leave(self) -> None:
        """Give the place up."""
        if not self.is_over:
            self._said.leave(self)
            self.end(RoomResult(self.room_id, "left"))

    def on_state(self, call: Callable[[LiveRoom], None]) -> None:
        """Call this when a newer state is in `view`."""
        self._on_state.append(call)

    def on_event(self, call: Callable[[str, Any], None]) -> None:
        """Call this with kind and data of what happened once, in order."""
        self._on_event.append(call)

    def on_refusal(self, call: Callable[[Refusal], None]) -> None:
        """Call this when an action changed nothing."""
        self._on_refusal.append(call)

    def on_news(self, call: Callable[[Push], None]) -> None:
        """Call this with what else the room tells: who came and went, round results."""
        self._on_news.append(call)

    # What the line tells.

    def sit(self, place: Place) -> None:
        """We have the place, for the first time or again."""
        self.seat, self.host = place.seat, place.host
        self.state, self.setup = place.state, _read(bytes(place.setup))
        self.players: dict[int, RoomSeat] = {who.seat: who for who in place.players}
        self.is_connected, self._known = True, place.number
        self.news.sit(place)
        self._views.clear()
        self._settle(place.acted)
        for message in self._waiting.values():
            self._said.say(message)

    def lose(self) -> None:
        """The line is gone."""
        self.is_connected = False

    def end(self, result: RoomResult) -> None:
        """It is over."""
        if not self.is_over:
            self.is_over, self.is_connected = True, False
            self._waiting.clear()
            self.closed.callback(result)

    def told(self, push: Push) -> None:
        """The room tells something."""
        if isinstance(push, GameState):
            self._see(push)
            return
        number = getattr(push, "number", 0)
        if number and not self.news.is_new(number):
            return
        if number <= self._known:
            # It was missed; what it tells is in our place's description already.
            pass
        elif isinstance(push, RoomStarted):
            self.seat, self.host, self.state = push.seat, push.host, "playing"
            self.setup = _read(bytes(push.setup))
            self.players = {who.seat: who for who in push.players}
            self._views.clear()
        elif isinstance(push, ClientJoined | ClientLeft):
            self._note_player(push)
        elif isinstance(push, RoundOver):
            self.state = "over"
        for call in self._on_news:
            call(push)

    def refused(self, no: Failed) -> bool:
        """An action was refused; ``False`` if it was none of this room's."""
        number = no.id
        if not isinstance(number, int) or self._waiting.pop(number, None) is None:
            return False
        reason = str(no.details.get("reason") or no.details.get("field") or "")
        for call in self._on_refusal:
            call(Refusal(number, no.code, reason, no.message))
        return True

    def _note_player(self, push: ClientJoined | ClientLeft) -> None:
        self.host, seat = push.host, push.seat
        if seat is None:
            return
        if isinstance(push, ClientLeft) and push.reason != "lost":
            self.players.pop(seat, None)
            return
        state = "away" if isinstance(push, ClientLeft) else "here"
        if isinstance(push, ClientJoined) and push.how == "bot":
            state = "bot"
        self.players[seat] = RoomSeat(seat, push.name, push.player_id, state)

    def _see(self, shown: GameState) -> None:
        self.skipped += shown.skipped
        for event in self.news.new_events(shown.events):
            for told in self._on_event:
                told(event.kind, event.data)
        if shown.view is not UNSET:
            self.view = _read(bytes(shown.view))
        elif shown.patch is not UNSET and shown.base in self._views:
            base = self._views[shown.base]
            self.view = merge(base, _read(bytes(shown.patch)))
            for version in [old for old in self._views if old < shown.base]:
                del self._views[version]
        else:
            return
        self.version, self.time = shown.version, shown.time
        if self.state == "gathering":
            self.state = "playing"
        self._settle(shown.ack.get(str(self.seat), 0))
        for call in self._on_state:
            call(self)

    def _settle(self, acked: int) -> None:
        """Whatever came up to this one was applied."""
        self.acked = max(self.acked, acked)
        for number in [n for n in self._waiting if n <= self.acked]:
            del self._waiting[number]

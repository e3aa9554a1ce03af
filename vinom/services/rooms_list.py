"""Which rooms there are: the list, those who watch it, and where strangers go."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vinom.services.conversation import Conversation
from vinom.services.rooms_seats import LiveRoomSeats
from vinom.wire.envelope import encode_push
from vinom.wire.messages_rooms import ListRooms, RoomList, RoomListUpdate
from vinom.wire.shared import Shared

#: Changes of half a second make one piece of news, seconds.
_PAUSE = 0.5
#: Most rooms in one update.
_CHUNK = 100

#: What somebody wants to know of: a game and a state, or any.
Filter = tuple[str | None, str | None]


class RoomIndex:
    """Find rooms by game and state without looking at the others."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._rooms: dict[tuple[str, str], dict[str, LiveRoomSeats]] = {}
        self._at: dict[str, tuple[str, str]] = {}
        self._open: dict[tuple[str, bytes], dict[str, LiveRoomSeats]] = {}
        self._watchers: dict[Filter, dict[Conversation, None]] = {}
        self._changed: dict[str, LiveRoomSeats] = {}
        self._next: IDelayedCall | None = None

    def add(self, room: LiveRoomSeats) -> None:
        """A room is new."""
        self.changed(room)

    def changed(self, room: LiveRoomSeats) -> None:
        """A room is not what it was."""
        if room.is_closed:
            return
        key = room.name, room.state
        before = self._at.get(room.room_id)
        if before != key:
            if before is not None:
                self._take(before, room.room_id)
            self._at[room.room_id] = key
            self._rooms.setdefault(key, {})[room.room_id] = room
        self._set_open(room, room.is_public and room.is_open)
        self._note(room)

    def remove(self, room: LiveRoomSeats) -> None:
        """A room is no more."""
        before = self._at.pop(room.room_id, None)
        if before is not None:
            self._take(before, room.room_id)
        self._set_open(room, False)
        self._note(room)

    def an_open(self, game: str, options: bytes) -> LiveRoomSeats | None:
        """Find a room that takes anybody who wants these options; the oldest."""
        return next(iter(self._open.get((game, options), {}).values()), None)

    def counts(self) -> dict[tuple[str, str], int]:
        """Count the rooms by game and state."""
        return {key: len(rooms) for key, rooms in self._rooms.items()}

    def answer(self, conversation: Conversation, asked: ListRooms) -> RoomList:
        """List rooms, and remember who wants to hear of changes."""
        if asked.watch is not None:
            self.forget(conversation)
        wanted = asked.game, asked.state
        if asked.watch:
            self._watchers.setdefault(wanted, {})[conversation] = None
        found = [rooms for key, rooms in self._rooms.items() if _fits(wanted, key)]
        return RoomList(
            tuple(room.facts() for room in islice(_chained(found), asked.limit)),
            sum(map(len, found)),
        )

    def forget(self, conversation: Conversation) -> None:
        """Somebody watches no more."""
        for wanted, watching in tuple(self._watchers.items()):
            watching.pop(conversation, None)
            if not watching:
                del self._watchers[wanted]

    def stop(self) -> None:
        """Tell nobody anything any more."""
        self._watchers.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _take(self, key: tuple[str, str], room_id: str) -> None:
        rooms = self._rooms[key]
        rooms.pop(room_id, None)
        if not rooms:
            del self._rooms[key]

    def _set_open(self, room: LiveRoomSeats, is_open: bool) -> None:
        key = room.name, room.options
        if is_open:
            self._open.setdefault(key, {})[room.room_id] = room
        elif (rooms := self._open.get(key)) is not None:
            rooms.pop(room.room_id, None)
            if not rooms:
                del self._open[key]

    def _note(self, room: LiveRoomSeats) -> None:
        if not self._watchers:
            return
        self._changed[room.room_id] = room
        if self._next is None:
            self._next = self._clock.callLater(_PAUSE, self._tell)

    def _tell(self) -> None:
        self._next = None
        changed, self._changed = list(self._changed.values()), {}
        for wanted, watching in tuple(self._watchers.items()):
            mine = [room for room in changed if wanted[0] in (None, room.name)]
            for start in range(0, len(mine), _CHUNK):
                update = _update(wanted, mine[start : start + _CHUNK])
                message = Shared(encode_push(update))
                for conversation in tuple(watching):
                    conversation.pass_on(message)


def _update(wanted: Filter, rooms: list[LiveRoomSeats]) -> RoomListUpdate:
    fitting = [
        room
        for room in rooms
        if not room.is_closed and _fits(wanted, (room.name, room.state))
    ]
    gone = [room.room_id for room in rooms if room not in fitting]
    return RoomListUpdate(tuple(room.facts() for room in fitting), tuple(gone))


def _fits(wanted: Filter, key: tuple[str, str]) -> bool:
    return all(wish in (None, is_) for wish, is_ in zip(wanted, key, strict=True))


def _chained(found: list[dict[str, LiveRoomSeats]]) -> Iterator[LiveRoomSeats]:
    for rooms in found:
        yield from rooms.values()
